"""Reading one version of a table."""

import functools
import operator
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from deltalake import DeltaTable

from pipelines import tables
from pipelines.datafile import DataFile, Folder
from pipelines.lake.engine import translated

_A_MOMENT_S = 0.02


class View:
    """One version of a table, to read from.

    Args:
        folder: Where the table lies, and how it is laid out.
        delta: The version, as the engine holds it.
    """

    def __init__(self, folder: Folder, delta: DeltaTable) -> None:
        self._folder, self._uri, self._layout = folder, folder.uri, folder.layout
        self._delta = delta
        self._numbers: dict[str, int] = {}
        self.version: int = delta.version()

    @property
    def columns(self) -> list[str]:
        """The names of the columns in this version."""
        return [field.name for field in self._delta.schema().fields]

    @property
    def layout(self) -> tables.Layout:
        """How the table is laid out, with the columns that this version really has."""
        return replace(self._layout, schema=pa.schema(self._delta.schema().to_arrow()))

    @property
    def removes_log_entries(self) -> bool:
        """Whether whoever writes a checkpoint removes old log entries at once, before the checkpoint is durable."""
        configuration = self._delta.metadata().configuration
        return bool(configuration.get("delta.enableExpiredLogCleanup") != "false")

    def transaction(self, writer: str) -> int:
        """The number of the latest commit of this writer, 0 if it never committed; the log is read once for each."""
        if writer not in self._numbers:
            with translated(self._uri):
                self._numbers[writer] = int(self._delta.transaction_version(writer) or 0)
        return self._numbers[writer]

    def dates(self) -> list[str]:
        """The dates there are rows of, sorted."""
        return sorted(self._stated["partition.date"].unique().to_pylist())

    def row_counts(self) -> dict[str, int]:
        """How many rows each date has, by date."""
        (counts,) = self._by_date(("num_records", "sum"))
        return counts

    def ranges(self, column: str) -> dict[str, tuple[int, int]]:
        """The smallest and largest value of a column on each date, as the files state them; see `tables.Layout`."""
        lows, highs = self._by_date((f"min.{column}", "min"), (f"max.{column}", "max"))
        return {date: (low, highs[date]) for date, low in lows.items()}

    def _by_date(self, *totals: tuple[str, str]) -> list[dict[str, Any]]:
        """Totals over the files of each date, by date: each a column and the name of a function."""
        if not len(self._stated):
            return [{} for _ in totals]
        # Threads would take longer to start than these few rows to add up.
        found = self._stated.group_by("partition.date", use_threads=False).aggregate(list(totals))
        found = found.sort_by("partition.date")
        dates = found["partition.date"].to_pylist()
        return [dict(zip(dates, found[f"{name}_{how}"].to_pylist(), strict=True)) for name, how in totals]

    @functools.cached_property
    def _stated(self) -> pa.Table:
        """What the table says of its files, a row for each; asked of the engine once."""
        with translated(self._uri):
            return pa.table(self._delta.get_add_actions(flatten=True))

    def _files(self) -> list[dict[str, Any]]:
        """What the table says of its files."""
        return list(self._stated.to_pylist())

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
            # The engine takes a fifth of a millisecond for each file it is not told to leave out: a year is 365.
            listed = [("date", "in", sorted(dates))] if dates else None
            # The engine's own bridge to Python costs half the reading time, which a local disk need not pay. A service
            # needs it: Arrow's own client waits much longer for an answer that does not come.
            remote = "://" in self._uri
            dataset = self._delta.to_pyarrow_dataset(
                filesystem=None if remote else self._folder.filesystem(),
                parquet_read_options=options,
                file_pruning_predicate=listed,
            )
            found = dataset.to_table(columns=list(columns) if columns is not None else None, filter=condition)
            if remote:
                # Arrow's threads still have to let go of Python's buffers. One that does so while the interpreter ends
                # brings the process down, so they get a moment in which nobody else holds the interpreter.
                del dataset
                time.sleep(_A_MOMENT_S)
            return found
