"""A table, and one version of it to read from or to commit on top of."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines import tables
from pipelines.datafile import DICTIONARY_BYTES, GROUP_ROWS, PAGE_ROWS, STEADY, DataFile, Folder
from pipelines.durability import sync_commit
from pipelines.errors import CommitConflictError, LakeError, PipelineError, TableMissingError
from pipelines.lake.engine import conflict, translated
from pipelines.lake.view import View

_MEASURED = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    max_row_group_size=GROUP_ROWS,
    data_page_row_count_limit=PAGE_ROWS,
    dictionary_page_size_limit=DICTIONARY_BYTES,
    column_properties={
        name: ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED") for name in STEADY
    },
)
# Computed numbers hardly ever repeat: to look for repetitions first takes nine times as long and makes files larger.
_COMPUTED = WriterProperties(
    compression="LZ4_RAW",
    default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE"),
    column_properties={
        name: ColumnProperties(dictionary_enabled=True, statistics_enabled="CHUNK")
        for name in ("device", "start", "end", "first", "last")
    },
)
# Opening a table reads the entries since the last checkpoint: with the engine's own interval of 100, twice as slowly.
_CHECKPOINT_EVERY = "10"
# `pipelines.lake.upkeep` alone removes entries, and first makes the checkpoint durable that stands in for them.
_KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table, whether or not it has been written yet.

    Attributes:
        uri: Where it lies.
        layout: Its columns and how its files are cut.
        options: Storage options of the table engine.
    """

    uri: str
    layout: tables.Layout
    options: Mapping[str, str]

    @property
    def folder(self) -> Folder:
        """Where its files lie, for processes that read and write them themselves."""
        return Folder(self.uri, self.layout, self.options)

    def exists(self) -> bool:
        """Tell whether the table has been written."""
        with translated(self.uri):
            return bool(DeltaTable.is_deltatable(self.uri, self._options()))

    def require(self) -> None:
        """Do nothing where the table has been written.

        Raises:
            TableMissingError: Nothing was written yet.
        """
        if not self.exists():
            raise self._missing()

    def open(self, version: int | None = None) -> "Snapshot":
        """Open the table at its newest or at an earlier version.

        Raises:
            TableMissingError: Nothing was written yet, or not this version.
        """
        try:
            with translated(self.uri):
                return Snapshot(self, DeltaTable(self.uri, version=version, storage_options=self._options()))
        except TableNotFoundError as error:
            raise self._missing() from error
        except LakeError as error:
            if version is not None and version > self.open().version:
                raise TableMissingError(f"the table has no version {version}", where=self.uri) from error
            raise

    def version(self) -> int:
        """The number of the newest version; see `open`."""
        return self.open().version

    def create(self) -> "Snapshot":
        """Open the table, make it if it is missing, and add columns that its schema has gained."""
        try:
            snapshot = self.open()  # not asked for first: with a long history that takes half as long again
        except TableMissingError:
            self._make()
            snapshot = self.open()
        if snapshot.removes_log_entries:
            snapshot.keep_log_entries()
            snapshot = self.open()
        known = set(snapshot.columns)
        missing = [field for field in self.layout.schema if field.name not in known]
        if missing:
            snapshot.add_columns(missing)
            snapshot = self.open()
        return snapshot

    def _make(self) -> None:
        try:
            with translated(self.uri):
                table = DeltaTable.create(
                    self.uri,
                    schema=self.layout.schema,
                    mode="error",
                    partition_by=["date"] if self.layout.partitioned else None,
                    configuration={
                        "delta.dataSkippingStatsColumns": ",".join(self.layout.statistics),
                        "delta.checkpointInterval": _CHECKPOINT_EVERY,
                        **_KEEP_LOG,
                    },
                    storage_options=self._options(),
                )
        except PipelineError:
            if self.exists():  # somebody else made it in the same moment
                return
            raise
        sync_commit(self.uri, table.version())

    def _missing(self) -> TableMissingError:
        return TableMissingError("this table has not been written yet", where=self.uri, fix=self.layout.made_by)

    def _options(self) -> dict[str, str] | None:
        return dict(self.options) or None


class Snapshot(View):
    """One version of a table: read from it, or commit on top of it.

    After a commit the snapshot is used up; open the table again, or go on with `renewed`.
    """

    def __init__(self, table: Table, delta: DeltaTable) -> None:
        super().__init__(table.uri, table.layout, delta)
        self._table = table

    def renewed(self) -> "Snapshot":
        """The table right after the latest commit of this snapshot, which the engine knows without looking again."""
        return Snapshot(self._table, self._delta)

    def append(self, rows: pa.Table, *, transaction: tuple[str, int], metadata: Mapping[str, Any] | None = None) -> int:
        """Add rows in one commit; without rows the commit still counts the transaction.

        The files are written here and not by the engine, which takes twice the time for larger files.

        Args:
            rows: The rows, columns as in the schema; a column that is left out is null.
            transaction: The writer and its number, greater than that of its latest commit.
            metadata: Kept with the commit and shown by `history`.

        Returns:
            The version of the table, with this commit in it.

        Raises:
            CommitConflictError: This writer's number is taken, or another commit got in the way.
        """
        _refuse_taken(self, self._uri, [transaction])
        with translated(self._uri):
            files = self._table.folder.write(_completed(rows, self._layout.schema))
        actions = [_add_action(file) for file in files]
        return self._take_over(actions, mode="append", transactions=_transactions([transaction]), metadata=metadata)

    def replace(
        self,
        rows: pa.Table,
        dates: Collection[str] | None,
        *,
        transactions: Collection[tuple[str, int]] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Put these rows in place of all rows of these dates, or of all rows there are, in one commit; see `append`."""
        if dates is None:
            return self._write(rows, transactions, metadata, mode="overwrite")
        if not dates:
            return self._write(rows.slice(0, 0), transactions, metadata, mode="append")
        listed = ", ".join(f"'{date}'" for date in sorted(dates))
        predicate = f"date IN ({listed})"
        return self._write(rows, transactions, metadata, fenced=dates, mode="overwrite", predicate=predicate)

    def adopt(
        self, files: Sequence[DataFile], dates: Collection[str], *, transactions: Collection[tuple[str, int]] = ()
    ) -> int:
        """Put files that lie in the table's folder in place of all files of these dates, in one commit.

        Commits on other dates that come in between do not get in the way.

        Args:
            files: The new files, of these dates only.
            dates: The dates.
            transactions: Writers and their numbers, as in `append`.

        Returns:
            The version of the table, with this commit in it.

        Raises:
            CommitConflictError: Since this snapshot was opened, another commit changed one of these dates or took one
                of the numbers.
        """
        snapshot = self
        while True:
            try:
                return snapshot._adopt(files, dates, transactions)
            except CommitConflictError:
                newer = self._table.open()
                same = newer.files(dates) == self.files(dates)
                free = all(number > newer.transaction(writer) for writer, number in transactions)
                if newer.version == snapshot.version or not (same and free):
                    raise
                snapshot = newer

    def _adopt(
        self, files: Sequence[DataFile], dates: Collection[str], transactions: Collection[tuple[str, int]]
    ) -> int:
        _refuse_taken(self, self._uri, transactions)
        return self._take_over(
            [_add_action(file) for file in files],
            mode="overwrite" if dates else "append",
            partition_filters=[("date", "in", sorted(dates))] if dates else None,
            transactions=[*self._fence(dates), *_transactions(transactions)],
        )

    def exchange(
        self,
        removed: Sequence[DataFile],
        added: Sequence[DataFile],
        now_us: int,
        *,
        transaction: tuple[str, int],
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Put files in place of others, in one commit; the rows are not the same ones. See `swap` and `append`."""
        _refuse_taken(self, self._uri, [transaction])
        return self._take_over(
            [*(_add_action(file) for file in added), *_remove_actions(removed, now_us, data_change=True)],
            mode="append",
            transactions=[*self._fence({file.date for file in removed}), Transaction(*transaction)],
            metadata=metadata,
        )

    def _take_over(
        self,
        actions: list[Any],
        *,
        transactions: list[Transaction],
        metadata: Mapping[str, Any] | None = None,
        **mode: Any,
    ) -> int:
        """Commit files that are there already; return the newest version, durable."""
        with translated(self._uri):
            self._delta.create_write_transaction(
                actions,
                schema=self._delta.schema(),
                partition_by=["date"] if self._layout.partitioned else None,
                commit_properties=CommitProperties(custom_metadata=dict(metadata or {}), app_transactions=transactions),
                **mode,
            )
            self._delta.update_incremental()
        newest: int = self._delta.version()
        for version in range(self.version + 1, newest + 1):  # ours, and those the engine let pass before it
            sync_commit(self._uri, version)
        return newest

    def _fence(self, dates: Collection[str]) -> list[Transaction]:
        """Of two commits that replace a date, the engine refuses the second by these, even where the date was empty."""
        return [Transaction(f"replace:{date}", self.version + 1) for date in sorted(dates)]

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Widen the table; older rows have no value there."""
        added = Schema.from_arrow(pa.schema(fields)).fields
        with translated(self._uri):
            self._delta.alter.add_columns(added)
        sync_commit(self._uri, self._delta.version())

    def keep_log_entries(self) -> None:
        """Have the engine remove no log entries by itself, see `removes_log_entries`."""
        with translated(self._uri):
            self._delta.alter.set_table_properties(dict(_KEEP_LOG))
        sync_commit(self._uri, self._delta.version())

    def swap(self, removed: Sequence[DataFile], added: Sequence[DataFile], now_us: int) -> int:
        """Put files in place of files that hold the same rows in another order or cut; see `pipelines.lake.compaction`.

        Rows that others append in between stay. What replaces one of these dates as a whole does not go together with
        this: of the two, the second is refused. The engine itself would take both and hold the rows twice.

        Args:
            removed: Files of this version.
            added: Files that lie in the table's folder, of the same dates.
            now_us: The clock, UTC microseconds: from now on the removed files wait for `pipelines.lake.upkeep`.

        Returns:
            The version of the table, with this commit in it.

        Raises:
            CommitConflictError: Another commit has put others in place of some of these files.
        """
        gone = _remove_actions(removed, now_us, data_change=False)
        return self._take_over(
            [*(_add_action(file, data_change=False) for file in added), *gone],
            mode="append",
            transactions=self._fence({file.date for file in removed}),
        )

    def _write(
        self,
        rows: pa.Table,
        transactions: Collection[tuple[str, int]],
        metadata: Mapping[str, Any] | None,
        fenced: Collection[str] = (),
        **mode: str,
    ) -> int:
        _refuse_taken(self, self._uri, transactions)
        properties = CommitProperties(
            custom_metadata=dict(metadata or {}),
            app_transactions=[*self._fence(fenced), *_transactions(transactions)] or None,
        )
        with translated(self._uri):
            write_deltalake(
                self._delta,
                _completed(rows, self._layout.schema),
                writer_properties=self._writer_properties(),
                commit_properties=properties,
                **mode,
            )
        version: int = self._delta.version()
        sync_commit(self._uri, version)
        return version

    def _writer_properties(self) -> WriterProperties:
        return _COMPUTED if self._layout.computed else _MEASURED


def _completed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    given = set(rows.column_names)
    columns = [rows[f.name].cast(f.type) if f.name in given else pa.nulls(len(rows), f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _transactions(named: Collection[tuple[str, int]]) -> list[Transaction]:
    return [Transaction(*each) for each in named]


def _refuse_taken(snapshot: Snapshot, uri: str, transactions: Collection[tuple[str, int]]) -> None:
    """The engine itself refuses a number only when it is committed between opening and committing."""
    for writer, number in transactions:
        if number <= snapshot.transaction(writer):
            raise conflict(uri, f"{writer} has already committed number {number}")


def _add_action(file: DataFile, *, data_change: bool = True) -> AddAction:
    lows, highs = ({n: v for n, v in ends.items() if v is not None} for ends in (file.lows, file.highs))
    statistics = {"numRecords": file.rows, "minValues": lows, "maxValues": highs}
    return AddAction(
        file.path, file.size, _partition(file), file.modified_ms, data_change=data_change, stats=json.dumps(statistics)
    )


def _remove_actions(files: Sequence[DataFile], now_us: int, *, data_change: bool) -> list[RemoveAction]:
    return [
        RemoveAction(file.path, data_change, now_us // 1000, size=file.size, partition_values=_partition(file))
        for file in files
    ]


def _partition(file: DataFile) -> dict[str, str | None]:
    return {"date": file.date} if file.date else {}
