"""Which feature rows a change can have touched.

A row looks back over its windows and lags, so a pane that changed touches the rows that end within a reach behind it; a
window that grows since the start never lets go of it. Rows also appear when a device's panes come to reach further:
later, so that rows after a pause end before the last pane; or earlier, so that the reach of the first rows is filled.
What is touched is kept as spans of row ends, device by device, which stay few however many panes changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from features.feature import TimeSince, plain
from features.featureset import FeatureSet
from pipelines.tables import DAY_US

Codes = NDArray[np.int32]
Times = NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max // 2
"""Later than every time, with room to add to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Starts of the first and the last pane of each device, by code.

    Attributes:
        first: Shape ``(devices,)``, UTC microseconds; `NEVER` for a device without panes.
        last: Shape ``(devices,)``; minus `NEVER` for a device without panes.
    """

    first: Times
    last: Times

    @classmethod
    def nowhere(cls, devices: int) -> Self:
        """No panes."""
        return cls(np.full(devices, NEVER), np.full(devices, -NEVER))

    def over(self, device: Codes, start: Times, devices: int) -> "Reach":
        """The reach once there are these panes as well.

        Example:
            >>> found = Reach.nowhere(1).over(np.array([0, 1, 0]), np.array([60, 0, 120]), devices=2)
            >>> found.first.tolist(), found.last.tolist()
            ([60, 0], [120, 0])
        """
        added = devices - len(self.first)
        first, last = np.append(self.first, np.full(added, NEVER)), np.append(self.last, np.full(added, -NEVER))
        np.minimum.at(first, device, start)
        np.maximum.at(last, device, start)
        return Reach(first, last)

    def same(self, other: "Reach") -> bool:
        """Whether another reach is that of the same devices, and the same for each of them.

        Example:
            >>> one = Reach.nowhere(1).over(np.array([0]), np.array([60]), devices=1)
            >>> one.same(one.over(np.array([0]), np.array([60]), devices=1)), one.same(Reach.nowhere(1))
            (True, False)
        """
        return np.array_equal(self.first, other.first) and np.array_equal(self.last, other.last)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Ends of feature rows, from the first to the last of each span, both included.

    Attributes:
        device: Codes, shape ``(spans,)``.
        first: Shape ``(spans,)``, UTC microseconds.
        last: Shape ``(spans,)``.
    """

    device: Codes
    first: Times
    last: Times

    @classmethod
    def none(cls) -> Self:
        """Nothing."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def union(cls, parts: Iterable["Spans"], gap_us: int = 0) -> "Spans":
        """One span where some overlap, or lie at most a gap apart; sorted by device and time, empty ones left out.

        Example:
            >>> parts = [Spans(np.zeros(1, np.int32), np.array([first]), np.array([first + 2])) for first in (5, 0, 2)]
            >>> both = Spans.union(parts)
            >>> both.first.tolist(), both.last.tolist()
            ([0, 5], [4, 7])
        """
        found = list(parts)
        if not found:
            return cls.none()
        columns = (np.concatenate([getattr(part, name) for part in found]) for name in ("device", "first", "last"))
        device, first, last = columns
        some = np.flatnonzero(first <= last)
        order = some[np.lexsort((first[some], device[some]))]
        device, first, last = device[order], first[order], last[order]
        if not len(device):
            return cls.none()
        # The latest end so far, device by device: ranks of the ends, lifted so that a new device begins anew.
        ends, rank = np.unique(last, return_inverse=True)
        so_far = ends[np.maximum.accumulate(device.astype(np.int64) * len(ends) + rank) % len(ends)]
        begins = np.ones(len(device), bool)
        begins[1:] = (np.diff(device) != 0) | (first[1:] > so_far[:-1] + gap_us)
        closes = np.append(np.flatnonzero(begins)[1:], len(device)) - 1
        return cls(device[begins], first[begins], so_far[closes])

    def within(self, first: int, last: int) -> "Spans":
        """What of them lies between two times, both included."""
        here = (self.first <= last) & (self.last >= first)
        return Spans(self.device[here], np.maximum(self.first[here], first), np.minimum(self.last[here], last))

    def dates(self) -> list[str]:
        """The days that hold one of the ends, as ``yyyy-mm-dd``, sorted."""
        if not len(self.first):
            return []
        low, high = self.first // DAY_US, self.last // DAY_US
        days = [np.arange(*pair) for pair in np.unique(np.stack([low, high + 1], axis=1), axis=0)]
        return [str(day) for day in np.unique(np.concatenate(days)).astype("datetime64[D]")]

    def hold(self, device: Codes, ends: Times) -> NDArray[np.bool_]:
        """Which rows are among them, shape ``(rows,)``; the spans must be a union."""
        if not len(self.first) or not len(ends):
            return np.zeros(len(ends), bool)
        moments = np.unique(np.concatenate([self.first, ends]))
        lift = len(moments)
        keys = self.device.astype(np.int64) * lift + np.searchsorted(moments, self.first)
        place = np.searchsorted(keys, device.astype(np.int64) * lift + np.searchsorted(moments, ends), side="right") - 1
        held: NDArray[np.bool_] = (place >= 0) & (self.device[place] == device) & (ends <= self.last[place])
        return held


@dataclass(frozen=True, slots=True)
class Sight:
    """How far feature rows look, as far as that decides which of them a change touches.

    Attributes:
        pane_us: Length of a pane.
        every_us: Step between rows.
        reach_us: How far before its end a row looks.
        forever: Whether a window grows since an event, so that a pane touches every row behind it.
        aged: Whether a feature tells the age of a device, so that an earlier first pane touches every row.
    """

    pane_us: int
    every_us: int
    reach_us: int
    forever: bool = False
    aged: bool = False

    @classmethod
    def of(cls, features: FeatureSet) -> Self:
        """How far the rows of a feature set look."""
        aged = any(plain(feature) == TimeSince() for feature in features.features)
        return cls(features.pane_us, features.every_us, features.longest_us, features.growing, aged)

    def of_panes(self, device: Codes, start: Times) -> Spans:
        """The rows that look at panes which changed: those that end after its start and within the reach."""
        first = (start // self.every_us + 1) * self.every_us
        last = np.full(len(start), NEVER) if self.forever else start + self.reach_us
        return Spans.union([Spans(device, first, last)], self.every_us)

    def of_growth(self, before: Reach, after: Reach) -> Spans:
        """The rows that appear because the panes of devices reach further than before."""
        known = np.flatnonzero(before.first[: len(after.first)] < NEVER)
        first, last = before.first[known], before.last[known]
        later = Spans(
            known.astype(np.int32),
            last + self.pane_us + 1,
            np.minimum(after.last[known] + self.pane_us, last + self.reach_us),
        )
        begin = after.first[known] + self.reach_us
        ends = np.where((after.first[known] < first) & self.aged, NEVER, first + self.reach_us - 1)
        moved = after.last[known] > last
        appeared = Spans(later.device[moved], later.first[moved], later.last[moved])
        return Spans.union([appeared, Spans(known.astype(np.int32), begin, ends)])

    def of_existing(self, spans: Spans, reach: Reach) -> Spans:
        """What of spans lies where the devices can have rows at all."""
        first = np.maximum(spans.first, reach.first[spans.device] + self.reach_us)
        last = np.minimum(spans.last, reach.last[spans.device] + self.pane_us)
        first, last = -(-first // self.every_us) * self.every_us, last // self.every_us * self.every_us
        return Spans.union([Spans(spans.device, first, last)], self.every_us)

    def count(self, spans: Spans, device: Codes, start: Times) -> int:
        """How many rows spans hold, given the panes of these devices: a row needs a record within its reach.

        Args:
            spans: Where rows can be, a result of `of_existing`.
            device: Codes, shape ``(panes,)``, not decreasing.
            start: Starts of the panes, increasing for each device.
        """
        total = 0
        for code, first, last in zip(spans.device.tolist(), spans.first.tolist(), spans.last.tolist(), strict=True):
            starts = start[slice(*np.searchsorted(device, [code, code + 1]))]
            ends = np.arange(first, last + 1, self.every_us)
            held = np.searchsorted(starts, ends) > np.searchsorted(starts, ends - self.reach_us)
            total += int(held.sum())
        return total
