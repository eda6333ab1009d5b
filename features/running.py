"""Windows that begin with an event and grow: since the device's first pane, or since its latest known event.

A window may stop growing after a while: what came later is left out of it until the next beginning.

A growing window merges every pane from its beginning on. Who holds only the latest panes, as a stream does, carries the
rest as one state per device, signal and kind of beginning: `Carried`. ``advance`` moves it forward; starting from it
gives the same numbers as starting from the beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.pane import State, empty

Times = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).min
NO_LIMIT = int(np.iinfo(np.int64).max)
"""A window that never stops growing."""


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """Growing windows of one device up to a moment.

    Args:
        until: Panes that start before it are in the states, UTC microseconds; a multiple of the pane.
        origin: Start of the window of each kind of beginning, shape ``(kinds,)``; times in the states count from it.
            The smallest number there is where the beginning has not come yet.
        state: Shape ``(kinds, signals, FIELDS)``.
    """

    until: int
    origin: Times
    state: State

    @classmethod
    def nothing(cls, kinds: int, signals: int) -> Self:
        """A device of which no pane was seen."""
        return cls(_NEVER, np.full(kinds, _NEVER), empty((kinds, signals)))


def growing(
    start: Times,
    state: State,
    beginnings: Times,
    carried: tuple[int, int, State],
    ends: Times,
    *,
    most_us: int = NO_LIMIT,
) -> tuple[State, NDArray[np.float64]]:
    """The growing windows of one device and one kind of beginning.

    Args:
        start: Starts of the panes with a record, shape ``(panes,)``, increasing.
        state: Their states, shape ``(panes, signals, FIELDS)``.
        beginnings: Where windows begin, increasing; each is in force for the ends after it, until the next one is.
        carried: Up to when panes are already in a state, the origin of that window, and the state.
        ends: Where windows end, shape ``(rows,)``, increasing, none before what is carried.
        most_us: How long they grow; later ends find them as they were then.

    Returns:
        States, shape ``(rows, signals, FIELDS)``, and their lengths in microseconds, shape ``(rows,)``: NaN, beside an
        empty state, where no beginning is in force.
    """
    until, origin, held = carried
    states, lengths = empty((len(ends), state.shape[1])), np.full(len(ends), np.nan)
    later = beginnings[beginnings >= until]
    origins = [origin, *later.tolist()]
    in_force = np.searchsorted(later, ends)  # an end at the beginning itself still belongs to the window before
    for number in np.unique(in_force).tolist():
        begin = origins[number]
        if begin == _NEVER:
            continue
        rows = np.flatnonzero(in_force == number)
        grown = np.minimum(ends[rows] - begin, most_us)
        last, lengths[rows] = begin + grown, grown
        low = int(np.searchsorted(start, max(begin, until)))
        high = max(int(np.searchsorted(start, last[-1])), low)
        # Only the window that was in force already has a share in what is carried.
        panes = np.concatenate([held[None] if number == 0 else empty((1, state.shape[1])), state[low:high]])
        kernel.accumulate(panes, np.append(0.0, start[low:high] - begin))
        states[rows] = panes[np.searchsorted(start[low:high], last)]
    return states, lengths


def advance(
    carried: Carried,
    start: Times,
    state: State,
    beginnings: Sequence[Times],
    until: int,
    *,
    most_us: Sequence[int] | None = None,
) -> Carried:
    """Take the panes that start before ``until`` into what is carried.

    Args:
        carried: What was carried so far.
        start: Starts of panes, shape ``(panes,)``, increasing; those already carried are passed over.
        state: Their states, shape ``(panes, signals, FIELDS)``.
        beginnings: For each kind where its windows begin, increasing.
        until: Up to when; a multiple of the pane, not before what is carried.
        most_us: For each kind how long its windows grow; None for all without limit.
    """
    origin, states = carried.origin.copy(), carried.state.copy()
    for kind, begins in enumerate(beginnings):
        before = (carried.until, int(carried.origin[kind]), carried.state[kind])
        limit = NO_LIMIT if most_us is None else most_us[kind]
        grown, _ = growing(start, state, begins, before, np.array([until], np.int64), most_us=limit)
        states[kind] = grown[0]
        begun = begins[(begins >= carried.until) & (begins < until)]
        origin[kind] = begun[-1] if len(begun) else carried.origin[kind]
    return Carried(until, origin, states)
