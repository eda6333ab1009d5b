"""Reading JSON as columns: fast, and all or nothing.

The schema is built from the mapping and never inferred: with inference, two objects of one feed get two schemas. Small
objects are read together, because a read costs a third of a millisecond whatever its size; a marker record before each
keeps them apart, also when one was cut off.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from features.path import Field, Step
from pipelines.formats.plan import Kind, Place, Plan, Scope
from pipelines.formats.times import time_type

MARKER = "__tidemill_object__"
# The parser takes these for numbers, no other reader does; "Info" in a text must not send an object the slow way.
_ODD_NUMBER = re.compile(rb'(?<![A-Za-z"])Inf(?!inity)|-NaN')
_ITEMS = object()


class Refused(Exception):  # noqa: N818 - not a fault: the other executor reads it
    """Something is not what the mapping says; records must be looked at one by one."""


def type_of(place: Place, plan: Plan, *, quoted: bool) -> pa.DataType:
    """The type that a place has in JSON, where ``quoted`` says whether numbers are texts."""
    if place.kind is Kind.TEXT:
        return pa.string()
    if place.kind is Kind.TIME:
        return time_type(plan.mapping.time_unit, quoted=quoted)
    if place.kind is Kind.STAMP:
        return time_type(plan.mapping.received_unit or plan.mapping.time_unit, quoted=quoted)
    if quoted:
        return pa.string()
    return pa.float64() if place.kind is Kind.REAL else pa.int64()


def read_json(bodies: Sequence[bytes], plan: Plan, *, as_text: bool) -> tuple[pa.Table, NDArray[np.int64]]:
    """Read objects together.

    Args:
        bodies: The unpacked objects.
        plan: What to read.
        as_text: Whether the body of an envelope is a text; otherwise it is an object.

    Returns:
        The records, and how many each object holds.

    Raises:
        Refused: Anything in any of the objects is not what the mapping says.
    """
    data = b"".join(b'{"%b":%d}\n%b\n' % (MARKER.encode(), number, body) for number, body in enumerate(bodies))
    table = _parsed(data, _options(plan, as_text))
    marks = table[MARKER].combine_chunks()
    if marks.drop_null().to_pylist() != list(range(len(bodies))):
        raise Refused  # a record was cut off and swallowed the marker behind it
    starts = np.flatnonzero(marks.is_valid().to_numpy(zero_copy_only=False))
    lengths = np.diff(starts, append=len(marks)) - 1
    table = table.drop_columns(MARKER)
    return table.slice(1) if len(bodies) == 1 else table.filter(marks.is_null()), lengths


def read_arrays(bodies: Sequence[bytes], plan: Plan, *, as_text: bool) -> tuple[pa.Table, NDArray[np.int64]]:
    """Read objects that are one array of records each, as `read_json` reads those of single records.

    The parser knows no array at the top, but one in a record; so each object becomes the one field of a record.

    Raises:
        Refused: See `read_json`; also where an item is null.
    """
    wrapped = [b'{"%b":%d,"rows":%b}' % (MARKER.encode(), number, body) for number, body in enumerate(bodies)]
    table = _parsed(b"\n".join(wrapped), _array_options(plan, as_text))
    marks, rows = table[MARKER].combine_chunks(), table["rows"].combine_chunks()
    if marks.null_count or rows.null_count or not np.array_equal(marks.to_numpy(), np.arange(len(bodies))):
        raise Refused  # an object held more than its array
    records = rows.flatten()
    if records.null_count:
        raise Refused
    return pa.Table.from_struct_array(records), pc.list_value_length(rows).to_numpy().astype(np.int64)


def read_messages(messages: Sequence[bytes | None], plan: Plan) -> pa.Array:
    """Read the messages out of envelopes: one object in each, null where there is none.

    Raises:
        Refused: A message is not what the mapping says.
    """
    wrapped = [b'{"%b":%d,"body":%b}' % (MARKER.encode(), n, each or b"null") for n, each in enumerate(messages)]
    table = _parsed(b"\n".join(wrapped) or b"{}", _message_options(plan))
    marks = table[MARKER].combine_chunks()
    if not messages:
        return table["body"].combine_chunks().slice(0, 0)
    if marks.null_count or not np.array_equal(marks.to_numpy(), np.arange(len(messages))):
        raise Refused  # a message held more or less than one object
    return table["body"].combine_chunks()


def _parsed(data: bytes, options: pyarrow.json.ParseOptions) -> pa.Table:
    if (b"Inf" in data or b"-NaN" in data) and _ODD_NUMBER.search(data):
        raise Refused
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        # The marker in front also keeps the parser from crashing: a "null" as the very first record ends the process.
        return pyarrow.json.read_json(pa.BufferReader(data), reading, options)
    except pa.ArrowException:
        raise Refused from None


@functools.lru_cache(maxsize=128)
def _options(plan: Plan, as_text: bool) -> pyarrow.json.ParseOptions:  # noqa: FBT001 - a cache's key
    fields = [(MARKER, pa.int64()), *_record_fields(plan, as_text=as_text)]
    return _parse_options(fields, strict=plan.strict)


@functools.lru_cache(maxsize=128)
def _array_options(plan: Plan, as_text: bool) -> pyarrow.json.ParseOptions:  # noqa: FBT001 - a cache's key
    record = pa.struct(_record_fields(plan, as_text=as_text))
    return _parse_options([(MARKER, pa.int64()), ("rows", pa.list_(record))], strict=plan.strict)


def _record_fields(plan: Plan, *, as_text: bool) -> list[tuple[str, pa.DataType]]:
    tree: dict[Any, Any] = {}
    for place in plan.leaves:
        scope, steps = unrolled(place, plan)
        if scope is Scope.RECORD:
            _insert(tree, steps, type_of(place, plan, quoted=plan.quoted))
    if plan.body:
        _insert(tree, plan.body.steps, pa.string() if as_text else pa.struct(_fields(_message_tree(plan))))
    return _fields(tree)


@functools.lru_cache(maxsize=128)
def _message_options(plan: Plan) -> pyarrow.json.ParseOptions:
    fields = [(MARKER, pa.int64()), ("body", pa.struct(_fields(_message_tree(plan))))]
    return _parse_options(fields, strict=plan.strict)


def _message_tree(plan: Plan) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for place in plan.leaves:
        scope, steps = unrolled(place, plan)
        if scope is Scope.BODY:
            _insert(tree, steps, type_of(place, plan, quoted=plan.quoted))
    return tree


def _parse_options(fields: list[tuple[str, pa.DataType]], *, strict: bool) -> pyarrow.json.ParseOptions:
    """With ``strict``, an object with an unknown field is refused, and read record by record."""
    return pyarrow.json.ParseOptions(
        explicit_schema=pa.schema(fields),
        newlines_in_values=True,
        unexpected_field_behavior="error" if strict else "ignore",
    )


def unrolled(place: Place, plan: Plan) -> tuple[Scope, tuple[Step, ...]]:
    """A place from the beginning of the record, or of its body."""
    steps, scope = place.steps, place.scope
    for within, outer in ((Scope.ENTRY, plan.entries), (Scope.ROW, plan.rows)):
        if scope is within and outer is not None:
            steps, scope = (*outer.steps, *steps), outer.scope
    return scope, steps


def _insert(tree: dict[Any, Any], steps: tuple[Step, ...], kind: pa.DataType) -> None:
    """Put a leaf into a tree of names; the one key of a list is `_ITEMS`."""
    names = [step.name if isinstance(step, Field) else _ITEMS for step in steps]
    while names and names[0] is _ITEMS:
        names.pop(0)  # the items of a list at the top are records
    if not names:
        return
    node = tree
    for name in names[:-1]:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise Refused
    node.setdefault(names[-1], kind)


def _fields(tree: dict[Any, Any]) -> list[tuple[str, pa.DataType]]:
    return [(name, _type(kind)) for name, kind in tree.items() if name is not _ITEMS]


def _type(node: Any) -> pa.DataType:
    if not isinstance(node, dict):
        return node
    return pa.list_(_type(node[_ITEMS])) if _ITEMS in node else pa.struct(_fields(node))
