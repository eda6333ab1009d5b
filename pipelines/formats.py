"""Telemetry as it lies in object storage becomes columns.

An object is JSON in any framing (lines, pretty-printed, one record after the other without a separator, an array),
plain or gzipped, whatever its name says: the first bytes decide. Two readers give the same rows: `pipelines.columns`
reads columns; where it refuses, `pipelines.salvage` reads record by record, keeps the good ones and says what is wrong
with the others. What cannot be used comes back as a `Reject` with its bytes, never as silence.

    >>> fields = Mapping(signals="values")
    >>> data = b'{"device":"pump-1","ts":1764000000123,"values":{"flow":7}}{"device":"pump-2"}'
    >>> decoded = decode(data, fields, ["flow"])
    >>> decoded.device.to_pylist(), decoded.times.tolist(), decoded.values.tolist()
    (['pump-1'], [1764000000123000], [[7.0]])
    >>> [(reject.reason.value, reject.data) for reject in decoded.rejects]
    [('no_time', b'{"device":"pump-2"}')]
"""

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.burst import Burst
from features.schema import Mapping, Reason
from pipelines.columns import Frame, read_columns, time_type
from pipelines.records import UNSEQUENCED, UNSTAMPED, WHOLE, Decoded, Reject, locate
from pipelines.salvage import Fault, HopelessError, Rows, read_rows

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 512 * 1024 * 1024
_OTHERS = {b"PAR1": "a Parquet file", b"Obj\x01": "an Avro file", b"\x28\xb5\x2f\xfd": "compressed with zstd"}
_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
_FARTHEST = 2**62
_PER_UNIT = {"ms": 1000, "us": 1}


class UnreadableError(Exception):
    """The bytes of an object cannot be turned into text."""


def decode(data: bytes, mapping: Mapping, signals: Sequence[str], *, bursts: Sequence[Burst] = ()) -> Decoded:
    """Decode one object; see `decode_all`."""
    return decode_all([data], mapping, signals, bursts=bursts)


def decode_all(
    objects: Sequence[bytes], mapping: Mapping, signals: Sequence[str], *, bursts: Sequence[Burst] = ()
) -> Decoded:
    """Decode objects as they are stored. Nothing in them can make this fail.

    Args:
        objects: Their bytes.
        mapping: Where things stand in a record.
        signals: The signals to read, in the order of the columns.
        bursts: Fields with samples, and the signals read off them. Such records are read one by one: computing a
            burst takes longer than reading it.

    Raises:
        FleetError: The mapping gives one field two meanings.
    """
    bodies, rejects = unpack_all(objects)
    together = None if bursts else read_columns(bodies, mapping, signals)
    frames = [together] if together is not None else []
    for source, body in enumerate(bodies if together is None else ()):
        frame = read_columns([body], mapping, signals) if len(bodies) > 1 and not bursts else None
        if frame is None:
            frame, faults = _read_records(source, body, objects[source], mapping, signals, bursts=bursts)
            rejects += faults
        frame.sources[:] = source
        frames.append(frame)
    return _complete(_concatenated(frames), mapping, objects, bodies, rejects)


def unpack_all(objects: Sequence[bytes]) -> tuple[list[bytes], list[Reject]]:
    """Unpack objects; one that cannot be is empty and a reject."""
    bodies: list[bytes] = []
    rejects: list[Reject] = []
    for source, data in enumerate(objects):
        try:
            bodies.append(unpack(data))
        except UnreadableError as error:
            bodies.append(b"")
            rejects.append(Reject(source, WHOLE, 0, data, Reason.UNREADABLE, str(error)))
    return bodies, rejects


def unpack(data: bytes) -> bytes:
    """Return the content of an object, gunzipped as often as needed (some log buckets do it twice).

    Raises:
        UnreadableError: It is empty, of another format, damaged, or unpacks to more than 512 MiB.
    """
    if not data:
        raise UnreadableError("The object is empty.")
    for _ in range(2):
        if data.startswith(_GZIP):
            data = _gunzip(data)
    for magic, what in _OTHERS.items():
        if data.startswith(magic):
            raise UnreadableError(f"The object is {what}; JSON is read, plain or gzipped.")
    return data


def _gunzip(data: bytes) -> bytes:
    """Unpack all members; the limit holds before the memory is taken."""
    parts, room = [], _MOST_BYTES
    try:
        while data.startswith(_GZIP):
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(data, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise UnreadableError(f"The object unpacks to more than {_MOST_BYTES >> 20} MiB.")
            if not member.eof:
                raise UnreadableError("The object is gzipped and was cut off.")
            data = member.unused_data
    except zlib.error as error:
        raise UnreadableError(f"The object is gzipped and damaged: {error}.") from error
    return b"".join(parts)


def _read_records(
    source: int, body: bytes, stored: bytes, mapping: Mapping, signals: Sequence[str], *, bursts: Sequence[Burst] = ()
) -> tuple[Frame, list[Reject]]:
    """Read one object record by record."""
    try:
        rows = read_rows(body, mapping, signals, bursts)
    except HopelessError:
        rows = Rows(faults=[Fault(0, Reason.UNREADABLE, "")])
    if rows.faults and not rows.ordinal and all(fault.reason is Reason.UNREADABLE for fault in rows.faults):
        rejects = [Reject(source, WHOLE, 0, stored, Reason.UNREADABLE, "The object is not made of JSON records.")]
    else:
        places = locate(body, [fault.ordinal for fault in rows.faults])
        rejects = [
            Reject(source, fault.ordinal, offset, data, fault.reason, fault.sentence)
            for fault, (offset, data) in zip(rows.faults, places, strict=True)
        ]
    frame = Frame(
        pa.array(rows.device, pa.string()),
        pa.array(rows.time, time_type(mapping)),
        pa.array(rows.received, time_type(mapping)),
        np.array(rows.values, np.float64).reshape(-1, len(signals)),
        np.zeros(len(rows.ordinal), np.int32),
        np.array(rows.ordinal, np.int32),
        np.array([-1]),
    )
    return frame, rejects


def _concatenated(frames: list[Frame]) -> Frame:
    if len(frames) == 1:
        return frames[0]
    return Frame(
        pa.concat_arrays([frame.device for frame in frames]),
        pa.concat_arrays([frame.time for frame in frames]),
        pa.concat_arrays([frame.received for frame in frames]),
        np.concatenate([frame.values for frame in frames]),
        np.concatenate([frame.sources for frame in frames]),
        np.concatenate([frame.ordinals for frame in frames]),
        np.concatenate([frame.counts for frame in frames]),
    )


def _complete(
    frame: Frame, mapping: Mapping, objects: Sequence[bytes], bodies: list[bytes], rejects: list[Reject]
) -> Decoded:
    """Turn times into microseconds and take out the records that lack a device or a time."""
    times, timed = _microseconds(frame.time, mapping.time_unit)
    received, stamped = _microseconds(frame.received, mapping.time_unit)
    received[~stamped] = UNSTAMPED
    named = _mask(pc.fill_null(pc.not_equal(frame.device, ""), fill_value=False))
    bare = ~named & ~_mask(frame.time.is_valid()) & np.isnan(frame.values).all(axis=1)
    foreign = _foreign(frame, bare, rejects)
    rejects += [
        Reject(source, WHOLE, 0, objects[source], Reason.UNREADABLE, _foreign_sentence(mapping))
        for source in np.flatnonzero(foreign).tolist()
    ]
    decoded = Decoded(
        frame.device,
        times,
        received,
        np.full(len(times), UNSEQUENCED),
        frame.values,
        frame.sources,
        frame.ordinals,
        tuple(rejects),
        tuple(bodies),
        frame.counts,
    )
    codes = np.zeros(len(times), np.uint8)
    codes[~timed] = Reason.NO_TIME.number
    codes[~named] = Reason.NO_DEVICE.number
    ours = ~foreign[frame.sources]
    return decoded.keep(ours).reject(codes[ours])


def _foreign(frame: Frame, bare: NDArray[np.bool_], rejects: list[Reject]) -> NDArray[np.bool_]:
    """Which objects hold JSON records of which none has any field of the mapping."""
    objects = len(frame.counts)
    records = np.bincount(frame.sources, minlength=objects)
    foreign: NDArray[np.bool_] = (records > 0) & (np.bincount(frame.sources, bare, objects) == records)
    foreign[[reject.source for reject in rejects]] = False  # parts of it were judged one by one
    return foreign


def _foreign_sentence(mapping: Mapping) -> str:
    fields = [mapping.device, mapping.time, mapping.signals]
    named = ", ".join(field for field in fields if field)
    return f"No record of the object has any of the fields of this fleet ({named})."


def _microseconds(column: pa.Array, unit: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Times in UTC microseconds, and where they are usable."""
    if unit == "iso":
        return _parse_iso(column)
    valid = _mask(column.is_valid())
    if unit == "s":
        seconds = column.fill_null(np.nan).to_numpy()
        valid = valid & np.isfinite(seconds)
        limited = np.clip(np.where(valid, seconds, 0.0), -1e12, 1e12)
        times = np.rint(limited * 1e6).astype(np.int64)
    else:
        most = _FARTHEST // _PER_UNIT[unit]
        times = np.clip(column.fill_null(0).to_numpy(), -most, most) * _PER_UNIT[unit]
    return times, valid & (times >= _EARLIEST_US) & (times <= _LATEST_US)


def _parse_iso(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """ISO 8601 with a zone, up to nine digits of a second; a time without a zone could be any time."""
    nanoseconds = pa.timestamp("ns", "UTC")
    try:
        parsed = column.cast(nanoseconds)
    except pa.ArrowInvalid:  # one text is bad and does not say which; the others must not depend on it
        distinct = column.unique()
        known = pa.array([_parse_one(text, nanoseconds) for text in distinct], pa.int64()).cast(nanoseconds)
        parsed = known.take(pc.index_in(column, distinct))
    valid = _mask(parsed.is_valid())
    return parsed.cast(pa.int64()).fill_null(0).to_numpy() // 1000, valid


def _parse_one(text: pa.Scalar, kind: pa.DataType) -> int | None:
    try:
        value: int | None = text.cast(kind).value
    except pa.ArrowInvalid:
        return None
    return value


def _mask(flags: pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = flags.to_numpy(zero_copy_only=False).astype(bool)
    return mask
