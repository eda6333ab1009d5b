"""Reading JSON as columns: fast, and all or nothing.

The schema is built from the mapping and never inferred: with inference, two objects of one feed get two schemas. Small
objects are read together, because a read costs a third of a millisecond whatever its size; a marker record before each
keeps them apart, also when one was cut off.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from features.errors import FleetError
from features.schema import Mapping

_MARKER = "__tidemill_object__"
# The parser takes these for numbers, no other reader does; "Info" in a text must not send an object the slow way.
_ODD_NUMBER = re.compile(rb'(?<![A-Za-z"])Inf(?!inity)|-NaN')


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Records as they stand in the JSON: times in their own unit, null where a field is missing.

    Attributes:
        device: Strings, shape ``(n,)``.
        time: Strings, float64 or int64 as `time_type` says.
        received: As ``time``.
        values: Shape ``(n, signals)``, NaN where missing.
        sources: Position of the object of each record.
        ordinals: Position of each record in its object.
        counts: Records in each object, -1 where it holds other things too.
    """

    device: pa.Array
    time: pa.Array
    received: pa.Array
    values: NDArray[np.float64]
    sources: NDArray[np.int32]
    ordinals: NDArray[np.int32]
    counts: NDArray[np.int64]


def time_type(mapping: Mapping) -> pa.DataType:
    """The type that times have in the JSON."""
    return {"iso": pa.string(), "s": pa.float64()}.get(mapping.time_unit, pa.int64())


def read_columns(bodies: Sequence[bytes], mapping: Mapping, signals: Sequence[str]) -> Frame | None:
    """Read objects together.

    Args:
        bodies: The unpacked objects.
        mapping: Where things stand in a record.
        signals: The signals to read.

    Returns:
        The records, or None when anything in any of the objects is not what the mapping says.

    Raises:
        FleetError: The mapping gives one field two meanings.
    """
    options = _parse_options(mapping, tuple(signals))
    data = b"".join(b'{"%b":%d}\n%b\n' % (_MARKER.encode(), number, body) for number, body in enumerate(bodies))
    if (b"Inf" in data or b"-NaN" in data) and _ODD_NUMBER.search(data):
        return None
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        # The marker in front also keeps the parser from crashing: a "null" as the very first record ends the process.
        table = pyarrow.json.read_json(pa.BufferReader(data), reading, options)
        device, time = _field(table, mapping.device), _field(table, mapping.time)
        received = _field(table, mapping.received) if mapping.received else pa.nulls(len(table), time.type)
        for column in (device, time, received):
            column.validate(full=True)  # texts that are not UTF-8 pass the parser
    except pa.ArrowException:
        return None
    marks = _field(table, _MARKER)
    if marks.drop_null().to_pylist() != list(range(len(bodies))):
        return None  # a record was cut off and swallowed the marker behind it
    values = np.empty((len(table), len(signals)))
    for number, signal in enumerate(signals):
        values[:, number] = _field(table, _path(mapping, signal)).fill_null(np.nan).to_numpy()
    return _split(Frame(device, time, received, values, *_places(marks)))


def _places(marks: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    starts = np.flatnonzero(marks.is_valid().to_numpy(zero_copy_only=False))
    lengths = np.diff(starts, append=len(marks))
    sources = np.repeat(np.arange(len(starts), dtype=np.int32), lengths)
    ordinals = np.arange(len(marks)) - starts[sources] - 1
    return sources, ordinals.astype(np.int32), lengths - 1


def _split(frame: Frame) -> Frame:
    """The records without the markers, whose ordinal is -1."""
    kept = frame.ordinals >= 0
    mask = pa.array(kept)
    return Frame(
        frame.device.filter(mask),
        frame.time.filter(mask),
        frame.received.filter(mask),
        frame.values[kept],
        frame.sources[kept],
        frame.ordinals[kept],
        frame.counts,
    )


@functools.lru_cache(maxsize=64)
def _parse_options(mapping: Mapping, signals: tuple[str, ...]) -> pyarrow.json.ParseOptions:
    time = time_type(mapping)
    leaves = [(_MARKER, pa.int64()), (mapping.device, pa.string()), (mapping.time, time)]
    leaves += [(mapping.received, time)] if mapping.received else []
    leaves += [(_path(mapping, signal), pa.float64()) for signal in signals]
    tree: dict[str, Any] = {}
    for path, kind in leaves:
        *above, name = path.split(".")
        node: Any = tree
        for step in above:
            node = node.setdefault(step, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or node.setdefault(name, kind) != kind:
            raise FleetError(f"the mapping uses {path} for two things", fix="give each field of a record one meaning")
    schema = pa.schema(_fields(tree))
    return pyarrow.json.ParseOptions(
        explicit_schema=schema, newlines_in_values=True, unexpected_field_behavior="ignore"
    )


def _fields(tree: dict[str, Any]) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.struct(_fields(kind)) if isinstance(kind, dict) else kind) for name, kind in tree.items()]


def _path(mapping: Mapping, signal: str) -> str:
    return f"{mapping.signals}.{signal}" if mapping.signals else signal


def _field(table: pa.Table, path: str) -> pa.Array:
    first, *steps = path.split(".")
    column = table[first].combine_chunks()
    return pc.struct_field(column, steps) if steps else column
