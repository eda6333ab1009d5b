"""How telemetry is written down: where in a record device, times, sequence and signals stand.

One declaration a fleet, no code for any format. Paths are written as `features.path` says; a tuple of paths means the
first that holds something. A path begins in the record; four names lead elsewhere, each only where the mapping
declares it, so that a field that happens to be called ``key`` stays a field:

* ``key.<group>`` a group of the regular expression ``key``, found in the object's key (Hive folders, topics),
* ``meta.<name>`` metadata of the object, of the names in ``meta``,
* ``body.`` the decoded content of the field ``body`` (an envelope's payload: base64, text or object),
* ``env.`` the enclosing record, where ``rows`` takes it apart.

An Azure IoT Hub endpoint, and a file of a historian:

    >>> hub = Mapping(device="SystemProperties.connectionDeviceId", time="body.ts", received="EnqueuedTimeUtc",
    ...               received_unit="iso", signals="body.values", body="Body")
    >>> tags = Mapping(device="key.asset", time="sec+ns", time_unit="ns", received=None, format="csv",
    ...                columns=("tag", "type", "sec", "ns", "quality", "value"),
    ...                key="asset=(?P<asset>[^/]+)/", long=Long(name="tag", value="value"))
    >>> Mapping.from_json(tags.to_json()) == tags
    True
"""

import dataclasses
import functools
import re
from collections.abc import Mapping as JsonMapping
from dataclasses import dataclass, fields
from typing import Any, Self

from features import path
from features.errors import FleetError
from features.path import Entries, Field, Items, parse, parse_sum
from features.zone import is_zone

TIME_UNITS = ("s", "ms", "us", "ns", "iso")
FORMATS = ("auto", "csv", "line_protocol")
ROOTS = ("key", "meta", "body", "env")

Path = str | tuple[str, ...]
_MOST_PATHS = 8


@dataclass(frozen=True, slots=True)
class Long:
    """Signals in long form: one entry a value, which names its signal.

    Entries of one record (or, without ``rows``, of one object) that agree in device and time become one reading. An
    entry whose name is no signal of the fleet is passed over.

    Args:
        rows: The path from the record to the entries; empty where each record is one.
        name: The path in the entry to the name of the signal. It is also looked for in what encloses the entry, and may
            be a name that ``rows`` binds.
        value: The path in the entry to the value; an entry that is no object is the value itself.
        time: The path in the entry to its event time, in the mapping's unit; the record's time without it.
    """

    rows: str = ""
    name: Path = "name"
    value: Path = "value"
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where device, times and signals stand in a record.

    Args:
        device: The field with the device's name.
        time: The field with the event time; ``a+b`` adds whole seconds and nanoseconds.
        time_unit: ``s``, ``ms``, ``us`` or ``ns`` since 1970 in UTC, or ``iso`` for ISO 8601 text.
        received: The field in which a hub stamped the time of receipt; ``None`` where there is none.
        signals: The path under which the signals stand by their names; empty for the top level.
        received_unit: The unit of ``received``; ``None`` means the unit of the event time.
        sequence: The field with a number that counts the messages of a device; ``None`` where there is none.
        sequence_default: The sequence of a record that lacks the field: some encoders leave out a zero.
        names: ``{signal: path}`` for signals that do not stand under ``signals`` by their own name; in the long form
            ``{signal: name in the data}``.
        long: The long form; the signals then stand in its entries.
        zone: The zone of ISO times that name none, ``UTC`` or like ``+01:00``; without it such times are refused.
        quoted: Numbers may stand in quotes. In CSV they always may.
        rows: The path to the rows of which a record holds many, as ``metrics[]`` or ``{dev}[]``.
        body: The field that holds the message of an envelope.
        key: Regular expression with named groups, searched in the object's key.
        meta: Names of object metadata that paths use.
        exclude: Texts; an object is passed over when its key contains one of them.
        format: ``auto`` tells JSON, Avro and Parquet by their first bytes. Text without a mark of its own must be
            named: ``csv`` or ``line_protocol``.
        columns: The columns of CSV without a header.
        delimiter: Between the cells of CSV; a blank stands for any run of blanks.

    Raises:
        FleetError: A path is none, leads to an undeclared place, or the parts do not go together.
    """

    device: Path = "device"
    time: Path = "ts"
    time_unit: str = "ms"
    received: Path | None = "received"
    signals: str = ""
    received_unit: str | None = None
    sequence: Path | None = None
    sequence_default: int | None = None
    names: tuple[tuple[str, str], ...] | JsonMapping[str, str] = ()
    long: Long | None = None
    zone: str | None = None
    quoted: bool = False
    rows: str = ""
    body: str = ""
    key: str = ""
    meta: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    format: str = "auto"
    columns: tuple[str, ...] = ()
    delimiter: str = ","

    def __post_init__(self) -> None:
        if isinstance(self.names, JsonMapping):
            object.__setattr__(self, "names", tuple(sorted(self.names.items())))
        for unit in (self.time_unit, self.received_unit or self.time_unit):
            if unit not in TIME_UNITS:
                raise _contradiction(f"'{unit}' is no unit of time", fix=f"use one of {', '.join(TIME_UNITS)}")
        if not self.device or not self.time:
            raise _contradiction("a mapping must name the fields of device and time")
        if self.zone is not None and not is_zone(self.zone):
            raise _contradiction(f"'{self.zone}' is no zone", fix="give UTC or an offset like +01:00")
        self._check_format()
        self._check_key()
        self._check_paths()

    def _check_format(self) -> None:
        if self.format not in FORMATS:
            raise _contradiction(f"'{self.format}' is no format", fix=f"use one of {', '.join(FORMATS)}")
        if (self.columns or self.delimiter != ",") and self.format != "csv":
            raise _contradiction("columns and delimiter belong to CSV", fix='add format="csv"')
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise _contradiction(f"{self.delimiter!r} is no delimiter", fix="give one character")
        if len(set(self.columns)) < len(self.columns):
            raise _contradiction("two columns have one name", fix="give each a name of its own")
        if self.sequence_default is not None and self.sequence is None:
            raise _contradiction("sequence_default needs a sequence", fix="name the field of the sequence")

    def _check_key(self) -> None:
        try:
            self.pattern  # noqa: B018 - compiling it is the check
        except re.error as error:
            raise _contradiction(f"'{self.key}' is no regular expression", why=str(error)) from error
        if self.key and not self.groups:
            raise _contradiction("the key's expression has no named group", fix="write it like (?P<device>[^/]+)")

    def _check_paths(self) -> None:
        if any(len(parse_sum(text)) > 1 for text in self.paths if text not in choices(self.time)):
            raise _contradiction("only the event time may be a sum", fix="put a name with a plus in double quotes")
        if any(len(parse_sum(text)) > 1 for text in choices(self.time)) and self.time_unit != "ns":
            raise _contradiction("a sum is seconds and nanoseconds", fix='say time_unit="ns"')
        for text in self.paths:
            for steps in parse_sum(text):
                if any(isinstance(step, Items | Entries) for step in steps):
                    raise _contradiction(
                        f"'{text}' leads to many values", fix="only rows and long.rows may contain [] or {x}"
                    )
                self._check_root(text, steps)
        for text in filter(None, (self.rows, self.long.rows if self.long else "")):
            self._check_root(text, parse(text))

    def _check_root(self, text: str, steps: tuple[path.Step, ...]) -> None:
        root = steps[0].name if isinstance(steps[0], Field) else ""
        second = steps[1].name if len(steps) > 1 and isinstance(steps[1], Field) else ""
        if root == "key" and self.key and second not in self.groups:
            raise _contradiction(f"'{text}' names no group of the key", why=f"its groups are {', '.join(self.groups)}")
        if root == "meta" and self.meta and second not in self.meta:
            raise _contradiction(f"'{text}' names no declared metadata", why=f"meta is {', '.join(self.meta)}")

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths to single values."""
        long = self.long
        found: list[Path | None] = [self.device, self.time, self.received, self.sequence, self.body, self.signals]
        found += [] if long else dict(self.names).values()
        if long:
            found += [long.name, long.value, long.time]
        texts: list[str] = []
        for each in found:
            several: tuple[str, ...] = choices(each)
            if len(several) > _MOST_PATHS:
                raise _contradiction(f"{len(several)} paths to one value are too many", fix=f"give {_MOST_PATHS}")
            texts.extend(several)
        return tuple(texts)

    @property
    def pattern(self) -> re.Pattern[str]:
        """The expression for keys."""
        return _compiled(self.key)

    @property
    def groups(self) -> tuple[str, ...]:
        """What paths may take from the key."""
        return tuple(self.pattern.groupindex)

    def roots(self, *, in_rows: bool = True) -> frozenset[str]:
        """The first names that lead out of the record."""
        declared = {"key": self.key, "meta": self.meta, "body": self.body, "env": in_rows and self.rows}
        return frozenset(name for name, there in declared.items() if there)

    def place(self, signal: str) -> str:
        """The path to a signal in wide form."""
        prefix = f"{self.signals}." if self.signals else ""
        return dict(self.names).get(signal, prefix + signal)

    def selects(self, key: str) -> bool:
        """Whether the object of this key is read at all."""
        return not self.exclude or not any(text in key for text in self.exclude)

    def groups_of(self, key: str) -> dict[str, str]:
        """What the key says, ``{group: text}``; empty where the expression does not fit."""
        found = self.pattern.search(key) if self.key else None
        return {} if found is None else {name: text for name, text in found.groupdict().items() if text is not None}

    @property
    def storage_only(self) -> str:
        """What of the mapping only stored objects have, in words; empty where a gateway can read it.

        A gateway reads single JSON records: there is no object with a key, no envelope of a cloud, no file.
        """
        marks = {
            "key": self.key,
            "meta": self.meta,
            "rows": self.rows,
            "body": self.body,
            "long": self.long,
            f"format {self.format}": self.format != "auto",
            "a sum of fields": any(len(parse_sum(text)) > 1 for text in choices(self.time)),
            "[k=v]": any(not path.only_fields(steps) for text in self.paths for steps in parse_sum(text)),
        }
        return ", ".join(name for name, there in marks.items() if there)

    def to_json(self) -> dict[str, Any]:
        """The mapping as JSON-ready dictionary."""
        document: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            document[field.name] = list(value) if isinstance(value, tuple) else value
        document["names"] = dict(self.names)
        document["long"] = None if self.long is None else _long_json(self.long)
        return document

    @classmethod
    def from_json(cls, document: JsonMapping[str, Any]) -> Self:
        """The mapping that ``to_json`` wrote; what is left out has its default.

        Raises:
            FleetError: It contradicts itself.
            TypeError: There is a field of no meaning, or one of another form.
        """
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
        }
        if found.get("long") is not None:
            found["long"] = Long(**_tuples(found["long"]))
        return cls(**found)


def _tuples(document: JsonMapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def choices(place: Path | None) -> tuple[str, ...]:
    """The paths of a field of the mapping, in the order in which they are tried."""
    if not place:
        return ()
    return (place,) if isinstance(place, str) else place


def _long_json(long: Long) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(long).items()
    }


@functools.lru_cache(maxsize=64)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def _contradiction(what: str, *, why: str = "", fix: str = "") -> FleetError:
    return FleetError(what, where="mapping", why=why, fix=fix)
