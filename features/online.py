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

Memory is bounded: for each device ``bytes_per_device``, and no more than ``most_devices`` of them. What is beyond a
bound is refused and counted, never dropped silently.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import numpy as np
from numpy.typing import NDArray

from features.emission import Emission
from features.errors import FeatureSetError, ReadingsShapeError, SnapshotError
from features.eventlog import EventLog
from features.featureset import FeatureSet
from features.kernel.stream_reference import (
    MARK_EMITTED,
    MARK_FIRST,
    MARK_NEWEST,
    NEVER,
    TAKEN,
    TALLY_CROWDED,
    TALLY_DUE,
    TALLY_DUPLICATE,
    TALLY_LATE,
    TALLY_REFUSED,
    WAITS,
)
from features.onlinerows import OnlineRows
from features.plan import Rows
from features.ring import Rings
from features.roster import Roster
from features.schema import MICROSECOND
from features.snapshot import pack, unpack

__all__ = ["OnlineFeatures", "OnlineRows"]


class OnlineFeatures:
    """The features of a stream, with what must be remembered for them.

    Args:
        features: The features to compute.
        lateness: How long after a later reading of its device a reading may still arrive.
        most_devices: Devices that are remembered at most; readings of further ones are refused. None for any number.

    Raises:
        FeatureSetError: The lateness is negative or longer than a century.
    """

    def __init__(self, features: FeatureSet, lateness: timedelta, most_devices: int | None = None) -> None:
        if not timedelta(0) <= lateness <= timedelta(days=36_525):
            raise FeatureSetError(f"a lateness of {lateness} is negative or without end", fix="give zero to a century")
        self.features = features
        self.lateness = lateness
        self.most_devices = most_devices
        self._lateness_us = lateness // MICROSECOND
        self._signals = len(features.fleet.signals)
        self._prepares = features.regimes is not None
        plan = features.plan()
        self._rings = Rings(features, self._lateness_us, len(plan.kinds))
        self._log = EventLog(features.longest_us)
        self._emission = Emission(plan, self._rings, self._log)
        self._roster = Roster(most_devices)
        self._nothing = OnlineRows((), np.zeros(0, np.int64), np.zeros((0, len(features.features))))

    @property
    def duplicates(self) -> int:
        """Readings dropped because their device and time had been seen."""
        return int(self._rings.tally[TALLY_DUPLICATE])

    @property
    def late(self) -> int:
        """Readings dropped because their pane was closed."""
        return int(self._rings.tally[TALLY_LATE])

    @property
    def crowded(self) -> int:
        """Readings dropped because thousands of readings of their device stood in open panes already."""
        return int(self._rings.tally[TALLY_CROWDED])

    @property
    def refused(self) -> int:
        """Readings dropped because their device would have been one too many."""
        return int(self._rings.tally[TALLY_REFUSED])

    @property
    def late_events(self) -> int:
        """Events heard of after windows they belong to were emitted; they count from the next window on."""
        return self._log.late

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that are remembered."""
        return tuple(self._roster.codes)

    @property
    def bytes_per_device(self) -> int:
        """What is held of one device, its name and events aside; see ``features.ring``.

        Events take 24 bytes each, and are kept as long as a row reaches back; beyond that, the latest of each kind.
        """
        return self._rings.bytes_per_device

    def register(self, devices: Sequence[str]) -> NDArray[np.int32]:
        """Codes of devices, to be given to ``update`` in place of their names; -1 for one that is one too many."""
        codes = self._roster.enter(devices)
        self._rings.make_room(self._roster.size)
        return codes

    def forget(self, device: str) -> bool:
        """Forget a device, as if it had never been seen: False where it is not known. Its code may be given anew."""
        code = self._roster.remove(device)
        if code is None:
            return False
        self._rings.forget(code)
        self._log.forget(code)
        return True

    def forget_idle(self, before: int) -> tuple[str, ...]:
        """Forget the devices whose latest reading is from before a time, UTC microseconds; tells which."""
        newest = self._rings.marks[:, MARK_NEWEST]
        idle = tuple(name for name, code in self._roster.codes.items() if newest[code] < before)
        for name in idle:
            self.forget(name)
        return idle

    def filling(self) -> dict[str, int]:
        """Devices whose windows are not filled yet, and the end of the first row each will have, UTC microseconds."""
        marks = self._rings.marks[: self._roster.size]
        every_us = self.features.every_us
        first = -(-(marks[:, MARK_FIRST] + self.features.longest_us) // every_us) * every_us
        waiting = np.flatnonzero((marks[:, MARK_NEWEST] != NEVER) & (marks[:, MARK_EMITTED] < first))
        return {self._roster.name(code): int(first[code]) for code in waiting.tolist()}

    def update(
        self, devices: Sequence[str] | NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> OnlineRows:
        """Take in readings in the order they arrived and give out the rows that became due.

        Args:
            devices: Names of the devices, ``n`` of them; or their codes from ``register``, shape ``(n,)``.
            times: Event times, shape ``(n,)``, UTC microseconds.
            values: Accepted readings, shape ``(n, signals)`` in the fleet's order; NaN marks a missing value.

        Raises:
            ReadingsShapeError: The arrays do not fit together or the fleet, or a code or time cannot be.
        """
        shape = (len(devices), self._signals)
        if values.shape != shape or times.shape != shape[:1]:
            raise ReadingsShapeError(
                f"{shape[0]} devices, times {times.shape} and values {values.shape} do not fit together",
                where=f"fleet {self.features.fleet.name}",
                why=f"expected (n,) and (n, {self._signals})",
            )
        codes = self._coded(devices)
        times = np.require(times, np.int64, ["C", "A"])
        readings = np.require(self.features.prepared(values), np.float64, ["C", "A"])
        row, made = 0, []
        while True:
            try:
                row = self._rings.stream.take(codes, times, readings, row)
            except ValueError as error:
                raise ReadingsShapeError("the readings cannot be taken", why=str(error)) from error
            if self._rings.tally[TALLY_DUE]:
                made += self._emission.rows()
            elif row < len(codes):
                self._rings.deepen()
            if row == len(codes):
                return self._told(made)

    def update_one(self, device: str, time: int, values: tuple[float, ...] | list[float]) -> OnlineRows:
        """Take in one reading; the same as ``update`` with one row, and much faster.

        Args:
            device: Name of the device.
            time: Event time, UTC microseconds.
            values: One number for each signal; NaN marks a missing value.

        Raises:
            ReadingsShapeError: There are more or fewer numbers than signals.
        """
        code = self._roster.codes.get(device)
        if code is None:
            code = int(self.register([device])[0])
        if self._prepares:
            values = self.features.prepared(np.array([values], np.float64))[0].tolist()
        made: list[Rows] = []
        while True:
            try:
                took = self._rings.stream.take_one(code, time, values)
            except ValueError as error:
                raise ReadingsShapeError("the reading does not fit the fleet", why=str(error)) from error
            if took == TAKEN:
                return self._told(made)
            if self._rings.tally[TALLY_DUE]:
                made += self._emission.rows()
            elif took == WAITS:
                self._rings.deepen()
            if took != WAITS:
                return self._told(made)

    def events(
        self,
        devices: Sequence[str],
        kinds: Sequence[str],
        times: NDArray[np.int64],
        known: NDArray[np.int64] | None = None,
    ) -> None:
        """Take in events: for the windows that end after ``max(time, known)``, they have happened.

        Args:
            devices: Names of the devices, ``n`` of them.
            kinds: What happened, kinds of the fleet.
            times: When it happened, shape ``(n,)``, UTC microseconds.
            known: When it became known, shape ``(n,)``; without it, at once.

        Raises:
            ReadingsShapeError: The fleet declares no such kind, or the arrays do not fit together.
        """
        declared = self.features.fleet.event_kinds
        strange = next((kind for kind in kinds if kind not in declared), None)
        if strange is not None or not len(devices) == len(kinds) == len(times):
            raise ReadingsShapeError(
                f"the fleet has no events of kind '{strange}'" if strange else "the arrays do not fit together",
                where=f"fleet {self.features.fleet.name}",
                fix=f"its kinds are {', '.join(declared) or 'none'}",
            )
        codes = self.register(devices)
        told = np.flatnonzero(codes >= 0)
        self._rings.tally[TALLY_REFUSED] += len(codes) - len(told)
        numbers = np.array([declared.index(kind) for kind in kinds], np.int32)
        visible = np.maximum(times, times if known is None else known)
        self._emission.hear(codes[told], numbers[told], times[told], visible[told])

    def _coded(self, devices: Sequence[str] | NDArray[np.int32]) -> NDArray[np.int32]:
        if not isinstance(devices, np.ndarray):
            codes = self._roster.find(devices)
            self._rings.make_room(self._roster.size)
            return codes
        if not self._roster.in_use(devices):
            raise ReadingsShapeError("a code belongs to no device", fix="give what register returned")
        return devices

    def _told(self, made: list[Rows]) -> OnlineRows:
        return OnlineRows.of(made, self._roster.name) if made else self._nothing

    def snapshot(self) -> bytes:
        """Everything remembered, in one block; see ``features.snapshot``."""
        book = {"digest": self.features.digest, "lateness_us": self._lateness_us, "names": self._roster.names}
        return pack(book, {**self._rings.packed(self._roster.size), **self._log.packed()})

    @classmethod
    def restore(cls, features: FeatureSet, lateness: timedelta, data: bytes, most_devices: int | None = None) -> Self:
        """Go on where a snapshot was taken.

        Raises:
            SnapshotError: The snapshot is damaged, or was taken with other features or another lateness.
        """
        book, arrays = unpack(data)
        online = cls(features, lateness, most_devices)
        taken = (book["digest"], book["lateness_us"])
        if taken != (features.digest, online._lateness_us):
            raise SnapshotError(
                "the snapshot was taken with other features or another lateness",
                why=f"it says {taken[0]} and {taken[1]} µs, expected {features.digest} and {online._lateness_us} µs",
                fix="start without it",
            )
        online._rings.unpack(arrays)
        online._log.unpack(arrays)
        online._roster = Roster(most_devices, book["names"])
        return online
