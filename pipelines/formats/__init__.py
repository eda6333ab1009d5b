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

from collections.abc import Mapping as JsonMapping
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.burst import Burst
from features.path import Field
from features.schema import Mapping, Reason
from pipelines.formats import columnar
from pipelines.formats.avro import AvroFile
from pipelines.formats.columns import Refused, read_json
from pipelines.formats.csvtext import CsvText
from pipelines.formats.frame import Frame, concatenated
from pipelines.formats.jsontext import JsonText
from pipelines.formats.lineprotocol import LineText
from pipelines.formats.parquet import ParquetFile
from pipelines.formats.plan import Plan, Scope, compile_plan
from pipelines.formats.rowwise import Fault, RowReader, Rows, framed
from pipelines.formats.times import mask
from pipelines.formats.unpacking import AVRO, PARQUET, UnreadableError, unpack
from pipelines.records import WHOLE, Decoded, Originals, RawObject, Reject
from pipelines.salvage import HopelessError

Executor = Literal["either", "columns", "rows"]
Container = JsonText | CsvText | LineText | AvroFile | ParquetFile
_JSON_BEGINS = (b"{", b"[")


def decode(
    data: bytes, mapping: Mapping, signals: Sequence[str], *, bursts: Sequence[Burst] = (), by: Executor = "either"
) -> Decoded:
    """Decode one object that has no key; see `decode_all`."""
    return decode_all([RawObject("", data)], mapping, signals, bursts=bursts, by=by)


def decode_all(
    objects: Sequence[RawObject],
    mapping: Mapping,
    signals: Sequence[str],
    *,
    bursts: Sequence[Burst] = (),
    by: Executor = "either",
) -> Decoded:
    """Decode objects as they are stored. Nothing in them can make this fail.

    Args:
        objects: The objects. Those that the mapping excludes are for the caller to leave out (`Mapping.selects`).
        mapping: Where things stand in them.
        signals: The signals to read, in the order of the columns.
        bursts: Fields with samples, and the signals read off them. Such records are read one by one: computing a
            burst takes longer than reading it.
        by: Which executor reads; to compare them.

    Raises:
        FleetError: The mapping gives one field two meanings.
        Refused: Columns alone were asked for and cannot do it.
    """
    plan = compile_plan(mapping, tuple(signals))
    containers, rejects = _opened(objects, plan)
    if by == "columns" and not (plan.columnar and not bursts):
        raise Refused
    frames, faults = _read(objects, containers, plan, bursts, rejects, by)
    frame = concatenated(frames, len(plan.signals), len(objects))
    originals = Originals(containers, frame.counts, frame.links)
    for source, found in faults.items():
        places = originals.places(source, [fault.ordinal for fault in found])
        rejects += [
            Reject(source, fault.ordinal, offset, data, fault.reason, fault.sentence)
            for fault, (offset, data) in zip(found, places, strict=True)
        ]
    return _judged(frame, mapping, objects, originals, rejects)


def unpack_all(objects: Sequence[RawObject]) -> tuple[list[bytes], list[Reject]]:
    """Unpack objects; one that cannot be is empty and a reject."""
    bodies: list[bytes] = []
    rejects: list[Reject] = []
    for source, raw in enumerate(objects):
        try:
            bodies.append(unpack(raw.data))
        except UnreadableError as error:
            bodies.append(b"")
            rejects.append(Reject(source, WHOLE, 0, raw.data, Reason.UNREADABLE, str(error)))
    return bodies, rejects


def open_container(body: bytes, plan: Plan) -> Container:
    """What an unpacked object is.

    Raises:
        UnreadableError: It cannot be read at all.
    """
    if body.startswith(PARQUET):
        return ParquetFile(body, plan)
    if body.startswith(AVRO):
        return AvroFile(body, plan.mapping)
    kind = plan.mapping.format
    # Rejected records of a table are kept as JSON, and come back so when they are replayed.
    if kind == "auto" or body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in _JSON_BEGINS:
        return JsonText(body, quoted=kind == "csv")
    return CsvText(body, plan.mapping) if kind == "csv" else LineText(body)


def _opened(objects: Sequence[RawObject], plan: Plan) -> tuple[list[Container | None], list[Reject]]:
    bodies, rejects = unpack_all(objects)
    containers: list[Container | None] = []
    lost = {reject.source for reject in rejects}
    for source, body in enumerate(bodies):
        try:
            containers.append(None if source in lost else open_container(body, plan))
        except UnreadableError as error:
            containers.append(None)
            rejects.append(Reject(source, WHOLE, 0, objects[source].data, Reason.UNREADABLE, str(error)))
    return containers, rejects


def _read(
    objects: Sequence[RawObject],
    containers: Sequence[Container | None],
    plan: Plan,
    bursts: Sequence[Burst],
    rejects: list[Reject],
    by: Executor,
) -> tuple[list[Frame], dict[int, list[Fault]]]:
    """The rows of all objects, together where that is possible; what is wrong with single rows, by object."""
    there = [source for source, container in enumerate(containers) if container is not None]
    fast = plan.columnar and not bursts and by != "rows"
    texts = _outside(objects, plan)
    bodies = [body for source in there for body in _text_of(containers[source])]
    if fast and len(bodies) == len(there):
        try:
            return [_json_together(bodies, there, len(objects), plan, texts)], {}
        except Refused:
            fast &= len(there) > 1  # then one by one
    frames: list[Frame] = []
    faults: dict[int, list[Fault]] = {}
    for source in there:
        container = containers[source]
        assert container is not None  # noqa: S101 - chosen above
        try:
            if not fast:
                raise Refused  # noqa: TRY301 - the other way
            frames.append(_by_columns(container, source, len(objects), plan, texts))
        except Refused:
            if by == "columns":
                raise
            frame, found = _by_rows(container, source, objects[source], plan, bursts)
            if found and found[0].ordinal == WHOLE:
                raw = objects[source]
                rejects.append(Reject(source, WHOLE, 0, raw.data, found[0].reason, found[0].sentence))
                continue
            frames.append(frame)
            faults[source] = found
    return frames, {source: found for source, found in faults.items() if found}


def _text_of(container: Container | None) -> list[bytes]:
    return [container.body] if isinstance(container, JsonText) and not container.quoted else []


def _json_together(
    bodies: Sequence[bytes], there: Sequence[int], objects: int, plan: Plan, texts: JsonMapping[str, pa.Array]
) -> Frame:
    try:
        table, lengths = read_json(bodies, plan, as_text=True)
    except Refused:
        if plan.body is None:
            raise
        table, lengths = read_json(bodies, plan, as_text=False)
    counts = np.full(objects, -1, np.int64)
    counts[there] = lengths
    sources = np.repeat(np.array(there, np.int32), lengths)
    return columnar.read_columns(columnar.TableColumns(table), plan, sources, counts, texts)


def _by_columns(
    container: Container, source: int, objects: int, plan: Plan, texts: JsonMapping[str, pa.Array]
) -> Frame:
    if isinstance(container, JsonText):
        if container.quoted:
            raise Refused
        return _json_together([container.body], [source], objects, plan, texts)
    records = container.columns(plan)
    counts = np.full(objects, -1, np.int64)
    return columnar.read_columns(records, plan, np.full(len(records), source, np.int32), counts, texts)


def _by_rows(
    container: Container, source: int, raw: RawObject, plan: Plan, bursts: Sequence[Burst]
) -> tuple[Frame, list[Fault]]:
    """Read one object record by record; a single fault of the ordinal `WHOLE` means that nothing of it is usable."""
    reader = RowReader(plan, bursts, quoted=container.quoted)
    try:
        rows = reader.read(container.values(), _constants(raw, plan))
    except HopelessError:
        rows = None
    unreadable = {Reason.UNREADABLE}
    if rows is None or (rows.faults and not rows.device and {fault.reason for fault in rows.faults} == unreadable):
        nothing = framed(Rows(), plan, source, [])
        return nothing, [Fault(WHOLE, WHOLE, Reason.UNREADABLE, container.broken)]
    faults = list(rows.faults)
    return framed(rows, plan, source, faults), faults


def _outside(objects: Sequence[RawObject], plan: Plan) -> dict[str, pa.Array]:
    """What keys and metadata say, for each path that asks them."""
    found = {}
    for place in plan.outside:
        step = place.steps[0] if place.steps else None
        name = step.name if isinstance(step, Field) else ""
        constants = [_constants(raw, plan)[place.scope].get(name) for raw in objects]
        found[place.text] = pa.array(constants, pa.string())
    return found


def _constants(raw: RawObject, plan: Plan) -> dict[Scope, dict[str, str]]:
    mapping = plan.mapping
    metadata = {name: raw.metadata[name.lower()] for name in mapping.meta if name.lower() in raw.metadata}
    return {Scope.KEY: mapping.groups_of(raw.key), Scope.META: metadata}


def _judged(
    frame: Frame, mapping: Mapping, objects: Sequence[RawObject], originals: Originals, rejects: list[Reject]
) -> Decoded:
    """Take out the rows that lack a device or a time, and the objects that are none of this fleet."""
    named = mask(pc.fill_null(pc.not_equal(frame.device, ""), fill_value=False))
    bare = ~named & ~frame.clocked & np.isnan(frame.values).all(axis=1)
    foreign = _foreign(frame, bare, rejects)
    rejects += [
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
        tuple(rejects),
        originals,
    )
    codes = np.zeros(len(frame.times), np.uint8)
    codes[~frame.timed] = Reason.NO_TIME.number
    codes[~named] = Reason.NO_DEVICE.number
    ours = ~foreign[frame.sources]
    return decoded.keep(ours).reject(codes[ours])


def _foreign(frame: Frame, bare: NDArray[np.bool_], rejects: list[Reject]) -> NDArray[np.bool_]:
    """Which objects hold records of which none has any field of the mapping."""
    objects = len(frame.counts)
    records = np.bincount(frame.sources, minlength=objects)
    foreign: NDArray[np.bool_] = (records > 0) & (np.bincount(frame.sources, bare, objects) == records)
    foreign[[reject.source for reject in rejects]] = False  # parts of it were judged one by one
    return foreign


def _foreign_sentence(mapping: Mapping) -> str:
    fields = [mapping.device, mapping.time, mapping.signals]
    named = ", ".join(field if isinstance(field, str) else " or ".join(field) for field in fields if field)
    return f"No record of the object has any of the fields of this fleet ({named})."
