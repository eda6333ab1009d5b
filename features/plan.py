"""The plan of a feature set: from panes, events and what is carried to feature rows, for batch and online alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.event import HOUR_US, NOTHING, Events, History
from features.pane import State
from features.running import NO_LIMIT, Carried, growing
from features.sketch import QUANTILES, Counts, Sketch
from features.statistic import STATISTICS
from features.tally import TallyPlan
from features.window import Request, Stretches, WindowPlan

Times = NDArray[np.int64]

FROM_START = -1
"""The kind of beginning that is the device's first pane; others are positions in ``Fleet.event_kinds``."""


class Beginning(NamedTuple):
    """From which kind of beginning windows grow, and how long they do, microseconds."""

    kind: int
    most_us: int = NO_LIMIT


@dataclass(frozen=True, slots=True)
class Growing:
    """A statistic of a signal over the window that grows from a kind of beginning."""

    signal: int
    statistic: str
    beginning: Beginning
    lag_us: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """How many events of a kind a window holds."""

    kind: int
    window_us: int
    lag_us: int = 0


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Hours since the latest event of a kind, or since the device's first pane."""

    kind: int
    lag_us: int = 0


Source = Request | Growing | Counted | Elapsed


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a source, or the difference of it and an earlier source."""

    source: int
    less: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Which rows are wanted, by device code.

    Args:
        first_start: Starts of the first pane each device ever had, shape ``(devices,)``; windows that begin before it
            are not filled.
        after: Rows end after this, shape ``(devices,)``, UTC microseconds.
        until: Rows do not end after this.
    """

    first_start: Times
    after: Times
    until: Times


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Feature rows sorted by device and end: codes ``(rows,)``, ends ``(rows,)``, values ``(rows, columns)``."""

    device: NDArray[np.int32]
    end: Times
    values: State


class Plan:
    """How the panes of devices become feature rows.

    Args:
        pane_us: Length of a pane.
        every_us: Step between rows, a whole number of panes.
        reach_us: How far before its end a row looks; growing windows and events aside.
        sources: What is computed.
        columns: What of it is shown, in the order of the features.
        sketched: The signals that have a sketch, by place, and how their values fall into buckets.
    """

    def __init__(
        self,
        pane_us: int,
        every_us: int,
        reach_us: int,
        sources: Sequence[Source],
        columns: Sequence[Column],
        *,
        sketched: Mapping[int, Sketch] | None = None,
    ) -> None:
        self.pane_us, self.every_us, self.reach_us = pane_us, every_us, reach_us
        # Windowed sources come first, so that their columns are filled where they will stay.
        order = sorted(range(len(sources)), key=lambda place: _rank(sources[place]))
        place_of = {source: place for place, source in enumerate(order)}
        sources = [sources[place] for place in order]
        self._width = len(sources)
        self._shown = [place_of[column.source] for column in columns]
        self._less = [
            (number, place_of[column.less]) for number, column in enumerate(columns) if column.less is not None
        ]
        requests = [source for source in sources if isinstance(source, Request)]
        tallied = [request for request in requests if request.statistic in QUANTILES]
        self._requests, self._windowed = len(requests), len(requests) - len(tallied)
        self._windows = WindowPlan(pane_us, every_us, reach_us, requests[: self._windowed])
        sketches = sketched or {}
        self._tallies = TallyPlan(every_us, reach_us, list(sketches), list(sketches.values()), tallied)
        self.growing = [(place, source) for place, source in enumerate(sources) if isinstance(source, Growing)]
        self.counted = [(place, source) for place, source in enumerate(sources) if isinstance(source, Counted)]
        self.elapsed = [(place, source) for place, source in enumerate(sources) if isinstance(source, Elapsed)]
        self.kinds = tuple(sorted({source.beginning for _, source in self.growing}))
        """Beginnings that windows grow from; the order of ``Carried``."""

    def rows(
        self,
        device: NDArray[np.int32],
        start: Times,
        state: State,
        bounds: Bounds,
        *,
        counts: Counts | None = None,
        events: Events | None = None,
        carried: Mapping[int, Carried] | None = None,
    ) -> Rows:
        """The feature rows of devices.

        A row ends at each multiple of the step that lies within the bounds, that has the reach behind it since the
        device's first pane, and that has a record within the reach.

        Args:
            device: Codes of the devices, shape ``(panes,)``, not decreasing.
            start: Starts of the panes with a record, shape ``(panes,)``, increasing for each device.
            state: Their states, shape ``(panes, signals, FIELDS)``.
            bounds: Which rows are wanted.
            counts: The sketches of the panes, shape ``(panes, sketched signals, buckets)``, where quantiles are asked.
            events: What happened to the devices.
            carried: Growing windows by device code, where the panes do not begin with the device's first one.

        Returns:
            The rows; NaN where there is nothing to say.
        """
        stretches, owners = self._stretches(device, start, bounds)
        ends = _ends(stretches, self.every_us)
        sources = np.empty((len(ends), self._width), order="F")
        self._windows.fill(sources[:, : self._windowed], start, state, stretches)
        if counts is not None and len(counts):
            self._tallies.fill(sources[:, self._windowed : self._requests], start, counts, stretches)
        codes = np.repeat(owners, stretches.rows)
        if self._requests < self._width:
            histories = (events or Events.none()).histories()
            for code in np.unique(codes).tolist():
                rows = slice(*np.searchsorted(codes, [code, code + 1]))
                panes = slice(*np.searchsorted(device, [code, code + 1]))
                first_start = int(bounds.first_start[code])
                one = _Device(self, code, first_start, histories, start[panes], state[panes])
                one.fill(sources[rows], ends[rows], (carried or {}).get(code))
        values = sources if self._shown == list(range(self._width)) else sources[:, self._shown]
        for number, less in self._less:
            values[:, number] -= sources[:, less]
        return Rows(codes, ends, values)

    def beginnings(self, code: int, first_start: int, histories: Mapping[tuple[int, int], History]) -> list[Times]:
        """For each of ``kinds`` where the growing windows of a device begin."""
        return [
            np.array([first_start], np.int64)
            if kind == FROM_START
            else histories.get((code, kind), NOTHING).beginnings(self.pane_us)
            for kind, _ in self.kinds
        ]

    def _stretches(
        self, device: NDArray[np.int32], start: Times, bounds: Bounds
    ) -> tuple[Stretches, NDArray[np.int32]]:
        """The rows there are, and whose they are."""
        # Panes at least a reach apart share no window: the windows between them hold nothing.
        begins = np.flatnonzero((np.diff(device, prepend=-1) != 0) | (np.diff(start, prepend=0) >= self.reach_us))
        closes = np.append(begins[1:], len(start))[: len(begins)]
        owners = device[begins]
        low = np.maximum(bounds.after[owners] + 1, bounds.first_start[owners] + self.reach_us)
        first = -(-np.maximum(low, start[begins] + 1) // self.every_us)
        last = np.minimum(bounds.until[owners], start[closes - 1] + self.reach_us) // self.every_us
        rows = np.maximum(last - first + 1, 0)
        some = rows > 0
        # Windows look back over a pause that is shorter than they are; `low` of the device's panes serves them all.
        stretches = Stretches(begins[some], closes[some], (first * self.every_us)[some], rows[some].astype(np.intp))
        return stretches, owners[some]


@dataclass(frozen=True, slots=True, eq=False)
class _Device:
    """The sources of one device that are not read off windows of fixed length."""

    plan: Plan
    code: int
    first_start: int
    histories: Mapping[tuple[int, int], History]
    start: Times
    state: State

    def fill(self, sources: State, ends: Times, carried: Carried | None) -> None:
        for place, source in self.plan.counted:
            history = self.histories.get((self.code, source.kind), NOTHING)
            sources[:, place] = history.count(ends - source.lag_us, source.window_us)
        for place, elapsed in self.plan.elapsed:
            at = ends - elapsed.lag_us
            if elapsed.kind == FROM_START:
                sources[:, place] = (at - self.first_start) / HOUR_US
            else:
                sources[:, place] = self.histories.get((self.code, elapsed.kind), NOTHING).hours_since(at)
        self._grow(sources, ends, carried or Carried.nothing(len(self.plan.kinds), self.state.shape[1]))

    def _grow(self, sources: State, ends: Times, carried: Carried) -> None:
        beginnings = self.plan.beginnings(self.code, self.first_start, self.histories)
        for number, beginning in enumerate(self.plan.kinds):
            mine = [(place, source) for place, source in self.plan.growing if source.beginning == beginning]
            before = (carried.until, int(carried.origin[number]), carried.state[number])
            for lag_us in sorted({source.lag_us for _, source in mine}):
                at = ends - lag_us
                panes, limit = (self.start, self.state), beginning.most_us
                grown, lengths = growing(*panes, beginnings[number], before, at, most_us=limit)
                for place, source in mine:
                    if source.lag_us == lag_us:
                        read = STATISTICS[source.statistic].function(grown[:, source.signal], lengths)
                        sources[:, place] = np.where(np.isnan(lengths), np.nan, read)


def _rank(source: Source) -> int:
    """The order in which sources stand: what is read off panes, off sketches, and the rest."""
    if isinstance(source, Request):
        return 1 if source.statistic in QUANTILES else 0
    return 2


def _ends(stretches: Stretches, every_us: int) -> Times:
    before = np.repeat(np.cumsum(stretches.rows) - stretches.rows, stretches.rows)
    number = np.arange(int(stretches.rows.sum())) - before
    ends: Times = np.repeat(stretches.end, stretches.rows) + number * every_us
    return ends
