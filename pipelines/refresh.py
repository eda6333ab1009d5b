"""The first stage of materializing: the panes of the readings that are new, and which feature rows they touch.

A pane is always computed from all its readings, and a feature row (`pipelines.rowstage`) from all panes it looks at. So
what a stage writes does not depend on when the readings arrived, and doing it again writes the same. Both stages work
on runs of dates of bounded size, so memory does not grow with the length of the history.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.pane import pane_starts
from features.panetable import panes_of
from pipelines import panerows, tables
from pipelines.changes import Changes
from pipelines.lake import Snapshot
from pipelines.panestage import column_of
from pipelines.reach import Codes, Times
from pipelines.tables import DAY_US
from pipelines.unique import date_names

MOST_READINGS: Final = 2_000_000


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
        self.counts = telemetry.row_counts()
        """How many readings each date has."""
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
        stored, before = self._stored(dates), len(self._changes.emptied[1])
        slices = [self._computed(dates, begin, end, stored) for begin, end in self._slices(dates)]
        parts = [part for part in slices if part is not None]
        if not parts:
            return None
        computed = pa.concat_tables(parts)
        emptied = self._changes.emptied[0][before:], self._changes.emptied[1][before:]
        touched = sorted({*computed["date"].unique().to_pylist(), *date_names(emptied[1]).to_pylist()})
        if not len(stored.rows):
            return computed, touched
        gone = _among(stored.device, stored.start, self._codes(computed), computed["start"].to_numpy())
        gone |= _among(stored.device, stored.start, *emptied)
        others = ~gone & np.isin(stored.start // DAY_US, [day_of(date) for date in touched])
        return pa.concat_tables([stored.rows.filter(pa.array(others)).cast(computed.schema), computed]), touched

    def look(self, dates: Sequence[str]) -> None:
        """Find the panes that `refresh` would compute, and compute nothing."""
        for begin, end in self._slices(dates):
            self._changes.note(*self._new(dates, begin, end), 0)

    def starts(self, begin: int, end: int) -> tuple[Codes, Times]:
        """The panes that start within a time, stored or not yet, each once, sorted."""
        dates = day_names(begin, end)
        found = [self._new(dates, begin, end)]
        if self.panes:
            stored = self.panes.read(["device", "start"], dates=dates, coded=True, **within("start", begin, end))
            found.append((self._changes.devices.codes(stored["device"]), stored["start"].to_numpy()))
        return _unique(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def _slices(self, dates: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Times that hold at most so many readings each, as far as they come evenly; whole panes."""
        pane = self._features.pane_us
        low, high = self._bounds(dates)
        parts = max(-(-sum(self.counts.get(date, 0) for date in dates) // MOST_READINGS), 1)
        cuts = np.linspace(low, high, parts + 1).astype(np.int64)
        cuts = np.unique(pane_starts(cuts + np.append(np.zeros(parts, np.int64), pane - 1), pane))
        return pairwise(cuts.tolist())

    def _stored(self, dates: Sequence[str]) -> "_Stored":
        """All stored panes of the dates in which readings of these dates can lie."""
        schema = tables.panes(self._features).schema
        low, _ = self._bounds(dates)
        holding = day_names(low - low % self._features.pane_us, (day_of(dates[-1]) + 1) * DAY_US)
        there = set(self.panes.dates()).intersection(holding) if self.panes else ()
        rows = self.panes.read(schema.names, dates=there) if self.panes and there else schema.empty_table()
        return _Stored(rows, self._codes(rows), rows["start"].to_numpy())

    def _bounds(self, dates: Sequence[str]) -> tuple[int, int]:
        """From the first reading of some dates, or pane that lost some, to behind the last."""
        lost = self._lost(day_of(dates[0]) * DAY_US, (day_of(dates[-1]) + 1) * DAY_US)[1].tolist()
        there = [self._times[date] for date in dates if date in self._times]
        return min([*lost, *(low for low, _ in there)]), max([*lost, *(high for _, high in there)]) + 1

    def _lost(self, begin: int, end: int) -> tuple[Codes, Times]:
        """The panes that start within a time and lost readings, each once, sorted."""
        device, start = self._withdrawn
        here = (start >= begin) & (start < end)
        return _unique(device[here], start[here])

    def _computed(self, dates: Sequence[str], begin: int, end: int, stored: "_Stored") -> pa.Table | None:
        pane, lost = self._features.pane_us, self._lost(begin, end)
        oldest = min((self._batches[date][0] for date in dates if date in self._batches), default=0)
        if self._after < oldest and not len(lost[1]) and not DAY_US % pane:
            return self._summarise([self._read(dates, begin, end)])
        fresh = self._read(dates, begin, end, after_batch=self._after)
        wanted = fresh.panes(pane)
        # What was read before is in the stored panes: a pane that is not among them has no readings but new ones.
        filled = stored.of(*_unique(*wanted))
        known = _unique(np.append(filled[0], lost[0]), np.append(filled[1], lost[1]))
        if not len(known[1]):
            return self._summarise([fresh]) if len(fresh.codes) else None
        low, high = int(known[1].min()), int(known[1].max()) + pane
        again = self._read(day_names(low, high), low, high)
        computed = self._summarise(
            [again.chosen(_among(*again.panes(pane), *known)), fresh.chosen(~_among(*wanted, *known))]
        )
        emptied = ~_among(*lost, self._codes(computed), computed["start"].to_numpy())
        self._changes.note_emptied(lost[0][emptied], lost[1][emptied])
        return computed

    def _read(self, dates: Sequence[str], begin: int, end: int, after_batch: int | None = None) -> "_Readings":
        """The readings of a time, or the new ones among them."""
        names = ["device", "time", *self._features.fleet.signal_names]
        when = within("time", begin, end)
        if after_batch is not None:
            when["after"]["batch"] = after_batch
        rows = self._telemetry.read(names, dates=dates, coded=True, **when)
        return _Readings(rows, self._codes(rows))

    def _new(self, dates: Sequence[str], begin: int, end: int) -> tuple[Codes, Times]:
        """The panes that start within a time and have new readings, or lost some, each once, sorted."""
        when = within("time", begin, end)
        when["after"]["batch"] = self._after
        fresh = self._telemetry.read(["device", "time"], dates=dates, coded=True, **when)
        device, start = _Readings(fresh, self._codes(fresh)).panes(self._features.pane_us)
        lost = self._lost(begin, end)
        return _unique(np.append(device, lost[0]), np.append(start, lost[1]))

    def _summarise(self, parts: Sequence["_Readings"]) -> pa.Table:
        features, devices = self._features, self._changes.devices
        readings, codes = pa.concat_tables(part.rows for part in parts), np.concatenate([part.codes for part in parts])
        signals = [column_of(readings[name].combine_chunks()) for name in features.fleet.signal_names]
        panes = panes_of(features, codes, readings["time"].to_numpy(), signals)
        self._changes.note(panes.device, panes.start, len(readings))
        return panerows.rows_of(features, devices.names, panes)

    def _codes(self, rows: pa.Table) -> Codes:
        return self._changes.devices.codes(rows["device"])


@dataclass(frozen=True, slots=True)
class _Readings:
    """Readings, and the codes of their devices."""

    rows: pa.Table
    codes: Codes

    def panes(self, pane_us: int) -> tuple[Codes, Times]:
        """The pane of each: device and start."""
        return self.codes, pane_starts(self.rows["time"].to_numpy(), pane_us)

    def chosen(self, which: NDArray[np.bool_]) -> "_Readings":
        """Some of them."""
        return self if which.all() else _Readings(self.rows.filter(pa.array(which)), self.codes[which])


@dataclass(frozen=True, slots=True)
class _Stored:
    """Panes as they are stored, with the codes of their devices and their starts."""

    rows: pa.Table
    device: Codes
    start: Times

    def of(self, device: Codes, start: Times) -> tuple[Codes, Times]:
        """Which of some panes are among them."""
        there = _among(device, start, self.device, self.start)
        return device[there], start[there]


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


def within(column: str, begin: int, end: int) -> dict[str, dict[str, int]]:
    """What `View.read` is to be told to read the rows of a time, from the first to before the second."""
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
