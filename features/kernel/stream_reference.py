"""The stream entry of the kernel in numpy: what serves where no compiler was, and the oracle of the one in C.

Where C takes row after row, this judges and sums up a whole micro-batch at once, as long as the rows of a device come
in the order of time; the rows of other devices are judged one by one.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.kernel.reference import FIELDS
from features.kernel.ring_reference import RingPanes

NEVER: Final = -(2**62)
FARTHEST: Final = (2**63 - 1) // 4
MARK_FIRST, MARK_NEWEST, MARK_CLOSED, MARK_EMITTED, MARK_OPEN, MARK_PANE, MARK_SLOT, MARK_DUE, MARKS = range(9)
TALLY_LATE, TALLY_DUPLICATE, TALLY_CROWDED, TALLY_REFUSED, TALLY_DUE, TALLIES = range(6)
WAITS, TAKEN, TAKEN_AND_DUE = range(3)

Times = NDArray[np.int64]
Codes = NDArray[np.int32]
Reals = NDArray[np.float64]


class Stream:
    """Readings of many devices in the order they arrive, summed up in a ring of panes per device.

    The arrays are the caller's, and changed in place; ``features/kernel/pane.h`` says what is in them.

    Args:
        state: Rings of panes, shape ``(devices, panes, signals, FIELDS)``.
        start: Start of the pane in each place, shape ``(devices, panes)``, UTC microseconds; ``NEVER`` where none is.
        marks: What is noted of each device, shape ``(devices, MARKS)``; ``NEVER`` but for 0 in ``MARK_OPEN``,
            ``MARK_SLOT`` and ``MARK_DUE`` before the first reading.
        seen: Times of open panes, shape ``(devices, capacity)``, the first ``MARK_OPEN`` of each row, increasing.
        held: The readings taken at these times, shape ``(devices, capacity, signals)``; of shape
            ``(devices, 0, signals)`` where no pane needs its readings in the order of time.
        limits: The limit of each signal, shape ``(signals,)``; NaN where there is none.
        tally: What became of the readings that were not summed up, shape ``(TALLIES,)``.
        counts: Sketches of the panes, shape ``(devices, panes, sketches, buckets)``.
        sketched: The signal of each sketch, shape ``(sketches,)``.
        top: The key of the outermost bucket of each sketch, shape ``(sketches,)``.
        pane_us: Length of a pane.
        every_us: Step between windows, a whole number of panes.
        lateness_us: How far the watermark is behind the newest time.
        room_us: How far behind ``MARK_EMITTED`` lies the first pane that takes the place of one still needed.
        most_open: Readings in open panes of one device beyond which readings are dropped and counted.

    Raises:
        ValueError: The arrays or numbers do not fit together.
    """

    def __init__(  # noqa: PLR0917 - the arrays of the C struct, in its order
        self,
        state: Reals,
        start: Times,
        marks: Times,
        seen: Times,
        held: Reals,
        limits: Reals,
        tally: Times,
        counts: NDArray[np.uint32],
        sketched: Codes,
        top: Codes,
        pane_us: int,
        every_us: int,
        lateness_us: int,
        room_us: int,
        most_open: int,
    ) -> None:
        devices, panes, signals = state.shape[:3]
        if state.shape[3:] != (FIELDS,) or start.shape != (devices, panes) or marks.shape != (devices, MARKS):
            raise ValueError("state must hold rings of one pane or more, with all their fields")
        if len(seen) != devices or held.shape not in ((devices, 0, signals), (*seen.shape, signals)):
            raise ValueError("seen and held must have one row per device, held one reading per time, or none")
        if limits.shape != (signals,) or tally.shape != (TALLIES,):
            raise ValueError("limits must hold one number per signal, tally one of each kind")
        sketches, buckets = counts.shape[2:]
        if counts.shape[:2] != (devices, panes):
            raise ValueError("counts must have one row per pane")
        if min(pane_us, every_us) < 1 or lateness_us < 0 or every_us % pane_us:
            raise ValueError("pane, step and lateness do not fit together")
        if room_us % pane_us or room_us < lateness_us + every_us or panes * pane_us < lateness_us + pane_us:
            raise ValueError("the rings are too short for the lateness")
        slot, opened = marks[:, MARK_SLOT], marks[:, MARK_OPEN]
        if ((slot < 0) | (slot >= panes) | (opened < 0) | (opened > seen.shape[1])).any():
            raise ValueError("marks point beyond the ring or the times")
        flat = state.reshape(devices * panes, signals, FIELDS), counts.reshape(devices * panes, sketches, buckets)
        self._panes = RingPanes(flat[0], start.reshape(-1), limits, flat[1], sketched, top)
        self._marks, self._seen, self._held, self._tally = marks, seen, held, tally
        self._signals, self._length, self._holds = signals, panes, held.shape[1] > 0
        self._queue: list[tuple[int, int, Reals]] = []
        self._pane_us, self._every_us, self._lateness_us = pane_us, every_us, lateness_us
        self._room_us, self._most_open = room_us, most_open

    def take(self, device: Codes, time: Times, values: Reals, begin: int) -> int:
        """Take in rows from ``begin`` on, in the order of their arrival.

        Args:
            device: Codes of the devices, shape ``(n,)``; rows of codes below zero are refused and counted.
            time: Event times, shape ``(n,)``, UTC microseconds.
            values: Readings, shape ``(n, signals)``; NaN counts as missing.
            begin: The first row to take in.

        Returns:
            ``n``, or the number of the first row that has to wait: when a device is due (``TALLY_DUE``), until its
            windows are emitted; otherwise until the capacity of ``seen`` is twice what it was.

        Raises:
            ValueError: The arrays do not fit together, or a row has no such device or a time beyond all calendars.
                Nothing was taken in.
        """
        rows = len(device)
        if device.dtype != np.int32 or time.dtype != np.int64 or values.dtype != np.float64:
            raise ValueError("device must be int32, time int64 and values float64")
        if time.shape != (rows,) or values.shape != (rows, self._signals) or not 0 <= begin <= rows:
            raise ValueError("device, time and values must have one row each, values one column per signal")
        misfit = (device[begin:] >= len(self._marks)) | (time[begin:] > FARTHEST) | (time[begin:] < -FARTHEST)
        if misfit.any():
            raise ValueError(f"row {begin + int(misfit.argmax())} has no such device, or a time beyond all calendars")
        return begin + self._take(device[begin:], time[begin:], values[begin:])

    def take_one(self, device: int, time: int, values: tuple[float, ...] | list[float]) -> int:
        """Take in one reading: ``WAITS`` as ``take`` does, ``TAKEN``, or ``TAKEN_AND_DUE`` when a device is due."""
        if len(values) != self._signals:
            raise ValueError("values must hold one number per signal")
        row = np.array([values], np.float64)
        if not self.take(np.array([device], np.int32), np.array([time], np.int64), row, 0):
            return WAITS
        return TAKEN_AND_DUE if self._tally[TALLY_DUE] else TAKEN

    def _take(self, device: Codes, time: Times, values: Reals) -> int:
        known = np.flatnonzero(device >= 0)
        all_known = len(known) == len(device)  # usual, and nothing has to be copied then
        code, at = (device, time) if all_known else (device[known], time[known])
        codes, first, inverse, counts = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
        emitted = self._marks[codes, MARK_EMITTED]
        emitted = np.where(emitted == NEVER, _floor(at[first] - self._lateness_us, self._every_us), emitted)
        waits = at - emitted[inverse] >= self._room_us
        if waits.any():
            stop = int(known[waits.argmax()])
            taken = self._take(device[:stop], time[:stop], values[:stop])
            if taken == stop:
                self._advance(int(device[stop]), int(time[stop]))
            return taken
        if len(device) > 1 and (self._marks[codes, MARK_OPEN] + counts > self._seen.shape[1]).any():
            half = len(device) // 2
            taken = self._take(device[:half], time[:half], values[:half])
            return taken if taken < half else half + self._take(device[half:], time[half:], values[half:])
        if not self._judged(code, at, values if all_known else values[known], codes, inverse):
            return 0
        self._tally[TALLY_REFUSED] += len(device) - len(known)
        return len(device)

    def _judged(self, device: Codes, time: Times, values: Reals, codes: Codes, inverse: NDArray[np.intp]) -> bool:
        """Take in rows none of which waits for a window; False when there is only one and it waits for capacity."""
        order = np.argsort(inverse, kind="stable")
        t = time[order]
        begins = np.diff(inverse[order], prepend=-1) != 0
        newer = np.empty(len(t), np.bool_)
        newer[begins] = t[begins] > self._marks[codes, MARK_NEWEST]
        newer[1:][~begins[1:]] = (t[1:] > t[:-1])[~begins[1:]]
        in_order = np.logical_and.reduceat(newer, np.flatnonzero(begins)) if len(t) else newer
        room = self._marks[codes, MARK_OPEN] + np.bincount(inverse, minlength=len(codes)) <= self._seen.shape[1]
        in_order &= room
        for row in np.flatnonzero(~in_order[inverse]).tolist():
            if not self._judge(int(device[row]), int(time[row]), values[row]):
                return False
        self._flush()
        rows = order[in_order[inverse[order]]]
        self._accept_in_order(codes[in_order], device[rows], time[rows], values[rows])
        return True

    def _accept_in_order(self, codes: Codes, device: Codes, time: Times, values: Reals) -> None:
        """Take in rows that are newer than all before, sorted by device."""
        if not len(codes):
            return
        begin = np.flatnonzero(np.diff(device, prepend=-1))
        last = np.append(begin[1:], len(device)) - 1
        new = self._marks[codes, MARK_NEWEST] == NEVER
        for code, first in zip(codes[new].tolist(), time[begin[new]].tolist(), strict=True):
            self._advance(code, first)
        place = self._marks[device, MARK_OPEN] + _counted(last - begin + 1)
        self._seen[device, place] = time
        if self._holds:
            self._held[device, place] = values
        self._sum_up(device, time, values)
        self._marks[codes, MARK_OPEN] += last - begin + 1
        newest = time[last]
        self._marks[codes, MARK_NEWEST] = newest
        watermark = newest - self._lateness_us
        closes = watermark - self._marks[codes, MARK_CLOSED] >= self._pane_us
        if closes.any():
            self._close(codes[closes])
        due = codes[
            (watermark - self._marks[codes, MARK_EMITTED] >= self._every_us) & (self._marks[codes, MARK_DUE] == 0)
        ]
        self._marks[due, MARK_DUE] = 1
        self._tally[TALLY_DUE] += len(due)

    def _judge(self, code: int, time: int, values: Reals) -> bool:
        """Judge one reading; False when it waits for capacity."""
        marks = self._marks[code]
        if time < marks[MARK_CLOSED]:
            self._tally[TALLY_LATE] += 1
            return True
        if time > marks[MARK_NEWEST]:
            self._advance(code, time)
        seen, open_ = self._seen[code], int(marks[MARK_OPEN])
        place = int(np.searchsorted(seen[:open_], time))
        if place < open_ and seen[place] == time:
            self._tally[TALLY_DUPLICATE] += 1
            return True
        if open_ == len(seen):
            if open_ < self._most_open:
                return False
            self._tally[TALLY_CROWDED] += 1
            return True
        seen[place + 1 : open_ + 1] = seen[place:open_].copy()
        seen[place] = time
        marks[MARK_OPEN] += 1
        marks[MARK_FIRST] = min(int(marks[MARK_FIRST]), _floor(time, self._pane_us))
        if self._holds:
            held = self._held[code]
            held[place + 1 : open_ + 1] = held[place:open_].copy()
            held[place] = values
        self._queue.append((code, time, values))
        return True

    def _advance(self, code: int, time: int) -> None:
        marks = self._marks[code]
        watermark = time - self._lateness_us
        if marks[MARK_NEWEST] == NEVER:
            marks[MARK_FIRST] = _floor(time, self._pane_us)
            marks[MARK_CLOSED] = _floor(watermark, self._pane_us)
            marks[MARK_EMITTED] = _floor(watermark, self._every_us)
        marks[MARK_NEWEST] = time
        if watermark - marks[MARK_CLOSED] >= self._pane_us:
            self._close(np.array([code], np.int32))
        if watermark - marks[MARK_EMITTED] >= self._every_us and not marks[MARK_DUE]:
            marks[MARK_DUE] = 1
            self._tally[TALLY_DUE] += 1

    def _close(self, codes: Codes) -> None:
        """Move the watermarks of devices to their newest times, and let go of what stood open before."""
        marks, seen = self._marks, self._seen
        marks[codes, MARK_CLOSED] = _floor(marks[codes, MARK_NEWEST] - self._lateness_us, self._pane_us)
        open_ = marks[codes, MARK_OPEN]
        in_use = np.arange(seen.shape[1]) < open_[:, None]
        closed = (in_use & (seen[codes] < marks[codes, MARK_CLOSED, None])).sum(axis=1)
        if self._holds:
            self._flush()
            self._set_right(codes, closed)
        rest = open_ - closed
        device, to = np.repeat(codes, rest), _counted(rest)
        since = to + np.repeat(closed, rest)
        seen[device, to] = seen[device, since]
        if self._holds:
            self._held[device, to] = self._held[device, since]
        marks[codes, MARK_OPEN] = rest

    def _set_right(self, codes: Codes, closed: NDArray[np.int64]) -> None:
        """Sum up closed panes anew, in the order of time, where their readings came in another."""
        device, row = np.repeat(codes, closed), _counted(closed)
        time = self._seen[device, row]
        start = _floor(time, self._pane_us)
        place, _ = self._places(device, start)
        begin = np.flatnonzero(np.diff(place, prepend=-1))
        torn = self._panes.torn(place[begin], start[begin])
        if not torn.any():
            return
        self._panes.empty(place[begin[torn]])
        rows = np.flatnonzero(np.repeat(torn, np.diff(begin, append=len(place))))
        self._sum_up(device[rows], time[rows], self._held[device[rows], row[rows]])

    def _flush(self) -> None:
        """Sum up what was accepted one by one."""
        if self._queue:
            device, time, values = zip(*self._queue, strict=True)
            self._queue.clear()
            self._sum_up(np.array(device, np.int32), np.array(time, np.int64), np.array(values))

    def _sum_up(self, device: Codes, time: Times, values: Reals) -> None:
        start = _floor(time, self._pane_us)
        place, slot = self._places(device, start)
        self._marks[device, MARK_PANE], self._marks[device, MARK_SLOT] = start, slot
        self._panes.sum_up(place, start, (time - start).astype(np.float64), values)

    def _places(self, device: Codes, start: Times) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where panes lie among all, and in the ring of their device."""
        slot = start // self._pane_us % self._length
        return device.astype(np.int64) * self._length + slot, slot


def _floor(time: Any, unit: int) -> Any:
    """The multiple of ``unit`` at or before a time or times."""
    return time - time % unit


def _counted(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``0 1 … n - 1`` for each of the counts, one behind the other."""
    counted: NDArray[np.int64] = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return counted
