"""Records as columns, whatever they come from, and the one type that each kind of column has."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from features.path import Field, Step
from features.quotes import NULL_TEXTS
from features.unknown import FieldTree
from pipelines.formats.columns import Refused
from pipelines.formats.plan import Kind, Place, Plan
from pipelines.formats.rows import Instant
from pipelines.formats.strangers import check_types, counted

_NULLS = pa.array(sorted(NULL_TEXTS))
_WHOLE = "^-?[0-9]{1,19}$"


class Columns(Protocol):
    """Records as columns."""

    def __len__(self) -> int:
        """How many records there are."""

    def column(self, place: Place) -> pa.Array:
        """What stands at a place of each record; null where nothing does.

        Raises:
            Refused: Something is not of its kind.
        """

    def unknown(self, tree: FieldTree) -> Counter[str]:
        """How many records have which field that is none of the tree; null is missing.

        Raises:
            Refused: Only looking at the records one by one can tell.
        """

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """What envelopes hold: structs, or texts and bytes still to be read."""

    def part(self, steps: Sequence[Step]) -> pa.Array | pa.Table:
        """What rows are taken from."""


class TableColumns:
    """A table, or an array of structs, as it comes from a reader of JSON, CSV or Parquet.

    Args:
        table: The columns that were read.
        beyond: How many records have which column that was not read.
    """

    def __init__(self, table: pa.Table, beyond: Mapping[str, int] | None = None) -> None:
        self._table = table
        self._beyond = beyond or {}

    def __len__(self) -> int:
        return len(self._table)

    def column(self, place: Place) -> pa.Array:
        """See `Columns`."""
        return walk(self._table, place.steps)

    def unknown(self, tree: FieldTree) -> Counter[str]:
        """See `Columns`."""
        check_types(self._table.schema, tree.tree)
        found = Counter(self._beyond)
        for name in self._table.column_names:
            if name not in tree.tree:
                found[name] = len(self._table) - self._table[name].null_count
        return +found

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """See `Columns`."""
        found = walk(self._table, steps)
        if pa.types.is_struct(found.type) or pa.types.is_null(found.type):
            return found
        if pa.types.is_dictionary(found.type):
            found = found.cast(found.type.value_type)
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
        values: list[Any] = self._values(place.steps)
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

    def unknown(self, tree: FieldTree) -> Counter[str]:
        """See `Columns`."""
        return counted(self._records, tree)

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:
        """See `Columns`."""
        values = self._values(steps)
        if not set(map(type, values)) <= {bytes, str, type(None)}:
            raise Refused
        return values

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
