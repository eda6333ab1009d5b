"""What the table engine is told of files: what is added, removed and counted."""

import json
from collections.abc import Collection, Sequence

import pyarrow as pa
from deltalake import Transaction
from deltalake.transaction import AddAction, RemoveAction

from pipelines.datafile import DataFile


def completed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the columns of a schema; a column that is left out is null."""
    given = set(rows.column_names)
    columns = [rows[f.name].cast(f.type) if f.name in given else pa.nulls(len(rows), f.type) for f in schema]
    return pa.table(columns, schema=schema)


def counted(named: Collection[tuple[str, int]]) -> list[Transaction]:
    """Writers and their numbers."""
    return [Transaction(*each) for each in named]


def add_action(file: DataFile, *, data_change: bool = True) -> AddAction:
    """A file comes into the table."""
    lows, highs = ({n: v for n, v in ends.items() if v is not None} for ends in (file.lows, file.highs))
    statistics = {"numRecords": file.rows, "minValues": lows, "maxValues": highs}
    return AddAction(
        file.path, file.size, _partition(file), file.modified_ms, data_change=data_change, stats=json.dumps(statistics)
    )


def remove_actions(files: Sequence[DataFile], now_us: int, *, data_change: bool) -> list[RemoveAction]:
    """Files go out of the table."""
    return [
        RemoveAction(file.path, data_change, now_us // 1000, size=file.size, partition_values=_partition(file))
        for file in files
    ]


def _partition(file: DataFile) -> dict[str, str | None]:
    return {"date": file.date} if file.date else {}
