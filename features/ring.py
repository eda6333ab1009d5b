"""What a stream remembers of its devices, in flat arrays: a ring of panes each, their marks, and the times still open.

A place in a ring is taken again only after every window that needed the pane before has been emitted. So a ring holds
the reach of the longest window and the lateness, and the time to the next reading (at most a pane) on top: the reading
that makes a device due still finds room, and thousands of devices are emitted together and not one by one. Arrays grow
by doubling over devices; memory that no device uses yet is asked for and never touched.

Bytes of a device, with ``S`` signals, ``P`` panes in its ring, room for ``C`` times and windows that grow from ``K``
kinds of beginnings: ``P (120 S + 8) + 8 C + 64 + K (120 S + 8) + 8``; ``8 C S`` more where a pane must know its
readings in the order of time, and ``4 B P`` for each sketch of ``B`` buckets (`Rings.bytes_per_device`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.featureset import FeatureSet
from features.kernel.stream_reference import (
    MARK_DUE,
    MARK_EMITTED,
    MARK_NEWEST,
    MARK_OPEN,
    MARK_SLOT,
    MARKS,
    NEVER,
    TALLIES,
    TALLY_DUE,
    Stream,
)
from features.running import Carried
from features.schema import MICROSECOND
from features.sketch import Counts

Codes = NDArray[np.int32]
Times = NDArray[np.int64]
State = NDArray[np.float64]

_LEAST_CAPACITY: Final = 16
_BURST: Final = 16  # times as many readings as the fleet declares may stand open
_LEAST_OPEN: Final = 4096
_LINE: Final = 64  # bytes that a processor fetches at once
_GATHER_BYTES: Final = 32 * 2**20  # of panes at a time: a step of thousands of devices must not take memory twice


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Panes that windows still need, sorted by device and start; states have the shape ``(n, signals, FIELDS)``."""

    device: Codes
    start: Times
    state: State
    counts: Counts


class Rings:
    """The state of devices, by code.

    Args:
        features: Says what a pane is and how far windows reach back.
        lateness_us: How far the watermark is behind the newest time.
        kinds: How many kinds of beginnings windows grow from.

    Attributes:
        panes: Panes of a ring.
        most_open: Readings of one device that may stand in open panes; more are dropped and counted.
        tally: What became of readings that were not summed up, shape ``(TALLIES,)``.
        marks: What is noted of each device, shape ``(devices, MARKS)``; see ``features/kernel/pane.h``.
        stream: The kernel at work on the arrays. It and ``marks`` are others after the arrays have grown.
    """

    def __init__(self, features: FeatureSet, lateness_us: int, kinds: int) -> None:
        self._features, self._lateness_us, self._kinds = features, lateness_us, kinds
        self._limits, self._sketched, self._ordered = features.fleet.limits, features.sketched, features.ordered
        sampling_us = features.fleet.sampling // MICROSECOND
        ahead_us = lateness_us + min(sampling_us, features.pane_us)
        self.panes = -(-(features.longest_us + ahead_us) // features.pane_us)
        expected = (lateness_us + 2 * features.pane_us) // sampling_us
        self.most_open = max(_BURST * expected, _LEAST_OPEN)
        self._room_us = self.panes * features.pane_us + features.every_us - features.longest_us
        self.tally = np.zeros(TALLIES, np.int64)
        self._open(self._fresh(0, _LEAST_CAPACITY))

    @property
    def devices(self) -> int:
        """Devices there is room for."""
        return len(self.marks)

    @property
    def bytes_per_device(self) -> int:
        """What one device takes, its name aside."""
        return sum(array.itemsize * prod(array.shape[1:]) for array in self._arrays.values())

    def make_room(self, devices: int) -> None:
        """Let there be room for so many devices, or more."""
        if devices > self.devices:
            self._resize(max(devices, 2 * self.devices), self._capacity)

    def deepen(self) -> None:
        """Let twice as many readings of a device stand open."""
        self._resize(self.devices, min(2 * self._capacity, self.most_open))

    def forget(self, code: int) -> None:
        """Let a code be as if its device had never been seen."""
        for name, fresh in self._fresh(1, self._capacity).items():
            if name not in {"state", "counts"}:  # panes are emptied when they are taken
                self._arrays[name][code] = fresh[0]

    def due(self) -> Codes:
        """Devices whose watermark has passed the end of a window that was not emitted; they count as due no longer."""
        due = np.flatnonzero(self.marks[:, MARK_DUE]).astype(np.int32)
        self.marks[due, MARK_DUE] = 0
        self.tally[TALLY_DUE] = 0
        return due

    def passed(self, devices: Codes) -> Times:
        """Ends of the latest windows the watermarks have passed."""
        watermark = self.marks[devices, MARK_NEWEST] - self._lateness_us
        every_us = self._features.every_us
        passed: Times = watermark // every_us * every_us
        return passed

    def live(self, devices: Codes) -> Iterator[Live]:
        """The panes that windows not yet emitted need, some devices at a time."""
        signals = len(self._limits)
        some = max(_GATHER_BYTES // self.bytes_per_device, 1)
        flat = self._state.reshape(-1, signals, kernel.FIELDS)
        counts = self._arrays["counts"]
        sketches = counts.reshape(len(flat), *counts.shape[2:])
        for begin in range(0, len(devices), some):
            chosen = devices[begin : begin + some]
            start = self._start[chosen]
            order = np.argsort(start, axis=1)
            start = np.take_along_axis(start, order, axis=1)
            needed = start >= self._oldest(chosen)[:, None]
            places = (chosen[:, None].astype(np.int64) * self.panes + order)[needed]
            device = np.repeat(chosen, needed.sum(axis=1))
            yield Live(device, start[needed], flat[places], sketches[places])

    def _oldest(self, devices: Codes) -> Times:
        """Starts of the first panes that windows not yet emitted need."""
        emitted = self.marks[devices, MARK_EMITTED]
        oldest: Times = emitted + self._features.every_us - self._features.longest_us
        return oldest

    def carried(self, device: int) -> Carried:
        """The growing windows of a device."""
        arrays = self._arrays
        return Carried(int(arrays["until"][device]), arrays["origin"][device], arrays["grown"][device])

    def carry(self, device: int, carried: Carried) -> None:
        """Keep the growing windows of a device."""
        arrays = self._arrays
        arrays["until"][device] = carried.until
        arrays["origin"][device], arrays["grown"][device] = carried.origin, carried.state

    def origin(self, devices: Codes, place: int) -> Times:
        """Where the windows that grow from one kind of beginning began."""
        origin: Times = self._arrays["origin"][devices, place]
        return origin

    def packed(self, devices: int) -> dict[str, NDArray[Any]]:
        """Everything about the first devices, without places that hold nothing."""
        arrays = {name: array[:devices] for name, array in self._arrays.items()}
        codes = np.arange(devices, dtype=np.int32)
        needed = (arrays["start"] >= self._oldest(codes)[:, None]) & (arrays["start"] != NEVER)
        arrays["start"] = np.where(needed, arrays["start"], NEVER)
        arrays["state"], arrays["counts"] = arrays["state"][needed], arrays["counts"][needed]
        open_ = np.arange(self._capacity) < arrays["marks"][:, MARK_OPEN, None]
        for name in ("seen", "held") if self._ordered else ("seen",):
            arrays[name] = arrays[name][open_]
        return {**arrays, "tally": self.tally}

    def unpack(self, packed: Mapping[str, NDArray[Any]]) -> None:
        """Take over what ``packed`` gave."""
        devices = len(packed["marks"])
        most = int(packed["marks"][:, MARK_OPEN].max(initial=0))
        capacity = _LEAST_CAPACITY
        while capacity < most:
            capacity *= 2
        arrays = self._fresh(devices, capacity)
        for name in ("start", "marks", "until", "origin", "grown"):
            arrays[name][:] = packed[name]
        for name in ("state", "counts"):
            arrays[name][arrays["start"] != NEVER] = packed[name]
        open_ = np.arange(capacity) < arrays["marks"][:, MARK_OPEN, None]
        for name in ("seen", "held") if self._ordered else ("seen",):
            arrays[name][open_] = packed[name]
        self.tally = packed["tally"].copy()
        self._open(arrays)

    @property
    def _buckets(self) -> int:
        return max((sketch.buckets for sketch in self._sketched.values()), default=0)

    @property
    def _capacity(self) -> int:
        return int(self._arrays["seen"].shape[1])

    def _fresh(self, devices: int, capacity: int) -> dict[str, NDArray[Any]]:
        signals = len(self._limits)
        marks = _lined_up((devices, MARKS), np.int64)
        marks[:] = NEVER
        marks[:, [MARK_OPEN, MARK_SLOT, MARK_DUE]] = 0
        nothing = Carried.nothing(self._kinds, signals)
        return {
            "state": _lined_up((devices, self.panes, signals, kernel.FIELDS), np.float64),
            "counts": np.zeros((devices, self.panes, len(self._sketched), self._buckets), np.uint32),
            "start": np.full((devices, self.panes), NEVER),
            "marks": marks,
            "seen": _lined_up((devices, capacity), np.int64),
            "held": _lined_up((devices, capacity if self._ordered else 0, signals), np.float64),
            "until": np.full(devices, nothing.until),
            "origin": np.tile(nothing.origin, (devices, 1)),
            "grown": np.tile(nothing.state, (devices, 1, 1, 1)),
        }

    def _resize(self, devices: int, capacity: int) -> None:
        arrays, before = self._fresh(devices, capacity), self._arrays
        for name, array in arrays.items():
            old = before[name]
            if array.shape == old.shape:  # the panes are most of it: they stay where they are when only times need room
                arrays[name] = old
            else:
                array[tuple(map(slice, old.shape))] = old
        self._open(arrays)

    def _open(self, arrays: dict[str, NDArray[Any]]) -> None:
        features = self._features
        self._arrays = arrays
        self._state, self._start, self.marks = arrays["state"], arrays["start"], arrays["marks"]
        numbers = (features.pane_us, features.every_us, self._lateness_us, self._room_us, self.most_open)
        names = ("state", "start", "marks", "seen", "held")
        sketched = np.array(list(self._sketched), np.int32)
        tops = np.array([sketch.key for sketch in self._sketched.values()], np.int32)
        beside = (self._limits, self.tally, arrays["counts"], sketched, tops)
        given: tuple[Any, ...] = (*(arrays[name] for name in names), *beside, *numbers)
        self.stream: Stream = kernel.Stream(*given)


def _lined_up(shape: tuple[int, ...], element: type[np.generic]) -> NDArray[Any]:
    """Zeros that begin at a line of the cache.

    The readings of eight signals are one line: written as two halves of lines, a stream of a thousand devices takes
    twice as long.
    """
    count = prod(shape) * np.dtype(element).itemsize
    room = np.zeros(count + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + count].view(element).reshape(shape)
