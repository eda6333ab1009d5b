"""The pane kernel in numpy: what serves where no compiler was, and what the compiled kernel is measured against.

It does the same as ``pane.c`` in another way: where C adds reading after reading, this sorts the rows and sums up each
pane at once. That the two agree within 1e-9 is what makes either of them believable.
"""

import numpy as np
from numpy.typing import NDArray

PANE_VERSION = 2
FIELDS = 15
COUNT, NULLS, SUM, SQUARE, TIME, TIME_SQUARE, TIME_VALUE, CHANGE, ABOVE = range(9)
LOW, HIGH, FIRST, FIRST_AT, LAST, LAST_AT = range(9, FIELDS)

Panes = NDArray[np.float64]
Parts = tuple[NDArray[np.float64], NDArray[np.uint8] | None, int]
"""A column: values, Arrow's validity bitmap, and the first bit of it that counts."""


def add(
    panes: Panes,
    group: NDArray[np.int64],
    at: NDArray[np.float64],
    values: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> None:
    """Add rows of readings to panes, in place.

    Args:
        panes: Shape ``(groups, signals, FIELDS)``; empty panes or panes that hold readings already.
        group: The pane row each reading belongs to, shape ``(n,)``, in any order.
        at: Microseconds after the start of that pane, shape ``(n,)``, in any order.
        values: Readings, shape ``(n, signals)``; NaN counts as missing.
        limits: The limit of each signal, shape ``(signals,)``; NaN where there is none.

    Raises:
        ValueError: An array has another shape, type or memory layout, or a group does not exist. Nothing was changed.
    """
    _check("panes", panes, np.float64, 3, writable=True)
    _check("group", group, np.int64, 1)
    _check("at", at, np.float64, 1)
    _check("values", values, np.float64, 2)
    _check("limits", limits, np.float64, 1)
    if panes.shape[2] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if not len(group) == len(at) == len(values) or values.shape[1] != panes.shape[1]:
        raise ValueError("group, at and values must have one row each, values one column per signal")
    if len(limits) != panes.shape[1]:
        raise ValueError("limits must hold one number per signal")
    refused = np.flatnonzero((group < 0) | (group >= len(panes)))
    if len(refused):
        raise ValueError(f"row {refused[0]} belongs to a group that does not exist")
    order = np.argsort(group, kind="stable")
    group, at, values = group[order], at[order], values[order]
    for signal, limit in enumerate(limits):
        _add_signal(panes[:, signal], group, at, values[:, signal], limit)


def _add_signal(
    panes: Panes, group: NDArray[np.int64], at: NDArray[np.float64], values: NDArray[np.float64], limit: np.float64
) -> None:
    """Add the readings of one signal, sorted by group."""
    missing = np.isnan(values)
    if missing.any():
        panes[:, NULLS] += np.bincount(group[missing], minlength=len(panes))
        group, at, values = group[~missing], at[~missing], values[~missing]
    if not len(group):
        return
    begin = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    touched = panes[group[begin]]
    # A pane's changes are known only when its readings come in the order of time; see pane.h.
    backwards = (np.diff(group) == 0) & _is_before(at[1:], values[1:], at[:-1], values[:-1])
    unordered = _is_before(at[begin], values[begin], touched[:, LAST_AT], touched[:, LAST])
    if backwards.any():
        unordered[np.searchsorted(group[begin], group[1:][backwards])] = True
        order = np.lexsort((values, at, group))
        at, values = at[order], values[order]
    summary = _summaries(begin, at, values, limit)
    summary[unordered, CHANGE] = np.nan
    merge(touched, summary, np.zeros(1))
    panes[group[begin]] = touched


def _summaries(begin: NDArray[np.intp], at: NDArray[np.float64], values: NDArray[np.float64], limit: float) -> Panes:
    """The panes of readings sorted by time and value, one for each run that starts at ``begin``."""
    end = np.append(begin[1:], len(values)) - 1
    t = at - np.repeat(at[begin], end - begin + 1)
    x = values - np.repeat(values[begin], end - begin + 1)
    change = np.abs(np.diff(values, prepend=values[0]))
    change[begin] = 0.0
    summary = np.zeros((len(begin), FIELDS))
    summary[:, COUNT] = end - begin + 1
    sums = ((SUM, x), (SQUARE, x * x), (TIME, t), (TIME_SQUARE, t * t), (TIME_VALUE, t * x), (CHANGE, change))
    for index, terms in (*sums, (ABOVE, (values > limit).astype(np.float64))):
        summary[:, index] = np.add.reduceat(terms, begin)
    summary[:, LOW] = np.minimum.reduceat(values, begin)
    summary[:, HIGH] = np.maximum.reduceat(values, begin)
    summary[:, FIRST], summary[:, FIRST_AT] = values[begin], at[begin]
    summary[:, LAST], summary[:, LAST_AT] = values[end], at[end]
    return summary


def merge(left: Panes, right: Panes, shift: NDArray[np.float64]) -> None:
    """Merge ``right[i]`` into ``left[i]``, in place.

    Args:
        left: Panes, any shape ``(..., FIELDS)``.
        right: Panes of the same shape. It may be the same memory as ``left`` or lie further ahead in it.
        shift: How many microseconds later the right pane starts than the left one: shape ``(1,)`` for all, or one per
            pane.

    Raises:
        ValueError: An array has another shape, type or memory layout. Nothing was changed.
    """
    _check("left", left, np.float64, 0, writable=True)
    _check("right", right, np.float64, 0)
    _check("shift", shift, np.float64, 1)
    if left.shape[-1] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if left.shape != right.shape:
        raise ValueError("left and right must have one shape")
    if len(shift) not in (1, left.size // FIELDS):
        raise ValueError("shift must hold one number, or one per pane")
    a, b = left.reshape(-1, FIELDS), right.reshape(-1, FIELDS).copy()
    b[:, [FIRST_AT, LAST_AT]] += shift[:, None]
    nulls = a[:, NULLS] + b[:, NULLS]
    both = (a[:, COUNT] > 0) & (b[:, COUNT] > 0)
    only_right = (a[:, COUNT] == 0) & (b[:, COUNT] > 0)
    a[only_right] = b[only_right]
    a[both] = _union(a[both], b[both])
    a[:, NULLS] = nulls


def _union(a: Panes, b: Panes) -> Panes:
    """Merge panes that all hold readings and tell their times from one origin; the nulls are the caller's."""
    earlier = _is_before(b[:, FIRST_AT], b[:, FIRST], a[:, FIRST_AT], a[:, FIRST])
    first = np.where(earlier, b[:, FIRST], a[:, FIRST])
    first_at = np.where(earlier, b[:, FIRST_AT], a[:, FIRST_AT])
    later = _is_before(a[:, LAST_AT], a[:, LAST], b[:, LAST_AT], b[:, LAST])
    union = _moved(a, first_at, first)
    union[:, :LOW] += _moved(b, first_at, first)[:, :LOW]
    union[:, CHANGE] = _change_of_union(a, b)
    union[:, LOW] = np.minimum(a[:, LOW], b[:, LOW])
    union[:, HIGH] = np.maximum(a[:, HIGH], b[:, HIGH])
    union[:, LAST] = np.where(later, b[:, LAST], a[:, LAST])
    union[:, LAST_AT] = np.where(later, b[:, LAST_AT], a[:, LAST_AT])
    return union


def _change_of_union(a: Panes, b: Panes) -> NDArray[np.float64]:
    """The sums of changes over both; NaN where their readings interleave."""
    both = a[:, CHANGE] + b[:, CHANGE]
    b_follows = ~_is_before(b[:, FIRST_AT], b[:, FIRST], a[:, LAST_AT], a[:, LAST])
    a_follows = ~_is_before(a[:, FIRST_AT], a[:, FIRST], b[:, LAST_AT], b[:, LAST])
    then_b = both + np.abs(b[:, FIRST] - a[:, LAST])
    then_a = both + np.abs(a[:, FIRST] - b[:, LAST])
    change: NDArray[np.float64] = np.where(b_follows, then_b, np.where(a_follows, then_a, np.nan))
    return change


def _moved(panes: Panes, first_at: NDArray[np.float64], first: NDArray[np.float64]) -> Panes:
    """The same panes with their sums taken about an earlier (or equal) first reading."""
    moved = panes.copy()
    dt, dx, n = panes[:, FIRST_AT] - first_at, panes[:, FIRST] - first, panes[:, COUNT]
    moved[:, TIME_VALUE] += dt * panes[:, SUM] + dx * panes[:, TIME] + n * dt * dx
    moved[:, TIME_SQUARE] += dt * (2 * panes[:, TIME] + n * dt)
    moved[:, TIME] += n * dt
    moved[:, SQUARE] += dx * (2 * panes[:, SUM] + n * dx)
    moved[:, SUM] += n * dx
    moved[:, FIRST], moved[:, FIRST_AT] = first, first_at
    return moved


def _is_before(
    at: NDArray[np.float64], value: NDArray[np.float64], other_at: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.bool_]:
    before: NDArray[np.bool_] = (at < other_at) | ((at == other_at) & (value < other))
    return before


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
    _check("device", device, np.int32, 1)
    _check("times", times, np.int64, 1)
    _check("begin", begin, np.uint32, 1, writable=True)
    _check("start", start, np.int64, 1, writable=True)
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
    _check("device", device, np.int32, 1)
    _check("times", times, np.int64, 1)
    _check("begin", begin, np.uint32, 1)
    _check("start", start, np.int64, 1)
    _check("cells", cells, np.uint32, 2, writable=True)
    _check("group", group, np.uint32, 1, writable=True)
    _check("pane_device", pane_device, np.int32, 1, writable=True)
    _check("pane_start", pane_start, np.int64, 1, writable=True)
    _check("latest", latest, np.int64, 1, writable=True)
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
    _check("panes", panes, np.float64, 3, writable=True)
    _check("pane_start", pane_start, np.int64, 1)
    _check("times", times, np.int64, 1)
    _check("begin", begin, np.uint32, 1)
    _check("limits", limits, np.float64, 1)
    _check("scratch", scratch, np.uint32, 1, writable=True)
    groups, signals, runs = len(panes), panes.shape[1], len(begin) - 1
    if panes.shape[2] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if len(pane_start) != groups or len(limits) != signals or not _cut(begin, runs, len(times)):
        raise ValueError("pane_start must have one row per pane, limits one per signal, and begin must cut all rows")
    _check_group(group, groups, runs, scratch)
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
        _add_signal(panes[:, signal], owner, at, values if order is None else values[order], limits[signal])


def _check_group(group: object, groups: int, runs: int, scratch: NDArray[np.uint32]) -> None:
    if group is None:
        if groups != runs:
            raise ValueError("every run must belong to a pane")
        return
    _check("group", group, np.uint32, 1)
    if not isinstance(group, np.ndarray) or len(group) != runs or (runs and int(group.max()) >= groups):
        raise ValueError("every run must belong to a pane")
    if len(scratch) < groups + 2:
        raise ValueError("scratch must hold one number per pane and two more")


def values_of(column: Parts, rows: int) -> NDArray[np.float64]:
    """The values of a column, NaN where they are missing.

    Raises:
        ValueError: The column does not have one value, and one bit where it has a bitmap, for each of ``rows``.
    """
    if not isinstance(column, tuple) or len(column) != 3:  # noqa: PLR2004 - values, validity, offset
        raise ValueError("a column must be a tuple of values, validity or None, and an offset")
    values, validity, offset = column
    _check("values", values, np.float64, 1)
    if len(values) != rows:
        raise ValueError("a column must have one value per row")
    if validity is None:
        return values
    _check("validity", validity, np.uint8, 1)
    if offset < 0 or (offset + rows + 7) // 8 > len(validity):
        raise ValueError("validity must hold one bit per row from the offset on")
    valid = np.unpackbits(validity[: (offset + rows + 7) // 8], bitorder="little")[offset : offset + rows]
    return np.where(valid, values, np.nan)


def fold(panes: Panes, parts: Panes, order: NDArray[np.int64], begin: NDArray[np.int64]) -> None:
    """Merge panes of one start.

    Args:
        panes: Overwritten: pane ``i`` becomes the union of ``parts[order[begin[i] : begin[i + 1]]]``, merged in that
            order; shape ``(panes, signals, FIELDS)``.
        parts: Panes of the same signals, shape ``(n, signals, FIELDS)``.
        order: Numbers of parts.
        begin: Where in ``order`` the parts of each pane begin and, behind them, its length; shape ``(panes + 1,)``.

    Raises:
        ValueError: The arrays do not fit together, or a part does not exist.
    """
    _check("panes", panes, np.float64, 3, writable=True)
    _check("parts", parts, np.float64, 3)
    _check("order", order, np.int64, 1)
    _check("begin", begin, np.int64, 1)
    if not FIELDS == panes.shape[2] == parts.shape[2]:
        raise ValueError(f"panes must have {FIELDS} fields")
    cuts = len(begin) == len(panes) + 1 and begin[0] == 0 and begin[-1] == len(order) and (np.diff(begin) > 0).all()
    known = (order >= 0) & (order < len(parts))
    if not cuts or not known.all() or parts.shape[1] != panes.shape[1]:
        raise ValueError("begin must cut order into one run per pane, and order must number parts of the same signals")
    panes[...] = parts[order[begin[:-1]]]
    for place in range(1, int(np.diff(begin).max(initial=0))):
        more = np.flatnonzero(begin[:-1] + place < begin[1:])
        union = panes[more]
        merge(union, parts[order[begin[more] + place]], np.zeros(1))
        panes[more] = union


def _check(name: str, array: object, element: type[np.generic], dimensions: int, *, writable: bool = False) -> None:
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous or array.dtype != element:
        raise ValueError(f"{name} must be a C-contiguous array of {element.__name__}")
    if array.ndim < 1 or (dimensions and array.ndim != dimensions):
        raise ValueError(f"{name} has the wrong number of dimensions")
    if not array.flags.aligned or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be aligned{' and writable' if writable else ''}")
