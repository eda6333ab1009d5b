"""The two stages of materializing: panes of the readings that changed, feature rows of what they touched.

A pane is always computed from all its readings, and a feature row from all panes it looks at. So what a stage writes
does not depend on when the readings arrived, and doing it again writes the same. Both stages work on runs of dates of
bounded size, so memory does not grow with the length of the history.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.pane import pane_starts
from features.panetable import PaneTable, panes_of
from features.plan import Bounds
from pipelines import panerows, tables
from pipelines.devices import Devices
from pipelines.growth import Growth
from pipelines.happened import Happened
from pipelines.lake import Snapshot
from pipelines.panestage import column_of
from pipelines.reach import NEVER, Codes, Reach, Sight, Spans, Times
from pipelines.tables import DAY_US
from pipelines.unique import date_names

MOST_READINGS: Final = 2_000_000


@dataclass(slots=True)
class Changes:
    """What the first stage found.

    Attributes:
        devices: Codes of the devices.
        sight: How far rows look.
        before: How far the panes reached that the rows were computed from up to now.
        after: How far they reach with the new readings.
        panes: How many panes have new readings.
        readings: How many readings these panes hold.
        spans: The rows they touch.
        emptied: The panes that hold no readings any more: codes and starts.
    """

    devices: Devices
    sight: Sight
    before: Reach
    after: Reach
    panes: int = 0
    readings: int = 0
    spans: Spans = field(default_factory=Spans.none)
    emptied: tuple[Codes, Times] = field(default=(np.zeros(0, np.int32), np.zeros(0, np.int64)))

    def note(self, device: Codes, start: Times, readings: int) -> None:
        """Take in panes that changed: codes and starts, each pane once."""
        self.panes += len(start)
        self.readings += readings
        self.after = self.after.over(device, start, len(self.devices))
        self.spans = Spans.union([self.spans, self.sight.of_panes(device, start)], self.sight.every_us)

    def note_emptied(self, device: Codes, start: Times) -> None:
        """Take in panes that lost all of their readings."""
        self.panes += len(start)
        self.emptied = np.append(self.emptied[0], device), np.append(self.emptied[1], start)
        self.spans = Spans.union([self.spans, self.sight.of_panes(device, start)], self.sight.every_us)

    def measure(self, panes: Snapshot) -> None:
        """Find out how far the panes reach of devices that lost some; only they may reach less far than before."""
        codes = np.unique(self.emptied[0])
        if not len(codes):
            return
        self.after.first[codes], self.after.last[codes] = NEVER, -NEVER
        names = self.devices.names.take(pa.array(codes)).to_pylist()
        stored = panes.read(["device", "start"], devices=names, coded=True)
        device, start = self.devices.codes(stored["device"]), stored["start"].to_numpy()
        self.after = self.after.over(device, start, len(self.devices))

    def touched(self, happened: Happened) -> Spans:
        """The rows that these changes and new events touch, as far as the devices can have them, or could before."""
        # Devices that have events and no readings have codes too.
        nothing = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self.after = widest = self.after.over(*nothing, len(self.devices))
        found = [self.spans, self.sight.of_growth(self.before, self.after), happened.touched]
        if len(self.emptied[0]):
            before = self.before.over(*self.emptied, len(self.devices))
            found.append(self.sight.of_growth(self.after, before))
            widest = Reach(np.minimum(before.first, self.after.first), np.maximum(before.last, self.after.last))
        return self.sight.of_existing(Spans.union(found), widest)


class PaneStage:
    """Brings panes up to the telemetry, run of dates by run of dates.

    Args:
        telemetry: The readings.
        panes: The panes, None where there are none yet; to be set anew after each commit.
        features: Says how long a pane is.
        after_batch: Readings of later ingest batches are new.
        changes: Is told what changed.
        withdrawn: Codes and starts of panes that lost readings since.
    """

    def __init__(
        self,
        telemetry: Snapshot,
        panes: Snapshot | None,
        features: FeatureSet,
        after_batch: int,
        changes: Changes,
        *,
        withdrawn: tuple[Codes, Times],
    ) -> None:
        self.panes = panes
        self._telemetry, self._features = telemetry, features
        self._after, self._changes = after_batch, changes
        self._batches, self._times = telemetry.ranges("batch"), telemetry.ranges("time")
        self._counts = telemetry.row_counts()
        self._withdrawn = withdrawn

    def dates(self) -> list[str]:
        """The dates whose files can hold new readings, and those of panes that lost some."""
        fresh = {date for date, (_, newest) in self._batches.items() if newest > self._after}
        return sorted(fresh.union(date_names(self._withdrawn[1]).to_pylist()))

    def refresh(self, dates: Sequence[str]) -> tuple[pa.Table, list[str]] | None:
        """Compute the panes of some dates that have new readings, or lost some.

        Returns:
            All panes of the dates of these panes, those that did not change included, and these dates; None when
            nothing is new.
        """
        before = len(self._changes.emptied[1])
        parts = [part for begin, end in self._slices(dates) if (part := self._computed(dates, begin, end)) is not None]
        if not parts:
            return None
        computed = pa.concat_tables(parts)
        emptied = self._changes.emptied[0][before:], self._changes.emptied[1][before:]
        touched = {*computed["date"].unique().to_pylist(), *date_names(emptied[1]).to_pylist()}
        if self.panes is None or not touched.intersection(self.panes.dates()):
            return computed, sorted(touched)
        others = self._others(sorted(touched), computed, emptied)
        return pa.concat_tables([others, computed]), sorted(touched)

    def look(self, dates: Sequence[str]) -> None:
        """Find the panes that `refresh` would compute, and compute nothing."""
        for begin, end in self._slices(dates):
            self._changes.note(*self._new(dates, begin, end), 0)

    def starts(self, begin: int, end: int) -> tuple[Codes, Times]:
        """The panes that start within a time, stored or not yet, each once, sorted."""
        dates = day_names(begin, end)
        found = [self._new(dates, begin, end)]
        if self.panes:
            stored = self.panes.read(["device", "start"], dates=dates, coded=True, **_within("start", begin, end))
            found.append((self._changes.devices.codes(stored["device"]), stored["start"].to_numpy()))
        return _unique(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def _slices(self, dates: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Times that hold at most so many readings each, as far as they come evenly; whole panes."""
        pane = self._features.pane_us
        first, last = day_of(dates[0]) * DAY_US, (day_of(dates[-1]) + 1) * DAY_US
        lost = self._withdrawn[1][(self._withdrawn[1] >= first) & (self._withdrawn[1] < last)].tolist()
        low = min([*lost, *(self._times[date][0] for date in dates if date in self._times)])
        high = max([*lost, *(self._times[date][1] for date in dates if date in self._times)]) + 1
        parts = max(-(-sum(self._counts.get(date, 0) for date in dates) // MOST_READINGS), 1)
        cuts = np.linspace(low, high, parts + 1).astype(np.int64)
        cuts = np.unique(pane_starts(cuts + np.append(np.zeros(parts, np.int64), pane - 1), pane))
        return pairwise(cuts.tolist())

    def _computed(self, dates: Sequence[str], begin: int, end: int) -> pa.Table | None:
        oldest = min((self._batches[date][0] for date in dates if date in self._batches), default=0)
        new = self._after >= oldest or len(self._withdrawn[1]) or DAY_US % self._features.pane_us
        wanted = self._new(dates, begin, end) if new else None
        if wanted is not None:
            if not len(wanted[1]):
                return None
            begin, end = int(wanted[1].min()), int(wanted[1].max()) + self._features.pane_us
        names = ["device", "time", *self._features.fleet.signal_names]
        found = day_names(begin, end) if new else dates
        readings = self._telemetry.read(names, dates=found, coded=True, **_within("time", begin, end))
        codes = self._changes.devices.codes(readings["device"])
        if wanted is not None:
            chosen = _among(codes, pane_starts(readings["time"].to_numpy(), self._features.pane_us), *wanted)
            if not chosen.all():
                readings, codes = readings.filter(pa.array(chosen)), codes[chosen]
        computed = self._summarise(readings, codes)
        if wanted is not None and len(self._withdrawn[1]):
            there = self._changes.devices.codes(computed["device"]), computed["start"].to_numpy()
            emptied = ~_among(*wanted, *there)
            self._changes.note_emptied(wanted[0][emptied], wanted[1][emptied])
        return computed

    def _new(self, dates: Sequence[str], begin: int, end: int) -> tuple[Codes, Times]:
        """The panes that start within a time and have new readings, or lost some, each once, sorted."""
        within = _within("time", begin, end)
        within["after"]["batch"] = self._after
        fresh = self._telemetry.read(["device", "time"], dates=dates, coded=True, **within)
        starts = pane_starts(fresh["time"].to_numpy(), self._features.pane_us)
        device, start = self._withdrawn
        lost = (start >= begin) & (start < end)
        codes = np.append(self._changes.devices.codes(fresh["device"]), device[lost])
        return _unique(codes, np.append(starts, start[lost]))

    def _summarise(self, readings: pa.Table, codes: Codes) -> pa.Table:
        features, devices = self._features, self._changes.devices
        signals = [column_of(readings[name].combine_chunks()) for name in features.fleet.signal_names]
        panes = panes_of(features, codes, readings["time"].to_numpy(), signals)
        self._changes.note(panes.device, panes.start, len(readings))
        return panerows.rows_of(features, devices.names, panes)

    def _others(self, dates: Sequence[str], computed: pa.Table, emptied: tuple[Codes, Times]) -> pa.Table:
        """The stored panes of some dates that were neither computed anew nor emptied."""
        stored = self.panes.read(computed.column_names, dates=dates) if self.panes else computed.slice(0, 0)
        devices = self._changes.devices
        pairs = [(devices.codes(rows["device"]), rows["start"].to_numpy()) for rows in (stored, computed)]
        gone = _among(*pairs[0], *pairs[1]) | _among(*pairs[0], *emptied)
        return stored.filter(pa.array(~gone)).cast(computed.schema)


class RowStage:
    """Brings feature rows up to the panes, run of dates by run of dates, in the order of time.

    Args:
        panes: The panes.
        features: What to compute.
        changes: Codes and reach of the devices.
        happened: The events.
        spans: The rows to compute.
    """

    def __init__(
        self, panes: Snapshot, features: FeatureSet, changes: Changes, happened: Happened, spans: Spans
    ) -> None:
        self._panes, self._features, self._changes = panes, features, changes
        self._happened, self._spans = happened, spans
        self._growth = Growth(features, self._read_states, changes.after.first)

    def compute(self, table: Snapshot, dates: Sequence[str]) -> tuple[pa.Table, int]:
        """Compute the touched rows of consecutive dates.

        Returns:
            All rows of these dates, those that are not touched included, and how many are touched.
        """
        begin, end = day_of(dates[0]) * DAY_US, (day_of(dates[-1]) + 1) * DAY_US
        spans = self._spans.within(begin, end - 1)
        computed = self._rows(spans, begin, end)
        stored = table.read(computed.column_names, dates=dates)
        kept = stored.filter(pa.array(~spans.hold(self._codes(stored), stored["end"].to_numpy())))
        ours = spans.hold(self._codes(computed), computed["end"].to_numpy())
        computed = computed.filter(pa.array(ours))
        return pa.concat_tables([kept.cast(computed.schema), computed]), len(computed)

    def _codes(self, rows: pa.Table) -> Codes:
        return self._changes.devices.codes(rows["device"])

    def _rows(self, spans: Spans, begin: int, end: int) -> pa.Table:
        features, after, devices = self._features, self._changes.after, self._changes.devices
        wanted = np.unique(spans.device)
        low = begin - features.longest_us
        low -= low % features.pane_us
        panes = self._read(low, end, wanted, panerows.columns(features))
        bounds = Bounds(after.first, np.full(len(devices), -1), np.full(len(devices), -1))
        bounds.after[wanted] = begin - 1
        bounds.until[wanted] = np.minimum(end - 1, after.last[wanted] + features.pane_us)
        events = self._happened.events
        carried = self._growth.up_to(low, wanted, events)
        rows = features.plan().rows(
            panes.device, panes.start, panes.state, bounds, counts=panes.counts, events=events, carried=carried
        )
        names = devices.names.take(pa.array(rows.device))
        columns = [date_names(rows.end), names, rows.end, *np.ascontiguousarray(rows.values.T)]
        return pa.table(columns, schema=tables.features(features).schema)

    def _read_states(self, begin: int, end: int, wanted: Codes) -> PaneTable:
        return self._read(begin, end, wanted, panerows.columns(self._features, sketches=False))

    def _read(self, begin: int, end: int, wanted: Codes, columns: Sequence[str]) -> PaneTable:
        """The panes of some devices that start within a time, sorted by device and start."""
        devices, within = self._changes.devices, _within("start", begin, end)
        owners = None if len(wanted) == len(devices) else devices.names.take(pa.array(wanted)).to_pylist()
        dates = day_names(begin, end)
        stored = self._panes.read(columns, dates=dates, devices=owners, coded=True, **within)
        return panerows.table_of(self._features, devices.codes(stored["device"]), stored)


def runs_of_dates(dates: Sequence[str], counts: dict[str, int], most: int) -> Iterator[list[str]]:
    """Cut dates into runs of consecutive ones with at most so many rows; a larger date stands alone.

    Example:
        >>> counts = {"2025-01-01": 5, "2025-01-02": 5, "2025-01-03": 5, "2025-01-09": 1}
        >>> list(runs_of_dates(list(counts), counts, 10))
        [['2025-01-01', '2025-01-02'], ['2025-01-03'], ['2025-01-09']]
    """
    run: list[str] = []
    rows = 0
    for date in dates:
        if run and (day_of(date) > day_of(run[-1]) + 1 or rows + counts.get(date, 0) > most):
            yield run
            run, rows = [], 0
        run.append(date)
        rows += counts.get(date, 0)
    if run:
        yield run


def day_names(begin: int, end: int) -> list[str]:
    """The UTC days that hold times from the first to before the second, as ``yyyy-mm-dd``."""
    return [_name(day) for day in range(begin // DAY_US, -(-end // DAY_US))]


def _within(column: str, begin: int, end: int) -> dict[str, dict[str, int]]:
    return {"after": {column: begin - 1}, "before": {column: end}}


def _unique(device: Codes, start: Times) -> tuple[Codes, Times]:
    order = np.lexsort((start, device))
    device, start = device[order], start[order]
    first = (np.diff(device, prepend=-1) != 0) | (np.diff(start, prepend=-1) != 0)
    return device[first], start[first]


def _among(device: Codes, start: Times, chosen: Codes, chosen_start: Times) -> NDArray[np.bool_]:
    """Which pairs of device and start are among some others."""
    if not len(chosen):
        return np.zeros(len(device), bool)
    moments = np.unique(chosen_start)
    place = np.minimum(np.searchsorted(moments, start), len(moments) - 1)
    known = moments[place] == start
    keys = device.astype(np.int64) * len(moments) + place
    wanted = chosen.astype(np.int64) * len(moments) + np.searchsorted(moments, chosen_start)
    return np.asarray(known & np.isin(keys, wanted))


def day_of(date: str) -> int:
    """The number of a UTC day since 1970."""
    return int(np.datetime64(date, "D").astype(np.int64))


def _name(day: int) -> str:
    return str(np.datetime64(day, "D"))
