"""The two stages of materializing: panes of the readings that changed, feature rows of the panes that changed.

A pane is always computed from all its readings, and a date of feature rows from all panes that its windows reach. So
what a stage writes does not depend on when the readings arrived, and doing it again writes the same.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.batch import panes_of
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS, pane_starts
from features.plan import Bounds
from pipelines import tables
from pipelines.lake import Snapshot, Table
from pipelines.tables import DAY_US
from pipelines.unique import date_names, pair_keys

Span = tuple[int, int]


@dataclass(slots=True)
class Reach:
    """Starts of the first and the last pane of a device: of all panes, and of those that were not computed anew."""

    first: int
    last: int
    kept: Span | None = None


@dataclass(slots=True)
class Changes:
    """What the first stage found and did.

    Attributes:
        panes: How many panes were computed anew.
        readings: How many readings they were computed from.
        spans: For each date that has any, the starts of the first and the last pane that was computed anew.
        reaches: The reach of each device.
    """

    panes: int = 0
    readings: int = 0
    spans: dict[str, Span] = field(default_factory=dict)
    reaches: dict[str, Reach] = field(default_factory=dict)

    def note(self, panes: pa.Table, *, kept: bool) -> None:
        """Take panes into the reaches of their devices."""
        found = panes.select(["device", "start"]).group_by("device").aggregate([("start", "min"), ("start", "max")])
        columns = (found[name].to_pylist() for name in ("device", "start_min", "start_max"))
        for device, first, last in zip(*columns, strict=True):
            reach = self.reaches.setdefault(device, Reach(first, last))
            reach.first, reach.last = min(reach.first, first), max(reach.last, last)
            if kept:
                before = reach.kept or (first, last)
                reach.kept = min(before[0], first), max(before[1], last)


def refresh_panes(
    telemetry: Snapshot,
    table: Table,
    features: FeatureSet,
    dates: Collection[str],
    *,
    after_batch: int,
    changes: Changes,
) -> None:
    """Compute those panes of some dates that have new readings, and put them in place.

    Args:
        telemetry: The readings.
        table: The table of panes.
        features: Says how long a pane is.
        dates: The dates to look at.
        after_batch: Readings of later ingest batches are new.
        changes: Is told what changed, and of all panes of these dates.
    """
    panes = table.open()
    fresh = telemetry.read(["date", "device", "time"], dates=dates, after={"batch": after_batch})
    touched = fresh["date"].unique().to_pylist()
    changes.note(panes.read(["device", "start"], dates=set(dates).difference(touched)), kept=True)
    if not touched:
        return
    starts = pane_starts(fresh["time"].to_numpy(), features.pane_us)
    first, last = int(starts.min()), int(starts.max())
    names = ["device", "time", *features.fleet.signal_names]
    limits = {"after": {"time": first - 1}, "before": {"time": last + features.pane_us}}
    readings = telemetry.read(names, dates=touched, **limits)
    stored = panes.read(dates=touched)
    new, of_readings, of_stored = pair_keys(
        (fresh["device"], starts),
        (readings["device"], pane_starts(readings["time"].to_numpy(), features.pane_us)),
        (stored["device"], stored["start"].to_numpy()),
    )
    wanted = np.unique(new)
    readings = readings.filter(pa.array(np.isin(of_readings, wanted)))
    kept = stored.filter(pa.array(~np.isin(of_stored, wanted)))
    computed = _panes(features, readings)
    table.open().replace(pa.concat_tables([kept.select(computed.column_names), computed]), touched)
    changes.panes += len(computed)
    changes.readings += len(readings)
    changes.note(kept, kept=True)
    changes.note(computed, kept=False)
    spans = computed.group_by("date").aggregate([("start", "min"), ("start", "max")])
    for date, low, high in zip(*(spans[c].to_pylist() for c in ("date", "start_min", "start_max")), strict=True):
        changes.spans[date] = (low, high)


def touched_dates(features: FeatureSet, changes: Changes) -> list[str]:
    """The dates of all feature rows that can have changed, sorted.

    A row changes when its windows overlap a pane that changed. It appears when the device's panes now reach further:
    later, so that rows after a pause end before the last pane; or earlier, so that the longest window is behind them.
    """
    longest, pane = features.longest_us, features.pane_us
    spans = [(first + pane, last + longest) for first, last in changes.spans.values()]
    for reach in changes.reaches.values():
        if reach.kept is None:
            continue
        first, last = reach.kept
        if reach.last > last:
            spans.append((last + pane, min(reach.last + pane, last + pane + longest)))
        if reach.first < first:
            spans.append((reach.first + longest, first + longest))
    end = max((reach.last + pane for reach in changes.reaches.values()), default=0)
    days = {day for first, last in spans for day in range(first // DAY_US, min(last, end) // DAY_US + 1)}
    return [_name(day) for day in sorted(days)]


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
        if run and (_day(date) > _day(run[-1]) + 1 or rows + counts.get(date, 0) > most):
            yield run
            run, rows = [], 0
        run.append(date)
        rows += counts.get(date, 0)
    if run:
        yield run


def feature_rows_of(panes: Snapshot, features: FeatureSet, dates: Sequence[str], reaches: dict[str, Reach]) -> pa.Table:
    """Compute all feature rows of consecutive dates.

    Args:
        panes: The panes.
        features: What to compute.
        dates: Consecutive dates.
        reaches: The reach of each device.

    Returns:
        Rows with the columns of the table of features.
    """
    begin, end = _day(dates[0]) * DAY_US, (_day(dates[-1]) + 1) * DAY_US
    before = math.ceil(features.longest_us / DAY_US)
    needed = [_name(day) for day in range(_day(dates[0]) - before, _day(dates[-1]) + 1)]
    stored = panes.read(dates=needed, after={"start": begin - features.longest_us - 1}, before={"start": end})
    stored = stored.sort_by([("device", "ascending"), ("start", "ascending")])
    names = [f"{signal}.{part}" for signal in features.fleet.signal_names for part in PANE_FIELDS]
    state = _matrix(stored, names).reshape(len(stored), len(features.fleet.signals), len(PANE_FIELDS))
    start, device = stored["start"].to_numpy(), stored["device"].combine_chunks().dictionary_encode()
    reach = [reaches[name] for name in device.dictionary.to_pylist()]
    first_start = np.array([each.first for each in reach], np.int64)
    until = np.array([min(end - 1, each.last + features.pane_us) for each in reach], np.int64)
    bounds = Bounds(first_start, np.full(len(reach), begin - 1), until)
    rows = features.plan().rows(device.indices.to_numpy(), start, state, bounds)
    owners = device.dictionary.take(pa.array(rows.device))
    columns = [date_names(rows.end), owners, rows.end, *np.ascontiguousarray(rows.values.T)]
    return pa.table(columns, schema=tables.features(features).schema)


def _panes(features: FeatureSet, readings: pa.Table) -> pa.Table:
    device = readings["device"].combine_chunks().dictionary_encode()
    values = _matrix(readings, features.fleet.signal_names)
    computed = panes_of(features, device.indices.to_numpy(), readings["time"].to_numpy(), values)
    state = computed.state.reshape(len(computed.start), -1)
    owners = device.dictionary.take(pa.array(computed.device))
    columns = [date_names(computed.start), owners, computed.start, *np.ascontiguousarray(state.T)]
    return pa.table(columns, schema=tables.panes(features).schema)


def _matrix(table: pa.Table, names: Sequence[str]) -> NDArray[np.float64]:
    matrix = np.empty((len(table), len(names)))
    for number, name in enumerate(names):
        matrix[:, number] = table[name].fill_null(np.nan).to_numpy()
    return matrix


def _day(date: str) -> int:
    return int(np.datetime64(date, "D").astype(np.int64))


def _name(day: int) -> str:
    return str(np.datetime64(day, "D"))
