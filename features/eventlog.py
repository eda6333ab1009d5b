"""The events of a stream that rows to come still speak of.

An event counts for the windows that end after it was known. Where it is heard of only after such windows were emitted,
they stay as they are, and a window that grows from it begins as if it had become known then; such events are counted.

    >>> log = EventLog(reach_us=3600)
    >>> at, never = np.array([60, 60]), np.array([-1, -1])
    >>> log.add(np.array([0, 0]), np.array([0, 0]), at, at, never, never)
    >>> log.duplicates, log.events().time.tolist()
    (1, [60])
"""

import numpy as np
from numpy.typing import NDArray

from features.event import Events

Codes = NDArray[np.int32]
Times = NDArray[np.int64]


class EventLog:
    """Events by device code and kind.

    Args:
        reach_us: How far before its end a row looks.

    Attributes:
        late: Events heard of after windows they belong to were emitted.
        duplicates: Events that were told before.
    """

    def __init__(self, reach_us: int) -> None:
        self.late = 0
        self.duplicates = 0
        self._reach_us = reach_us
        self._events = Events.none()
        self._told = self._events.known  # as each was told; duplicates are told apart by everything that was said

    def add(  # noqa: PLR0917 - columns of one table
        self, device: Codes, kind: Codes, time: Times, known: Times, emitted: Times, grows_from: Times
    ) -> None:
        """Take in events.

        Args:
            device: Codes of the devices, shape ``(n,)``.
            kind: Positions in ``Fleet.event_kinds``, shape ``(n,)``.
            time: When they happened, shape ``(n,)``, UTC microseconds.
            known: When they became known, shape ``(n,)``.
            emitted: Up to which end windows of their devices were emitted, shape ``(n,)``.
            grows_from: Where the window that grows from such events of the device began, shape ``(n,)``; the largest
                number there is where none does.
        """
        visible = np.maximum(time, known)
        begins_late = (visible < emitted) & (visible > grows_from)
        late = begins_late | ((visible < emitted) & (visible >= emitted - self._reach_us))
        before = self._events
        merged = Events(
            np.concatenate([before.device, device.astype(np.int32)]),
            np.concatenate([before.kind, kind.astype(np.int32)]),
            np.concatenate([before.time, time]),
            np.concatenate([before.known, np.where(begins_late, emitted, known)]),
        )
        told = np.concatenate([self._told, known])
        keys = np.stack([merged.device, merged.kind, merged.time, told], axis=1)
        _, first = np.unique(keys, axis=0, return_index=True)
        self.duplicates += len(keys) - len(first)
        self.late += int(late[first[first >= len(before.time)] - len(before.time)].sum())
        self._events, self._told = merged, told
        self._keep(np.sort(first))

    def events(self) -> Events:
        """All that are kept."""
        return self._events

    def of(self, devices: Codes) -> Events:
        """Those of some devices."""
        return _chosen(self._events, np.isin(self._events.device, devices))

    def forget(self, device: int) -> None:
        """Drop those of a device."""
        self._keep(self._events.device != device)

    def forget_before(self, emitted: Times) -> None:
        """Drop what no row to come speaks of.

        Args:
            emitted: By device code, up to which end windows were emitted.
        """
        events = self._events
        visible = np.maximum(events.time, events.known)
        old = visible < emitted[events.device] - self._reach_us
        order = np.lexsort((events.time, old, events.kind, events.device))
        pairs = np.stack([events.device, events.kind, old], axis=1)[order]
        latest = np.zeros(len(old), np.bool_)  # of the old ones: the time since it is still told
        latest[order] = (np.diff(pairs, axis=0, append=pairs[-1:] + 1) != 0).any(axis=1)
        if (old & ~latest).any():
            self._keep(~old | latest)

    def packed(self) -> dict[str, NDArray[np.int64]]:
        """Everything, as arrays for a snapshot."""
        events = self._events
        return {
            "event_device": events.device.astype(np.int64),
            "event_kind": events.kind.astype(np.int64),
            "event_time": events.time,
            "event_known": events.known,
            "event_told": self._told,
            "event_counts": np.array([self.late, self.duplicates]),
        }

    def unpack(self, packed: dict[str, NDArray[np.int64]]) -> None:
        """Take over what ``packed`` gave."""
        device, kind = (packed[f"event_{name}"].astype(np.int32) for name in ("device", "kind"))
        self._events = Events(device, kind, packed["event_time"].copy(), packed["event_known"].copy())
        self._told = packed["event_told"].copy()
        self.late, self.duplicates = packed["event_counts"].tolist()

    def _keep(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> None:
        self._events, self._told = _chosen(self._events, rows), self._told[rows]


def _chosen(events: Events, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Events:
    return Events(events.device[rows], events.kind[rows], events.time[rows], events.known[rows])
