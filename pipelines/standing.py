"""The rows of the table that a batch may change: copies of its readings, and what its objects gave formerly."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.former import Former
from pipelines.lake import Snapshot
from pipelines.unique import Rule

KEY = ("device", "time", "sequence")

_Bounds = dict[str, dict[str, int]]
"""Which times `Snapshot.read` reads."""
_MOST_ROWS = 4_000_000  # stored keys that are compared at a time
_MOST_DEVICES = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """Looks for rows of the table.

    Attributes:
        snapshot: The table.
        rule: When two readings are copies.
        former: Former versions of the objects of the batch.
        columns: Columns to read.
    """

    snapshot: Snapshot
    rule: Rule
    former: Former
    columns: Sequence[str]

    def touched(self, mine: pa.Table, dates: Sequence[str]) -> pa.Table:
        """The stored rows that are copies of the readings, or come from former versions of their objects; whole."""
        parts = [self._touched_within(mine, dates, bounds) for bounds in self._slices(mine, dates)]
        return pa.concat_tables([mine.slice(0, 0), *(part.cast(mine.schema) for part in parts if len(part))])

    def _slices(self, mine: pa.Table, dates: Sequence[str]) -> list[_Bounds]:
        """Spans of time in which so many stored rows are to be compared at most, were they spread evenly."""
        counts = self.snapshot.row_counts()
        stored = sum(counts.get(date, 0) for date in dates)
        reach = pc.min_max(mine["time"]).as_py()
        low, high = reach["min"], reach["max"]
        if self.former or low is None:  # what former versions gave may lie anywhere on these dates
            if stored <= _MOST_ROWS:
                return [{}]
            ranges = self.snapshot.ranges("time")
            low = min(ranges[date][0] for date in dates if date in ranges)
            high = max(ranges[date][1] for date in dates if date in ranges)
        elif stored > _MOST_ROWS:
            near = (file for file in self.snapshot.files(dates) if file.may_hold(low, high))
            stored = sum(file.rows for file in near)
        cuts = np.linspace(low - 1, high, 1 + max(-(-stored // _MOST_ROWS), 1)).astype(np.int64).tolist()
        cuts[0], cuts[-1] = low - 1, high  # floats have not all digits
        return [{"after": {"time": a}, "before": {"time": b + 1}} for a, b in itertools.pairwise(cuts) if a < b]

    def _touched_within(self, mine: pa.Table, dates: Sequence[str], bounds: _Bounds) -> pa.Table:
        former = self.former
        lineage = ["batch", "object"] if former else []
        stored = self.snapshot.read([*KEY, *lineage], dates=dates, coded=True, **bounds)
        if not len(stored):
            return mine.slice(0, 0)
        ours, theirs = self.rule.keys(mine, stored)
        wanted = _among(theirs, ours)
        if former:
            wanted |= (former.positions(stored) >= 0) | former.doubtful(stored)
        if not wanted.any():
            return mine.slice(0, 0)
        few = stored.filter(pa.array(wanted)).select(KEY)
        del stored
        reach, devices = pc.min_max(few["time"]).as_py(), pc.unique(few["device"].cast(pa.string()))
        whole = self.snapshot.read(
            self.columns,
            dates=dates,
            devices=devices.to_pylist() if len(devices) <= _MOST_DEVICES else None,
            after={"time": reach["min"] - 1},
            before={"time": reach["max"] + 1},
        )
        ours, theirs = self.rule.keys(few, whole)
        return whole.filter(pa.array(_among(theirs, ours)))


def runs(dates: Sequence[str], counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Cut dates into lists that have so many stored rows at most; a larger date stands alone."""
    run: list[str] = []
    rows = 0
    for date in dates:
        if run and rows + counts.get(date, 0) > _MOST_ROWS:
            yield run
            run, rows = [], 0
        run.append(date)
        rows += counts.get(date, 0)
    if run:
        yield run


def _among(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys are among some others; quicker than ``isin`` where many are asked and few are wanted."""
    if not len(wanted) or not len(keys):
        return np.zeros(len(keys), bool)
    wanted = np.sort(wanted)
    return np.asarray(np.append(wanted, -1)[np.searchsorted(wanted, keys)] == keys)
