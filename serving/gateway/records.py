"""From the bytes a device sends to readings that are believed: parsing, mapping and judging, pure.

A body is JSON records in any framing (lines, one after the other, pretty-printed, an array), as the fleet's mapping
describes them. Every record is either a reading or counted under the :class:`~features.schema.Reason` it was rejected
for. The rules are those by which stored telemetry is ingested, and the last judge is the same function
(``features.schema.check_readings``); ``tests/parity/test_records.py`` holds both readers against each other.

Of a mapping, a gateway can carry out what stands in one JSON record: renamed signals, the first of several paths, units
and zones. What only stored objects have (a key, metadata, an envelope, files of other formats) it refuses, see
``check``; a fleet whose objects lie otherwise than its devices speak declares both, ``Fleet.mapping`` and
``Fleet.stored``.

Example:
    >>> from features.catalog import load
    >>> body = b'{"device":"p-1","ts":60000,"values":{"flow":12.5}}{"device":"p-1"}'
    >>> readings = read(body, load("pumps").fleet, now_us=60_000_000)
    >>> readings.devices, readings.times.tolist(), dict(readings.rejected)
    (['p-1'], [60000000], {<Reason.NO_TIME: 'no_time'>: 1})
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.burst import BurstColumns, RefusedBurstError
from features.errors import FleetError
from features.mapping import choices
from features.path import names
from features.quotes import unquoted
from features.schema import Fleet, Reason, check_devices, check_readings
from features.unknown import FieldTree, add, plain_paths
from serving.gateway.values import Rejected, clock_of, number_of, text_of

PORTION = 500

_REASONS = list(Reason)
_UNREADABLE: Final = object()
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_RESTART = re.compile(r"\n(?=\s*[{\[])|(?<=})(?={)")
_MOST_LINES = 1000  # of unreadable text that are told apart
_MOST_DIGITS = 400  # beyond, Python refuses integers, and a float is infinite long before

Getter = Callable[[dict[str, object]], object]


@dataclass(frozen=True, slots=True)
class Readings:
    """What a body held.

    Attributes:
        devices: The device of each accepted reading.
        times: Their event times, shape ``(n,)``, UTC microseconds.
        values: Shape ``(n, signals)``, NaN where a signal is missing.
        rejected: How many records were not accepted, by reason.
        unknown: How many records have a field that the mapping names nowhere, by field, where the fleet counts them.
    """

    devices: Sequence[str]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    rejected: Mapping[Reason, int]
    unknown: Mapping[str, int]


def read(body: bytes, fleet: Fleet, now_us: int | None) -> Readings:
    """Parse, map and judge a body. Nothing in it can make this fail.

    Args:
        body: JSON in UTF-8.
        fleet: Whose telemetry it is.
        now_us: The clock, which is the time of receipt of records that no hub has stamped. None when the clock cannot
            be believed: such records are then taken at their word, since neither age nor future can be told.
    """
    rejected: Counter[Reason] = Counter()
    mapper = _Mapper(fleet, now_us)
    parts = [mapper.judged(records, rejected) for records in portions(body)]
    return Readings(
        [device for devices, _, _ in parts for device in devices],
        np.concatenate([np.empty(0, np.int64), *(times for _, times, _ in parts)]),
        np.concatenate([np.empty((0, len(fleet.signals))), *(values for _, _, values in parts)]),
        rejected,
        mapper.unknown,
    )


def check(fleet: Fleet) -> None:
    """Make sure that a gateway can read what the devices of a fleet send.

    Raises:
        FleetError: The mapping speaks of things that only stored objects have.
    """
    if fleet.mapping.storage_only:
        raise FleetError(
            f"a gateway cannot read by this mapping: {fleet.mapping.storage_only}",
            where=f"fleet {fleet.name}",
            why="devices send single JSON records; only stored objects have keys, envelopes and files",
            fix="declare in mapping= what devices send, and in stored= how it lies in storage",
        )


def portions(body: bytes) -> Iterator[list[object]]:
    """The records of a body, a portion at a time: as objects, a large body would take a gateway's memory."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    for start in range(0, len(lines), PORTION):
        portion = lines[start : start + PORTION]
        try:
            # One call for many lines is three times as fast as one call a line.
            together = json.loads(b"[" + b",".join(portion) + b"]")
        except (ValueError, RecursionError):
            together = []
        if len(together) != len(portion) or any(type(record) is not dict for record in together):
            yield from _pieces(b"\n".join(lines[start:]))
            return
        yield together


def _pieces(body: bytes) -> Iterator[list[object]]:
    """The same one by one, in whatever framing.

    Text that is no JSON reaches up to where a record could begin again; each of its lines counts.
    """
    text = body.decode("utf-8", "surrogateescape")
    decode = json.JSONDecoder(parse_int=_integer).raw_decode
    position = _skip(text, 0)
    portion: list[object] = []
    while position < len(text):
        try:
            record, position = decode(text, position)
            portion.append(record)
        except (ValueError, RecursionError):
            restart = _RESTART.search(text, position + 1)
            begin, position = position, restart.start() if restart else len(text)
            lines = text[begin:position].split("\n", _MOST_LINES - 1)
            portion += [_UNREADABLE for line in lines if not _BETWEEN.fullmatch(line)]
        if len(portion) >= PORTION:
            yield portion
            portion = []
        position = _skip(text, position)
    yield portion


def _skip(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


class _Mapper:
    """Takes records apart as a fleet's mapping says."""

    def __init__(self, fleet: Fleet, now_us: int | None) -> None:
        mapping = fleet.mapping
        self._fleet = fleet
        self._now_us = now_us
        self._names = fleet.signal_names
        self._bursts = BurstColumns(fleet.bursts, fleet.signal_names)
        self._device = _getters(mapping.device)
        self._time = _getters(mapping.time)
        self._received = _getters(mapping.received)
        self._sequence = _getters(mapping.sequence)
        self._signals = _getter(mapping.signals) if mapping.signals else None
        elsewhere = dict(mapping.names)
        self._elsewhere = [
            (place, _getter(elsewhere[name])) for place, name in enumerate(self._names) if name in elsewhere
        ]
        self._quoted = mapping.quoted
        self._fields = FieldTree(plain_paths(mapping, fleet.signal_names, fleet.bursts))
        self._fate = fleet.unknown_fields
        self.unknown: Counter[str] = Counter()
        self._clock = clock_of(mapping.time_unit, mapping.zone, quoted=mapping.quoted)
        self._stamp_clock = clock_of(mapping.received_unit or mapping.time_unit, mapping.zone, quoted=mapping.quoted)

    def judged(
        self, records: Sequence[object], rejected: Counter[Reason]
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
        """Devices, times and values of the accepted records; the others are counted."""
        devices: list[str] = []
        times: list[int] = []
        received: list[int] = []
        rows: list[list[float]] = []
        for record in records:
            try:
                device, time_us, stamp, row = self._taken_apart(record)
            except Rejected as fault:
                rejected[fault.reason] += 1
                continue
            devices.append(device)
            times.append(time_us)
            received.append(stamp)
            rows.append(row)
        at, values = np.array(times, np.int64), np.array(rows, np.float64).reshape(-1, len(self._names))
        codes = check_readings(self._fleet, at, np.array(received, np.int64), values)
        codes[~check_devices(self._fleet, devices) & (codes == 0)] = Reason.UNKNOWN_DEVICE.number
        good = codes == 0
        if good.all():
            return devices, at, values
        for code, count in Counter(codes[~good].tolist()).items():
            rejected[_REASONS[code - 1]] += count
        kept = [device for device, accepted in zip(devices, good.tolist(), strict=True) if accepted]
        return kept, at[good], values[good]

    def _taken_apart(self, record: object) -> tuple[str, int, int, list[float]]:
        if record is None:
            record = {}
        if type(record) is not dict:
            raise Rejected(Reason.UNREADABLE)
        if self._fate != "ignore":
            self._ask(record)
        device = self._named(record)
        time_us = self._timed(record)
        self._counted(record)
        row = self._row(record)
        if not device:
            raise Rejected(Reason.NO_DEVICE)
        if time_us is None:
            raise Rejected(Reason.NO_TIME)
        return device, time_us, self._stamp(record, time_us), row

    def _ask(self, record: dict[str, object]) -> None:
        names = self._fields.unknown(record)
        if names and self._fate == "reject":
            raise Rejected(Reason.UNKNOWN_FIELD)
        add(self.unknown, dict.fromkeys(names, 1))

    def _named(self, record: dict[str, object]) -> str:
        for get in self._device:
            found = get(record)
            if found is not None:
                return text_of(found)
        return ""

    def _timed(self, record: dict[str, object]) -> int | None:
        for get in self._time:
            found = get(record)
            if found is not None:
                return self._clock(found)
        return None

    def _counted(self, record: dict[str, object]) -> None:
        """A sequence means nothing here, but a record with a broken one is not believed in storage either."""
        for get in self._sequence:
            found = get(record)
            if found is not None:
                found = unquoted(found, whole=True) if self._quoted else found
                whole = type(found) is int or (type(found) is float and found.is_integer())
                if found is not None and not (whole and -(2**63) < found < 2**63):  # type: ignore[operator]
                    raise Rejected(Reason.WRONG_TYPE)
                if found is not None:
                    return

    def _row(self, record: dict[str, object]) -> list[float]:
        signals = record if self._signals is None else self._signals(record)
        if signals is None and not self._elsewhere:
            return [math.nan] * len(self._names)
        if signals is None:
            signals = {}
        if type(signals) is not dict:
            raise Rejected(Reason.WRONG_TYPE)
        found = [signals.get(name) for name in self._names]
        for place, get in self._elsewhere:
            found[place] = get(record)
        if self._quoted:
            found = [unquoted(value, whole=False) for value in found]
        row = [value if type(value) is float else number_of(value) for value in found]
        try:
            self._bursts.fill(signals, row)
        except RefusedBurstError as refused:
            raise Rejected(Reason(refused.fault)) from None
        return row

    def _stamp(self, record: dict[str, object], time_us: int) -> int:
        """The hub's stamp; without a usable one the clock serves."""
        for get in self._received:
            try:
                found = get(record)
                if found is None:
                    continue
                stamp = self._stamp_clock(found)
            except Rejected:
                stamp = None
            if stamp is not None:
                return stamp
            break
        return time_us if self._now_us is None else self._now_us


def _getters(places: str | tuple[str, ...] | None) -> list[Getter]:
    return [_getter(place) for place in choices(places)]


def _getter(place: str) -> Getter:
    first, *rest = names(place) or ("",)
    if not rest:
        return lambda record: record.get(first)

    def walk(record: dict[str, object]) -> object:
        found = record.get(first)
        for name in rest:
            if found is None:
                return None
            if type(found) is not dict:
                raise Rejected(Reason.WRONG_TYPE)
            found = found.get(name)
        return found

    return walk
