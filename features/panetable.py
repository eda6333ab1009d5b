"""Panes of many devices: the columnar stage from readings to panes, and how partial tables become one.

    >>> from features.catalog import load
    >>> features = load("pumps").features
    >>> minutes = np.arange(20) * 60_000_000
    >>> table = panes_of(features, np.zeros(20, np.int32), minutes, np.full((20, 6), 5.0))
    >>> (table.start // 60_000_000).tolist(), table.state[:, 0, 0].tolist()  # two panes of ten readings
    ([0, 10], [10.0, 10.0])
    >>> device, values = np.zeros(7, np.int32), np.full((7, 6), 5.0)
    >>> parts = [panes_of(features, device, times, values) for times in minutes[:14].reshape(2, 7)]
    >>> merge_tables(features, parts).state[:, 0, 0].tolist()  # the second part began within the first pane
    [10.0, 4.0]

Readings come as columns in Arrow's layout, so a Parquet file is summed up where its decoder put it, without a copy. The
kernel takes runs of rows of one device and one pane at once; rows that come in the order of time with devices
interleaved are sorted by pane within blocks that fit in the cache. Rows that are not in the order of time within a pane
are sorted first, once that is found: then every field of a pane is right whatever order the rows had.

A stage over many files is a map to tables and a merge of them. Duplicates are the caller's matter: who stores readings
knows which of two records of one device and time is to be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.errors import ReadingsShapeError
from features.featureset import FeatureSet
from features.kernel.columns_reference import values_of
from features.pane import PANE_FIELDS, empty
from features.sketch import Counts

_BLOCK: Final = 2**16  # runs sorted at a time: their times and values stay in the second cache
_SPARE_CELLS: Final = 2**20  # cells of devices times panes that are worth their memory, beside eight for each run


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The readings of one signal, in Arrow's layout.

    Args:
        values: Shape ``(n,)``. NaN marks a missing value; what stands where ``validity`` says so does not matter.
        validity: Bitmap, least significant bit first: 1 where the value exists. ``None``: all that are not NaN do.
        offset: The bit of ``validity`` that belongs to the first value.
    """

    values: NDArray[np.float64]
    validity: NDArray[np.uint8] | None = None
    offset: int = 0


Columns = Sequence[Column] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PaneTable:
    """Panes with at least one record, sorted by device and start.

    Args:
        device: Device codes, shape ``(rows,)``.
        start: Starts of the panes, shape ``(rows,)``, UTC microseconds.
        state: Pane states, shape ``(rows, signals, FIELDS)``.
        counts: Sketches of the signals of which quantiles are asked, shape ``(rows, sketched signals, buckets)``; none
            where the feature set asks for no quantile.
    """

    device: NDArray[np.int32]
    start: NDArray[np.int64]
    state: NDArray[np.float64]
    counts: Counts | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Readings as the kernel takes them: contiguous, one tuple a signal."""

    device: NDArray[np.int32]
    times: NDArray[np.int64]
    columns: tuple[kernel.Parts, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """How rows are cut into runs, and the panes these belong to; without ``group`` each run is a pane."""

    begin: NDArray[np.uint32]
    device: NDArray[np.int32]
    start: NDArray[np.int64]
    group: NDArray[np.uint32] | None = None


def panes_of(features: FeatureSet, device: NDArray[np.int32], times: NDArray[np.int64], columns: Columns) -> PaneTable:
    """Sum up readings in panes.

    Args:
        features: Says how long a pane is, and what is usual under which operating condition.
        device: Codes of the devices, shape ``(n,)``, zero or more.
        times: Event times, shape ``(n,)``, UTC microseconds, in any order; by device and time is fastest.
        columns: A column for each signal of the fleet, or a matrix of shape ``(n, signals)`` with NaN for what is
            missing. No two rows share device and time.

    Raises:
        FeatureSetError: The regimes were not learned yet.
        ReadingsShapeError: The arrays do not fit together or the fleet.
    """
    rows = _rows(features, device, times, columns)
    begin, start = np.empty(len(times) + 1, np.uint32), np.empty(len(times), np.int64)
    count, rising, ordered, *bounds = kernel.find_runs(rows.device, rows.times, features.pane_us, begin, start)
    begin, start = begin[: count + 1], start[:count]
    if ordered and rising:
        return _summed(features, rows, _Runs(begin, rows.device[begin[:-1]], start.copy()))
    runs = _numbered(rows, features.pane_us, begin, start, bounds) if ordered else None
    return _summed(features, rows, runs) if runs else _sorted_panes(features, rows)


def _numbered(
    rows: _Rows, pane_us: int, begin: NDArray[np.uint32], start: NDArray[np.int64], bounds: list[int]
) -> _Runs | None:
    """The panes of runs in any order; none when times of one pane run backwards, or devices and panes are sparse."""
    first_device, last_device, first_start, last_start = bounds
    devices, spans = last_device - first_device + 1, (last_start - first_start) // pane_us + 1
    if devices * spans > 8 * len(start) + _SPARE_CELLS:
        return None
    cells, latest = np.empty((devices, spans), np.uint32), np.empty_like(start)
    group, device, pane_start = np.empty(len(start), np.uint32), np.empty(len(start), np.int32), np.empty_like(start)
    filled = (cells, group, device, pane_start, latest)
    first = (first_device, first_start)
    panes, ordered = kernel.number_runs(rows.device, rows.times, pane_us, begin, start, first, *filled)
    return _Runs(begin, device[:panes].copy(), pane_start[:panes].copy(), group) if ordered else None


def _summed(features: FeatureSet, rows: _Rows, runs: _Runs) -> PaneTable:
    panes = len(runs.start)
    state = np.empty((panes, len(rows.columns), len(PANE_FIELDS)))
    scratch = np.empty(0 if runs.group is None else panes + 2 * min(_BLOCK, len(runs.group)), np.uint32)
    limits = features.fleet.limits
    kernel.sum_runs(state, runs.start, rows.times, runs.begin, runs.group, rows.columns, limits, scratch)
    return PaneTable(runs.device, runs.start, state, _counted(features, rows, runs))


def _counted(features: FeatureSet, rows: _Rows, runs: _Runs) -> Counts | None:
    counts = no_counts(features, len(runs.start))
    if counts is None:
        return None
    sketches = list(features.sketched.values())
    columns = tuple(rows.columns[signal] for signal in features.sketched)
    tops = np.array([sketch.key for sketch in sketches], np.int32)
    kernel.sketch_runs(counts, runs.begin, runs.group, columns, tops, sketches[0].zero)
    return counts


def no_counts(features: FeatureSet, panes: int) -> Counts | None:
    """The sketches of empty panes, shape ``(panes, sketched signals, buckets)``; none where no quantile is asked."""
    sketches = list(features.sketched.values())
    return np.zeros((panes, len(sketches), sketches[0].buckets), np.uint32) if sketches else None


def _sorted_panes(features: FeatureSet, rows: _Rows) -> PaneTable:
    """Panes of rows in no order: by device, time and, where two rows share both, by value."""
    order = np.lexsort((rows.times, rows.device))
    device, times = rows.device[order], rows.times[order]
    twice = bool(((np.diff(device) == 0) & (np.diff(times) == 0)).any())
    columns = []
    for column in rows.columns:
        values = values_of(column, len(times))
        by_value = np.lexsort((values, rows.times, rows.device)) if twice else order
        columns.append((values[by_value], None, 0))
    begin, start = np.empty(len(times) + 1, np.uint32), np.empty(len(times), np.int64)
    count, *_ = kernel.find_runs(device, times, features.pane_us, begin, start)
    begin = begin[: count + 1]
    runs = _Runs(begin, device[begin[:-1]], start[:count].copy())
    return _summed(features, _Rows(device, times, tuple(columns)), runs)


def _rows(features: FeatureSet, device: NDArray[np.int32], times: NDArray[np.int64], columns: Columns) -> _Rows:
    signals = len(features.fleet.signals)
    if isinstance(columns, np.ndarray):
        found = columns.shape
        parts = [Column(column) for column in columns.T] if columns.ndim == 2 else []  # noqa: PLR2004 - rows, signals
    else:
        parts = list(columns)
        lengths = sorted({len(column.values) for column in parts} | {len(device)})
        found = (*lengths, len(parts)) if parts else (len(device), 0)
    if device.ndim != 1 or times.shape != device.shape or found != (len(device), signals):
        raise ReadingsShapeError(
            f"device {device.shape}, times {times.shape} and values {found} do not fit together",
            where=f"fleet {features.fleet.name}",
            why=f"expected (n,), (n,) and (n, {signals})",
        )
    for column in parts:
        bits = None if column.validity is None else 8 * len(column.validity)
        if bits is not None and not 0 <= column.offset <= bits - len(device):
            raise ReadingsShapeError(
                f"a bitmap of {bits} bits from bit {column.offset} does not say which of {len(device)} values exist",
                where=f"fleet {features.fleet.name}",
            )
    readings: list[kernel.Parts] = [(np.require(c.values, np.float64, ["C", "A"]), c.validity, c.offset) for c in parts]
    if features.regimes is not None:
        matrix = np.stack([values_of(column, len(times)) for column in readings], axis=1)
        readings = [(np.ascontiguousarray(values), None, 0) for values in features.prepared(matrix).T]
    return _Rows(np.require(device, np.int32, ["C", "A"]), np.require(times, np.int64, ["C", "A"]), tuple(readings))


def merge_tables(features: FeatureSet, tables: Sequence[PaneTable]) -> PaneTable:
    """Merge partial tables: panes of one device and start become one.

    Args:
        features: The features the tables were made for.
        tables: Tables in any order; each reading is in one of them.

    Returns:
        One table. Where readings of one pane lie in several tables and interleave in time, the field ``change`` is NaN;
        see ``unresolved``.
    """
    signals = len(features.fleet.signals)
    if not tables:
        none = np.zeros(0, np.int64)
        return PaneTable(none.astype(np.int32), none, empty((0, signals)), no_counts(features, 0))
    if len(tables) == 1:
        return tables[0]
    device = np.concatenate([table.device for table in tables])
    start = np.concatenate([table.start for table in tables])
    parts = np.concatenate([table.state for table in tables])
    order = np.lexsort((start, device))
    new = _begins(device[order], start[order])
    if not new.all():
        # Parts that follow each other in time must be merged in that order for their changes to be known.
        order = np.lexsort((_first_times(parts), start, device))
    begin = np.append(np.flatnonzero(new), len(order))
    state = np.empty((len(begin) - 1, signals, len(PANE_FIELDS)))
    kernel.fold(state, parts, order, begin)
    chosen = order[new]
    held = [table.counts for table in tables if table.counts is not None]
    counts = (
        np.add.reduceat(np.concatenate(held)[order], begin[:-1]) if held and len(chosen) else no_counts(features, 0)
    )
    return PaneTable(device[chosen], start[chosen], state, counts)


def _begins(device: NDArray[np.int32], start: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where in sorted keys a new one begins."""
    new = np.ones(len(device), np.bool_)
    new[1:] = (np.diff(device) != 0) | (np.diff(start) != 0)
    return new


def _first_times(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """The time of the first reading of any signal, infinite where there is none."""
    first_at = state[..., PANE_FIELDS.index("first_at")]
    times: NDArray[np.float64] = np.fmin.reduce(first_at, axis=1, initial=np.inf)
    return times


def unresolved(table: PaneTable) -> NDArray[np.bool_]:
    """Which panes lack a sum of changes, because they were merged from parts that interleave in time.

    Returns:
        Shape ``(rows,)``. Whoever needs ``mean_absolute_change`` sums up the rows of these panes once more, in one call
        of ``panes_of``, which sorts them.
    """
    return np.asarray(np.isnan(table.state[..., PANE_FIELDS.index("change")]).any(axis=1))
