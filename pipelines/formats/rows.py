"""Rows as they stand in records, one by one, before they become columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.formats.frame import Frame
from pipelines.formats.pivot import Long, pivot
from pipelines.formats.plan import Plan
from pipelines.formats.times import microseconds, time_type
from pipelines.records import UNSEQUENCED, UNSTAMPED
from pipelines.rejects import Faults, Links, row_number
from pipelines.salvage import Moment


class Instant(int):
    """A time of a container that knows its unit: UTC microseconds, whatever the mapping says."""

    __slots__ = ()


@dataclass(slots=True)
class Rows:
    """Rows, or entries of the long form, as they stand in the records; ``None`` where a field is missing."""

    device: list[str | None] = field(default_factory=list)
    time: list[Moment] = field(default_factory=list)
    received: list[Moment] = field(default_factory=list)
    sequence: list[int | None] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    seen: int = 0
    unknown: Counter[str] = field(default_factory=Counter)


def framed(rows: Rows, plan: Plan, source: int) -> Frame:
    """Rows of one object as columns; the faults get the ordinals that they have among the rows."""
    mapping = plan.mapping
    device = pa.array(rows.device, pa.string())
    times, timed = _microseconds(rows.time, mapping.time_unit, mapping.zone)
    received, stamped = _microseconds(rows.received, mapping.received_unit or mapping.time_unit, mapping.zone)
    received[~stamped] = UNSTAMPED
    clocked = np.array([time is not None for time in rows.time], np.bool_)
    sequence = np.array([UNSEQUENCED if each is None else each for each in rows.sequence], np.int64)
    sources = np.full(len(times), source, np.int32)
    records = np.array(rows.record, np.int64)
    unknown = np.array([-1])
    linked: list[tuple[Sequence[int] | NDArray[np.int64], Sequence[int] | NDArray[np.int64]]]
    if mapping.long is None:
        values = np.array(rows.values, np.float64).reshape(-1, len(plan.signals))
        ordinals = np.array(rows.ordinal, np.int32)
        frame = Frame(device, times, timed, clocked, received, sequence, values, sources, ordinals, None, unknown)
        if plan.rows is None:
            return frame
        linked = [(rows.ordinal, rows.record)]
    else:
        single = np.array(rows.values, np.float64).reshape(-1)
        columns = np.array(rows.column, np.int64)
        at = np.where(timed, times, 0)
        long = Long(device, at, timed, clocked, received, sequence, sources, columns, single, records)
        frame = pivot(long, len(plan.signals), unknown)
        rows.faults.begin_at(len(frame.times))
        kept = frame.links
        linked = [] if kept is None else [(kept.rows % 2**32, kept.records)]
    linked.append((rows.faults.ordinals, rows.faults.records))
    made = np.concatenate([np.array(each, np.int64) for each, _ in linked])
    made_of = np.concatenate([np.array(each, np.int64) for _, each in linked])
    order = np.lexsort((made_of, made))
    return replace(frame, links=Links(row_number(source, made[order]), made_of[order]))


def _microseconds(found: list[Moment], unit: str, zone: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    known = np.array([type(moment) is Instant for moment in found], np.bool_)
    if not known.any():
        return microseconds(pa.array(found, time_type(unit)), unit, zone)
    others = [None if type(moment) is Instant else moment for moment in found]
    times, timed = microseconds(pa.array(others, time_type(unit)), unit, zone)
    times = times.copy()
    times[known] = np.array([moment for moment in found if isinstance(moment, Instant)], np.int64)
    return times, timed | known
