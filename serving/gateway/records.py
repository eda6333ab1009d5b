"""From the bytes a device sends to readings that are believed: parsing, mapping and judging, pure.

A body is JSON records in any framing (lines, one after the other, pretty-printed, an array), as the fleet's mapping
describes them. Every record is either a reading or counted under the :class:`~features.schema.Reason` it was rejected
for. The rules are those by which stored telemetry is ingested, and the last judge is the same function
(``features.schema.check_readings``); ``tests/parity/test_records.py`` holds both readers against each other.

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
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.burst import BurstColumns, RefusedBurstError
from features.schema import Fleet, Reason, check_readings

PORTION = 500

_FACTORS = {"ms": 1000, "us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
_REASONS = list(Reason)
_UNREADABLE: Final = object()
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_RESTART = re.compile(r"\n(?=\s*[{\[])|(?<=})(?={)")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)")
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
    """

    devices: Sequence[str]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    rejected: Mapping[Reason, int]


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
    """The same one by one, in whatever framing; text that is no JSON counts up to where a record could begin again."""
    text = body.decode("utf-8", "surrogateescape")
    decode = json.JSONDecoder(parse_int=_integer).raw_decode
    position = _skip(text, 0)
    portion: list[object] = []
    while position < len(text):
        try:
            record, position = decode(text, position)
        except (ValueError, RecursionError):
            restart = _RESTART.search(text, position + 1)
            record, position = _UNREADABLE, restart.start() if restart else len(text)
        portion.append(record)
        if len(portion) == PORTION:
            yield portion
            portion = []
        position = _skip(text, position)
    yield portion


def _skip(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


class Rejected(Exception):  # noqa: N818 - a record on its way out, not a fault
    """A record is not believed; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class _Mapper:
    """Takes records apart as a fleet's mapping says."""

    def __init__(self, fleet: Fleet, now_us: int | None) -> None:
        mapping = fleet.mapping
        self._fleet = fleet
        self._now_us = now_us
        self._names = fleet.signal_names
        self._bursts = BurstColumns(fleet.bursts, fleet.signal_names)
        self._device = _getter(mapping.device)
        self._time = _getter(mapping.time)
        self._received = _getter(mapping.received) if mapping.received else None
        self._signals = _getter(mapping.signals) if mapping.signals else None
        self._clock = clock_of(mapping.time_unit)

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
        device = text_of(self._device(record))
        time_us = self._clock(self._time(record))
        row = self._row(record)
        if not device:
            raise Rejected(Reason.NO_DEVICE)
        if time_us is None:
            raise Rejected(Reason.NO_TIME)
        return device, time_us, self._stamp(record, time_us), row

    def _row(self, record: dict[str, object]) -> list[float]:
        signals = record if self._signals is None else self._signals(record)
        if signals is None:
            return [math.nan] * len(self._names)
        if type(signals) is not dict:
            raise Rejected(Reason.WRONG_TYPE)
        get = signals.get
        row = [value if type(value := get(name)) is float else _number(value) for name in self._names]
        try:
            self._bursts.fill(signals, row)
        except RefusedBurstError as refused:
            raise Rejected(Reason(refused.fault)) from None
        return row

    def _stamp(self, record: dict[str, object], time_us: int) -> int:
        """The hub's stamp; without a usable one the clock serves."""
        if self._received is not None:
            try:
                stamp = self._clock(self._received(record))
            except Rejected:
                stamp = None
            if stamp is not None:
                return stamp
        return time_us if self._now_us is None else self._now_us


def _getter(path: str) -> Getter:
    first, *rest = path.split(".")
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


def text_of(value: object) -> str:
    """A text; empty where it is missing."""
    if value is None:
        return ""
    if type(value) is not str:
        raise Rejected(Reason.WRONG_TYPE)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Rejected(Reason.UNREADABLE) from None
    return value


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if type(value) is not float:
        raise Rejected(Reason.WRONG_TYPE)
    return value


def clock_of(unit: str) -> Callable[[object], int | None]:
    """A reader of times in one unit, to UTC microseconds; None for what is missing or beyond the calendar."""
    if unit == "iso":
        return _iso
    if unit == "s":
        return _seconds
    factor = _FACTORS[unit]

    def whole(value: object) -> int | None:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int:
            return _within(value * factor)
        if value is None:
            return None
        raise Rejected(Reason.WRONG_TYPE)

    return whole


def _seconds(value: object) -> int | None:
    if value is None:
        return None
    seconds = _number(value)
    return _within(round(seconds * 1e6)) if math.isfinite(seconds) and abs(seconds) < _LATEST_US else None


def _iso(value: object) -> int | None:
    text = text_of(value)
    if not _ISO.fullmatch(text):  # a time without a zone could be any time
        return None
    try:
        return _within((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND)
    except (ValueError, OverflowError):
        return None


def _within(time_us: int) -> int | None:
    return time_us if _EARLIEST_US <= time_us <= _LATEST_US else None
