"""The upkeep of a table: merge small files, sum up its log, remove files that no version needs any more.

What can still be asked for is never removed. A data file stays while the newest version holds it, while it left the
table, or was written, less than the horizon ago (30 days, never less than seven: readers and writers that are at work
would lose files under their feet), and while a version holds it that a registered training names. Where nobody can say
what trainings name, because the registry does not answer, only tables that trainings never name are vacuumed. Log
entries go only when they are older than 30 days, a durable checkpoint stands in for them, and no named version is among
them.

Rows go by age only where a fleet says so (`features.schema.Fleet.keep`), and only dates as a whole. That makes a new
version; the earlier ones hold the rows until vacuum removes their files, so all of the above holds for them, too. What
was computed from the rows stays.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
from deltalake import DeltaTable

from features.schema import MICROSECOND
from pipelines.durability import sync_checkpoint, sync_commit
from pipelines.errors import CommitConflictError, HorizonError, TableMissingError
from pipelines.lake.compaction import Compacted, compact
from pipelines.lake.engine import translated
from pipelines.lake.table import Table
from pipelines.tables import DAY_US

HORIZON: Final = timedelta(days=30)
SHORTEST: Final = timedelta(days=7)
"""The engine's own limit."""
CROWDED: Final = 4
"""Once a day, dates with more small files than this are merged; an ingest by itself merges only very crowded ones."""
_RETENTION: Final = "retention"
_LOG_KEPT: Final = timedelta(days=30)  # the engine's own default, delta.logRetentionDuration


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What was done to a table, or would be.

    Attributes:
        compacted: Small files that were merged.
        checkpoint: The version whose checkpoint was written now; None when there was one.
        entries: Log entries that were removed.
        files: Data files that no version needs.
        bytes: Their bytes.
        kept: Versions that trainings name and whose files were kept.
        lost: Versions that trainings name and that cannot be opened any more.
        held: Why the vacuum was left out; empty when it was not.
        outlived: Dates whose rows were older than they are kept.
        rows: How many rows these were.
    """

    compacted: Compacted
    checkpoint: int | None = None
    entries: int = 0
    files: int = 0
    bytes: int = 0
    kept: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    held: str = ""
    outlived: tuple[str, ...] = ()
    rows: int = 0


def upkeep(
    table: Table,
    now_us: int,
    *,
    older_than: timedelta = HORIZON,
    named: Collection[int] | None = (),
    keep: timedelta | None = None,
    dry_run: bool = False,
) -> Upkeep:
    """Look after one table.

    Args:
        table: The table; nothing happens when it has not been written.
        now_us: The clock, UTC microseconds.
        older_than: The horizon.
        named: Versions that trainings name; None when nobody can say.
        keep: How old rows may become, in whole dates; None: as old as they like.
        dry_run: Only say what would be removed; nothing is written. Files of rows that would go are not counted: their
            versions hold them until the horizon.

    Raises:
        HorizonError: The horizon is shorter than seven days.
    """
    if older_than < SHORTEST:
        raise HorizonError(
            f"a horizon of {older_than} is too short",
            why="runs that are at work would lose files under their feet",
            fix=f"give at least {SHORTEST.days} days",
        )
    if not table.exists():
        return Upkeep(Compacted())
    outlived, rows = ((), 0) if keep is None else _outlive(table, keep, now_us, dry_run=dry_run)
    done = Compacted() if dry_run else compact(table, now_us, CROWDED)
    checkpoint = None if dry_run else _sum_up(table)
    if named is None:
        held = "the registry does not answer, and only it knows which versions trainings name"
        return Upkeep(done, checkpoint, held=held, outlived=outlived, rows=rows)
    kept = tuple(version for version in sorted(set(named)) if _opens(table, version))
    lost = tuple(sorted(set(named) - set(kept)))
    files, size = _vacuum(table, older_than, kept, dry_run=dry_run)
    entries = 0 if dry_run or _expired(table, kept, now_us) else _clean_log(table)
    return Upkeep(done, checkpoint, entries, files, size, kept, lost, outlived=outlived, rows=rows)


def _outlive(table: Table, keep: timedelta, now_us: int, *, dry_run: bool) -> tuple[tuple[str, ...], int]:
    """Take dates out that ended longer ago; they, and how many rows they had."""
    oldest = np.datetime_as_string(np.datetime64((now_us - keep // MICROSECOND) // DAY_US, "D"))
    while True:
        snapshot = table.open()
        gone = [file for file in snapshot.files() if file.date and file.date < oldest]
        dates = tuple(sorted({file.date for file in gone}))
        if gone and not dry_run:
            try:
                number = snapshot.transaction(_RETENTION) + 1
                snapshot.exchange(gone, [], now_us, transaction=(_RETENTION, number), metadata={"outlived": dates})
            except CommitConflictError:
                continue  # others commit, too: what is as old as this, no more of them will touch
        return dates, sum(file.rows for file in gone)


def _sum_up(table: Table) -> int | None:
    """Write a checkpoint of the newest version, unless there is one: replacing a durable one would risk it."""
    version = table.create().version
    if "://" not in table.uri and list(Path(table.uri, "_delta_log").glob(f"{version:020d}.checkpoint*")):
        return None
    with translated(table.uri):
        DeltaTable(table.uri, version=version, storage_options=dict(table.options) or None).create_checkpoint()
    sync_checkpoint(table.uri, version)
    return version


def _vacuum(table: Table, older_than: timedelta, kept: Collection[int], *, dry_run: bool) -> tuple[int, int]:
    delta, hours = _open(table), -(-older_than // timedelta(hours=1))
    before: int = delta.version()
    with translated(table.uri):
        paths = delta.vacuum(hours, dry_run=True, full=True, keep_versions=sorted(kept))
        sizes = table.folder.sizes(str(path) for path in paths)
        if paths and not dry_run:
            delta.vacuum(hours, dry_run=False, full=True, keep_versions=sorted(kept))
    for version in range(before + 1, _open(table).version() + 1):
        sync_commit(table.uri, version)
    return len(paths), sum(sizes)


def _expired(table: Table, kept: Collection[int], now_us: int) -> bool:
    """Whether a version that a training names is old enough for its log entries to be removed."""
    oldest_ms = (now_us - _LOG_KEPT // MICROSECOND) // 1000
    return any(commit["version"] in kept and commit["timestamp"] < oldest_ms for commit in table.open().history())


def _clean_log(table: Table) -> int:
    delta = _open(table)
    before = len(delta.history())
    with translated(table.uri):
        delta.cleanup_metadata()
    return before - len(_open(table).history())


def _opens(table: Table, version: int) -> bool:
    try:
        table.open(version)
    except TableMissingError:
        return False
    return True


def _open(table: Table) -> DeltaTable:
    with translated(table.uri):
        return DeltaTable(table.uri, storage_options=dict(table.options) or None)
