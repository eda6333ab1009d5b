"""Events of devices: failures, maintenance and whatever else a fleet reports, often long after it happened.

An event is ``{"device", "ts", "kind", "detail", "known_at"}``, times in milliseconds. ``known_at`` is when it became
known; without it, an event counts as known when it happened.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from features.schema import Fleet, Reason
from pipelines import tables
from pipelines.formats import unpack_all
from pipelines.lake import Snapshot
from pipelines.records import RawObject
from pipelines.rejects import WHOLE, Reject, Rejects
from pipelines.salvage import FaultError, HopelessError, pieces, read_moment, read_record, read_text

Event = tuple[str, int, str, str, int]
_LATEST_MS = 253_402_300_799_999  # the year 9999


def read_events(fleet: Fleet, objects: Sequence[RawObject]) -> tuple[pa.Table, Rejects]:
    """Read event objects as they are stored.

    Returns:
        The events, columns as in the table, and what could not be read.

    Example:
        >>> from features.catalog import load
        >>> data = b'{"device":"pump-1","ts":5,"kind":"failure"}{}'
        >>> events, rejects = read_events(load("pumps").fleet, [RawObject("", data)])
        >>> events.to_pylist(), next(iter(rejects)).reason.value
        ([{'device': 'pump-1', 'time': 5000, 'kind': 'failure', 'detail': '', 'known_at': 5000}], 'no_device')
    """
    bodies, rejects = unpack_all(objects)
    events: list[Event] = []
    for source, body in enumerate(bodies):
        found, faults = _read_object(source, body)
        if faults and not found and all(fault.reason is Reason.UNREADABLE for fault in faults):
            sentence = "The object is not made of JSON records."
            faults = [Reject(source, WHOLE, 0, objects[source].data, Reason.UNREADABLE, sentence)]
        events += found
        rejects += faults
    schema = tables.events(fleet).schema
    columns = [list(column) for column in zip(*events, strict=True)] if events else [[] for _ in schema]
    return pa.table(columns, schema=schema), Rejects(rejects)


def new_events(snapshot: Snapshot, batch: pa.Table) -> pa.Table:
    """The events of a batch that are not in the table yet, each once; all columns must agree to be the same event."""
    devices = batch["device"].unique().to_pylist()
    seen = set(_tuples(snapshot.read(batch.column_names, devices=devices)))
    kept = []
    for number, event in enumerate(_tuples(batch)):
        if event not in seen:
            seen.add(event)
            kept.append(number)
    return batch.take(pa.array(kept, pa.int64()))


def _tuples(table: pa.Table) -> Iterable[Event]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _read_object(source: int, body: bytes) -> tuple[list[Event], list[Reject]]:
    events, faults = [], []
    try:
        for ordinal, piece in enumerate(pieces(body)):
            try:
                events.append(_event(piece.value))
            except FaultError as error:
                faults.append(Reject(source, ordinal, piece.offset, piece.data, error.reason, error.sentence))
    except HopelessError:
        return [], [Reject(source, 0, 0, b"", Reason.UNREADABLE, "")]
    return events, faults


def _event(value: object) -> Event:
    record = read_record(value)
    device, kind = read_text(record, "device"), read_text(record, "kind")
    time, known_at = (read_moment(record, field, "ms") for field in ("ts", "known_at"))
    if not device:
        raise FaultError(Reason.NO_DEVICE, Reason.NO_DEVICE.sentence)
    if not isinstance(time, int) or not 0 <= time <= _LATEST_MS:
        raise FaultError(Reason.NO_TIME, Reason.NO_TIME.sentence)
    if not kind:
        raise FaultError(Reason.WRONG_TYPE, "The event has no kind.")
    known = known_at if isinstance(known_at, int) and 0 <= known_at <= _LATEST_MS else time
    return device, time * 1000, kind, read_text(record, "detail") or "", known * 1000
