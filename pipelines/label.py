"""What a model is asked to foresee: a label for each window, from what was known at the time.

A window that ends at ``end`` is *positive* when a failure of its device lies in ``(end, end + horizon)``. A failure at
the very end of a window is past, not future, and does not count. One exactly a horizon ahead does not count either: a
window excludes the reading at its end, so nothing that shows at that very moment could be in it.

A calm window that ends within ``recovery`` after a failure is *unlabelled*: the device stands still or is being mended,
its window still holds what came before the failure, and whether an alarm there is right is a question nobody asks.

Two rules keep the future out:

* An event is used only when it became known (``known_at``) by the training's ``known_until``, whenever it happened.
* A window whose horizon, plus the time in which failures are reported, reaches beyond ``known_until`` is *unlabelled*,
  even if a failure is already known for it: to keep the known failures and drop the not-yet-known silences would make
  the last day look dangerous.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

POSITIVE, NEGATIVE, UNLABELLED = 1, 0, -1
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to devices: failures, maintenance and whatever else the plant writes down.

    Attributes:
        device: Device names, shape ``(n,)``, text.
        time: When it happened, shape ``(n,)``, UTC microseconds.
        kind: ``"failure"``, ``"maintenance"`` and so on, shape ``(n,)``, text.
        known_at: When it became known, shape ``(n,)``, UTC microseconds.
    """

    device: NDArray[np.str_]
    time: NDArray[np.int64]
    kind: NDArray[np.str_]
    known_at: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> "Events":
        """Take the columns ``device``, ``time``, ``kind`` and ``known_at`` of a table of events."""
        return cls(
            np.asarray(columns["device"], dtype=np.str_),
            np.asarray(columns["time"], dtype=np.int64),
            np.asarray(columns["kind"], dtype=np.str_),
            np.asarray(columns["known_at"], dtype=np.int64),
        )

    def select(self, keep: NDArray[np.bool_]) -> "Events":
        """Return the events where ``keep`` is true, sorted by device and time."""
        order = np.lexsort((self.time[keep], self.device[keep]))
        return Events(
            self.device[keep][order], self.time[keep][order], self.kind[keep][order], self.known_at[keep][order]
        )


@dataclass(frozen=True, slots=True)
class FailureWithin:
    """The label "this device fails within ``horizon``".

    Attributes:
        horizon: How far ahead the model looks.
        kind: Which kind of event counts.
        recovery: How long after a failure a device says nothing about calm.
        reported_within: How long a failure may take to become known.

    Example:
        >>> hour = 3_600_000_000
        >>> events = Events.of({"device": ["a"], "time": [30 * hour], "kind": ["failure"], "known_at": [31 * hour]})
        >>> label = FailureWithin(timedelta(hours=24))
        >>> ends = np.array([6, 7, 29, 30, 60]) * hour
        >>> label.label(np.array(["a"] * 5), ends, events, known_until=80 * hour).tolist()
        [0, 1, 1, 0, -1]
    """

    horizon: timedelta
    kind: str = "failure"
    recovery: timedelta = timedelta(0)
    reported_within: timedelta = timedelta(0)

    @property
    def horizon_us(self) -> int:
        """The horizon in microseconds."""
        return self.horizon // timedelta(microseconds=1)

    @property
    def name(self) -> str:
        """A name for manifests and reports, such as ``failure_within_24h``."""
        return f"{self.kind}_within_{self.horizon / timedelta(hours=1):g}h"

    def known(self, events: Events, known_until: int) -> Events:
        """Return the events of this kind that were known by ``known_until``, sorted by device and time.

        Several at the same moment, as when two components break together, are one.
        """
        found = events.select(
            (events.kind == self.kind) & (events.known_at <= known_until) & (events.time <= known_until)
        )
        again = (found.device[1:] == found.device[:-1]) & (found.time[1:] == found.time[:-1])
        return found.select(np.concatenate([np.ones(min(len(found.time), 1), dtype=np.bool_), ~again]))

    def label(
        self, device: NDArray[np.str_], end: NDArray[np.int64], events: Events, known_until: int
    ) -> NDArray[np.int8]:
        """Label windows.

        Args:
            device: Device of each window, shape ``(n,)``.
            end: End of each window, shape ``(n,)``, UTC microseconds.
            events: All events; the fitting ones are picked here.
            known_until: The present of this training, UTC microseconds: nothing learned later is used.

        Returns:
            ``POSITIVE``, ``NEGATIVE`` or ``UNLABELLED`` for each window, shape ``(n,)``.
        """
        known = self.known(events, known_until)
        recovery_us, reported_us = (time // timedelta(microseconds=1) for time in (self.recovery, self.reported_within))
        open_ended = end + self.horizon_us + reported_us > known_until
        due = next_event(device, end, known) < end + self.horizon_us
        # The next event after a moment `recovery` ago is the last failure itself, when it lies at or before the end.
        mending = next_event(device, end - recovery_us, known) <= end
        return np.where(open_ended | (mending & ~due), UNLABELLED, due).astype(np.int8)


def next_event(device: NDArray[np.str_], end: NDArray[np.int64], events: Events) -> NDArray[np.int64]:
    """Return the time of the first event of its device after the end of each window, or ``NEVER``.

    Args:
        device: Device of each window, shape ``(n,)``, in any order.
        end: End of each window, shape ``(n,)``, UTC microseconds.
        events: Events sorted by device and time, as ``FailureWithin.known`` returns them.
    """
    found = np.full(len(end), NEVER)
    for name in np.unique(events.device):
        rows = device == name
        times = np.append(events.time[events.device == name], NEVER)
        found[rows] = times[np.searchsorted(times, end[rows], side="right").clip(max=len(times) - 1)]
    return found
