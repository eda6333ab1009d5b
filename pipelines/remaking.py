"""Panes and feature rows of some dates once more, whether they are behind or not: what a backfill asks for.

Nothing outside these dates is written, and what the tables say is done stays as it is. So the next run of
`pipelines.materialize` still does whatever is behind, here and elsewhere, and doing this twice writes the same rows.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.featureset import FeatureSet
from pipelines import happened
from pipelines.changes import Changes
from pipelines.devices import Devices
from pipelines.errors import PanesBehindError, PartitionError
from pipelines.extent import Extent
from pipelines.lake import Lake, Snapshot, Table
from pipelines.materialize import MaterializeSummary, Progress, TouchedRows, silent, writers
from pipelines.reach import Reach, Sight, Spans
from pipelines.refresh import MOST_READINGS, PaneStage, day_names, day_of, runs_of_dates
from pipelines.rowstage import RowStage
from pipelines.tables import DAY_US

_MOST_PANES = 100_000


def remake(lake: Lake, features: FeatureSet, first: str, last: str, progress: Progress = silent) -> MaterializeSummary:
    """Make the panes and feature rows of some dates again.

    Args:
        lake: The tables.
        features: What to compute.
        first: The first date, ``yyyy-mm-dd``.
        last: The last date, which is among them.
        progress: Told the stage, how many dates are done, and how many there are.

    Raises:
        TableMissingError: There is no telemetry yet.
        PartitionError: The panes do not divide a day.
        PanesBehindError: The features were never brought up to date, so rows would look at panes that are missing.
        CommitConflictError: Another run changed one of these dates at the same time.
    """
    lake.telemetry(features.fleet).require()
    if DAY_US % features.pane_us:
        raise PartitionError(
            f"panes of {features.pane} do not divide a day, so a date cannot be made again alone",
            where=f"feature set of fleet {features.fleet.name}",
            fix="choose a pane that divides 24 hours",
        )
    tables = lake.panes(features), lake.features(features)
    panes, rows = (table.create() for table in tables)
    work = _Work(lake, features, rows)
    wanted = day_names(day_of(first) * DAY_US, (day_of(last) + 1) * DAY_US)
    panes = _panes(work, tables[0], panes, wanted, progress)
    spans = work.spans(wanted)
    count, rows = _rows(work, panes, tables[1], rows, spans, progress=progress)
    dates = tuple(spans.dates())
    touched = TouchedRows(tuple(work.changes.devices.names.to_pylist()), spans)
    return MaterializeSummary(
        work.changes.readings, work.changes.panes, count, dates, work.batch, rows.version, touched
    )


class _Work:
    """What is needed for both stages."""

    def __init__(self, lake: Lake, features: FeatureSet, rows: Snapshot) -> None:
        self.features, devices = features, Devices()
        self.batch, events = (rows.transaction(writer) for writer in writers(features))
        if not self.batch:
            raise PanesBehindError(
                "the features were never brought up to date, so these rows would look at panes that are missing",
                where=f"fleet {features.fleet.name}",
                fix=f"tidemill materialize {features.fleet.name}",
            )
        self.telemetry = lake.telemetry(features.fleet).open()
        reach = Extent(lake.devices(features), self.telemetry, features, devices, batch=self.batch).reach
        number = max(events, happened.number(lake, features))
        self.happened = happened.read(lake, features, devices, number, number)
        self.changes = Changes(devices, Sight.of(features), reach, reach)

    def spans(self, wanted: Sequence[str]) -> Spans:
        """All rows that the devices can have on some dates."""
        changes, nothing = self.changes, (np.zeros(0, np.int32), np.zeros(0, np.int64))
        changes.after = changes.after.over(*nothing, len(changes.devices))
        reach: Reach = changes.after
        known = np.flatnonzero(reach.last >= reach.first).astype(np.int32)
        begin, end = day_of(wanted[0]) * DAY_US, (day_of(wanted[-1]) + 1) * DAY_US - 1
        whole = Spans(known, np.full(len(known), begin), np.full(len(known), end))
        return changes.sight.of_existing(whole, reach)


def _panes(work: _Work, table: Table, panes: Snapshot, wanted: Sequence[str], progress: Progress) -> Snapshot:
    nothing = np.zeros(0, np.int32), np.zeros(0, np.int64)
    # Without stored panes and from the first batch on: each is computed from all of its readings.
    stage = PaneStage(work.telemetry, None, work.features, 0, work.changes, withdrawn=nothing)
    dates = [date for date in stage.dates() if wanted[0] <= date <= wanted[-1]]
    done = 0
    for run in runs_of_dates(dates, stage.counts, MOST_READINGS):
        if (computed := stage.refresh(run)) is not None:
            panes = _replace(table, panes, *computed)
        done += len(run)
        progress("panes", done, len(dates))
    return panes


def _rows(
    work: _Work, panes: Snapshot, table: Table, rows: Snapshot, spans: Spans, *, progress: Progress
) -> tuple[int, Snapshot]:
    stage = RowStage(panes, work.features, work.changes, work.happened, spans)
    dates, count, done = spans.dates(), 0, 0
    for run in runs_of_dates(dates, panes.row_counts(), _MOST_PANES):
        computed, touched = stage.compute(rows, run)
        rows = _replace(table, rows, computed, run)
        count, done = count + touched, done + len(run)
        progress("features", done, len(dates))
    return count, rows


def _replace(table: Table, snapshot: Snapshot, rows: pa.Table, dates: Sequence[str]) -> Snapshot:
    """Commit; what others commit to other dates meanwhile does not get in the way."""
    snapshot.adopt(table.folder.write(rows), dates)
    return table.open()
