"""The pane: a mergeable summary of one signal of one device in one fixed interval.

A pane state is a row of ``PANE_FIELDS`` in float64; states of many panes and signals are arrays whose last axis holds
the fields. Sums are taken about the first reading and times are microseconds after the start of the pane: see
``features/kernel/pane.h`` for why no digit is lost that way.

Laws, for any readings split in any way (tested with hypothesis):
    * ``merge(state, EMPTY) == state == merge(EMPTY, state)``
    * grouping does not matter: ``merge(merge(a, b), c) == merge(a, merge(b, c))``
    * order of arrival does not matter
    * merging the summaries of the parts gives the summary of the whole

``change`` obeys the last three where readings come in the order of time and the parts do not interleave in time, and
is NaN otherwise.

Example:
    >>> morning, noon = summarize([0, 60], [20.0, 22.0]), summarize([0], [27.0])
    >>> day = merge(morning, noon, 600)
    >>> float(day[PANE_FIELDS.index("count")]), float(day[PANE_FIELDS.index("last_at")])
    (3.0, 600.0)
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features import kernel
from features.errors import ReadingsShapeError

PANE_VERSION: Final = kernel.PANE_VERSION
"""Part of every feature digest; raised whenever the fields or their meaning change."""

PANE_FIELDS: Final = (
    "count",  # readings with a value
    "nulls",  # records that lacked the signal
    "sum",  # of (x - first)
    "square",  # of (x - first)²
    "time",  # of (t - first_at), microseconds
    "time_square",  # of (t - first_at)²
    "time_value",  # of (t - first_at)(x - first)
    "change",  # of |x - the reading before it|; NaN where it cannot be known
    "above",  # readings above the limit of the signal
    "low",  # this and the following are NaN while count is 0
    "high",
    "first",
    "first_at",  # microseconds after the start of the pane
    "last",
    "last_at",
)

State = NDArray[np.float64]

EMPTY: Final[State] = np.array([0.0] * PANE_FIELDS.index("low") + [np.nan] * 6)
"""The pane without readings. Read-only; ``empty(shape)`` makes panes to fill."""
EMPTY.flags.writeable = False


def empty(shape: int | Sequence[int]) -> State:
    """New empty panes, shape ``(*shape, FIELDS)``."""
    panes = np.zeros((*np.atleast_1d(shape), len(PANE_FIELDS)))
    panes[..., PANE_FIELDS.index("low") :] = np.nan
    return panes


def summarize(at: ArrayLike, values: ArrayLike, limit: ArrayLike = np.nan) -> State:
    """Summarise the readings of one pane.

    Args:
        at: Microseconds after the start of the pane, shape ``(n,)``, in any order.
        values: Readings, shape ``(n,)`` for one signal or ``(n, signals)``. NaN marks a missing value.
        limit: The limit above which readings are counted, one for all signals or one each; NaN where there is none.

    Returns:
        The state, shape ``(FIELDS,)`` or ``(signals, FIELDS)``; ``EMPTY`` when there is no reading.

    Raises:
        ReadingsShapeError: The two do not have one row each.

    Example:
        >>> state = summarize([0, 1, 2], [20.0, 22.0, np.nan])
        >>> dict(zip(PANE_FIELDS, state.tolist()))["nulls"]
        1.0
    """
    offsets = np.ascontiguousarray(at, np.float64)
    readings = np.asarray(values, np.float64)
    columns = np.ascontiguousarray(readings[:, None] if readings.ndim == 1 else readings)
    if offsets.ndim != 1 or columns.ndim != 2 or len(offsets) != len(columns):  # noqa: PLR2004 - rows and signals
        raise ReadingsShapeError(f"times {offsets.shape} and values {readings.shape} do not have one row each")
    panes = empty((1, columns.shape[1]))
    limits = np.array(np.broadcast_to(np.asarray(limit, np.float64), columns.shape[1]))
    kernel.add(panes, np.zeros(len(offsets), np.int64), offsets, columns, limits)
    state: State = panes[0, 0] if readings.ndim == 1 else panes[0]
    return state


def merge(left: State, right: State, shift_us: float | NDArray[np.float64]) -> State:
    """Merge panes: the state of the readings of both.

    Args:
        left: States, shape ``(..., FIELDS)``.
        right: States of the same shape.
        shift_us: How many microseconds after the left pane the right pane starts (negative: before it): one number, or
            an array that broadcasts against the leading axes.

    Returns:
        New states of the same shape, whose times count from the start of the left pane.

    Raises:
        ReadingsShapeError: The states do not have one shape.
    """
    if left.shape != right.shape:
        raise ReadingsShapeError(f"panes of shape {left.shape} and {right.shape} cannot be merged")
    merged = np.array(left, np.float64, order="C")
    shifts = np.atleast_1d(np.asarray(shift_us, np.float64))
    if shifts.size > 1:
        shifts = np.broadcast_to(shifts, left.shape[:-1])
    kernel.merge(merged, np.require(right, np.float64, ["C", "A"]), np.ascontiguousarray(shifts).ravel())
    return merged


def pane_starts(times: NDArray[np.int64], pane_us: int) -> NDArray[np.int64]:
    """The start of the pane each time lies in; panes are aligned to 1970 in UTC and hold their start, not their end."""
    return times - times % pane_us
