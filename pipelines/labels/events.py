"""What happened to devices, in columns, and when it became known."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to devices: failures, maintenance and whatever else the plant writes down.

    Attributes:
        device: Device names, shape ``(n,)``, text; or any other number or name that windows know them by.
        time: When it happened, shape ``(n,)``, UTC microseconds.
        kind: ``"failure"``, ``"maintenance"`` and so on, shape ``(n,)``, text.
        known_at: When it became known, shape ``(n,)``, UTC microseconds.
    """

    device: NDArray[Any]
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

    def __len__(self) -> int:
        return len(self.time)

    def select(self, keep: NDArray[np.bool_]) -> "Events":
        """Return the events where ``keep`` is true, sorted by device and time."""
        order = np.lexsort((self.time[keep], self.device[keep]))
        return Events(
            self.device[keep][order], self.time[keep][order], self.kind[keep][order], self.known_at[keep][order]
        )

    def known(self, kinds: Collection[str], known_until: int) -> "Events":
        """Return the events of some kinds that had happened and were known by ``known_until``, each moment once.

        Several of a kind at the same moment, as when two components break together, are one.
        """
        found = self.select(
            np.isin(self.kind, list(kinds)) & (self.known_at <= known_until) & (self.time <= known_until)
        )
        same = [column[1:] == column[:-1] for column in (found.device, found.time, found.kind)]
        return found.select(np.concatenate([np.ones(min(len(found), 1), dtype=np.bool_), ~np.all(same, axis=0)]))

    def of_kind(self, kind: str) -> "Events":
        """Return those of one kind."""
        return self.select(self.kind == kind)


def next_event(device: NDArray[np.str_], end: NDArray[np.int64], events: Events) -> NDArray[np.int64]:
    """Return the time of the first event of its device after the end of each window, or ``NEVER``.

    Args:
        device: Device of each window, shape ``(n,)``, in any order.
        end: End of each window, shape ``(n,)``, UTC microseconds.
        events: Events sorted by device and time, as ``Events.known`` returns them.
    """
    return _neighbour(device, end, events, after=True)


def last_event(device: NDArray[np.str_], end: NDArray[np.int64], events: Events) -> NDArray[np.int64]:
    """Return the time of the last event of its device at or before the end of each window, or ``-NEVER``."""
    return _neighbour(device, end, events, after=False)


def _neighbour(device: NDArray[np.str_], end: NDArray[np.int64], events: Events, *, after: bool) -> NDArray[np.int64]:
    found = np.full(len(end), NEVER if after else -NEVER)
    names, codes = np.unique(device, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for name in np.unique(events.device):
        code = int(np.searchsorted(names, name))
        if code == len(names) or names[code] != name:
            continue
        rows = order[bounds[code] : bounds[code + 1]]
        times = events.time[events.device == name]
        place = np.searchsorted(times, end[rows], side="right")
        padded = np.append(times, NEVER) if after else np.insert(times, 0, -NEVER)
        found[rows] = padded[place]
    return found
