"""Windows: consecutive panes merged, for every step of a device's history.

``slide`` merges the panes of each window by binary doubling: runs of 1, 2, 4, … panes are each merged from two runs of
half the length, and a window is put together from the runs in the binary form of its length. A window of 144 panes
costs 8 merges in place of 143, and no subtraction ever loses digits.

``WindowPlan`` turns the panes of one device into feature rows. Batch and online both go through it, so a feature row
has one definition.

Why so:
    * Merge, never subtract. Status: accepted. Subtracting the pane that leaves (a running sum) is one operation a step,
      but extremes, first and last cannot be subtracted and sums lose digits. Cost: O(log length) merges a step.
    * Dense between gaps. Status: accepted. Doubling wants every pane in place; a history is therefore cut where it
      pauses for longer than the longest window, and processed in blocks. Cost: empty panes in short gaps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.pane import PANE_FIELDS, State, empty
from features.statistic import STATISTICS, Statistic

Times = NDArray[np.int64]

_BLOCK_BYTES: Final = 16 * 2**20  # of dense panes at a time; small enough to stay near the cache


def slide(states: State, length: int, every: int, pane_us: int) -> State:
    """Merge each window of consecutive panes.

    Args:
        states: Dense panes of one device, shape ``(panes, signals, FIELDS)``: no pane left out, empty ones included.
        length: Panes in a window, one or more.
        every: Panes from one window to the next, one or more.
        pane_us: Length of a pane in microseconds.

    Returns:
        Shape ``(windows, signals, FIELDS)``: window ``k`` holds the panes ``k * every`` to ``k * every + length - 1``;
        its times count from the start of its first pane. No windows where there are fewer than ``length`` panes.

    Example:
        >>> from features.pane import summarize
        >>> panes = np.stack([summarize([0.0], [[value]]) for value in (1.0, 5.0, 3.0, 2.0)])
        >>> slide(panes, length=2, every=1, pane_us=60)[:, 0, PANE_FIELDS.index("high")].tolist()
        [5.0, 5.0, 3.0]
    """
    windows = max((len(states) - length) // every + 1, 0)
    run, run_length = np.array(states, np.float64, order="C"), 1
    merged: State | None = None
    covered = 0
    while True:
        if length & run_length:
            part = np.ascontiguousarray(run[covered : covered + windows * every : every][:windows])
            if merged is None:
                merged = part.copy()
            else:
                kernel.merge(merged, part, np.array([covered * pane_us], np.float64))
            covered += run_length
        if covered == length:
            return merged if merged is not None else run[:0]
        # Each run takes in the one right behind it; the kernel reads ahead of what it overwrites.
        kernel.merge(run[:-run_length], run[run_length:], np.array([run_length * pane_us], np.float64))
        run, run_length = run[:-run_length], 2 * run_length


@dataclass(frozen=True, slots=True)
class Request:
    """A feature as the plan sees it: a column of values, a statistic, and a window in microseconds."""

    signal: int
    statistic: str
    window_us: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """Columns of the result that one call of a statistic fills."""

    statistic: Statistic
    signals: NDArray[np.intp]
    columns: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Window:
    """One window length, the signals that need it, and what is read off it."""

    length_us: int
    signals: NDArray[np.intp]
    cells: tuple[_Cell, ...]


class WindowPlan:
    """How panes of a device become feature rows.

    Args:
        pane_us: Length of a pane.
        every_us: Step between rows, a whole number of panes.
        requests: One for each column of the result; windows are whole numbers of panes.
    """

    def __init__(self, pane_us: int, every_us: int, requests: Sequence[Request]) -> None:
        self.pane_us = pane_us
        self.every_us = every_us
        self.longest_us = max(request.window_us for request in requests)
        self._columns = len(requests)
        # Every window starts and ends on a multiple of the grain, so panes are first merged to grains once for all.
        self._grain_us = gcd(every_us, *(request.window_us for request in requests))
        lengths = sorted({request.window_us for request in requests})
        self._windows = tuple(_window(length, requests) for length in lengths)

    def rows(self, start: Times, state: State, first_start: int, bounds: tuple[int, int]) -> tuple[Times, State]:
        """The feature rows of one device.

        A row ends at each multiple of the step that lies within ``bounds``, that has the longest window behind it since
        the device's first pane, and that has a record within the longest window.

        Args:
            start: Starts of the panes with a record, shape ``(panes,)``, increasing, UTC microseconds.
            state: Their states, shape ``(panes, signals, FIELDS)``.
            first_start: Start of the first pane the device ever had; windows that begin before it are not complete.
            bounds: Ends of rows lie after the first and not after the second.

        Returns:
            Ends of the rows, shape ``(rows,)``, and their values, shape ``(rows, columns)``; NaN where a statistic has
            nothing to work on.
        """
        if not len(start):
            return np.zeros(0, np.int64), np.zeros((0, self._columns))
        grain, grain_state = self._merge_grains(start, state)
        ends: list[Times] = []
        values: list[State] = []
        earliest = max(bounds[0] + 1, first_start + self.longest_us)
        for block in self._blocks(grain, earliest, bounds[1], state.shape[1]):
            ends.append(block)
            values.append(self._values(grain, grain_state, block))
        if not ends:
            return np.zeros(0, np.int64), np.zeros((0, self._columns))
        return np.concatenate(ends), np.concatenate(values)

    def _merge_grains(self, start: Times, state: State) -> tuple[Times, State]:
        grain, group = np.unique(start - start % self._grain_us, return_inverse=True)
        if self._grain_us == self.pane_us:
            return grain, state
        merged = empty((len(grain), state.shape[1]))
        phase = start - grain[group]
        for shift_us in np.unique(phase):
            here = phase == shift_us
            touched = merged[group[here]]
            kernel.merge(touched, np.ascontiguousarray(state[here]), np.array([shift_us], np.float64))
            merged[group[here]] = touched
        return grain, merged

    def _blocks(self, grain: Times, earliest: int, latest: int, signals: int) -> Iterator[Times]:
        """Ends of rows in blocks that lie densely and fit in memory."""
        row_bytes = signals * len(PANE_FIELDS) * 8 * (self.every_us // self._grain_us)
        # A block also carries the longest window before its first row; shorter blocks would mostly carry.
        block_rows = max(_BLOCK_BYTES // row_bytes, self.longest_us // self.every_us, 1)
        # Two grains at least a longest window apart share no window: the windows between them are empty.
        cuts = np.flatnonzero(np.diff(grain) >= self.longest_us) + 1
        for stretch in np.split(grain, cuts):
            low = max(earliest, int(stretch[0]) + 1)
            high = min(latest, int(stretch[-1]) + self.longest_us)
            ends = np.arange(-(-low // self.every_us), high // self.every_us + 1, dtype=np.int64) * self.every_us
            for begin in range(0, len(ends), block_rows):
                yield ends[begin : begin + block_rows]

    def _values(self, grain: Times, state: State, ends: Times) -> State:
        begin, end = int(ends[0]) - self.longest_us, int(ends[-1])
        inside = slice(*np.searchsorted(grain, [begin, end]))
        dense = empty(((end - begin) // self._grain_us, state.shape[1]))
        dense[(grain[inside] - begin) // self._grain_us] = state[inside]
        values = np.empty((len(ends), self._columns))
        for window in self._windows:
            skipped = (self.longest_us - window.length_us) // self._grain_us
            merged = slide(
                dense[skipped:, window.signals],
                window.length_us // self._grain_us,
                self.every_us // self._grain_us,
                self._grain_us,
            )
            for cell in window.cells:
                values[:, cell.columns] = cell.statistic.function(merged[:, cell.signals], window.length_us)
        return values


def _window(length_us: int, requests: Sequence[Request]) -> _Window:
    here = [(column, request) for column, request in enumerate(requests) if request.window_us == length_us]
    signals = sorted({request.signal for _, request in here})
    cells = []
    for name in sorted({request.statistic for _, request in here}):
        chosen = [(column, request) for column, request in here if request.statistic == name]
        positions = np.array([signals.index(request.signal) for _, request in chosen])
        cells.append(_Cell(STATISTICS[name], positions, np.array([column for column, _ in chosen])))
    return _Window(length_us, np.array(signals), tuple(cells))
