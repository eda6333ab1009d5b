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
    check("panes", panes, np.float64, 3, writable=True)
    check("group", group, np.int64, 1)
    check("at", at, np.float64, 1)
    check("values", values, np.float64, 2)
    check("limits", limits, np.float64, 1)
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
        add_signal(panes[:, signal], group, at, values[:, signal], limit)


def add_signal(
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
    check("left", left, np.float64, 0, writable=True)
    check("right", right, np.float64, 0)
    check("shift", shift, np.float64, 1)
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
    check("panes", panes, np.float64, 3, writable=True)
    check("parts", parts, np.float64, 3)
    check("order", order, np.int64, 1)
    check("begin", begin, np.int64, 1)
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


def accumulate(states: Panes, shift: NDArray[np.float64]) -> None:
    """Merge each pane with all before it, in place.

    Args:
        states: Shape ``(n, signals, FIELDS)``: pane ``i`` becomes the union of the panes up to it, whose times count
            from the start of the first one.
        shift: How many microseconds later than the first pane each one starts, shape ``(n,)``.

    Raises:
        ValueError: An array has another shape, type or memory layout. Nothing was changed.
    """
    check("states", states, np.float64, 3, writable=True)
    check("shift", shift, np.float64, 1)
    if states.shape[2] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if len(shift) != len(states):
        raise ValueError("shift must hold one number per pane")
    for place in range(1, len(states)):
        union = states[place - 1].copy()
        merge(union, states[place], shift[place : place + 1])
        states[place] = union


def check(name: str, array: object, element: type[np.generic], dimensions: int, *, writable: bool = False) -> None:
    """Refuse what is not an array of this type, with these dimensions (0: any), lying in one piece."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous or array.dtype != element:
        raise ValueError(f"{name} must be a C-contiguous array of {element.__name__}")
    if array.ndim < 1 or (dimensions and array.ndim != dimensions):
        raise ValueError(f"{name} has the wrong number of dimensions")
    if not array.flags.aligned or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be aligned{' and writable' if writable else ''}")
