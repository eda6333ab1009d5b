"""What a table holds, as its log states it: no data file is opened."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.datafile import DataFile
from pipelines.lake.compaction import LARGE_BYTES
from pipelines.lake.table import Table

_COMMITS_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Stock:
    """What a table holds in its newest version.

    Attributes:
        rows: Rows.
        files: Data files.
        bytes: Their bytes.
        version: Number of the newest version.
        first_us: The earliest time in a row, UTC microseconds; None for an empty table or one without times.
        last_us: The latest.
        changed_us: When rows were last added or replaced, by the clock of whoever did it; None when that was more than
            a hundred commits ago.
        small: Share of the files that are small enough to be merged with others of their date, 0..1.
    """

    rows: int
    files: int
    bytes: int
    version: int
    first_us: int | None
    last_us: int | None
    changed_us: int | None
    small: float


def stock(table: Table) -> Stock | None:
    """Tell what a table holds; None when it has not been written yet."""
    if not table.exists():
        return None
    snapshot = table.open()
    files = snapshot.files()
    _, *others = table.layout.statistics
    when = others[0] if others else ""
    lows = [file.lows[when] for file in files if file.lows.get(when) is not None]
    highs = [file.highs[when] for file in files if file.highs.get(when) is not None]
    changes = [commit for commit in snapshot.history(_COMMITS_LOOKED_AT) if commit["operation"] == "WRITE"]
    return Stock(
        rows=sum(file.rows for file in files),
        files=len(files),
        bytes=sum(file.size for file in files),
        version=snapshot.version,
        first_us=min(lows, default=None),
        last_us=max(highs, default=None),
        changed_us=changes[0]["timestamp"] * 1000 if changes else None,
        small=_small_share(files),
    )


def _small_share(files: Sequence[DataFile]) -> float:
    small = [file.date for file in files if file.size < LARGE_BYTES]
    alone = sum(small.count(date) == 1 for date in set(small))
    return (len(small) - alone) / len(files) if files else 0.0
