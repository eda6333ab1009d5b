"""Telemetry becomes panes, and panes become feature rows; only what new readings and events touched is computed.

    new readings       -> panes they lie in -> feature rows that look at those panes
    readings that went -> panes they lay in -> the same; without any reading left, panes and rows go as well
    new events                              -> feature rows that end after they were known

The numbers of the last ingest batch and of the last table of events that are in the features are kept in their table,
in the commit that brings the last of the rows. A run that is killed before it does the same again and overwrites what
it finds, so it always ends in the same tables: those that one run over everything at once would have made. Of two runs
at once, one finds that the other has committed in between, and gives up.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from features.featureset import FeatureSet
from pipelines import happened, withdrawn
from pipelines.changes import Changes
from pipelines.devices import Devices
from pipelines.errors import CommitConflictError
from pipelines.extent import Extent, keep
from pipelines.lake import Lake, Snapshot, Table
from pipelines.reach import Sight, Spans
from pipelines.refresh import MOST_READINGS, PaneStage, day_of, runs_of_dates
from pipelines.rowstage import RowStage
from pipelines.tables import DAY_US, short

_MOST_PANES = 100_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class TouchedRows:
    """The feature rows that a run touched, as spans of row ends.

    Attributes:
        devices: Names of the devices, by code.
        spans: Where the rows end.
    """

    devices: tuple[str, ...] = ()
    spans: Spans = field(default_factory=Spans.none)


@dataclass(frozen=True, slots=True)
class MaterializeSummary:
    """What a run did, or would do.

    Attributes:
        readings: Readings that panes were computed from, new ones and their neighbours; 0 where nothing was computed.
        panes: Panes with new readings.
        rows: Feature rows that were touched.
        dates: The dates of these rows.
        batch: The ingest batch up to which the features are complete.
        version: The version of the table of features.
        touched: Which rows these are.
    """

    readings: int
    panes: int
    rows: int
    dates: tuple[str, ...]
    batch: int
    version: int
    touched: TouchedRows = field(default=TouchedRows(), compare=False, repr=False)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def materialize(lake: Lake, features: FeatureSet, progress: Progress = silent) -> MaterializeSummary:
    """Bring panes and features up to the telemetry and the events.

    Args:
        lake: The tables.
        features: What to compute.
        progress: Told the stage, how many dates are done, and how many there are.

    Raises:
        TableMissingError: There is no telemetry yet.
        CommitConflictError: Another run did the same at the same time.
    """
    lake.telemetry(features.fleet).require()
    panes, table = lake.panes(features), lake.features(features)
    kept = panes.exists()
    # Opened before the telemetry: whoever commits to them from here on may have seen more of it than this run does.
    stored, rows = panes.create(), table.create()
    work = _Work(lake, features, rows, panes_kept=kept)
    if work.up_to_date:
        return work.summary(0, Spans.none(), rows.version)
    work.before.remember()
    stored = _compute_panes(work, panes, stored, progress)
    summary = _compute_rows(work, stored, table, rows, progress)
    work.keep_devices(lake)
    return summary


def foresee(lake: Lake, features: FeatureSet, progress: Progress = silent) -> MaterializeSummary:
    """Say what `materialize` would do, and write nothing. See there."""
    lake.telemetry(features.fleet).require()
    panes, table = lake.panes(features), lake.features(features)
    stored, rows = (each.open() if each.exists() else None for each in (panes, table))
    work = _Work(lake, features, rows, panes_kept=stored is not None)
    version = rows.version if rows else -1
    if work.up_to_date:
        return work.summary(0, Spans.none(), version)
    stage = PaneStage(work.telemetry, stored, features, work.done, work.changes, withdrawn=work.withdrawn)
    for dates in work.runs(stage, progress):
        stage.look(dates)
    spans, sight, count = work.changes.touched(work.happened), work.changes.sight, 0
    dates = spans.dates()
    for number, date in enumerate(dates, start=1):
        begin = day_of(date) * DAY_US
        low = begin - sight.reach_us
        starts = stage.starts(low - low % sight.pane_us, begin + DAY_US)
        count += sight.count(spans.within(begin, begin + DAY_US - 1), *starts)
        progress("features", number, len(dates))
    return work.summary(count, spans, version)


def load_features(
    lake: Lake, features: FeatureSet, since_us: int | None = None, until_us: int | None = None
) -> pa.Table:
    """Read feature rows.

    Args:
        lake: The tables.
        features: Which features.
        since_us: Rows whose windows end at this time or later, UTC microseconds.
        until_us: Rows whose windows end before this time.

    Returns:
        Columns ``device``, ``end`` and one for each feature, sorted by device and end; NaN where there is nothing to
        say.

    Raises:
        TableMissingError: The features were not materialized yet.
    """
    columns = ["device", "end", *features.names]
    after = {} if since_us is None else {"end": since_us - 1}
    before = {} if until_us is None else {"end": until_us}
    rows = lake.features(features).open().read(columns, after=after, before=before)
    return rows.sort_by([("device", "ascending"), ("end", "ascending")])


def writers(features: FeatureSet) -> tuple[str, str]:
    """Under which names the table of rows says up to which ingest batch, and which table of events, it is complete."""
    name = f"{features.fleet.name}:{short(features.digest)}"
    return f"materialize:{name}", f"materialize-events:{name}"


class _Work:
    """What there is to do: what is done, what is reached, and what changed in between."""

    def __init__(self, lake: Lake, features: FeatureSet, rows: Snapshot | None, *, panes_kept: bool) -> None:
        name = f"{features.fleet.name}:{short(features.digest)}"
        self.features, self._writers = features, writers(features)
        self._unchanged = f"devices-unchanged:{name}"
        self.telemetry = lake.telemetry(features.fleet).open()
        self._done = tuple(rows.transaction(writer) if rows else 0 for writer in self._writers)
        self._reached = self.telemetry.transaction(f"ingest:{features.fleet.name}"), happened.number(lake, features)
        self.up_to_date = all(reached <= done for reached, done in zip(self._reached, self._done, strict=True))
        # Without panes (removed by hand), the rows of old readings rest on nothing: all is done again.
        self.done = self._done[0] if panes_kept else 0
        devices = Devices()
        self.before = Extent(
            lake.devices(features),
            self.telemetry,
            features,
            devices,
            batch=0 if self.up_to_date else self.done,
            unchanged=rows.transaction(self._unchanged) if rows else 0,
        )
        self.happened = happened.read(lake, features, devices, self._done[1], self._reached[1])
        self.withdrawn = withdrawn.read(lake, features, devices, self.done, self._reached[0])
        self.changes = Changes(devices, Sight.of(features), self.before.reach, self.before.reach)

    def marks(self) -> list[tuple[str, int]]:
        """What the commit of the last rows says is done: what is more than before."""
        found = zip(self._writers, self._reached, self._done, strict=True)
        marks = [(writer, reached) for writer, reached, done in found if reached > done]
        if self._reached[0] > self._done[0] and self._same_reach:
            marks.append((self._unchanged, self._reached[0]))
        return marks

    def runs(self, stage: PaneStage, progress: Progress) -> Iterator[list[str]]:
        """The dates that can hold new readings, some at a time."""
        dates, done = stage.dates(), 0
        for run in runs_of_dates(dates, stage.counts, MOST_READINGS):
            yield run
            done += len(run)
            progress("panes", done, len(dates))

    def summary(self, rows: int, spans: Spans, version: int) -> MaterializeSummary:
        """What came of it."""
        changes = self.changes
        touched = TouchedRows(tuple(changes.devices.names.to_pylist()), spans)
        dates = tuple(spans.dates())
        return MaterializeSummary(changes.readings, changes.panes, rows, dates, self._reached[0], version, touched)

    @property
    def _same_reach(self) -> bool:
        """Whether the panes reach as far as before, so that what is kept of that still holds."""
        return self.done > 0 and self.changes.before.same(self.changes.after)

    def keep_devices(self, lake: Lake) -> None:
        """Keep how far the panes reach now."""
        if not self._same_reach:
            keep(lake.devices(self.features), self.changes.devices, self.changes.after, self._reached[0])


def _compute_panes(work: _Work, table: Table, stored: Snapshot, progress: Progress) -> Snapshot:
    stage = PaneStage(work.telemetry, stored, work.features, work.done, work.changes, withdrawn=work.withdrawn)
    for dates in work.runs(stage, progress):
        computed = stage.refresh(dates)
        if computed is not None:
            stage.panes = _replace(table, stage.panes or stored, *computed, [])
    work.changes.measure(stage.panes or stored)
    return stage.panes or stored


def _compute_rows(
    work: _Work, stored: Snapshot, table: Table, rows: Snapshot, progress: Progress
) -> MaterializeSummary:
    spans = work.changes.touched(work.happened)
    stage = RowStage(stored, work.features, work.changes, work.happened, spans)
    dates = spans.dates()
    runs = list(runs_of_dates(dates, stored.row_counts(), _MOST_PANES)) or [[]]
    count = done = 0
    for number, run in enumerate(runs, start=1):
        computed, touched = stage.compute(rows, run) if run else (table.layout.schema.empty_table(), 0)
        rows = _replace(table, rows, computed, run, work.marks() if number == len(runs) else [])
        count, done = count + touched, done + len(run)
        progress("features", done, len(dates))
    return work.summary(count, spans, rows.version)


def _replace(
    table: Table, snapshot: Snapshot, rows: pa.Table, dates: Collection[str], marks: Collection[tuple[str, int]]
) -> Snapshot:
    """Commit on top of a snapshot; the table as it is then.

    Raises:
        CommitConflictError: Somebody else has committed in between, to other dates perhaps: two runs are at work.
    """
    version = snapshot.adopt(table.folder.write(rows), dates, transactions=marks)
    if version != snapshot.version + 1:
        what = "another run is at work on this table"
        raise CommitConflictError(what, where=table.uri, fix="wait for it to end and run it again")
    return snapshot.renewed()
