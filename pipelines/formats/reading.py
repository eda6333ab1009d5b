"""Objects are opened and their rows read: together as columns where that goes, else one by one, else row by row."""

from collections import Counter
from collections.abc import Mapping as JsonMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeGuard

import numpy as np
import pyarrow as pa

from features.burst import Burst
from features.path import Field
from features.schema import Reason
from features.unknown import add
from pipelines.formats import columnar
from pipelines.formats.avro import AvroFile
from pipelines.formats.columns import Refused, read_arrays, read_json
from pipelines.formats.csvtext import CsvText
from pipelines.formats.frame import Frame
from pipelines.formats.jsontext import JsonText
from pipelines.formats.lineprotocol import LineText
from pipelines.formats.parquet import ParquetFile
from pipelines.formats.plan import Plan, Scope
from pipelines.formats.rows import Rows, framed
from pipelines.formats.rowwise import RowReader
from pipelines.formats.scanned import ScannedColumns, scanner_of
from pipelines.formats.sources import TableColumns
from pipelines.formats.strangers import known_to
from pipelines.formats.unpacking import AVRO, PARQUET, UnreadableError, unpack
from pipelines.records import RawObject
from pipelines.rejects import WHOLE, Faults, Reject
from pipelines.salvage import HopelessError

Executor = Literal["either", "columns", "rows"]
Container = JsonText | CsvText | LineText | AvroFile | ParquetFile
_JSON_BEGINS = (b"{", b"[")


@dataclass(slots=True)
class Found:
    """What came of objects.

    Attributes:
        frames: The rows of one or more objects each, in their order.
        faults: What is wrong with single rows, by object.
        rejects: What is wrong with whole objects.
        containers: The objects; None where one could not be read.
        unknown: How many records have which unknown field, by object, where they are counted.
    """

    frames: list[Frame] = field(default_factory=list)
    faults: dict[int, Faults] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    containers: list[Container | None] = field(default_factory=list)
    unknown: dict[int, Counter[str]] = field(default_factory=dict)


def read_objects(objects: Sequence[RawObject], plan: Plan, bursts: Sequence[Burst], by: Executor) -> Found:
    """Read objects as they are stored.

    Args:
        objects: The objects.
        plan: What to read from them.
        bursts: Fields with samples; records that may hold any are read one by one.
        by: Which executor reads.

    Raises:
        Refused: Columns alone were asked for and cannot do it.
    """
    found = Found()
    _open(objects, plan, found)
    there = [source for source, container in enumerate(found.containers) if container is not None]
    texts = [container.body for container in found.containers if _is_plain_json(container)]
    fast = plan.columnar and not bursts and by != "rows"
    outside = _outside(objects, plan)
    if fast and len(texts) == len(there):
        try:
            found.frames.append(_together(texts, there, len(objects), plan, outside))
        except Refused:
            fast = len(there) > 1  # one of several may be sound
        else:
            return found
    for source in there:
        container = found.containers[source]
        try:
            if not fast or container is None:
                raise Refused  # noqa: TRY301 - the other way
            frame, found.unknown[source] = _by_columns(container, source, len(objects), plan, outside)
            found.frames.append(frame)
        except Refused:
            if by == "columns":
                raise
            _by_rows(objects[source], source, plan, bursts, found)
    return found


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


def _open(objects: Sequence[RawObject], plan: Plan, found: Found) -> None:
    bodies, found.rejects = unpack_all(objects)
    lost = {reject.source for reject in found.rejects}
    for source, body in enumerate(bodies):
        try:
            found.containers.append(None if source in lost else open_container(body, plan))
        except UnreadableError as error:
            found.containers.append(None)
            found.rejects.append(Reject(source, WHOLE, 0, objects[source].data, Reason.UNREADABLE, str(error)))


def _is_plain_json(container: Container | None) -> TypeGuard[JsonText]:
    return isinstance(container, JsonText) and not container.quoted


def _together(
    bodies: Sequence[bytes], there: Sequence[int], objects: int, plan: Plan, outside: JsonMapping[str, pa.Array]
) -> Frame:
    """JSON objects as columns; the body of an envelope is a text in all of them, or an object in all."""
    counts = np.full(objects, -1, np.int64)
    scanner = scanner_of(plan)
    scanned = scanner.read(bodies) if scanner else None
    if scanned and (scanned.counts >= 0).all():
        counts[there] = scanned.counts
        sources = np.repeat(np.array(there, np.int32), scanned.counts)
        return columnar.read_columns(ScannedColumns(plan, scanned), plan, sources, counts, outside)
    arrays = bool(bodies) and all(body.startswith(b"[") for body in bodies)
    read = read_arrays if arrays else read_json
    try:
        table, lengths = read(bodies, plan, as_text=True)
    except Refused:
        if plan.body is None:
            raise
        table, lengths = read(bodies, plan, as_text=False)
    counts[there] = lengths
    sources = np.repeat(np.array(there, np.int32), lengths)
    return columnar.read_columns(TableColumns(table), plan, sources, counts, outside)


def _by_columns(
    container: Container, source: int, objects: int, plan: Plan, outside: JsonMapping[str, pa.Array]
) -> tuple[Frame, Counter[str]]:
    if isinstance(container, JsonText):
        if container.quoted:
            raise Refused
        return _together([container.body], [source], objects, plan, outside), Counter()  # none has an unknown field
    records = container.columns(plan)
    unknown = records.unknown(known_to(plan)[Scope.RECORD]) if plan.strict else Counter[str]()
    if unknown and plan.unknown == "reject":
        raise Refused
    counts = np.full(objects, -1, np.int64)
    return columnar.read_columns(records, plan, np.full(len(records), source, np.int32), counts, outside), unknown


def _by_rows(raw: RawObject, source: int, plan: Plan, bursts: Sequence[Burst], found: Found) -> None:
    container = found.containers[source]
    assert container is not None  # noqa: S101 - only what was opened is read
    rows: Rows | None
    try:
        rows = RowReader(plan, bursts, quoted=container.quoted).read(container.values(), _constants(raw, plan))
    except HopelessError:
        rows = None
    if rows is None or (rows.faults and not rows.device and {*rows.faults.reasons} == {Reason.UNREADABLE.number}):
        found.rejects.append(Reject(source, WHOLE, 0, raw.data, Reason.UNREADABLE, container.broken))
        return
    found.frames.append(framed(rows, plan, source))
    found.unknown[source] = rows.unknown
    if isinstance(container, ParquetFile):
        add(rows.unknown, container.beyond)
    if rows.faults:
        found.faults[source] = rows.faults


def _outside(objects: Sequence[RawObject], plan: Plan) -> dict[str, pa.Array]:
    """What keys and metadata say, for each path that asks them."""
    found = {}
    for place in plan.outside:
        step = place.steps[0] if place.steps else None
        name = step.name if isinstance(step, Field) else ""
        found[place.text] = pa.array([_constants(raw, plan)[place.scope].get(name) for raw in objects], pa.string())
    return found


def _constants(raw: RawObject, plan: Plan) -> dict[Scope, dict[str, str]]:
    mapping = plan.mapping
    metadata = {name: raw.metadata[name.lower()] for name in mapping.meta if name.lower() in raw.metadata}
    return {Scope.KEY: mapping.groups_of(raw.key), Scope.META: metadata}
