"""From the bytes a device sends to readings that are believed: parsing, mapping and judging, pure.

A body is JSON lines, one JSON object (also over several lines) or an array of objects, as the fleet's mapping
describes them. Every record is either a reading or counted under the :class:`~features.schema.Reason` it was rejected
for; the judge is ``features.schema.check_readings``, the very one that ingests stored telemetry.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from features.schema import Fleet, Reason, check_readings

PORTION = 500

_FACTORS = {"s": 1_000_000, "ms": 1000, "us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBERS = frozenset((int, float, type(None)))
_LATEST_US = 253_402_300_800_000_000  # the year 10000
_REASONS = list(Reason)


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
    """Parse, map and judge a body.

    Args:
        body: JSON in UTF-8.
        fleet: Whose telemetry it is.
        now_us: The clock, which is the time of receipt of records that no hub has stamped. None when the clock cannot
            be believed: such records are then taken at their word, since neither age nor future can be told.

    Example:
        >>> from features.catalog import load
        >>> body = b'{"device":"p-1","ts":60000,"values":{"flow":12.5}}' + bytes([10]) + b'{"device":"p-1"}'
        >>> readings = read(body, load("pumps").fleet, now_us=60_000_000)
        >>> readings.devices, readings.times.tolist(), dict(readings.rejected)
        (['p-1'], [60000000], {<Reason.NO_TIME: 'no_time'>: 1})
    """
    rejected: Counter[Reason] = Counter()
    parts = [_judged(records, fleet, now_us, rejected) for records in _records(body)]
    return Readings(
        [device for devices, _, _ in parts for device in devices],
        np.concatenate([np.empty(0, np.int64), *(times for _, times, _ in parts)]),
        np.concatenate([np.empty((0, len(fleet.signals))), *(values for _, _, values in parts)]),
        rejected,
    )


def _judged(
    records: Sequence[object], fleet: Fleet, now_us: int | None, rejected: Counter[Reason]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    devices, times, received, rows = _map(records, fleet, now_us, rejected)
    at = np.array(times, np.int64)
    values = _matrix(rows, len(fleet.signals))
    codes = check_readings(fleet, at, np.array(received, np.int64), values)
    good = codes == 0
    if good.all():
        return devices, at, values
    for code, count in Counter(codes[~good].tolist()).items():
        rejected[_REASONS[code - 1]] += count
    return [device for device, accepted in zip(devices, good.tolist(), strict=True) if accepted], at[good], values[good]


def _records(body: bytes) -> Iterator[list[object]]:
    """The records of a body, None for what is no JSON; in portions, so that it is never in memory as objects whole."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    for start in range(0, len(lines), PORTION):
        portion = lines[start : start + PORTION]
        # One call for many lines is three times as fast as one call a line.
        together = _loads(b"[" + b",".join(portion) + b"]")
        if isinstance(together, list) and len(together) == len(portion):
            alone = len(lines) == 1 and isinstance(together[0], list)
            yield together[0] if alone else together
            continue
        whole = _loads(body) if not start else None
        if isinstance(whole, dict | list):
            yield whole if isinstance(whole, list) else [whole]
            return
        yield [_loads(line) for line in portion]


def _loads(text: bytes) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _map(
    records: Sequence[object], fleet: Fleet, now_us: int | None, rejected: Counter[Reason]
) -> tuple[list[str], list[int], list[int], list[list[float | None]]]:
    mapping, names = fleet.mapping, fleet.signal_names
    device_of, time_of = _getter(mapping.device), _getter(mapping.time)
    received_of = _getter(mapping.received) if mapping.received else None
    signals_of = _getter(mapping.signals) if mapping.signals else None
    clock = _clock(mapping.time_unit)
    nothing: list[float | None] = [None] * len(names)
    devices: list[str] = []
    times: list[int] = []
    received: list[int] = []
    rows: list[list[float | None]] = []
    for record in records:
        if type(record) is not dict:
            rejected[Reason.UNREADABLE] += 1
            continue
        device = device_of(record)
        if type(device) is not str or not device:
            rejected[Reason.NO_DEVICE] += 1
            continue
        time_us = clock(time_of(record))
        if time_us is None:
            rejected[Reason.NO_TIME] += 1
            continue
        signals = record if signals_of is None else signals_of(record)
        row: list[float | None] = [signals.get(name) for name in names] if type(signals) is dict else nothing
        if not _NUMBERS.issuperset(map(type, row)):
            rejected[Reason.WRONG_TYPE] += 1
            continue
        stamp = clock(received_of(record)) if received_of else None
        devices.append(device)
        times.append(time_us)
        received.append(stamp if stamp is not None else time_us if now_us is None else now_us)
        rows.append(row)
    return devices, times, received, rows


def _getter(path: str) -> Callable[[dict[str, object]], object]:
    first, *rest = path.split(".")
    if not rest:
        return lambda record: record.get(first)

    def walk(record: dict[str, object]) -> object:
        found = record.get(first)
        for name in rest:
            if type(found) is not dict:
                return None
            found = found.get(name)
        return found

    return walk


def _clock(unit: str) -> Callable[[object], int | None]:
    """A reader of times in one unit, to UTC microseconds; None for what is no time."""
    if unit == "iso":
        return _iso
    factor = _FACTORS[unit]

    def number(value: object) -> int | None:
        if type(value) is int:
            time_us = value * factor
        elif type(value) is float and math.isfinite(value):
            time_us = round(value * factor)
        else:
            return None
        return time_us if 0 <= time_us < _LATEST_US else None

    return number


def _iso(value: object) -> int | None:
    if type(value) is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _matrix(rows: Sequence[Sequence[float | None]], width: int) -> NDArray[np.float64]:
    if not rows:
        return np.empty((0, width))
    try:
        return np.array(rows, np.float64)
    except OverflowError:  # a whole number beyond all floats is as far out of range as infinity
        return np.array([[_finite(value) for value in row] for row in rows], np.float64)


def _finite(value: float | None) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf
