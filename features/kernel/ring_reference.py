"""Panes in rings, in numpy: the sums behind ``stream_reference``, without a word about who sent what when.

A micro-batch mostly holds one reading of a pane, later than all before; such rows are added to all their panes at once.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel import reference
from features.kernel.columns_reference import SIDE, STEPS, sketch_places
from features.kernel.reference import (
    ABOVE,
    CHANGE,
    COUNT,
    FIELDS,
    FIRST,
    FIRST_AT,
    HIGH,
    LAST,
    LAST_AT,
    LOW,
    NULLS,
    SQUARE,
    SUM,
    TIME,
    TIME_SQUARE,
    TIME_VALUE,
)

_FEW = 3  # readings of one pane in a micro-batch that are added in rounds; more are sorted and summed up

Places = NDArray[np.int64]
Times = NDArray[np.int64]
Reals = NDArray[np.float64]


class RingPanes:
    """Panes by their place in rings.

    Args:
        state: Panes, shape ``(places, signals, FIELDS)``, changed in place.
        start: Start of the pane in each place, shape ``(places,)``, UTC microseconds, changed in place.
        limits: The limit of each signal, shape ``(signals,)``; NaN where there is none.
        counts: Their sketches, shape ``(places, sketches, buckets)``, changed in place.
        sketched: The signal of each sketch, shape ``(sketches,)``.
        top: The key of its outermost bucket, shape ``(sketches,)``.

    Raises:
        ValueError: The sketches do not fit together or the signals.
    """

    def __init__(  # noqa: PLR0917 - arrays of the C struct, in its order
        self,
        state: Reals,
        start: Times,
        limits: Reals,
        counts: NDArray[np.uint32],
        sketched: NDArray[np.int32],
        top: NDArray[np.int32],
    ) -> None:
        sketches, buckets = counts.shape[1:]
        if not len(sketched) == len(top) == sketches or (sketches and buckets not in {1 + SIDE, 1 + 2 * SIDE}):
            raise ValueError("there must be one signal and one top per sketch, and as many buckets as a sketch has")
        if ((sketched < 0) | (sketched >= state.shape[1]) | (np.abs(top.astype(np.int64)) > 1100 * STEPS)).any():
            raise ValueError("sketched must number signals, and top be the keys of numbers")
        self._state, self._start, self._limits = state, start, limits
        self._counts, self._below = counts, counts.shape[2] - 1 - SIDE
        self._sketches = list(zip(sketched.tolist(), top.tolist(), strict=True))

    def sum_up(self, place: Places, start: Times, at: Reals, values: Reals) -> None:
        """Add rows of readings to their panes, in any order; a place that held an earlier pane is emptied before.

        Args:
            place: Where the pane of each row lies, shape ``(n,)``.
            start: When it starts, shape ``(n,)``.
            at: Microseconds after that, shape ``(n,)``.
            values: Readings, shape ``(n, signals)``; NaN counts as missing.
        """
        places, inverse = np.unique(place, return_inverse=True)
        latest = self._start[places]
        np.maximum.at(latest, inverse, start)
        stay = start == latest[inverse]  # a pane whose place was taken in the same call is needed by no window to come
        taken = latest != self._start[places]
        self._start[places] = latest
        if taken.any():
            self.empty(places[taken])
        if not stay.all():
            inverse, at, values = inverse[stay], at[stay], values[stay]
        self._add(places, inverse, at, values)
        for number, (signal, top) in enumerate(self._sketches):
            some = ~np.isnan(values[:, signal])
            bucket = sketch_places(values[some, signal], top, self._below)
            np.add.at(self._counts[:, number], (places[inverse[some]], bucket), np.uint32(1))

    def torn(self, place: Places, start: Times) -> NDArray[np.bool_]:
        """Whether panes hold readings that came in another order than that of time; what starts elsewhere does not."""
        unknown = np.isnan(self._state[place, :, CHANGE])
        torn: NDArray[np.bool_] = unknown.any(axis=1) & (self._start[place] == start)
        return torn

    def empty(self, places: Places) -> None:
        """Empty panes and their sketches."""
        self._counts[places] = 0
        self._state[places] = 0.0
        self._state[places, :, LOW:] = np.nan

    def _add(self, places: Places, group: NDArray[np.intp], at: Reals, values: Reals) -> None:
        panes = self._state[places]
        order = np.argsort(group, kind="stable")
        sorted_ = group[order]
        if len(group) == len(places) and not (panes[..., LAST_AT] >= at[order, None]).any():
            _add_latest(panes, at[order], values[order], self._limits)
        elif np.bincount(group).max(initial=0) <= _FEW and self._in_order(panes, sorted_, at[order]):
            _add_in_rounds(panes, sorted_, at[order], values[order], self._limits)
        else:
            reference.add(panes, group.astype(np.int64), at, np.ascontiguousarray(values), self._limits)
        self._state[places] = panes

    @staticmethod
    def _in_order(panes: Reals, group: NDArray[np.intp], at: Reals) -> bool:
        ascending = (np.diff(at) > 0) | (np.diff(group) > 0)
        return bool(ascending.all() and not (panes[group, :, LAST_AT] >= at[:, None]).any())


def _add_in_rounds(panes: Reals, group: NDArray[np.intp], at: Reals, values: Reals, limits: Reals) -> None:
    """Add rows that are later than all before in their pane, sorted by pane: in each round at most one to a pane."""
    rest = np.arange(len(group))
    while len(rest):
        first = np.diff(group[rest], prepend=-1) > 0
        rows = rest[first]
        chosen = panes[group[rows]]
        _add_latest(chosen, at[rows], values[rows], limits)
        panes[group[rows]] = chosen
        rest = rest[~first]


def _add_latest(panes: Reals, at: Reals, x: Reals, limits: Reals) -> None:
    """Add one row of readings to each pane, later than all it holds; readings of shape ``(panes, signals)``."""
    field = [panes[..., number] for number in range(FIELDS)]
    valid = ~np.isnan(x)
    begins = valid & (field[COUNT] == 0)
    if begins.any():
        np.copyto(field[FIRST], x, where=begins)
        np.copyto(field[FIRST_AT], at[:, None], where=begins)
        np.copyto(field[LAST], x, where=begins)
    field[ABOVE] += x > limits
    field[NULLS] += ~valid
    field[COUNT] += valid
    t = np.where(valid, at[:, None] - field[FIRST_AT], 0.0)
    dx = np.where(valid, x - field[FIRST], 0.0)
    field[SUM] += dx
    field[SQUARE] += dx * dx
    field[TIME] += t
    field[TIME_SQUARE] += t * t
    field[TIME_VALUE] += t * dx
    field[CHANGE] += np.where(valid, np.abs(x - field[LAST]), 0.0)
    np.fmin(field[LOW], x, out=field[LOW])
    np.fmax(field[HIGH], x, out=field[HIGH])
    np.copyto(field[LAST], x, where=valid)
    np.copyto(field[LAST_AT], at[:, None], where=valid)
