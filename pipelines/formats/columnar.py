"""Carrying out a plan on columns: fast, and all or nothing.

Whatever is not exactly what the mapping says makes it refuse; `pipelines.formats.rowwise` then reads the same records
one by one. It never guesses: the two give the same rows or this one gives none.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.path import Items
from pipelines.formats.columns import Refused, read_messages
from pipelines.formats.frame import Frame
from pipelines.formats.pivot import Long, pivot
from pipelines.formats.plan import Place, Plan, Scope
from pipelines.formats.sources import Columns, as_kind, walk
from pipelines.formats.texts import message_in
from pipelines.formats.times import mask, microseconds, present
from pipelines.records import UNSEQUENCED, UNSTAMPED
from pipelines.rejects import Links, row_number


def read_columns(
    records: Columns, plan: Plan, sources: NDArray[np.int32], counts: NDArray[np.int64], texts: Mapping[str, pa.Array]
) -> Frame:
    """Carry out a plan.

    Args:
        records: The records of one or more objects.
        plan: The plan.
        sources: The object of each record.
        counts: Records in each object.
        texts: For each path into keys and metadata what each object says there.

    Raises:
        Refused: Something is not what the mapping says.
    """
    try:
        return _Reading(records, plan, sources, counts, texts).frame()
    except (pa.ArrowException, OverflowError, UnicodeError):
        raise Refused from None


class _Reading:
    """One plan on the records of some objects; everything is brought to the level of the rows, or of the entries."""

    def __init__(
        self,
        records: Columns,
        plan: Plan,
        sources: NDArray[np.int32],
        counts: NDArray[np.int64],
        texts: Mapping[str, pa.Array],
    ) -> None:
        self._records = records
        self._plan = plan
        self._sources = sources
        self._counts = counts
        self._texts = texts
        self._parts: dict[Scope, pa.Array | pa.Table] = {}
        self._row: NDArray[np.int64] | None = None  # the record of each row
        self._entry: NDArray[np.int64] | None = None  # the row of each entry
        if plan.body:
            self._parts[Scope.BODY] = self._messages(plan.body)
        if plan.rows:
            self._parts[Scope.ROW], self._row = self._taken_apart(plan.rows)
        if plan.entries:
            self._parts[Scope.ENTRY], self._entry = self._taken_apart(plan.entries)

    def frame(self) -> Frame:
        """The rows."""
        plan, mapping = self._plan, self._plan.mapping
        device = self._first(plan.device)
        device.validate(full=True)  # texts that are not UTF-8 pass the parser
        clock = self._clock()
        received = np.full(len(clock), UNSTAMPED)
        if plan.received:
            stamped, usable = self._microseconds(self._first(plan.received), mapping.received_unit)
            received = np.where(usable, stamped, UNSTAMPED)
        sequence = np.full(len(clock), UNSEQUENCED)
        if plan.sequence:
            default = UNSEQUENCED if mapping.sequence_default is None else mapping.sequence_default
            sequence = self._first(plan.sequence).fill_null(default).to_numpy()
        sources = self._sources if self._row is None else self._sources[self._row]
        if mapping.long:
            return self._long(device, clock, received, sequence, sources)
        times, timed = self._microseconds(clock, None)
        values = np.empty((len(clock), len(plan.signals)), order="F")  # signals are judged and stored one by one
        for number, place in enumerate(plan.values):
            values[:, number] = self._first([place]).fill_null(np.nan).to_numpy()
        ordinals = places_in_object(sources)
        links = None
        if self._row is not None:
            links = Links(row_number(sources.astype(np.int64), ordinals), places_in_object(self._sources)[self._row])
        clocked = present(clock)
        return Frame(
            device, times, timed, clocked, received, sequence, values, sources,
            ordinals.astype(np.int32), links, self._counts,
        )  # fmt: skip

    def _long(
        self,
        device: pa.Array,
        clock: pa.Array,
        received: NDArray[np.int64],
        sequence: NDArray[np.int64],
        sources: NDArray[np.int32],
    ) -> Frame:
        plan = self._plan
        rows = np.arange(len(clock)) if self._entry is None else self._entry
        names = self._first(plan.names)
        if names.null_count:
            raise Refused  # the name may stand further out
        names.validate(full=True)
        known = pa.array([name for name, _ in plan.known], pa.string())
        places = pc.index_in(names, known)
        kept = mask(places.is_valid())
        columns = np.array([column for _, column in plan.known], np.int64)[places.drop_null().to_numpy()]
        values = self._first(plan.value).fill_null(np.nan).to_numpy()[kept]
        rows = rows[kept]
        taken = pa.array(rows)
        own = clock.take(taken)
        if plan.time:
            own = pc.coalesce(self._first([plan.time]).filter(pa.array(kept)), own)
        times, timed = self._microseconds(own, None)
        records = places_in_object(self._sources)[rows if self._row is None else self._row[rows]]
        long = Long(
            device.take(taken), np.where(timed, times, 0), timed, present(own), received[rows], sequence[rows],
            sources[rows], columns, values, records,
        )  # fmt: skip
        return pivot(long, len(plan.signals), self._counts)

    def _messages(self, body: Place) -> pa.Array:
        found = self._records.messages(body.steps)
        if not isinstance(found, list):
            return found
        try:
            return read_messages([None if each is None else message_in(each) for each in found], self._plan)
        except ValueError:
            raise Refused from None

    def _taken_apart(self, place: Place) -> tuple[pa.Array | pa.Table, NDArray[np.int64]]:
        """The items a path leads to, and the position of what each was taken from; none may be missing."""
        steps = list(place.steps)
        if steps[:1] == [Items()]:
            steps.pop(0)  # the items of a list at the top are the records
        ahead = steps.index(Items()) if Items() in steps else len(steps)
        if place.scope is Scope.RECORD:
            found = self._records.part(steps[:ahead])
        else:
            found = walk(self._parts[place.scope], steps[:ahead])
        parents = np.arange(len(found))
        for step in steps[ahead:]:
            if isinstance(step, Items):
                if not isinstance(found, pa.Array) or not pa.types.is_list(found.type) or found.null_count:
                    raise Refused
                parents = parents[pc.list_parent_indices(found).to_numpy()]
                found = pc.list_flatten(found)
            else:
                found = walk(found, [step])
        if isinstance(found, pa.Array) and found.null_count:
            raise Refused
        return found, parents

    def _column(self, place: Place) -> pa.Array:
        if place.scope in {Scope.KEY, Scope.META}:
            found = self._texts[place.text].take(pa.array(self._sources))
        elif place.scope is Scope.RECORD:
            found = self._records.column(place)
        else:
            found = walk(self._parts[place.scope], place.steps)
        if place.scope not in {Scope.ROW, Scope.ENTRY} and self._row is not None:
            found = found.take(pa.array(self._row))
        return found

    def _first(self, places: Sequence[Place]) -> pa.Array:
        """What stands at the first of some places that holds something."""
        found = [as_kind(self._column(place), place.kind, self._plan) for place in places]
        return found[0] if len(found) == 1 else pc.coalesce(*found)

    def _clock(self) -> pa.Array:
        found = []
        for choice in self._plan.times:
            column = self._first(choice[:1])
            if len(choice) > 1:
                seconds = pc.multiply_checked(column, 1_000_000_000)
                column = pc.add_checked(seconds, self._first(choice[1:]).fill_null(0))
            found.append(column)
        return found[0] if len(found) == 1 else pc.coalesce(*found)

    def _microseconds(self, column: pa.Array, unit: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        mapping = self._plan.mapping
        if pa.types.is_string(column.type):
            column.validate(full=True)
        return microseconds(column, unit or mapping.time_unit, mapping.zone)


def places_in_object(sources: NDArray[np.int32]) -> NDArray[np.int64]:
    """The position of each record or row in its object; ``sources`` must not decrease."""
    if len(sources) and sources[0] == sources[-1]:
        return np.arange(len(sources))
    starts = np.flatnonzero(np.diff(sources, prepend=-1))
    places: NDArray[np.int64] = np.arange(len(sources)) - np.repeat(starts, np.diff(starts, append=len(sources)))
    return places
