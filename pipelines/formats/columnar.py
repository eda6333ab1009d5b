"""Carrying out a plan on columns: fast, and all or nothing.

Whatever is not exactly what the mapping says makes it refuse; `pipelines.formats.rowwise` then reads the same records
one by one. It never guesses: the two give the same rows or this one gives none.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.path import Field, Items, Step
from pipelines.formats.columns import Refused, read_messages
from pipelines.formats.frame import Frame
from pipelines.formats.pivot import Long, pivot
from pipelines.formats.plan import Kind, Place, Plan, Scope
from pipelines.formats.rowwise import NULL_TEXTS, Instant, message_in
from pipelines.formats.times import mask, microseconds
from pipelines.records import UNSEQUENCED, UNSTAMPED, Links, row_number

_NULLS = pa.array(sorted(NULL_TEXTS))
_WHOLE = "^-?[0-9]{1,19}$"
_BRACES = (b"{", b"[")


class Columns(Protocol):
    """Records as columns."""

    def __len__(self) -> int:
        """How many records there are."""

    def column(self, place: Place) -> pa.Array:
        """What stands at a place of each record; null where nothing does.

        Raises:
            Refused: Something is not of its kind.
        """

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """What envelopes hold: structs, or texts and bytes still to be read."""

    def part(self, steps: Sequence[Step]) -> pa.Array | pa.Table:
        """What rows are taken from."""


class TableColumns:
    """A table, or an array of structs, as it comes from a reader of JSON, CSV or Parquet."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def column(self, place: Place) -> pa.Array:
        """See `Columns`."""
        return walk(self._table, place.steps)

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """See `Columns`."""
        found = walk(self._table, steps)
        if pa.types.is_struct(found.type) or pa.types.is_null(found.type):
            return found
        if not (pa.types.is_string(found.type) or pa.types.is_binary(found.type)):
            raise Refused
        texts: list[bytes | str | None] = found.to_pylist()
        return texts

    def part(self, steps: Sequence[Step]) -> pa.Array | pa.Table:
        """See `Columns`."""
        return walk(self._table, steps)


class ObjectColumns:
    """Records that are objects of Python, as Avro and line protocol give them."""

    def __init__(self, records: Sequence[dict[str, object]]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def column(self, place: Place) -> pa.Array:
        """See `Columns`. Arrow would take True for 1 and cut 1.5 to 1, so the types are looked at first."""
        values = self._values(place.steps)
        types = set(map(type, values)) - {type(None)}
        if not types:
            return pa.nulls(len(values))
        if types == {Instant}:
            return pa.array(values, pa.timestamp("us", "UTC"))
        if types == {str}:
            return pa.array(values, pa.string())
        if types == {int} and place.kind is not Kind.REAL:
            return pa.array(values, pa.int64())
        if types <= {int, float} and place.kind is not Kind.WHOLE:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        raise Refused

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """See `Columns`."""
        values = self._values(steps)
        if not set(map(type, values)) <= {bytes, str, type(None)}:
            raise Refused
        return values  # type: ignore[return-value]  # their types were looked at

    def part(self, steps: Sequence[Step]) -> pa.Array | pa.Table:  # noqa: ARG002 - the port's
        """See `Columns`; lists in such records are rare enough to be read one by one."""
        raise Refused

    def _values(self, steps: Sequence[Step]) -> list[object]:
        found: list[object] = list(self._records)
        for step in steps:
            if not isinstance(step, Field) or not set(map(type, found)) <= {dict, type(None)}:
                raise Refused
            found = [None if each is None else each.get(step.name) for each in found]  # type: ignore[attr-defined]
        return found


def walk(found: pa.Table | pa.Array, steps: Sequence[Step]) -> pa.Array:
    """Follow names through a table or an array of structs; what is missing is null.

    Raises:
        Refused: Something on the way is no struct.
    """
    for step in steps:
        if not isinstance(step, Field):
            raise Refused
        if isinstance(found, pa.Table):
            there = step.name in found.column_names
            found = found[step.name].combine_chunks() if there else pa.nulls(len(found))
        elif pa.types.is_struct(found.type):
            there = found.type.get_field_index(step.name) >= 0
            found = pc.struct_field(found, step.name) if there else pa.nulls(len(found))
        elif not pa.types.is_null(found.type):
            raise Refused
    return found


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
        values = np.empty((len(clock), len(plan.signals)))
        for number, place in enumerate(plan.values):
            values[:, number] = self._first([place]).fill_null(np.nan).to_numpy()
        ordinals = places_in_object(sources)
        links = None
        if self._row is not None:
            links = Links(row_number(sources.astype(np.int64), ordinals), places_in_object(self._sources)[self._row])
        clocked = mask(clock.is_valid())
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
            device.take(taken), np.where(timed, times, 0), timed, mask(own.is_valid()), received[rows], sequence[rows],
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


def as_kind(found: pa.Array, kind: Kind, plan: Plan) -> pa.Array:
    """A column in the one type of its kind.

    Raises:
        Refused: It cannot be, or only by guessing.
    """
    mapping, types = plan.mapping, pa.types
    unit = mapping.time_unit if kind is Kind.TIME else mapping.received_unit or mapping.time_unit
    timed = kind in {Kind.TIME, Kind.STAMP}
    textual = kind is Kind.TEXT or (timed and unit == "iso")
    wanted = pa.string() if textual else pa.float64() if kind is Kind.REAL or (timed and unit == "s") else pa.int64()
    if found.type == wanted or (timed and types.is_timestamp(found.type)):
        return found
    if types.is_null(found.type):
        return pa.nulls(len(found), wanted)
    if types.is_dictionary(found.type) or types.is_large_string(found.type):
        return as_kind(found.cast(pa.string()), kind, plan)
    if types.is_string(found.type):
        return _out_of_quotes(found, wanted)
    number = types.is_integer(found.type) or (
        wanted == pa.float64() and (types.is_floating(found.type) or types.is_decimal(found.type))
    )
    if textual or not number:
        raise Refused
    return found.cast(wanted, safe=wanted != pa.float64())


def _out_of_quotes(found: pa.Array, wanted: pa.DataType) -> pa.Array:
    texts = pc.utf8_trim_whitespace(found)
    texts = pc.if_else(pc.is_in(texts, _NULLS), pa.scalar(None, pa.string()), texts)
    if wanted == pa.int64() and not pc.all(pc.match_substring_regex(texts, _WHOLE), min_count=0).as_py():
        raise Refused
    return texts.cast(wanted)


def places_in_object(sources: NDArray[np.int32]) -> NDArray[np.int64]:
    """The position of each record or row in its object; ``sources`` must not decrease."""
    starts = np.flatnonzero(np.diff(sources, prepend=-1))
    places: NDArray[np.int64] = np.arange(len(sources)) - np.repeat(starts, np.diff(starts, append=len(sources)))
    return places
