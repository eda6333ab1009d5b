"""Times as they stand in records, in whatever unit, become UTC microseconds."""

import re
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.zone import offset_us
from pipelines.salvage import FARTHEST

_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
_FARTHEST = 2**62
_PER_UNIT = {"ms": 1000, "us": 1}
_NANOSECONDS = pa.timestamp("ns", "UTC")
# The date of EnqueuedTimeUtc as Event Hubs Capture writes it, always UTC.
_AMERICAN = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M")


def time_type(unit: str, *, quoted: bool = False) -> pa.DataType:
    """The type that times have in JSON."""
    if quoted:
        return pa.string()
    return {"iso": pa.string(), "s": pa.float64()}.get(unit, pa.int64())


def microseconds(column: pa.Array, unit: str, zone: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Times in UTC microseconds, and where they are usable.

    Args:
        column: ISO texts for the unit ``iso``, float64 for ``s``, else int64; or timestamps, which know their unit.
        unit: See `features.mapping.Mapping`.
        zone: The zone of texts and timestamps that name none; such a one could be any time, so without it they are
            not usable.
    """
    if pa.types.is_timestamp(column.type):
        return _from_timestamps(column, zone)
    if unit == "iso":
        return _from_texts(column, zone)
    valid = present(column)
    if unit == "s":
        seconds = column.fill_null(np.nan).to_numpy()
        valid = valid & np.isfinite(seconds)
        limited = np.clip(np.where(valid, seconds, 0.0), -1e12, 1e12)
        times = np.rint(limited * 1e6).astype(np.int64)
    elif unit == "ns":
        counted = column.fill_null(0).to_numpy()
        times, valid = counted // 1000, valid & (counted > -FARTHEST) & (counted < FARTHEST)
    else:
        most = _FARTHEST // _PER_UNIT[unit]
        times = np.clip(column.fill_null(0).to_numpy(), -most, most) * _PER_UNIT[unit]
    if len(times) and times.min() >= _EARLIEST_US and times.max() <= _LATEST_US:  # nearly always
        return times, valid
    return times, valid & (times >= _EARLIEST_US) & (times <= _LATEST_US)


def iso_text(time_us: int) -> str:
    """A time as ISO 8601.

    Example:
        >>> iso_text(1764000000123456)
        '2025-11-24T16:00:00.123456Z'
    """
    return str(np.datetime64(int(time_us), "us")) + "Z"


def mask(flags: pa.Array) -> NDArray[np.bool_]:
    """A boolean array as numpy."""
    found: NDArray[np.bool_] = flags.to_numpy(zero_copy_only=False).astype(bool, copy=False)
    return found


def present(column: pa.Array) -> NDArray[np.bool_]:
    """Where a column has values."""
    return mask(column.is_valid()) if column.null_count else np.ones(len(column), np.bool_)


def _from_timestamps(column: pa.Array, zone: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    valid = present(column)
    counted = column.cast(pa.int64()).fill_null(0).to_numpy()
    unit = column.type.unit
    if unit == "ns":
        times = counted // 1000
    else:
        factor = {"s": 1_000_000, "ms": 1000, "us": 1}[unit]
        times = np.clip(counted, -(_FARTHEST // factor), _FARTHEST // factor) * factor
    if column.type.tz is None:
        ahead = offset_us(zone)
        times, valid = (times - ahead, valid) if ahead is not None else (times, np.zeros(len(times), np.bool_))
    return times, valid & (times >= _EARLIEST_US) & (times <= _LATEST_US)


def _from_texts(column: pa.Array, zone: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """ISO 8601, up to nine digits of a second."""
    ahead = offset_us(zone)
    try:
        parsed = column.cast(_NANOSECONDS)
    except pa.ArrowInvalid:
        parsed = None
    if parsed is None and ahead is not None:
        try:
            parsed = _shifted(column.cast(pa.timestamp("ns")), ahead)
        except pa.ArrowInvalid:
            parsed = None
    if parsed is None:  # one text is bad and does not say which; the others must not depend on it
        distinct = column.unique()
        known = pa.array([_parse_one(text, ahead) for text in distinct], pa.int64()).cast(_NANOSECONDS)
        parsed = known.take(pc.index_in(column, distinct))
    return parsed.cast(pa.int64()).fill_null(0).to_numpy() // 1000, mask(parsed.is_valid())


def _shifted(naive: pa.Array, ahead_us: int) -> pa.Array:
    """Local times as UTC; a sum beyond the range of nanoseconds is refused like a text beyond it."""
    return pc.subtract_checked(naive.cast(pa.int64()), ahead_us * 1000).cast(_NANOSECONDS)


def _parse_one(text: pa.Scalar, ahead_us: int | None) -> int | None:
    if text.is_valid and _AMERICAN.fullmatch(text.as_py()):
        return _american(text.as_py())
    try:
        value: int | None = text.cast(_NANOSECONDS).value
    except pa.ArrowInvalid:
        if ahead_us is None:
            return None
        try:
            value = text.cast(pa.timestamp("ns")).value
        except pa.ArrowInvalid:
            return None
        return None if value is None else value - ahead_us * 1000
    return value


def _american(text: str) -> int | None:
    try:
        parsed = datetime.strptime(f"{text} +0000", "%m/%d/%Y %I:%M:%S %p %z")
    except ValueError:
        return None
    nanoseconds = int(parsed.timestamp()) * 1_000_000_000
    return nanoseconds if abs(nanoseconds) < 2**63 else None
