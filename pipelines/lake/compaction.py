"""Many small files of a date become few, sorted by device and time, with the same rows.

The engine has a function for this, and two things speak against it. It joins files as they come, so row groups of the
result span all devices, and readers can skip none of them. And two processes that do it at once both succeed, after
which every row is there twice (seen with deltalake 1.6.6): its conflict check lets a file be removed twice when no row
changes. Here the commit carries a fence for its date, see `Snapshot.swap`; of two, the second is refused and leaves
the date as it is. Rows that are appended meanwhile stay where they are.

Memory is bounded: a date is rewritten some devices at a time, as many as fit, and files that are large already are
left alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipelines.datafile import DataFile, Folder
from pipelines.errors import CommitConflictError, LakeError
from pipelines.lake.engine import translated
from pipelines.lake.table import Table

CROWDED: Final = 32
"""Files of one date that are too many; each costs a request on S3 and a millisecond on a disk."""
LARGE_BYTES: Final = 64 * 1024 * 1024
"""A file of this size gains nothing from being joined to others."""
_AT_ONCE_BYTES: Final = 64 * 1024 * 1024  # decoded rows that are sorted in one go; sorting holds them three times
_GROUP_ROWS: Final = 2**18


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done: dates, files before and after, and dates that others were busy with."""

    dates: int = 0
    removed: int = 0
    added: int = 0
    refused: int = 0


def compact(table: Table, now_us: int, crowded: int = CROWDED, at_once: int = _AT_ONCE_BYTES) -> Compacted:
    """Merge the small files of dates that have many of them; a table without dates counts as one date.

    Args:
        table: The table; nothing happens when it has not been written.
        now_us: The clock, UTC microseconds.
        crowded: Dates with more small files than this are rewritten.
        at_once: Bytes of decoded rows to sort in one go.
    """
    done = Compacted()
    if not table.exists():
        return done
    dates = [date for date, files in _small(table.open().files()).items() if len(files) > crowded]
    for date in dates:
        snapshot = table.open()  # the one before is used up
        files = _small(snapshot.files([date])).get(date, [])
        with translated(table.uri):
            folder = replace(table.folder, layout=snapshot.layout)
            parts = _sorted_parts(folder, files, at_once)
            written = list(folder.write_parts(date, parts, _GROUP_ROWS, LARGE_BYTES))
        _require_all(table.uri, date, files, written)
        try:
            snapshot.swap(files, written, now_us)
        except CommitConflictError:
            table.discard(written)
            done = replace(done, refused=done.refused + 1)
        else:
            done = Compacted(done.dates + 1, done.removed + len(files), done.added + len(written), done.refused)
    return done


def _require_all(uri: str, date: str, files: Sequence[DataFile], written: Sequence[DataFile]) -> None:
    """The files that are taken out are the only copy in the table: never trade them for less."""
    before, after = (sum(file.rows for file in each) for each in (files, written))
    if before != after:
        raise LakeError(
            f"a compaction would have made {after} of {before} rows",
            where=f"{uri} {date}".rstrip(),
            why="the table's log and its files disagree, or a row has no device; nothing was changed",
        )


def _small(files: Sequence[DataFile]) -> dict[str, list[DataFile]]:
    found: defaultdict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.size < LARGE_BYTES:
            found[file.date].append(file)
    return dict(found)


def _sorted_parts(folder: Folder, files: Sequence[DataFile], at_once: int) -> Iterator[pa.Table]:
    """All rows of the files by device and time, some devices at a time."""
    columns = [name for name in folder.layout.schema.names if name != "date"]
    order = [(name, "ascending") for name in folder.layout.statistics[:2]]
    most_rows = max(at_once // (8 * len(columns)), 1)
    with folder.nearby(files) as found:
        for names in _shares(found, most_rows):
            few = found.scanner(columns=columns, filter=pc.field("device").isin(names), fragment_readahead=2)
            yield few.to_table().sort_by(order)


def _shares(found: ds.Dataset, most_rows: int) -> Iterator[list[str]]:
    """The devices in order of their names, in lists that have so many rows at most; one device is never cut."""
    counts: Counter[str] = Counter()
    for batch in found.scanner(columns=["device"], fragment_readahead=2).to_batches():
        counts.update({each["values"]: each["counts"] for each in pc.value_counts(batch["device"]).to_pylist()})
    share: list[str] = []
    rows = 0
    for name, count in sorted(counts.items()):
        if share and rows + count > most_rows:
            yield share
            share, rows = [], 0
        share.append(name)
        rows += count
    if share:
        yield share
