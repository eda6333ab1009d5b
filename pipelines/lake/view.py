"""Reading one version of a table."""

import functools
import operator
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
from deltalake import DeltaTable

from pipelines import tables
from pipelines.datafile import DataFile
from pipelines.lake.engine import translated


class View:
    """One version of a table, to read from.

    Args:
        uri: Where the table lies.
        layout: Its columns and how its files are cut.
        delta: The version, as the engine holds it.
    """

    def __init__(self, uri: str, layout: tables.Layout, delta: DeltaTable) -> None:
        self._uri = uri
        self._layout = layout
        self._delta = delta
        self.version: int = delta.version()

    @property
    def columns(self) -> list[str]:
        """The names of the columns in this version."""
        return [field.name for field in self._delta.schema().fields]

    @property
    def layout(self) -> tables.Layout:
        """How the table is laid out, with the columns that this version really has."""
        return replace(self._layout, schema=pa.schema(self._delta.schema().to_arrow()))

    def transaction(self, writer: str) -> int:
        """The number of the latest commit of this writer, 0 if it never committed."""
        with translated(self._uri):
            return int(self._delta.transaction_version(writer) or 0)

    def dates(self) -> list[str]:
        """The dates there are rows of, sorted."""
        return sorted({str(partition["date"]) for partition in self._delta.partitions()})

    def row_counts(self) -> dict[str, int]:
        """How many rows each date has, by date."""
        counts: Counter[str] = Counter()
        for file in self._files():
            counts[file["partition.date"]] += file["num_records"]
        return dict(sorted(counts.items()))

    def ranges(self, column: str) -> dict[str, tuple[int, int]]:
        """The smallest and largest value of a column on each date, as the files state them; see `tables.Layout`."""
        found: dict[str, tuple[int, int]] = {}
        for file in self._files():
            low, high = found.get(file["partition.date"], (file[f"min.{column}"], file[f"max.{column}"]))
            found[file["partition.date"]] = min(low, file[f"min.{column}"]), max(high, file[f"max.{column}"])
        return dict(sorted(found.items()))

    def _files(self) -> list[dict[str, Any]]:
        """What the table says of its files."""
        with translated(self._uri):
            return list(pa.table(self._delta.get_add_actions(flatten=True)).to_pylist())

    def files(self, dates: Collection[str] | None = None) -> list[DataFile]:
        """The files of these dates, or all, sorted by path."""
        kept = self._layout.statistics
        found = [
            DataFile(
                file["path"],
                file.get("partition.date", ""),
                file["size_bytes"],
                file["num_records"],
                file["modification_time"],
                {name: file.get(f"min.{name}") for name in kept},
                {name: file.get(f"max.{name}") for name in kept},
            )
            for file in self._files()
            if dates is None or file.get("partition.date", "") in dates
        ]
        return sorted(found, key=lambda file: file.path)

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits, newest first, with their metadata."""
        return list(self._delta.history(limit))

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        dates: Collection[str] | None = None,
        devices: Collection[str] | None = None,
        after: Mapping[str, int] | None = None,
        before: Mapping[str, int] | None = None,
        coded: bool = False,
    ) -> pa.Table:
        """Read rows; files that cannot hold any of them are not opened.

        Args:
            columns: Names of the columns, all by default.
            dates: Only rows of these dates.
            devices: Only rows of these devices.
            after: Only rows whose column is greater than the value, by column.
            before: Only rows whose column is less than the value, by column.
            coded: Give the column ``device`` dictionary-encoded, as the files have it: a third of the time.

        Returns:
            The rows in no particular order.
        """
        conditions = [
            pc.field(name).isin(pa.array(wanted, pa.string()))
            for name, wanted in (("date", dates), ("device", devices))
            if wanted is not None
        ]
        conditions += [pc.field(name) > value for name, value in (after or {}).items()]
        conditions += [pc.field(name) < value for name, value in (before or {}).items()]
        condition = functools.reduce(operator.and_, conditions) if conditions else None

        with translated(self._uri):
            options = pyarrow.dataset.ParquetReadOptions(dictionary_columns={"device"} if coded else set())
            dataset = self._delta.to_pyarrow_dataset(filesystem=self._filesystem(), parquet_read_options=options)
            return dataset.to_table(columns=list(columns) if columns is not None else None, filter=condition)

    def _filesystem(self) -> pyarrow.fs.FileSystem | None:
        """The engine's own bridge to Python costs half the reading time; on a local disk it is not needed."""
        if "://" in self._uri:
            return None
        return pyarrow.fs.SubTreeFileSystem(self._uri, pyarrow.fs.LocalFileSystem())
