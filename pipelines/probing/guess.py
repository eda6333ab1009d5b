"""A mapping for fields that nobody has explained yet, from their names, their values and the object's key.

>>> round_trip = [guess_unit(value) for value in (1764000000, 1764000000123, 1764000000123456789)]
>>> round_trip
['s', 'ms', 'ns']
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from features.mapping import Long, Mapping
from pipelines.probing.survey import Seen, Survey

_DEVICE = (
    "iothub-connection-device-id", "connectiondeviceid", "device_id", "deviceid", "device", "deveui", "dev_eui",
    "devicename", "machineid", "machine_id", "machine", "asset", "asset_id", "serial_number", "serial",
    "datasetwritername",
    "unit_id", "unit", "sensor_id", "sensorid", "node", "dev", "equipment", "host",
)  # fmt: skip
_TIME = (
    "ts", "timestamp", "event_time", "eventtime", "time", "datetime", "date_time", "sourcetimestamp", "timeunixnano",
    "origin", "measured_at", "at", "received_at", "date", "enqueuedtimeutc",
)  # fmt: skip
_RECEIVED = ("received", "received_at", "enqueuedtimeutc", "enqueuedtime", "publish_time", "arrival", "ingested_at")
_SEQUENCE = ("sequencenumber", "sequence", "seq", "f_cnt", "fcnt", "counter", "msg_id")
_NAMES = ("resourcename", "tag", "name", "displayname", "metric", "property", "seriesid", "variable", "signal", "n")
_VALUES = ("value", "val", "v", "asdouble", "doublevalue")
_HIVE = re.compile(r"(?:^|/)([A-Za-z_]\w*)=[^/]+(?=/)")
_DATES = frozenset({"dt", "date", "year", "month", "day", "hour", "y", "m", "d", "h", "partition"})
_ISO = re.compile(
    r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d (?P<half>[AP]M)"
    r"|\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_MAGNITUDES = ((1e8, 1e11, "s"), (1e11, 1e14, "ms"), (1e14, 1e17, "us"), (1e17, 9.3e18, "ns"))
_NOT_WORD = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Guess:
    """A proposed mapping.

    Attributes:
        mapping: The mapping; None where no time or device could be made out.
        signals: The signals, by name, with where they stand.
        remarks: What a person should look at, in sentences.
    """

    mapping: Mapping | None
    signals: dict[str, Seen]
    remarks: tuple[str, ...]


def guess_unit(value: float) -> str | None:
    """The unit of a time, from its magnitude; small and relative clocks have none."""
    return next((unit for low, high, unit in _MAGNITUDES if low <= abs(value) < high), None)


def guess(survey: Survey, key: str) -> Guess:
    """Propose a mapping for an object."""
    return _Guesser(survey, key).guess()


class _Guesser:
    def __init__(self, survey: Survey, key: str) -> None:
        self._survey = survey
        self._key = key
        self._fields = survey.fields
        self._remarks: list[str] = []
        self._nanos = ""
        self._parts: dict[str, Any] = dict(survey.reading)
        # A record that only holds one list is a batch; one whose lists are many goes by the names of devices.
        self._keyed = survey.keyed
        self._rows = "" if self._keyed else self._row_path()
        if self._keyed:
            self._parts["rows"] = "{device_name}[]"
        if survey.envelope:
            self._parts["body"] = survey.envelope

    def guess(self) -> Guess:
        """Put the parts together."""
        time = self._time()
        device = self._device()
        if time is None or device is None:
            return Guess(None, self._numbers({time, device}), tuple(self._remarks))
        received = self._pick(_RECEIVED, lambda seen: seen.path != time and self._unit(seen) is not None)
        sequence = self._pick(_SEQUENCE, lambda seen: set(seen.types) <= {"integer", "null"})
        self._parts["received"] = self._local(received.path) if received else None
        if received and (unit := self._unit(received)) != self._parts["time_unit"]:
            self._parts["received_unit"] = unit
        if sequence:
            self._parts["sequence"] = self._local(sequence.path)
        taken = {time, device, received.path if received else None, sequence.path if sequence else None}
        signals = self._long_form(taken) or self._wide_form(taken)
        if not signals:
            self._remarks.append("No field holds numbers that could be a signal.")
            return Guess(None, {}, tuple(self._remarks))
        return Guess(Mapping(**self._parts), signals, tuple(self._remarks))

    def _row_path(self) -> str:
        """The list that holds the rows, where most fields stand in one with a time of its own."""
        lists: dict[str, int] = {}
        for path in self._fields:
            if "[]." in path:
                lists[path.rpartition("[].")[0] + "[]"] = lists.get(path.rpartition("[].")[0] + "[]", 0) + 1
        for path, _ in sorted(lists.items(), key=lambda item: -item[1]):
            inside = [seen for name, seen in self._fields.items() if name.startswith(f"{path}.")]
            named = {_last(seen.path) for seen in inside}
            long = named & set(_NAMES) and named & set(_VALUES)
            if not long and any(_last(seen.path) in _TIME and self._unit(seen) for seen in inside):
                self._parts["rows"] = path
                return path
        return ""

    def _local(self, path: str) -> str:
        """A path as it is written within the rows."""
        if not self._rows:
            return path
        return path.removeprefix(f"{self._rows}.") if path.startswith(f"{self._rows}.") else f"env.{path}"

    def _reachable(self) -> list[Seen]:
        prefix = f"{self._rows}." if self._rows else ""
        return [seen for path, seen in self._fields.items() if "[]" not in path.removeprefix(prefix)]

    def _pick(self, names: Sequence[str], fits: Any) -> Seen | None:
        for name in names:
            found = [seen for seen in self._reachable() if _last(seen.path) == name and seen.count and fits(seen)]
            if found:  # what a hub stamps stands further out than what a device says
                outermost = names is not _TIME or name not in _RECEIVED
                return (min if outermost else max)(found, key=lambda seen: seen.path.count("."))
        return None

    def _unit(self, seen: Seen) -> str | None:
        if seen.types.keys() & {"timestamp"}:
            return "iso"
        if seen.is_number:
            units = {guess_unit(seen.low), guess_unit(seen.high)}
            return units.pop() if len(units) == 1 else None
        texts = [text for text in seen.examples if isinstance(text, str)]
        return "iso" if texts and all(_ISO.fullmatch(text) for text in texts) else None

    def _time(self) -> str | None:
        in_body = [seen for seen in self._reachable() if seen.path.startswith("body.") and _last(seen.path) in _TIME]
        found = next((seen for seen in in_body if self._unit(seen)), None)
        found = found or self._pick(_TIME, lambda seen: self._unit(seen) is not None)
        found = found or next((seen for seen in self._reachable() if self._unit(seen) == "iso"), None)
        found = found or next((seen for seen in self._reachable() if seen.is_number and self._unit(seen)), None)
        if found is None:
            self._remarks.append("No field looks like a time: none is ISO 8601 text or a number of this era.")
            return None
        self._parts["time"] = self._local(found.path)
        self._parts["time_unit"] = self._unit(found)
        above = found.path.rpartition(".")[0]
        nanos = [seen.path for seen in self._reachable() if "nano" in _last(seen.path) and seen.high < 1e9]  # noqa: PLR2004 - a second
        if nanos and self._parts["time_unit"] == "s" and nanos[0].rpartition(".")[0] == above:
            self._parts |= {"time": f"{self._parts['time']}+{self._local(nanos[0])}", "time_unit": "ns"}
            self._nanos = nanos[0]
        texts = [text for text in found.examples if isinstance(text, str)]
        if texts and not any((match := _ISO.fullmatch(text)) and (match["zone"] or match["half"]) for text in texts):
            self._parts["zone"] = "UTC"
            self._remarks.append("The times name no zone; the draft takes them for UTC. Say zone= if they are local.")
        return found.path

    def _device(self) -> str | None:
        if self._keyed:
            self._parts |= {"device": "device_name"}
            return "device_name"
        fits = self._fits_device
        found = self._pick(_DEVICE, fits)
        if found:
            others = [
                seen for seen in self._reachable() if _last(seen.path) in _DEVICE and fits(seen) and seen is not found
            ]
            everywhere = found.count >= self._survey.records or not others
            paths = (self._local(found.path), *([] if everywhere else [self._local(others[0].path)]))
            self._parts["device"] = paths[0] if everywhere else paths
            return found.path
        if hive := [name for name in _HIVE.findall(self._key) if name.lower() not in _DATES]:
            self._parts |= {"key": f"{hive[-1]}=(?P<device>[^/]+)/", "device": "key.device"}
            return "key.device"
        texts = [seen for seen in self._reachable() if set(seen.types) <= {"text", "null"} and not self._unit(seen)]
        if "columns" in self._parts and texts:
            self._parts["device"] = texts[0].path
            self._remarks.append(f"The columns have no names; the draft takes {texts[0].path} for the device.")
            return texts[0].path
        parts = self._key.rstrip("/").split("/")
        if len(parts) > 1:
            self._parts |= {"key": "(?P<device>[^/]+)/[^/]*$", "device": "key.device"}
            self._remarks.append(f"No field names the device; the draft takes the folder, '{parts[-2]}'. Mend key=.")
            return "key.device"
        self._parts |= {"key": r"(?P<device>[^/.]+)[^/]*$", "device": "key.device"}
        self._remarks.append(f"No field names the device; the draft takes the name of the object, '{parts[-1]}'.")
        return "key.device"

    def _fits_device(self, seen: Seen) -> bool:
        return seen.count > 0 and (set(seen.types) <= {"text", "null"} or (self._is_table and "integer" in seen.types))

    @property
    def _is_table(self) -> bool:
        return self._survey.container.startswith(("CSV", "Parquet"))

    def _numbers(self, taken: Iterable[str | None]) -> dict[str, Seen]:
        taken = {*taken, self._nanos}
        found = [seen for seen in self._reachable() if seen.is_number and seen.path not in taken]
        if self._survey.envelope:
            found = [seen for seen in found if seen.path.startswith("body.")]
        return {_word(seen.path): seen for seen in found if _last(seen.path) != "#"}

    def _wide_form(self, taken: set[str | None]) -> dict[str, Seen]:
        found = [
            seen for seen in self._numbers(taken).values() if not self._unit(seen) or _last(seen.path) not in _TIME
        ]
        parents = [self._local(seen.path).rpartition(".")[0] for seen in found]
        if not found:
            return {}
        prefix = max(set(parents), key=parents.count)
        self._parts["signals"] = prefix
        signals: dict[str, Seen] = {}
        names: dict[str, str] = {}
        for seen in found:
            local = self._local(seen.path)
            name = _word(local.removeprefix(f"{prefix}.") if prefix else local)
            while name in signals:
                name += "_2"
            signals[name] = seen
            if local != (f"{prefix}.{name}" if prefix else name):
                names[name] = local
        if names:
            self._parts["names"] = names
        return signals

    def _long_form(self, taken: set[str | None]) -> dict[str, Seen]:
        """A field that names signals beside one that holds values."""
        for seen in self._fields.values():
            above, _, last = seen.path.rpartition(".")
            if last.lower() not in _VALUES or seen.path in taken:
                continue
            beside = {_last(path): path for path in self._fields if path.rpartition(".")[0] == above}
            name = next((beside[each] for each in _NAMES if each in beside and beside[each] not in taken), None)
            if name is None or "text" not in self._fields[name].types:
                continue
            rows = above if above.endswith("[]") else ""
            inner = rows and next((each for each in _TIME if each in beside), None)
            self._parts["long"] = Long(
                rows=self._local(rows) if rows else "",
                name=name.rpartition(".")[2] if rows else self._local(name),
                value=last if rows else self._local(seen.path),
                time=beside[inner].rpartition(".")[2] if inner else None,
            )
            if "text" in seen.types:
                self._parts["quoted"] = True
            return self._tags(name, seen)
        return {}

    def _tags(self, name: str, value: Seen) -> dict[str, Seen]:
        tags = sorted(self._fields[name].texts)[:100]
        signals = {}
        names = {}
        for tag in tags:
            word = _word(tag)
            signals[word] = Seen(tag, dict(value.types), value.low, value.high)
            if word != tag:
                names[word] = tag
        if names:
            self._parts["names"] = names
        self._remarks.append("The signals are named by data; only those of this object are in the draft.")
        return signals


def _last(path: str) -> str:
    return path.replace("[]", "").rpartition(".")[2].strip('"').lower()


def _word(path: str) -> str:
    word = _NOT_WORD.sub("_", path.replace("[]", "")).strip("_")
    return word if word[:1].isalpha() else f"s_{word}"
