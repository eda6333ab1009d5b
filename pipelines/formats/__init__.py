"""Telemetry as it lies in object storage becomes columns.

An object is JSON in any framing (lines, pretty-printed, one record after the other without a separator, an array), CSV,
line protocol, Avro or Parquet, plain, gzipped or packed with zstd, whatever its name says: the first bytes decide, and
for text the fleet's mapping. Two executors give the same rows: `pipelines.formats.columnar` reads columns; where it
refuses, `pipelines.formats.rowwise` reads record by record, keeps the good ones and says what is wrong with the others.
What cannot be used comes back as a `Reject` with its bytes, never as silence.

    >>> fields = Mapping(signals="values")
    >>> data = b'{"device":"pump-1","ts":1764000000123,"values":{"flow":7}}{"device":"pump-2"}'
    >>> decoded = decode(data, fields, ["flow"])
    >>> decoded.device.to_pylist(), decoded.times.tolist(), decoded.values.tolist()
    (['pump-1'], [1764000000123000], [[7.0]])
    >>> [(reject.reason.value, reject.data) for reject in decoded.rejects]
    [('no_time', b'{"device":"pump-2"}')]

    unpack -> container -> columns, or record by record -> Frame -> Decoded

Why so:
    * One declaration, two executors. Status: accepted. No code for any format, and no library of paths: the best of
      them takes five times as long as the getters here. Cost: both must be kept equal, which a test does.
    * Types are never inferred. Status: accepted. A reader that infers gives two objects of one feed two schemas. Cost:
      what is not as declared costs its object the fast way.
    * A binary file that was cut off is put aside whole. Status: accepted. It comes again under a new etag when its
      upload is repeated. Cost: its intact blocks wait until then.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.burst import Burst
from features.schema import Mapping, Reason
from features.unknown import Unknown, add
from pipelines.formats.columns import Refused
from pipelines.formats.frame import Frame, concatenated
from pipelines.formats.plan import compile_plan
from pipelines.formats.reading import Executor, read_objects, unpack_all
from pipelines.formats.times import mask
from pipelines.formats.unpacking import UnreadableError, unpack
from pipelines.records import Decoded, RawObject
from pipelines.rejects import WHOLE, Originals, RefusedRows, Reject, Rejects

__all__ = ["Executor", "Refused", "UnreadableError", "decode", "decode_all", "unpack", "unpack_all"]


def decode(
    data: bytes,
    mapping: Mapping,
    signals: Sequence[str],
    *,
    bursts: Sequence[Burst] = (),
    by: Executor = "either",
    unknown: Unknown = "ignore",
) -> Decoded:
    """Decode one object that has no key; see `decode_all`."""
    return decode_all([RawObject("", data)], mapping, signals, bursts=bursts, by=by, unknown=unknown)


def decode_all(
    objects: Sequence[RawObject],
    mapping: Mapping,
    signals: Sequence[str],
    *,
    bursts: Sequence[Burst] = (),
    by: Executor = "either",
    unknown: Unknown = "ignore",
) -> Decoded:
    """Decode objects as they are stored. Nothing in them can make this fail.

    Args:
        objects: The objects. Those that the mapping excludes are for the caller to leave out (`Mapping.selects`).
        mapping: Where things stand in them.
        signals: The signals to read, in the order of the columns.
        bursts: Fields with samples, and the signals read off them. Such records are read one by one: computing a
            burst takes longer than reading it.
        by: Which executor reads; to compare them.
        unknown: What becomes of records with fields that the mapping names nowhere.

    Raises:
        FleetError: The mapping gives one field two meanings.
        Refused: Columns alone were asked for and cannot do it.
    """
    plan = compile_plan(mapping, tuple(signals), unknown)
    if by == "columns" and (bursts or not plan.columnar):
        raise Refused
    found = read_objects(objects, plan, bursts, by)
    frame = concatenated(found.frames, len(plan.signals), len(objects))
    originals = Originals(found.containers, frame.counts, frame.links)
    faulty = [
        RefusedRows(source, np.array(faults.ordinals), np.frombuffer(faults.reasons, np.uint8), faults, originals)
        for source, faults in found.faults.items()
    ]
    rejects = Rejects([*found.rejects, *faulty])
    decoded = _judged(frame, mapping, objects, originals, rejects)
    counted: Counter[str] = Counter()
    for source in found.unknown.keys() - decoded.rejects.whole:
        add(counted, found.unknown[source])
    return replace(decoded, unknown=counted)


def _judged(
    frame: Frame, mapping: Mapping, objects: Sequence[RawObject], originals: Originals, rejects: Rejects
) -> Decoded:
    """Take out the rows that lack a device or a time, and the objects that are none of this fleet."""
    named = mask(pc.fill_null(pc.not_equal(frame.device, ""), fill_value=False))
    bare = ~named & ~frame.clocked
    if bare.any():
        bare &= np.isnan(frame.values).all(axis=1)
    foreign = _foreign(frame, bare, rejects)
    whole = [
        Reject(source, WHOLE, 0, objects[source].data, Reason.UNREADABLE, _foreign_sentence(mapping))
        for source in np.flatnonzero(foreign).tolist()
    ]
    decoded = Decoded(
        frame.device,
        frame.times,
        frame.received,
        frame.sequence,
        frame.values,
        frame.sources,
        frame.ordinals,
        rejects.also(whole),
        originals,
    )
    codes = np.zeros(len(frame.times), np.uint8)
    codes[~frame.timed] = Reason.NO_TIME.number
    codes[~named] = Reason.NO_DEVICE.number
    ours = ~foreign[frame.sources]
    return decoded.keep(ours).reject(codes[ours])


def _foreign(frame: Frame, bare: NDArray[np.bool_], rejects: Rejects) -> NDArray[np.bool_]:
    """Which objects hold records of which none has any field of the mapping."""
    objects = len(frame.counts)
    if not bare.any():
        return np.zeros(objects, np.bool_)
    records = np.bincount(frame.sources, minlength=objects)
    foreign: NDArray[np.bool_] = (records > 0) & (np.bincount(frame.sources, bare, objects) == records)
    foreign[list(rejects.sources)] = False  # parts of it were judged one by one
    return foreign


def _foreign_sentence(mapping: Mapping) -> str:
    fields = [mapping.device, mapping.time, mapping.signals]
    named = ", ".join(field if isinstance(field, str) else " or ".join(field) for field in fields if field)
    return f"No record of the object has any of the fields of this fleet ({named})."
