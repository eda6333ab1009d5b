"""Events of devices, as features see them: each counts from the moment it could be known.

>>> hour = 3_600_000_000
>>> events = Events(*map(np.array, ([0, 0], [0, 0], [5 * hour, 1 * hour], [5 * hour, 9 * hour])))
>>> ends = np.array([4, 6, 10]) * hour
>>> history = events.histories()[0, 0]
>>> history.hours_since(ends).tolist()  # the event of hour 1 became known in hour 9
[nan, 1.0, 5.0]
>>> history.count(ends, 24 * hour).tolist()
[0.0, 1.0, 2.0]
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

HOUR_US = 3.6e9


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The events of one kind of one device, by the time from which they count.

    Args:
        visible: From when on each counts, shape ``(n,)``, not decreasing, UTC microseconds.
        time: When each happened, shape ``(n,)``.
    """

    visible: Times
    time: Times

    def hours_since(self, ends: Times) -> NDArray[np.float64]:
        """Hours from the latest of the known events to each end, shape of ``ends``; NaN where none is known."""
        if not len(self.time):
            return np.full(len(ends), np.nan)
        known = np.searchsorted(self.visible, ends)  # an event at the end itself does not count yet
        latest = np.maximum.accumulate(self.time)[np.maximum(known - 1, 0)]
        return np.where(known > 0, (ends - latest) / HOUR_US, np.nan)

    def count(self, ends: Times, window_us: int) -> NDArray[np.float64]:
        """How many events each window that ends there holds, of those known at its end."""
        known = np.searchsorted(self.visible, ends)
        counts = np.zeros(len(ends))
        for number, (visible, time) in enumerate(zip(self.visible, self.time, strict=True)):
            # Known events that the window still holds: ends in (visible, time + window].
            counts += (known > number) & (ends > visible) & (ends - window_us <= time)
        return counts

    def beginnings(self, pane_us: int) -> Times:
        """Starts of the first whole pane after each event was known, increasing, each once."""
        return np.unique(-(-self.visible // pane_us) * pane_us)


NOTHING: Final = History(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """What happened to devices.

    Args:
        device: Codes of the devices, shape ``(n,)``.
        kind: Positions in ``Fleet.event_kinds``, shape ``(n,)``.
        time: When it happened, shape ``(n,)``, UTC microseconds.
        known: When it became known, shape ``(n,)``; before ``time`` it does not matter.
    """

    device: NDArray[np.int32]
    kind: NDArray[np.int32]
    time: Times
    known: Times

    @classmethod
    def none(cls) -> Self:
        """No events."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def histories(self) -> dict[tuple[int, int], History]:
        """The events by device and kind; pairs without any are left out.

        What was told twice, or differs only in what features do not look at, is one event.
        """
        visible = np.maximum(self.time, self.known)
        table = np.unique(np.stack([self.device, self.kind, visible, self.time], axis=1), axis=0)
        device, kind, visible, time = table.T
        begins = np.flatnonzero((np.diff(device, prepend=-1) != 0) | (np.diff(kind, prepend=-1) != 0))
        parts = (slice(begin, end) for begin, end in pairwise([*begins.tolist(), len(table)]))
        return {(int(device[part][0]), int(kind[part][0])): History(visible[part], time[part]) for part in parts}
