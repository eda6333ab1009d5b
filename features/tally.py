"""Quantiles of windows: the sketches of consecutive panes added up, for every row.

Counts are whole numbers, so a window is the difference of two running sums, exact and of one cost whatever its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.pane import State
from features.sketch import QUANTILES, Counts, Sketch, quantiles
from features.window import Request, Stretches, Times

_MOST_BYTES: Final = 16 * 2**20  # of running sums at a time


@dataclass(frozen=True, slots=True)
class _Cell:
    """Columns that are read off one window of one sketch at one lag."""

    sketch: int
    window_us: int
    lag_us: int
    shares: tuple[float, ...]
    columns: NDArray[np.intp]


class TallyPlan:
    """How the sketches of panes become columns of feature rows.

    Args:
        every_us: Step between rows.
        reach_us: How far before its end a row looks, at most.
        sketched: The signals that have a sketch, in the order of the counts.
        sketches: How values of each fell into buckets.
        requests: One for each column; their statistics are quantiles.
    """

    def __init__(
        self,
        every_us: int,
        reach_us: int,
        sketched: Sequence[int],
        sketches: Sequence[Sketch],
        requests: Sequence[Request],
    ) -> None:
        self._every_us, self._reach_us, self._sketches = every_us, reach_us, tuple(sketches)
        keys = sorted({(sketched.index(each.signal), each.window_us, each.lag_us) for each in requests})
        self._cells = []
        for sketch, window_us, lag_us in keys:
            mine = [
                (QUANTILES[each.statistic], column)
                for column, each in enumerate(requests)
                if (sketched.index(each.signal), each.window_us, each.lag_us) == (sketch, window_us, lag_us)
            ]
            shares, columns = zip(*mine, strict=True)
            self._cells.append(_Cell(sketch, window_us, lag_us, shares, np.array(columns, np.intp)))

    def fill(self, values: State, start: Times, counts: Counts, stretches: Stretches) -> None:
        """Read every column off the windows of every row.

        Args:
            values: Filled: shape ``(rows of all stretches, columns)``; NaN where a window holds no reading.
            start: Starts of the panes, shape ``(panes,)``, increasing within a stretch, UTC microseconds.
            counts: Their sketches, shape ``(panes, sketches, buckets)``.
            stretches: The rows.
        """
        if not self._cells:
            return
        panes_a_step = max(int(len(start) * self._every_us // max(int(start[-1] - start[0]), 1)), 1)
        most_rows = max(_MOST_BYTES // (counts[0].nbytes * panes_a_step), self._reach_us // self._every_us)
        done = 0
        columns = (stretches.low, stretches.high, stretches.end, stretches.rows)
        for low, high, end, rows in zip(*(column.tolist() for column in columns), strict=True):
            for skipped in range(0, rows, most_rows):
                ends = end + np.arange(skipped, min(skipped + most_rows, rows)) * self._every_us
                inside = slice(*(low + np.searchsorted(start[low:high], [ends[0] - self._reach_us, ends[-1]])))
                self._read(values[done : done + len(ends)], start[inside], counts[inside], ends)
                done += len(ends)

    def _read(self, values: State, start: Times, counts: Counts, ends: Times) -> None:
        # Sums may pass 2^32 and wrap around; their differences are right all the same.
        running = np.zeros((len(counts) + 1, *counts.shape[1:]), np.uint32)
        np.cumsum(counts, axis=0, dtype=np.uint32, out=running[1:])
        for cell in self._cells:
            upto = np.searchsorted(start, ends - cell.lag_us)
            before = np.searchsorted(start, ends - cell.lag_us - cell.window_us)
            held = running[upto, cell.sketch] - running[before, cell.sketch]
            values[:, cell.columns] = quantiles(held, self._sketches[cell.sketch], cell.shares)
