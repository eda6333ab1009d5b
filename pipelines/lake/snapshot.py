"""One version of a table, to read from or to commit on top of."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction

from pipelines.datafile import DataFile, Folder
from pipelines.durability import sync_commit
from pipelines.errors import CommitConflictError, LakeError
from pipelines.lake.actions import add_action, completed, counted, remove_actions
from pipelines.lake.engine import conflict, translated
from pipelines.lake.view import View

# `pipelines.lake.upkeep` alone removes entries, and first makes the checkpoint durable that stands in for them.
KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}


class Snapshot(View):
    """One version of a table: read from it, or commit on top of it.

    After a commit the snapshot is used up; open the table again, or go on with `renewed`.

    Args:
        folder: Where the table lies, and how it is laid out.
        delta: The version, as the engine holds it.
        reopen: Opens the table at its newest version.
    """

    def __init__(self, folder: Folder, delta: DeltaTable, reopen: Callable[[], "Snapshot"]) -> None:
        super().__init__(folder, delta)
        self._reopen = reopen

    def renewed(self) -> "Snapshot":
        """The table right after the latest commit of this snapshot, of which the engine reads what is new."""
        with translated(self._uri):
            self._delta.update_incremental()
        return Snapshot(self._folder, self._delta, self._reopen)

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
        actions = [add_action(file) for file in self._written(rows)]
        return self._take_over(actions, mode="append", transactions=counted([transaction]), metadata=metadata)

    def replace(
        self,
        rows: pa.Table,
        dates: Collection[str] | None,
        *,
        transactions: Collection[tuple[str, int]] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Put these rows in place of all rows of these dates, or of all rows there are, in one commit; see `append`.

        Raises:
            LakeError: There are rows of other dates among them.
        """
        _refuse_taken(self, self._uri, transactions)
        files = self._written(rows)
        strange = sorted({file.date for file in files} - set(dates)) if dates is not None else []
        if strange:
            self._folder.remove(files)
            raise LakeError(f"there are rows of {strange[0]}, which is not to be replaced", where=self._uri)
        return self._put_in_place(files, dates, transactions, metadata)

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
        return self._put_in_place(files, dates, transactions)

    def _put_in_place(
        self,
        files: Sequence[DataFile],
        dates: Collection[str] | None,
        transactions: Collection[tuple[str, int]],
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Put files in place of all files of these dates, or of all there are, as this version has them.

        The engine would also let pass what others append to these dates, so it is not allowed to look past any commit:
        what came in between is judged here.
        """
        snapshot = self
        while True:
            try:
                return snapshot._put(files, dates, transactions, metadata)
            except CommitConflictError:
                newer = self._reopen()
                same = newer.files(dates) == self.files(dates)
                free = all(number > newer.transaction(writer) for writer, number in transactions)
                if newer.version == snapshot.version or not (same and free):
                    raise
                snapshot = newer

    def _put(
        self,
        files: Sequence[DataFile],
        dates: Collection[str] | None,
        transactions: Collection[tuple[str, int]],
        metadata: Mapping[str, Any] | None,
    ) -> int:
        _refuse_taken(self, self._uri, transactions)
        return self._take_over(
            [add_action(file) for file in files],
            mode="append" if dates is not None and not dates else "overwrite",
            partition_filters=[("date", "in", sorted(dates))] if dates else None,
            transactions=[*self._fence([""] if dates is None else dates), *counted(transactions)],
            metadata=metadata,
            retries=0,
        )

    def _written(self, rows: pa.Table) -> list[DataFile]:
        with translated(self._uri):
            return self._folder.write(completed(rows, self._layout.schema))

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
            [*(add_action(file) for file in added), *remove_actions(removed, now_us, data_change=True)],
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
        retries: int | None = None,
        **mode: Any,
    ) -> int:
        """Commit files that are there already; return the newest version, durable."""
        with translated(self._uri):
            properties = CommitProperties(dict(metadata or {}), retries, transactions)
            self._delta.create_write_transaction(
                actions,
                schema=self._delta.schema(),
                partition_by=["date"] if self._layout.partitioned else None,
                commit_properties=properties,
                **mode,
            )
        newest = self._newest()
        for version in range(self.version + 1, newest + 1):  # ours, and those the engine let pass before it
            sync_commit(self._uri, version)
        return newest

    def _newest(self) -> int:
        """The newest version, right after a commit.

        The engine would look through the names of all entries for it, which with a long history costs more than to
        write one. A disk is asked for the next ones by name; a service is left to the engine.
        """
        if "://" in self._uri:
            with translated(self._uri):
                self._delta.update_incremental()
            return int(self._delta.version())
        log, version = Path(self._uri) / "_delta_log", self.version + 1
        while (log / f"{version + 1:020d}.json").exists():
            version += 1
        return version

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
            self._delta.alter.set_table_properties(dict(KEEP_LOG))
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
        gone = remove_actions(removed, now_us, data_change=False)
        return self._take_over(
            [*(add_action(file, data_change=False) for file in added), *gone],
            mode="append",
            transactions=self._fence({file.date for file in removed}),
        )


def _refuse_taken(snapshot: Snapshot, uri: str, transactions: Collection[tuple[str, int]]) -> None:
    """The engine itself refuses a number only when it is committed between opening and committing."""
    for writer, number in transactions:
        if number <= snapshot.transaction(writer):
            raise conflict(uri, f"{writer} has already committed number {number}")
