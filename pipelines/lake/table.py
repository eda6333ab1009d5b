"""A table, whether or not it has been written yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from pipelines import tables
from pipelines.datafile import DataFile, Folder
from pipelines.durability import sync_commit
from pipelines.errors import LakeError, PipelineError, TableMissingError
from pipelines.lake.engine import KEPT_WHILE_NAMED, RESTORE, translated
from pipelines.lake.snapshot import KEEP_LOG, Snapshot

# Opening a table reads the entries since the last checkpoint: with the engine's own interval of 100, twice as slowly.
_CHECKPOINT_EVERY = "10"


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

    def open(self, version: int | None = None) -> Snapshot:
        """Open the table at its newest or at an earlier version.

        Raises:
            TableMissingError: Nothing was written yet, or there is no such version, or not any more.
        """
        try:
            with translated(self.uri):
                delta = DeltaTable(self.uri, version=version, storage_options=self._options())
                return Snapshot(self.folder, delta, self.open)
        except TableNotFoundError as error:
            if version is None:
                raise self._missing() from error
            raise self._without(version) from error
        except LakeError as error:
            if version is not None and version > self.open().version:
                raise self._without(version) from error
            raise

    def discard(self, files: Iterable[DataFile]) -> None:
        """Remove files that were written for a commit that was refused.

        A service whose answer got lost may refuse a commit that it has taken: files that the table names stay.
        """
        named = {file.path for file in self.open().files()}
        self.folder.remove(file for file in files if file.path not in named)

    def version(self) -> int:
        """The number of the newest version; see `open`."""
        return self.open().version

    def create(self) -> Snapshot:
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
                        **KEEP_LOG,
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

    def _without(self, version: int) -> TableMissingError:
        """That a version cannot be opened, and which ones can; where there is no table at all, that it is missing."""
        newest = self.open()
        oldest = min(int(commit["version"]) for commit in newest.history())
        if version > newest.version:
            why = f"its newest is version {newest.version}: the table was restored or written anew since"
        else:
            why = f"its log begins with version {oldest}: {KEPT_WHILE_NAMED}"
        return TableMissingError(f"the table has no version {version}", where=self.uri, why=why, fix=RESTORE)

    def _options(self) -> dict[str, str] | None:
        return dict(self.options) or None
