"""Windows: consecutive panes merged, for every step of the history of many devices.

``slide`` merges the panes of each window by binary doubling: runs of 1, 2, 4, … panes are each merged from two runs of
half the length, and a window is put together from the runs in the binary form of its length. A window of 144 panes
costs 8 merges in place of 143, windows of several lengths share their runs, and no subtraction ever loses digits.

``WindowPlan`` turns panes into what is read off the windows. Batch and online both go through it, so a feature has one
definition.

Why so:
    * Merge, never subtract. Status: accepted. Subtracting the pane that leaves (a running sum) is one operation a step,
      but extremes, first and last cannot be subtracted and sums lose digits. Cost: O(log length) merges a step.
    * Dense between gaps. Status: accepted. Doubling wants every pane in place; a history is therefore cut where it
      pauses for longer than the longest window. Cost: empty panes in short gaps.
    * Devices end to end. Status: accepted. Stretches of many devices are laid one behind the other and slid over at
      once; windows that would reach across a border are never picked. A thousand devices with a day each are then a few
      calls of the kernel in place of thousands. Cost: a block of memory, 16 MiB at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.pane import PANE_FIELDS, State, empty
from features.statistic import read_columns

Times = NDArray[np.int64]
Indices = NDArray[np.intp]

_SPARSE: Final = 4  # windows that fit for each that is wanted, from which on only the wanted ones are merged
_BLOCK_BYTES: Final = 16 * 2**20  # of dense panes at a time; small enough to stay near the cache


@dataclass(frozen=True, slots=True)
class Span:
    """Windows to merge: the first one covers the panes from ``offset`` on, ``length`` of them, of some signals.

    Only those ``wanted``, by number, increasing; all that fit when left out.
    """

    offset: int
    length: int
    signals: Indices
    wanted: Indices | None = None


def slide(run: State, spans: Sequence[Span], every: int, pane_us: int) -> list[State]:
    """Merge each window of consecutive panes.

    Args:
        run: Dense panes, shape ``(panes, signals, FIELDS)``: no pane left out, empty ones included. Overwritten.
        spans: The windows, one entry a length.
        every: Panes from one window to the next, one or more.
        pane_us: Length of a pane in microseconds.

    Returns:
        For each span the states of as many windows as fit, shape ``(windows, its signals, FIELDS)``: window ``k`` holds
        the panes from ``offset + k * every`` on, and its times count from the start of the first of them.

    Example:
        >>> from features.pane import summarize
        >>> panes = np.stack([summarize([0.0], [[value]]) for value in (1.0, 5.0, 3.0, 2.0)])
        >>> (two,) = slide(panes, [Span(0, 2, np.array([0]))], every=1, pane_us=60)
        >>> two[:, 0, PANE_FIELDS.index("high")].tolist()
        [5.0, 5.0, 3.0]
    """
    counts = [max((len(run) - span.offset - span.length) // every + 1, 0) for span in spans]
    merged: list[State | None] = [None] * len(spans)
    covered = [0] * len(spans)
    longest, run_length = max(span.length for span in spans), 1
    while True:
        for number, span in enumerate(spans):
            if not span.length & run_length:
                continue
            begin = span.offset + covered[number]
            whole = run[begin : begin + counts[number] * every : every]
            chosen = whole if span.wanted is None else np.take(whole, span.wanted, axis=0)
            part = np.take(chosen, span.signals, axis=1)
            before = merged[number]
            if before is None:
                merged[number] = part
            else:
                kernel.merge(before, part, np.array([covered[number] * pane_us], np.float64))
            covered[number] += run_length
        if 2 * run_length > longest:
            return [state for state in merged if state is not None]
        # Each run takes in the one right behind it; the kernel reads ahead of what it overwrites.
        kernel.merge(run[:-run_length], run[run_length:], np.array([run_length * pane_us], np.float64))
        run, run_length = run[:-run_length], 2 * run_length


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read off windows: a statistic of a signal over a length, as it was some time before the row."""

    signal: int
    statistic: str
    window_us: int
    lag_us: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Rows that lie densely, stretch by stretch; one array entry a stretch.

    Args:
        low: Position of the first pane that the rows can reach.
        high: Position behind the last of them.
        end: End of the first row, UTC microseconds.
        rows: How many rows there are, one step apart.
    """

    low: Indices
    high: Indices
    end: Times
    rows: Indices


@dataclass(frozen=True, slots=True)
class _Window:
    """One window length, the signals that need it, how far back it is asked for, and what is read off it."""

    length_us: int
    lag: int
    signals: Indices
    reads: tuple[tuple[int, str], ...]  # positions within signals, statistics
    columns: tuple[tuple[int, int, int], ...]  # lag in steps, position within reads, column

    def wanted(self, rows: Indices, sparse: bool) -> Indices | None:  # noqa: FBT001 - of one caller
        """The windows that rows ask for, by number; None for all of them."""
        if not sparse:
            return None
        lags = {lag for lag, _, _ in self.columns}
        return np.unique(np.concatenate([rows + self.lag - lag for lag in lags]))


class WindowPlan:
    """How panes become columns of feature rows.

    Args:
        pane_us: Length of a pane.
        every_us: Step between rows, a whole number of panes.
        reach_us: How far before its end a row looks, at most.
        requests: One for each column; windows are whole numbers of panes, lags whole numbers of steps.
    """

    def __init__(self, pane_us: int, every_us: int, reach_us: int, requests: Sequence[Request]) -> None:
        self.pane_us = pane_us
        self.every_us = every_us
        self.reach_us = reach_us
        # Every window starts and ends on a multiple of the grain, so panes are first merged to grains once for all.
        self._grain_us = gcd(every_us, reach_us, *(request.window_us for request in requests))
        self._step = every_us // self._grain_us
        self._signals = np.unique(np.array([request.signal for request in requests], np.intp))
        lengths = sorted({request.window_us for request in requests})
        self._windows = tuple(self._window(length, requests) for length in lengths)

    def _window(self, length_us: int, requests: Sequence[Request]) -> _Window:
        here = [(column, request) for column, request in enumerate(requests) if request.window_us == length_us]
        signals = np.unique([request.signal for _, request in here])
        wanted = sorted({(int(np.searchsorted(signals, request.signal)), request.statistic) for _, request in here})
        columns = [
            (
                request.lag_us // self.every_us,
                wanted.index((int(np.searchsorted(signals, request.signal)), request.statistic)),
                column,
            )
            for column, request in here
        ]
        lag = max(request.lag_us for _, request in here) // self.every_us
        return _Window(length_us, lag, np.searchsorted(self._signals, signals), tuple(wanted), tuple(columns))

    def fill(self, values: State, start: Times, state: State, stretches: Stretches) -> None:
        """Read every column off the windows of every row.

        Args:
            values: Filled: shape ``(rows of all stretches, columns)``, best column after column in memory; NaN where a
                statistic has nothing to work on.
            start: Starts of the panes, shape ``(panes,)``, increasing within a stretch, UTC microseconds.
            state: Their states, shape ``(panes, signals, FIELDS)``.
            stretches: The rows.
        """
        done = 0
        for pieces in self._blocks(stretches) if self._windows else ():
            rows = sum(piece[3] for piece in pieces)
            self._fill(values[done : done + rows], start, state, pieces)
            done += rows

    def _blocks(self, stretches: Stretches) -> Iterator[list[tuple[int, int, int, int]]]:
        """Pieces of stretches that fit in memory together: low, high, end, rows as in `Stretches`."""
        grain_bytes = len(self._signals) * len(PANE_FIELDS) * 8 * (self._grain_us // self.pane_us)
        most = max(_BLOCK_BYTES // grain_bytes, 1)
        # A piece also carries the reach before its first row; shorter pieces would mostly carry.
        most_rows = max(most // self._step, self.reach_us // self.every_us, 1)
        block: list[tuple[int, int, int, int]] = []
        held = 0
        columns = (stretches.low, stretches.high, stretches.end, stretches.rows)
        for low, high, end, rows in zip(*(column.tolist() for column in columns), strict=True):
            for skipped in range(0, rows, most_rows):
                count = min(most_rows, rows - skipped)
                length = self._length(count)
                if block and held + length > most:
                    yield block
                    block, held = [], 0
                block.append((low, high, end + skipped * self.every_us, count))
                held += length
        if block:
            yield block

    def _length(self, rows: int) -> int:
        """Grains that a piece takes, padded so that the next piece begins in step."""
        return -(-self.reach_us // (self._grain_us * self._step) + 1 - rows) * self._step

    def _fill(self, values: State, start: Times, state: State, pieces: list[tuple[int, int, int, int]]) -> None:
        grains = empty(
            (self._grain_us // self.pane_us, sum(self._length(piece[3]) for piece in pieces), len(self._signals))
        )
        offset, picks = 0, []
        for low, high, end, rows in pieces:
            begin = end - self.reach_us
            inside = slice(*(low + np.searchsorted(start[low:high], [begin, end + (rows - 1) * self.every_us])))
            grain, within_us = np.divmod(start[inside] - begin, self._grain_us)
            chosen = state[inside] if len(self._signals) == state.shape[1] else state[inside, self._signals]
            grains[within_us // self.pane_us, offset + grain] = chosen
            picks.append(offset // self._step + np.arange(rows))
            offset += self._length(rows)
        for phase in range(1, len(grains)):
            kernel.merge(grains[0], grains[phase], np.array([phase * self.pane_us], np.float64))
        reach = self.reach_us // self._grain_us
        rows_picked = np.concatenate(picks)
        # A stream asks for one row of a device at a time: most windows that would fit are then nobody's.
        sparse = _SPARSE * len(rows_picked) < len(grains[0]) // self._step
        spans = [
            Span(reach - length - window.lag * self._step, length, window.signals, window.wanted(rows_picked, sparse))
            for window in self._windows
            for length in (window.length_us // self._grain_us,)
        ]
        slid = slide(grains[0], spans, self._step, self._grain_us)
        for window, span, merged in zip(self._windows, spans, slid, strict=True):
            read = read_columns(merged, window.reads, window.length_us)
            for lag, place, column in window.columns:
                places = rows_picked + (window.lag - lag)
                values[:, column] = read[place, places if span.wanted is None else np.searchsorted(span.wanted, places)]
