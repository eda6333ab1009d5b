"""The columnar entries of the kernel in numpy: runs of rows, their panes, their sketches, statistics of many panes."""

import numpy as np
from numpy.typing import NDArray

from features.kernel.reference import FIELDS, LOW, Panes, add_signal, check

Parts = tuple[NDArray[np.float64], NDArray[np.uint8] | None, int]
"""A column: values, Arrow's validity bitmap, and the first bit of it that counts."""

STEPS = 50
"""Buckets of a sketch in an octave."""
SIDE = 10 * STEPS
"""Buckets of a sketch on either side of zero: ten octaves."""

STATISTICS: tuple[str, ...] = ()
"""Statistics that ``finalize`` reads, by code: none here, as ``features.statistic`` defines them all in numpy."""


def finalize(
    states: Panes,
    window_us: NDArray[np.float64],
    signals: NDArray[np.int64],
    codes: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Read statistics off panes. The compiled kernel does; here no code has a statistic.

    Args:
        states: Shape ``(n, signals, FIELDS)``.
        window_us: Lengths of the windows in microseconds: shape ``(1,)`` for all, or one per state.
        signals: The signal of each statistic wanted, shape ``(k,)``.
        codes: Its position in ``STATISTICS``, shape ``(k,)``.
        out: Filled, shape ``(k, n)``.

    Raises:
        ValueError: The arrays do not fit together, or a code has no statistic.
    """
    check("states", states, np.float64, 3)
    check("window_us", window_us, np.float64, 1)
    check("signals", signals, np.int64, 1)
    check("codes", codes, np.int64, 1)
    check("out", out, np.float64, 2, writable=True)
    if len(codes) or len(signals) or out.shape != (0, len(states)):
        raise ValueError("every code must have a statistic, and there are none")


def find_runs(
    device: NDArray[np.int32],
    times: NDArray[np.int64],
    pane_us: int,
    begin: NDArray[np.uint32],
    start: NDArray[np.int64],
) -> tuple[int, bool, bool, int, int, int, int]:
    """Cut rows into runs: consecutive rows of one device and one pane.

    Args:
        device: Codes of the devices, shape ``(n,)``.
        times: Event times, shape ``(n,)``, microseconds.
        pane_us: Length of a pane, microseconds.
        begin: Receives the first row of each run and, behind them, ``n``; shape ``(n + 1,)``.
        start: Receives the start of the pane of each run; shape ``(n,)``.

    Returns:
        How many runs there are; whether they come by device, then start, no pane twice; whether times increase within
        each run; the lowest and the highest device; the lowest and the highest start.

    Raises:
        ValueError: An array has another shape, type or memory layout, or a pane lasts no time.
    """
    check("device", device, np.int32, 1)
    check("times", times, np.int64, 1)
    check("begin", begin, np.uint32, 1, writable=True)
    check("start", start, np.int64, 1, writable=True)
    if not len(device) == len(times) == len(start) == len(begin) - 1:
        raise ValueError("device, times and start must have one row each, begin one more")
    if pane_us < 1:
        raise ValueError("a pane must last a microsecond or more")
    begin[0] = 0
    if not len(times):
        return 0, True, True, 0, 0, 0, 0
    starts = times - times % pane_us
    begins = np.flatnonzero((np.diff(starts) != 0) | (np.diff(device) != 0)) + 1
    runs = len(begins) + 1
    begin[1:runs], begin[runs] = begins, len(times)
    start[:runs] = starts[begin[:runs]]
    devices = device[begin[:runs]]
    keys = _are_before(devices, start[:runs])
    within = np.diff(times) > 0
    within[begins - 1] = True
    low, high = start[:runs].min(), start[:runs].max()
    return runs, keys, bool(within.all()), int(device.min()), int(device.max()), int(low), int(high)


def _are_before(device: NDArray[np.int32], start: NDArray[np.int64]) -> bool:
    rising = (device[1:] > device[:-1]) | ((device[1:] == device[:-1]) & (start[1:] > start[:-1]))
    return bool(rising.all())


def number_runs(  # noqa: PLR0917 - the buffers of one call into C
    device: NDArray[np.int32],
    times: NDArray[np.int64],
    pane_us: int,
    begin: NDArray[np.uint32],
    start: NDArray[np.int64],
    first: tuple[int, int],
    cells: NDArray[np.uint32],
    group: NDArray[np.uint32],
    pane_device: NDArray[np.int32],
    pane_start: NDArray[np.int64],
    latest: NDArray[np.int64],
) -> tuple[int, bool]:
    """Number the panes that runs belong to, by device, then start.

    Args:
        device: As in ``find_runs``.
        times: As in ``find_runs``.
        pane_us: As in ``find_runs``.
        begin: As filled there, shape ``(runs + 1,)``.
        start: As filled there, shape ``(runs,)``.
        first: The lowest device and the lowest start.
        cells: Scratch, shape ``(devices, spans)``: from the lowest device and start to the highest.
        group: Receives the pane of each run, shape ``(runs,)`` or more.
        pane_device: Receives the device of each pane, as long.
        pane_start: Receives the start of each pane, as long.
        latest: Scratch, as long.

    Returns:
        How many panes there are, and whether times increase from run to run of each pane.

    Raises:
        ValueError: The arrays do not fit together, or a run lies outside of the cells.
    """
    check("device", device, np.int32, 1)
    check("times", times, np.int64, 1)
    check("begin", begin, np.uint32, 1)
    check("start", start, np.int64, 1)
    check("cells", cells, np.uint32, 2, writable=True)
    check("group", group, np.uint32, 1, writable=True)
    check("pane_device", pane_device, np.int32, 1, writable=True)
    check("pane_start", pane_start, np.int64, 1, writable=True)
    check("latest", latest, np.int64, 1, writable=True)
    runs = len(start)
    shortest = min(len(group), len(pane_device), len(pane_start), len(latest))
    if len(device) != len(times) or pane_us < 1 or shortest < runs or not _cut(begin, runs, len(times)):
        raise ValueError("device, times, begin, start and what is to be filled must fit together")
    row = device[begin[:-1]].astype(np.int64) - first[0]
    span = (start - first[1]) // pane_us
    if ((row < 0) | (row >= cells.shape[0]) | (span < 0) | (span >= cells.shape[1])).any():
        raise ValueError("a run must have a cell")
    keys, group[:runs] = np.unique(row * cells.shape[1] + span, return_inverse=True)
    pane_device[: len(keys)] = keys // max(cells.shape[1], 1) + first[0]
    pane_start[: len(keys)] = keys % max(cells.shape[1], 1) * pane_us + first[1]
    order = np.argsort(group[:runs], kind="stable")
    begins, ends = times[begin[:-1]][order], times[begin[1:].astype(np.int64) - 1][order]
    next_run = np.diff(group[:runs][order]) == 0
    return len(keys), bool((~next_run | (ends[:-1] < begins[1:])).all())


def _cut(begin: NDArray[np.uint32], runs: int, rows: int) -> bool:
    """Whether ``begin`` cuts rows into runs of one row or more."""
    ends = begin.astype(np.int64)
    return len(ends) == runs + 1 and ends[0] == 0 and ends[-1] == rows and bool((np.diff(ends) > 0).all())


def sum_runs(  # noqa: PLR0917 - the buffers of one call into C
    panes: Panes,
    pane_start: NDArray[np.int64],
    times: NDArray[np.int64],
    begin: NDArray[np.uint32],
    group: NDArray[np.uint32] | None,
    columns: tuple[Parts, ...],
    limits: NDArray[np.float64],
    scratch: NDArray[np.uint32],
) -> None:
    """Sum up runs of rows in new panes.

    Args:
        panes: Overwritten with the panes, shape ``(panes, signals, FIELDS)``.
        pane_start: Their starts, shape ``(panes,)``.
        times: Event times of the rows, shape ``(n,)``, microseconds.
        begin: The first row of each run and, behind them, ``n``; shape ``(runs + 1,)``.
        group: The pane of each run, shape ``(runs,)``; ``None`` when each run is a pane.
        columns: For each signal values, shape ``(n,)``, an Arrow bitmap of which exist or ``None``, and the first bit
            of it that counts. NaN counts as missing too.
        limits: The limit of each signal, shape ``(signals,)``; NaN where there is none.
        scratch: With ``group``, one number per pane and two per run that is worked on at a time, the more the better.

    Raises:
        ValueError: The arrays do not fit together, or a run has no pane.
    """
    check("panes", panes, np.float64, 3, writable=True)
    check("pane_start", pane_start, np.int64, 1)
    check("times", times, np.int64, 1)
    check("begin", begin, np.uint32, 1)
    check("limits", limits, np.float64, 1)
    check("scratch", scratch, np.uint32, 1, writable=True)
    groups, signals, runs = len(panes), panes.shape[1], len(begin) - 1
    if panes.shape[2] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if len(pane_start) != groups or len(limits) != signals or not _cut(begin, runs, len(times)):
        raise ValueError("pane_start must have one row per pane, limits one per signal, and begin must cut all rows")
    _check_group(group, groups, runs)
    if group is not None and len(scratch) < groups + 2:
        raise ValueError("scratch must hold one number per pane and two more")
    if not isinstance(columns, tuple) or len(columns) != signals:
        raise ValueError("columns must be a tuple of one column per signal")
    columns_of_values = [values_of(column, len(times)) for column in columns]
    panes[...] = [0.0] * LOW + [np.nan] * (FIELDS - LOW)
    lengths = np.diff(begin).astype(np.int64)
    owner = np.repeat(np.arange(runs) if group is None else group.astype(np.int64), lengths)
    at = (times - pane_start[owner]).astype(np.float64)
    order = None if group is None else np.argsort(owner, kind="stable")
    if order is not None:
        owner, at = owner[order], at[order]
    for signal, values in enumerate(columns_of_values):
        add_signal(panes[:, signal], owner, at, values if order is None else values[order], limits[signal])


def _check_group(group: object, groups: int, runs: int) -> None:
    if group is None:
        if groups != runs:
            raise ValueError("every run must belong to a pane")
        return
    check("group", group, np.uint32, 1)
    if not isinstance(group, np.ndarray) or len(group) != runs or (runs and int(group.max()) >= groups):
        raise ValueError("every run must belong to a pane")


def values_of(column: Parts, rows: int) -> NDArray[np.float64]:
    """The values of a column, NaN where they are missing.

    Raises:
        ValueError: The column does not have one value, and one bit where it has a bitmap, for each of ``rows``.
    """
    if not isinstance(column, tuple) or len(column) != 3:  # noqa: PLR2004 - values, validity, offset
        raise ValueError("a column must be a tuple of values, validity or None, and an offset")
    values, validity, offset = column
    check("values", values, np.float64, 1)
    if len(values) != rows:
        raise ValueError("a column must have one value per row")
    if validity is None:
        return values
    check("validity", validity, np.uint8, 1)
    if offset < 0 or (offset + rows + 7) // 8 > len(validity):
        raise ValueError("validity must hold one bit per row from the offset on")
    valid = np.unpackbits(validity[: (offset + rows + 7) // 8], bitorder="little")[offset : offset + rows]
    return np.where(valid, values, np.nan)


def sketch_runs(  # noqa: PLR0917 - the buffers of one call into C
    counts: NDArray[np.uint32],
    begin: NDArray[np.uint32],
    group: NDArray[np.uint32] | None,
    columns: tuple[Parts, ...],
    top: NDArray[np.int32],
    below: int,
) -> None:
    """Count the readings of runs of rows in the buckets of sketches; see ``features.sketch``.

    Args:
        counts: Added to, shape ``(panes, sketches, buckets)``.
        begin: As in ``sum_runs``.
        group: As in ``sum_runs``.
        columns: The column of each sketch, as in ``sum_runs``.
        top: The key of the outermost bucket of each sketch, shape ``(sketches,)``.
        below: How many buckets are for negative readings: ``SIDE`` or 0.

    Raises:
        ValueError: The arrays do not fit together, or a run has no pane.
    """
    check("counts", counts, np.uint32, 3, writable=True)
    check("begin", begin, np.uint32, 1)
    check("top", top, np.int32, 1)
    panes, sketches, buckets = counts.shape
    runs = len(begin) - 1
    if runs < 0 or not _cut(begin, runs, int(begin[-1])):
        raise ValueError("begin must cut the rows")
    _check_group(group, panes, runs)
    if (np.abs(top.astype(np.int64)) > 1100 * STEPS).any():
        raise ValueError("top must be the key of a number")
    if below not in (0, SIDE) or buckets != below + 1 + SIDE or len(top) != sketches:
        raise ValueError("there must be as many buckets as a sketch has, and one top per sketch")
    if not isinstance(columns, tuple) or len(columns) != sketches:
        raise ValueError("columns must be a tuple of one column per sketch")
    rows = int(begin[-1])
    owner = np.repeat(np.arange(runs) if group is None else group.astype(np.int64), np.diff(begin).astype(np.int64))
    for sketch, values in enumerate([values_of(column, rows) for column in columns]):
        some = ~np.isnan(values)
        place = sketch_places(values[some], int(top[sketch]), below)
        found = np.bincount(owner[some] * buckets + place, minlength=panes * buckets)
        counts[:, sketch] += found.reshape(panes, buckets).astype(np.uint32)


def sketch_keys(magnitudes: NDArray[np.float64]) -> NDArray[np.int64]:
    """The numbers of the buckets of magnitudes, counted from that of 1; from the bits of the number alone."""
    bits = np.ascontiguousarray(magnitudes, np.float64).view(np.int64)
    keys: NDArray[np.int64] = ((bits >> 52) - 1023) * STEPS + ((bits & (2**52 - 1)) * STEPS >> 52)
    return keys


def sketch_places(values: NDArray[np.float64], top: int, below: int) -> NDArray[np.int64]:
    """The places of readings, none missing, among the buckets of a sketch; see ``pane.h``."""
    away = np.clip(sketch_keys(np.abs(values)) - top + SIDE, 0, SIDE)
    places: NDArray[np.int64] = np.where(values < 0, below - away if below else 0, below + away)
    return places
