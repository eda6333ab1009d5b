"""The lake: Delta tables beside the raw objects, in the same store.

A table is opened at one version, a `Snapshot`: what is read from it is one state, and what is written goes on top of
that very state or fails with `CommitConflictError`. A commit names its writer and a number that rises with each of the
writer's commits (a Delta application transaction); two processes that would commit the same number cannot both succeed,
which is what "ingested once" rests on.

Local commits are made durable (see `pipelines.durability`), which the table engine leaves out. What the tables hold
stands in `pipelines.tables`.
"""

import contextlib
import functools
import json
import operator
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from features.catalog import load
from features.featureset import FeatureSet
from features.schema import Fleet
from pipelines import tables
from pipelines.datafile import DataFile, Folder
from pipelines.durability import sync_commit, torn_entry
from pipelines.errors import CommitConflictError, LakeError, PipelineError, SettingsError, TableMissingError
from pipelines.settings import storage_options

# Row groups of a quarter million rows keep what is decoded at a time near the cache, and let readers skip more: two
# threads read and sum up a day in two thirds of the memory that groups of a million take.
_MEASURED = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=2**18)
# Computed numbers hardly ever repeat: to look for repetitions first takes nine times as long and makes files larger.
_COMPUTED = WriterProperties(
    compression="LZ4_RAW",
    default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE"),
    column_properties={
        name: ColumnProperties(dictionary_enabled=True, statistics_enabled="CHUNK")
        for name in ("device", "start", "end", "first", "last")
    },
)
_COMPACT_ABOVE = 32  # files of one date; each costs a request on S3 and a millisecond on a disk


class Lake:
    """The tables of one store.

    Args:
        store_uri: The store, as `serving.store.open_store` takes it: a folder or ``s3://bucket/prefix``.
        options: Storage options of the table engine; by default those of the environment.

    Raises:
        SettingsError: The store is of a kind that cannot hold tables.

    Example:
        >>> import tempfile
        >>> lake = Lake(tempfile.mkdtemp())
        >>> lake.telemetry("pumps").exists()
        False
    """

    def __init__(self, store_uri: str, options: Mapping[str, str] | None = None) -> None:
        scheme, separator, _ = store_uri.partition("://")
        if separator and scheme not in ("file", "s3"):
            raise SettingsError(
                "this store cannot hold tables", where=store_uri, fix="use a folder or s3://bucket/prefix"
            )
        if scheme == "file" or not separator:
            path = unquote(urlsplit(store_uri).path) if separator else store_uri
            store_uri, options = str(Path(path).expanduser().absolute()), {}
        self._root = store_uri.rstrip("/")
        self._options = dict(storage_options() if options is None else options)

    def telemetry(self, fleet: Fleet | str) -> "Table":
        """Accepted readings of a fleet; a name means that of the catalog."""
        return self._table(tables.telemetry(load(fleet).fleet if isinstance(fleet, str) else fleet))

    def events(self, fleet: Fleet | str) -> "Table":
        """What happened to the devices of a fleet; a name means that of the catalog."""
        return self._table(tables.events(load(fleet).fleet if isinstance(fleet, str) else fleet))

    def panes(self, features: FeatureSet) -> "Table":
        """Panes that a feature set is computed from."""
        return self._table(tables.panes(features))

    def features(self, features: FeatureSet) -> "Table":
        """Rows of a feature set."""
        return self._table(tables.features(features))

    def devices(self, features: FeatureSet) -> "Table":
        """How far the panes of each device reach that a feature set was computed from."""
        return self._table(tables.devices(features))

    def predictions(self, usecase: str) -> "Table":
        """Predictions of a use case, of every placement."""
        return self._table(tables.predictions(usecase))

    def _table(self, layout: tables.Layout) -> "Table":
        return Table(f"{self._root}/lake/{layout.path}", layout, self._options)


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
        with _translated(self.uri):
            return bool(DeltaTable.is_deltatable(self.uri, self._options()))

    def open(self, version: int | None = None) -> "Snapshot":
        """Open the table at its newest or at an earlier version.

        Raises:
            TableMissingError: Nothing was written yet, or not this version.
        """
        try:
            with _translated(self.uri):
                return Snapshot(self, DeltaTable(self.uri, version=version, storage_options=self._options()))
        except TableNotFoundError as error:
            what = "this table has not been written yet"
            raise TableMissingError(what, where=self.uri, fix=self.layout.made_by) from error
        except LakeError as error:
            if version is not None and version > self.open().version:
                raise TableMissingError(f"the table has no version {version}", where=self.uri) from error
            raise

    def version(self) -> int:
        """The number of the newest version; see `open`."""
        return self.open().version

    def create(self) -> "Snapshot":
        """Open the table, make it if it is missing, and add columns that its schema has gained."""
        if not self.exists():
            self._make()
        snapshot = self.open()
        missing = [field for field in self.layout.schema if field.name not in snapshot.columns]
        if missing:
            snapshot.add_columns(missing)
            snapshot = self.open()
        return snapshot

    def _make(self) -> None:
        try:
            with _translated(self.uri):
                table = DeltaTable.create(
                    self.uri,
                    schema=self.layout.schema,
                    mode="error",
                    partition_by=["date"] if self.layout.partitioned else None,
                    configuration={"delta.dataSkippingStatsColumns": ",".join(self.layout.statistics)},
                    storage_options=self._options(),
                )
        except PipelineError:
            if self.exists():  # somebody else made it in the same moment
                return
            raise
        sync_commit(self.uri, table.version())

    def _options(self) -> dict[str, str] | None:
        return dict(self.options) or None


class Snapshot:
    """One version of a table: read from it, or commit on top of it.

    After a commit the snapshot is used up; open the table again.
    """

    def __init__(self, table: Table, delta: DeltaTable) -> None:
        self._table = table
        self._delta = delta
        self.version: int = delta.version()

    @property
    def columns(self) -> list[str]:
        """The names of the columns in this version."""
        return [field.name for field in self._delta.schema().fields]

    def transaction(self, writer: str) -> int:
        """The number of the latest commit of this writer, 0 if it never committed."""
        with _translated(self._table.uri):
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
        with _translated(self._table.uri):
            return list(pa.table(self._delta.get_add_actions(flatten=True)).to_pylist())

    def files(self, dates: Collection[str] | None = None) -> list[DataFile]:
        """The files of these dates, or all, sorted by path."""
        kept = self._table.layout.statistics
        found = [
            DataFile(
                file["path"],
                file["partition.date"],
                file["size_bytes"],
                file["num_records"],
                file["modification_time"],
                {name: file.get(f"min.{name}") for name in kept},
                {name: file.get(f"max.{name}") for name in kept},
            )
            for file in self._files()
            if dates is None or file["partition.date"] in dates
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

        with _translated(self._table.uri):
            options = pyarrow.dataset.ParquetReadOptions(dictionary_columns={"device"} if coded else set())
            dataset = self._delta.to_pyarrow_dataset(filesystem=self._filesystem(), parquet_read_options=options)
            return dataset.to_table(columns=list(columns) if columns is not None else None, filter=condition)

    def append(self, rows: pa.Table, *, transaction: tuple[str, int], metadata: Mapping[str, Any] | None = None) -> int:
        """Add rows in one commit; without rows the commit still counts the transaction.

        Args:
            rows: The rows, columns as in the schema.
            transaction: The writer and its number, greater than that of its latest commit.
            metadata: Kept with the commit and shown by `history`.

        Returns:
            The version this made.

        Raises:
            CommitConflictError: This writer's number is taken, or another commit got in the way.
        """
        return self._write(rows, (transaction,), metadata, mode="append")

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
        _refuse_taken(self, self._table.uri, transactions)
        with _translated(self._table.uri):
            self._delta.create_write_transaction(
                [_add_action(file) for file in files],
                mode="overwrite" if dates else "append",
                schema=Schema.from_arrow(self._table.layout.schema),
                partition_by=["date"],
                partition_filters=[("date", "in", sorted(dates))] if dates else None,
                commit_properties=CommitProperties(
                    app_transactions=[*self._fence(dates), *_transactions(transactions)]
                ),
            )
        newest = self._table.open().version
        for version in range(self.version + 1, newest + 1):  # ours, and those the engine let pass before it
            sync_commit(self._table.uri, version)
        return newest

    def _fence(self, dates: Collection[str]) -> list[Transaction]:
        """Of two commits that replace a date, the engine refuses the second by these, even where the date was empty."""
        return [Transaction(f"replace:{date}", self.version + 1) for date in sorted(dates)]

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Widen the table; older rows have no value there."""
        added = Schema.from_arrow(pa.schema(fields)).fields
        with _translated(self._table.uri):
            self._delta.alter.add_columns(added)
        sync_commit(self._table.uri, self._delta.version())

    def compact(self) -> int:
        """Merge the files of dates that have very many; the rows stay the same.

        Returns:
            How many dates (or 1 for a table without dates) were rewritten; 0 also when another commit got in the way.
        """
        counts = Counter(file.get("partition.date", "") for file in self._files())
        crowded = [date for date, count in counts.items() if count > _COMPACT_ABOVE]
        if not crowded:
            return 0
        chosen = [("date", "in", crowded)] if self._table.layout.partitioned else None
        try:
            with _translated(self._table.uri):
                self._delta.optimize.compact(partition_filters=chosen)
        except CommitConflictError:
            return 0
        sync_commit(self._table.uri, self._delta.version())
        return len(crowded)

    def _write(
        self,
        rows: pa.Table,
        transactions: Collection[tuple[str, int]],
        metadata: Mapping[str, Any] | None,
        fenced: Collection[str] = (),
        **mode: str,
    ) -> int:
        _refuse_taken(self, self._table.uri, transactions)
        properties = CommitProperties(
            custom_metadata=dict(metadata or {}),
            app_transactions=[*self._fence(fenced), *_transactions(transactions)] or None,
        )
        with _translated(self._table.uri):
            write_deltalake(
                self._delta,
                rows.cast(self._table.layout.schema),
                writer_properties=_COMPUTED if self._table.layout.computed else _MEASURED,
                commit_properties=properties,
                **mode,
            )
        version: int = self._delta.version()
        sync_commit(self._table.uri, version)
        return version

    def _filesystem(self) -> pyarrow.fs.FileSystem | None:
        """The engine's own bridge to Python costs half the reading time; on a local disk it is not needed."""
        if "://" in self._table.uri:
            return None
        return pyarrow.fs.SubTreeFileSystem(self._table.uri, pyarrow.fs.LocalFileSystem())


def _transactions(named: Collection[tuple[str, int]]) -> list[Transaction]:
    return [Transaction(*each) for each in named]


def _refuse_taken(snapshot: Snapshot, uri: str, transactions: Collection[tuple[str, int]]) -> None:
    """The engine itself refuses a number only when it is committed between opening and committing."""
    for writer, number in transactions:
        if number <= snapshot.transaction(writer):
            raise _conflict(uri, f"{writer} has already committed number {number}")


def _add_action(file: DataFile) -> AddAction:
    statistics = {"numRecords": file.rows, "minValues": dict(file.lows), "maxValues": dict(file.highs)}
    return AddAction(
        file.path, file.size, {"date": file.date}, file.modified_ms, data_change=True, stats=json.dumps(statistics)
    )


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn the errors of the table engine into ours; that there is no table stays its own."""
    try:
        yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise _conflict(uri, str(error)) from error
    except (DeltaError, OSError, pa.ArrowException, ValueError) as error:
        why, _, _ = " ".join(str(error).split()).partition(" 0: <unknown>")  # the engine's own stack says nothing
        torn = torn_entry(uri)
        fix = f"rm '{torn}': a power cut tore it, and its rows are written again" if torn else ""
        raise LakeError("the table cannot be used", where=uri, why=why[:500], fix=fix) from error


def _conflict(uri: str, why: str) -> CommitConflictError:
    what = "another writer changed the table first"
    return CommitConflictError(what, where=uri, why=" ".join(why.split()), fix="run it again")
