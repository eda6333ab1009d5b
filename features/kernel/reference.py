"""The pane kernel in numpy: what serves where no compiler was, and what the compiled kernel is measured against.

It does the same as ``pane.c`` in another way: where C adds reading after reading, this sorts the rows and sums up each
pane at once. That the two agree within 1e-9 is what makes either of them believable.
"""

import numpy as np
from numpy.typing import NDArray

PANE_VERSION = 1
FIELDS = 13
COUNT, NULLS, SUM, SQUARE, TIME, TIME_SQUARE, TIME_VALUE, LOW, HIGH, FIRST, FIRST_AT, LAST, LAST_AT = range(FIELDS)

Panes = NDArray[np.float64]


def add(panes: Panes, group: NDArray[np.int64], at: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Add rows of readings to panes, in place.

    Args:
        panes: Shape ``(groups, signals, FIELDS)``; empty panes or panes that hold readings already.
        group: The pane row each reading belongs to, shape ``(n,)``, in any order.
        at: Microseconds after the start of that pane, shape ``(n,)``, in any order.
        values: Readings, shape ``(n, signals)``; NaN counts as missing.

    Raises:
        ValueError: An array has another shape, type or memory layout, or a group does not exist. Nothing was changed.
    """
    _check("panes", panes, np.float64, 3, writable=True)
    _check("group", group, np.int64, 1)
    _check("at", at, np.float64, 1)
    _check("values", values, np.float64, 2)
    if panes.shape[2] != FIELDS:
        raise ValueError(f"panes must have {FIELDS} fields")
    if not len(group) == len(at) == len(values) or values.shape[1] != panes.shape[1]:
        raise ValueError("group, at and values must have one row each, values one column per signal")
    refused = np.flatnonzero((group < 0) | (group >= len(panes)))
    if len(refused):
        raise ValueError(f"row {refused[0]} belongs to a group that does not exist")
    order = np.lexsort((at, group))
    group, at, values = group[order], at[order], values[order]
    has_ties = bool(((np.diff(group) == 0) & (np.diff(at) == 0)).any())
    for signal in range(values.shape[1]):
        by_value = np.lexsort((values[:, signal], at, group)) if has_ties else slice(None)
        _add_signal(panes[:, signal], group[by_value], at[by_value], values[by_value, signal])


def _add_signal(panes: Panes, group: NDArray[np.int64], at: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Add the readings of one signal, sorted by group, time and value.

    Among readings of one time the smallest then comes first and the largest last, as the laws ask.
    """
    missing = np.isnan(values)
    panes[:, NULLS] += np.bincount(group[missing], minlength=len(panes))
    group, at, values = group[~missing], at[~missing], values[~missing]
    if not len(group):
        return
    begin = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    end = np.append(begin[1:], len(group)) - 1
    t = at - np.repeat(at[begin], end - begin + 1)
    x = values - np.repeat(values[begin], end - begin + 1)
    summary = np.zeros((len(begin), FIELDS))
    summary[:, COUNT] = end - begin + 1
    for index, terms in ((SUM, x), (SQUARE, x * x), (TIME, t), (TIME_SQUARE, t * t), (TIME_VALUE, t * x)):
        summary[:, index] = np.add.reduceat(terms, begin)
    summary[:, LOW] = np.minimum.reduceat(values, begin)
    summary[:, HIGH] = np.maximum.reduceat(values, begin)
    summary[:, FIRST], summary[:, FIRST_AT] = values[begin], at[begin]
    summary[:, LAST], summary[:, LAST_AT] = values[end], at[end]
    touched = panes[group[begin]]
    merge(touched, summary, np.zeros(1))
    panes[group[begin]] = touched


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
    union[:, LOW] = np.minimum(a[:, LOW], b[:, LOW])
    union[:, HIGH] = np.maximum(a[:, HIGH], b[:, HIGH])
    union[:, LAST] = np.where(later, b[:, LAST], a[:, LAST])
    union[:, LAST_AT] = np.where(later, b[:, LAST_AT], a[:, LAST_AT])
    return union


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


def _check(name: str, array: object, element: type[np.generic], dimensions: int, *, writable: bool = False) -> None:
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous or array.dtype != element:
        raise ValueError(f"{name} must be a C-contiguous array of {element.__name__}")
    if array.ndim < 1 or (dimensions and array.ndim != dimensions):
        raise ValueError(f"{name} has the wrong number of dimensions")
    if not array.flags.aligned or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be aligned{' and writable' if writable else ''}")
