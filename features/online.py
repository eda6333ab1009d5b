"""Features of a running stream: readings in, feature rows out as soon as their windows are closed.

The rows are the ones ``features.batch`` makes of the same readings. How readings were cut into batches, and in which
order they came within the lateness, makes no difference.

    >>> from features.catalog import load
    >>> online = OnlineFeatures(load("pumps").features, lateness=timedelta(minutes=10))
    >>> minutes = np.arange(0, 24 * 60 + 11) * 60_000_000  # a day, and the lateness behind it
    >>> rows = online.update(["P-1"] * len(minutes), minutes, np.full((len(minutes), 6), 5.0))
    >>> rows.device, (rows.end // 3_600_000_000).tolist(), rows.values.shape
    (('P-1',), [24], (1, 55))

Per device there is a watermark: the latest event time less the lateness. A pane is closed when the watermark has passed
its end; a window is emitted when the watermark has passed the window's end. Readings of closed panes are late: they are
dropped and counted, and reach the models through the batch path.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.errors import FeatureSetError, ReadingsShapeError, SnapshotError
from features.featureset import FeatureSet
from features.pane import empty
from features.plan import Bounds
from features.schema import MICROSECOND

_BEGINNING: Final = -(2**62)
_FORMAT: Final = b"tidemill-online-1\n"
_MARKS: Final = ("first_start", "newest", "closed", "emitted")


@dataclass(frozen=True, slots=True, eq=False)
class OnlineRows:
    """Feature rows that became due, device by device, each by increasing end.

    Args:
        device: Names of the devices, one per row.
        end: Ends of the windows, shape ``(rows,)``, UTC microseconds.
        values: Features in the order of the feature set, shape ``(rows, features)``; NaN where there is nothing to say.
    """

    device: tuple[str, ...]
    end: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _Device:
    """What is remembered of one device: the panes windows still need, and the times seen in panes still open."""

    start: NDArray[np.int64]
    state: NDArray[np.float64]
    first_start: int = -_BEGINNING
    newest: int = _BEGINNING
    closed: int = _BEGINNING  # panes that start before it are closed
    emitted: int = _BEGINNING  # windows up to this end have been emitted
    seen: dict[int, set[int]] = field(default_factory=dict)  # by start of the open pane

    def accept(self, time: int, pane_us: int, lateness_us: int) -> bool:
        """Remember a reading that is not late: False when its time was seen before."""
        start = time - time % pane_us
        times = self.seen.setdefault(start, set())
        if time in times:
            return False
        times.add(time)
        self.first_start = min(self.first_start, start)
        if time > self.newest:
            self.newest = time
            closed = (time - lateness_us) // pane_us * pane_us
            if closed > self.closed:
                self.closed = closed
                self.seen = {start: times for start, times in self.seen.items() if start >= closed}
        return True

    def add(self, times: NDArray[np.int64], values: NDArray[np.float64], features: FeatureSet) -> None:
        """Add accepted readings to their panes."""
        start = times - times % features.pane_us
        new = np.setdiff1d(start, self.start)
        if len(new):
            place = np.searchsorted(self.start, new)
            self.start = np.insert(self.start, place, new)
            self.state = np.insert(self.state, place, empty((len(new), self.state.shape[1])), axis=0)
        kernel.add(
            self.state,
            np.searchsorted(self.start, start),
            (times - start).astype(np.float64),
            values,
            features.fleet.limits,
        )

    def forget_before(self, time: int) -> None:
        """Drop panes that no window to come needs."""
        keep = int(np.searchsorted(self.start, time))
        self.start, self.state = self.start[keep:].copy(), self.state[keep:].copy()


class OnlineFeatures:
    """The features of a stream, with what must be remembered for them.

    Args:
        features: The features to compute.
        lateness: How long after a later reading of its device a reading may still arrive.

    Attributes:
        duplicates: Readings dropped because their device and time had been seen.
        late: Readings dropped because their pane was closed.

    Raises:
        FeatureSetError: The lateness is negative.
    """

    def __init__(self, features: FeatureSet, lateness: timedelta) -> None:
        if lateness < timedelta(0):
            raise FeatureSetError(f"a lateness of {lateness} is negative", fix="give zero or more")
        self.features = features
        self.lateness = lateness
        self.duplicates = 0
        self.late = 0
        self._lateness_us = lateness // MICROSECOND
        self._plan = features.plan()
        self._signals = len(features.fleet.signals)
        self._devices: dict[str, _Device] = {}

    def update(self, devices: Sequence[str], times: NDArray[np.int64], values: NDArray[np.float64]) -> OnlineRows:
        """Take in readings in the order they arrived and give out the rows that became due.

        Args:
            devices: Names of the devices, ``n`` of them.
            times: Event times, shape ``(n,)``, UTC microseconds.
            values: Accepted readings, shape ``(n, signals)`` in the fleet's order; NaN marks a missing value.

        Raises:
            ReadingsShapeError: The arrays do not fit together or the fleet.
        """
        if times.shape != (len(devices),) or values.shape != (len(devices), self._signals):
            raise ReadingsShapeError(
                f"{len(devices)} devices, times {times.shape} and values {values.shape} do not fit together",
                where=f"fleet {self.features.fleet.name}",
                why=f"expected (n,) and (n, {self._signals})",
            )
        readings = np.require(self.features.prepared(values), np.float64, ["C", "A"])
        due: list[tuple[str, NDArray[np.int64], NDArray[np.float64]]] = []
        for name, rows in self._accepted(devices, times).items():
            device = self._devices[name]
            device.add(np.asarray(times[rows], np.int64), readings[rows], self.features)
            if device.newest - self._lateness_us >= device.emitted + self.features.every_us:
                due.append((name, *self._emit(device)))
        return OnlineRows(
            tuple(name for name, end, _ in due for _ in range(len(end))),
            np.concatenate([np.zeros(0, np.int64), *(end for _, end, _ in due)]),
            np.concatenate([np.zeros((0, len(self.features.features))), *(rows for _, _, rows in due)]),
        )

    def _accepted(self, devices: Sequence[str], times: NDArray[np.int64]) -> dict[str, list[int]]:
        """Rows to take in by device. One by one: each may close panes to the ones that arrive after it."""
        accepted: dict[str, list[int]] = {}
        pane_us = self.features.pane_us
        for row, (name, time) in enumerate(zip(devices, times.tolist(), strict=True)):
            device = self._devices.get(name)
            if device is None:
                device = self._devices[name] = _Device(np.zeros(0, np.int64), empty((0, self._signals)))
            if time < device.closed:
                self.late += 1
            elif device.accept(time, pane_us, self._lateness_us):
                accepted.setdefault(name, []).append(row)
            else:
                self.duplicates += 1
        return accepted

    def _emit(self, device: _Device) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        every = self.features.every_us
        passed = (device.newest - self._lateness_us) // every * every
        bounds = Bounds(*(np.array([each]) for each in (device.first_start, device.emitted, passed)))
        rows = self._plan.rows(np.zeros(len(device.start), np.int32), device.start, device.state, bounds)
        device.emitted = passed
        device.forget_before(passed + every - self.features.longest_us)
        return rows.end, rows.values

    def snapshot(self) -> bytes:
        """Everything remembered: a format line, a SHA-256, and an ``.npz`` archive without pickled objects."""
        book = {
            "digest": self.features.digest,
            "lateness_us": self._lateness_us,
            "duplicates": self.duplicates,
            "late": self.late,
            "devices": [
                {
                    "name": name,
                    "panes": len(device.start),
                    "marks": {key: getattr(device, key) for key in _MARKS},
                    "seen": sorted(time for times in device.seen.values() for time in times),
                }
                for name, device in self._devices.items()
            ],
        }
        devices = self._devices.values()
        archive = io.BytesIO()
        np.savez(
            archive,
            book=np.frombuffer(json.dumps(book).encode(), np.uint8),
            start=np.concatenate([np.zeros(0, np.int64), *(device.start for device in devices)]),
            state=np.concatenate([empty((0, self._signals)), *(device.state for device in devices)]),
        )
        content = archive.getvalue()
        return _FORMAT + hashlib.sha256(content).digest() + content

    @classmethod
    def restore(cls, features: FeatureSet, lateness: timedelta, data: bytes) -> Self:
        """Go on where a snapshot was taken.

        Raises:
            SnapshotError: The snapshot is damaged, or was taken with other features or another lateness.
        """
        frame = len(_FORMAT) + hashlib.sha256().digest_size
        if not data.startswith(_FORMAT) or data[len(_FORMAT) : frame] != hashlib.sha256(data[frame:]).digest():
            raise SnapshotError("the snapshot is damaged, or of another version", fix="start without it")
        with np.load(io.BytesIO(data[frame:]), allow_pickle=False) as archive:
            book = json.loads(archive["book"].tobytes())
            start, state = archive["start"], archive["state"]
        online = cls(features, lateness)
        taken = (book["digest"], book["lateness_us"])
        if taken != (features.digest, online._lateness_us):
            raise SnapshotError(
                "the snapshot was taken with other features or another lateness",
                why=f"it says {taken[0]} and {taken[1]} µs, expected {features.digest} and {online._lateness_us} µs",
                fix="start without it",
            )
        online._open(book, start, state)
        return online

    def _open(self, book: dict[str, Any], start: NDArray[np.int64], state: NDArray[np.float64]) -> None:
        self.duplicates, self.late = book["duplicates"], book["late"]
        end, pane_us = 0, self.features.pane_us
        for entry in book["devices"]:
            begin, end = end, end + entry["panes"]
            device = _Device(start[begin:end].copy(), state[begin:end].copy(), **entry["marks"])
            for time in entry["seen"]:
                device.seen.setdefault(time - time % pane_us, set()).add(time)
            self._devices[entry["name"]] = device
