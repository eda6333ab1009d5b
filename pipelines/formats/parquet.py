"""Parquet files; only the columns that the mapping asks for are read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from features.mapping import Mapping
from features.path import Field
from pipelines.formats.columns import Refused
from pipelines.formats.plan import Kind, Plan, Scope
from pipelines.formats.rendering import as_json
from pipelines.formats.rows import Instant
from pipelines.formats.sources import Columns, TableColumns
from pipelines.formats.times import microseconds
from pipelines.formats.unpacking import MOST_BYTES, UnreadableError, too_large

_AT_ONCE = 5_000  # records that are written out together
_MOST_FOOTER = 64 * 1024 * 1024
_PORTION = 10_000
_WIDTH = 8  # bytes of a cell, at least


class ParquetFile:
    """A Parquet file.

    Args:
        body: The file.
        plan: What to read from it.

    Raises:
        UnreadableError: It was cut off or damaged, or needs more memory than is given to it.

    Attributes:
        beyond: How many records have which column that is not read, as the statistics of the file say; all of them have
            a column without statistics. Empty unless unknown fields are counted.
    """

    quoted = False
    broken = "The record is none."

    def __init__(self, body: bytes, plan: Plan) -> None:
        self._mapping = plan.mapping
        wanted = {place.steps[0].name for place in _places(plan) if isinstance(place.steps[0], Field)}
        try:
            file = _opened(body, [])
            names = [name for name in file.schema_arrow.names if name in wanted or plan.unknown == "reject"]
            _check_size(file, names)
            texts = [name for name in names if _is_text(file.schema_arrow.field(name).type)]
            table = (_opened(body, texts) if texts else file).read(columns=names, use_threads=False)
            _check_texts(table)
            self._table = _with_text_ids(table, plan)
            self._count = file.metadata.num_rows
            self.beyond = _filled(file, names) if plan.unknown == "count" else {}
        except (pa.ArrowException, OSError) as error:
            said = str(error).splitlines()[0][:120]
            raise UnreadableError(f"The object is a Parquet file and cannot be read: {said}.") from error

    def columns(self, plan: Plan) -> Columns:
        """See `Container`."""
        if not self._table.num_columns and self._count:
            raise Refused
        if plan.strict and plan.body and any(pa.types.is_struct(field.type) for field in self._table.schema):
            raise Refused  # what is in such a message, only looking at it tells
        return TableColumns(self._table, self.beyond)

    def values(self) -> Iterator[object]:
        """See `Container`."""
        if not self._table.num_columns:
            yield from ({} for _ in range(self._count))
            return
        table = _with_instants(self._table, self._mapping)
        for begin in range(0, len(table), _PORTION):
            for record in table.slice(begin, _PORTION).to_pylist():
                yield _marked(record, table.schema)

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - the port's
        """See `rejects.Container`; a record has no place of its own in the file."""
        for begin in range(0, len(records), _AT_ONCE):
            some = pa.array(records[begin : begin + _AT_ONCE], pa.int64())
            table = _with_instants(self._table.take(some), self._mapping)
            yield from ((0, as_json(_marked(record, table.schema), self._mapping)) for record in table.to_pylist())


def _opened(body: bytes, texts: list[str]) -> pyarrow.parquet.ParquetFile:
    """A file whose columns ``texts`` are read as dictionaries: a text that a million rows repeat is there once."""
    return pyarrow.parquet.ParquetFile(
        pa.BufferReader(body),
        read_dictionary=texts,
        thrift_string_size_limit=_MOST_FOOTER,
        thrift_container_size_limit=_MOST_FOOTER // 16,
        page_checksum_verification=True,
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _check_texts(table: pa.Table) -> None:
    """What texts will take when each row has its own."""
    size = 0
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else []:
            if _is_text(chunk.type.value_type):
                size += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if size > MOST_BYTES:
        raise too_large()


def _places(plan: Plan) -> list[Any]:
    several = [plan.rows, plan.entries, plan.body, *plan.leaves]
    return [place for place in several if place is not None and place.scope is Scope.RECORD]


def _check_size(file: pyarrow.parquet.ParquetFile, names: list[str]) -> None:
    """What the file says of itself; dictionaries are looked at when they are there."""
    metadata = file.metadata
    if metadata.num_rows * max(len(names), 1) * _WIDTH > MOST_BYTES:
        raise too_large()
    size = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            if column.path_in_schema.partition(".")[0] in names:
                size += column.total_uncompressed_size
    if size > MOST_BYTES:
        raise too_large()


def _filled(file: pyarrow.parquet.ParquetFile, read: list[str]) -> dict[str, int]:
    """Rows with a value in columns that are not read; of nested columns those of the fullest leaf."""
    metadata = file.metadata
    leaves: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            counted = column.is_stats_set and column.statistics.has_null_count
            empty = column.statistics.null_count if counted else 0
            leaves[column.path_in_schema] += max(row_group.num_rows - empty, 0)
    found: dict[str, int] = {}
    for path, rows in leaves.items():
        name = next((name for name in file.schema_arrow.names if path == name or path.startswith(f"{name}.")), path)
        known = file.schema_arrow.get_field_index(name)
        if name not in read and not (known >= 0 and pa.types.is_null(file.schema_arrow.field(known).type)):
            found[name] = max(rows, found.get(name, 0))
    return {name: rows for name, rows in found.items() if rows}


def _with_text_ids(table: pa.Table, plan: Plan) -> pa.Table:
    """A number that names a device becomes a text: unlike in JSON, the file says that all of them are whole numbers."""
    for place in plan.device:
        name = place.steps[0].name if len(place.steps) == 1 and isinstance(place.steps[0], Field) else ""
        number = table.schema.get_field_index(name) if place.scope is Scope.RECORD and name else -1
        if number >= 0 and place.kind is Kind.TEXT and pa.types.is_integer(table.schema.field(number).type):
            table = table.set_column(number, name, table[name].cast(pa.string()))
    return table


def _with_instants(table: pa.Table, mapping: Mapping) -> pa.Table:
    """Timestamps as microseconds; dictionaries and decimals as what they stand for."""
    for number, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_timestamp(field.type):
            if field.type.tz is None and mapping.zone is None:
                texts = pc.strftime(column.cast(pa.timestamp("us"), safe=False), format="%Y-%m-%dT%H:%M:%S")
                table = table.set_column(number, field.name, texts)
                continue
            times, usable = microseconds(column.combine_chunks(), "us", mapping.zone)
            instants = pa.array(times, mask=~usable)
            table = table.set_column(number, pa.field(field.name, instants.type, metadata={"instant": "1"}), instants)
        elif pa.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, column.cast(field.type.value_type))
        elif pa.types.is_decimal(field.type):
            table = table.set_column(number, field.name, column.cast(pa.float64()))
    return table


def _marked(record: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    for field in schema:
        if field.metadata and record[field.name] is not None:
            record[field.name] = Instant(record[field.name])
    return {name: float(value) if isinstance(value, np.floating) else value for name, value in record.items()}
