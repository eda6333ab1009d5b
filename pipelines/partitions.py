"""Materializing in parts: what is due, the panes of some dates, the feature rows of all devices.

The same tables as `pipelines.materialize` makes, cut so that many processes can work at once::

    due → runs of dates → panes of a run, in any process and order → feature rows, once all panes are there

Panes are made of whole dates, and their commit names for each date the ingest batch up to which they are complete. So
nothing has to be told from stage to stage: each finds in the tables what was done before, a stage that is repeated does
what is still missing, and feature rows are not made of panes that are behind. What changed within a date is not known
then: all rows from the first changed date on are made anew, where the local engine finds out which. Before that date,
rows appear only where a device came back after a pause (`pipelines.pauses`).

The work is done by a `Crew`: this process, or the executors of Spark (`pipelines.spark`).
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.featureset import FeatureSet
from pipelines import happened, withdrawn
from pipelines.datafile import DataFile, loads
from pipelines.devices import Devices
from pipelines.errors import PanesBehindError, PartitionError
from pipelines.lake import Lake
from pipelines.materialize import MaterializeSummary, Progress, silent
from pipelines.pauses import Pauses
from pipelines.piecework import PaneJob, RowJob
from pipelines.refresh import day_names, day_of
from pipelines.tables import DAY_US, short

MOST_RUNS = 16
"""Most runs a plan is cut into: as many names as a scheduler is given at once."""
_MOST_READINGS = 2_000_000
_MOST_PANES = 200_000


class Crew(Protocol):
    """Those who do the work."""

    def panes(self, job: PaneJob) -> list[DataFile]:
        """Make the panes of a job; return the files that hold them."""
        ...

    def rows(self, job: RowJob) -> list[DataFile]:
        """Make the feature rows of a job; return the files that hold them."""
        ...


class Alone:
    """This process does the work, one date and one group of devices after the other."""

    def panes(self, job: PaneJob) -> list[DataFile]:
        """See `Crew`; holds the panes of one date and the readings of one load at a time."""
        written: list[DataFile] = []
        for _, of_date in groupby(job.loads, key=lambda load: load[0].date):
            written += job.finish(pa.concat_tables([job.summarise(load) for load in of_date]))
        return written

    def rows(self, job: RowJob) -> list[DataFile]:
        """See `Crew`; holds about as many panes as one load has at a time."""
        names = sorted({name for load in job.loads for name in job.devices(load)})
        groups = np.array_split(np.array(names), max(1, min(len(job.loads), len(names))))
        written: list[DataFile] = []
        for group in groups:
            panes = pa.concat_tables([job.read(load, group.tolist()) for load in job.loads])
            written += job.rows.write(job.compute(panes))
        return written


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done before the features hold all readings and events.

    Attributes:
        batch: The last ingest batch.
        marks: What the commit of the rows will say is done; empty when all is done.
        first: The first date with rows to make, "" when there is none.
        panes: The dates whose panes are behind, sorted.
        batches: The last ingest batch of each date, also of those that only took readings away.
        readings: How many readings each date has.
        events: The number of the table of events that rows are made with, see `pipelines.happened.number`.
        done: The last ingest batch that is in the rows; 0 where there are none, or panes were removed.
    """

    batch: int
    marks: tuple[tuple[str, int], ...]
    first: str
    panes: tuple[str, ...]
    batches: dict[str, int]
    readings: dict[str, int]
    events: int = 0
    done: int = 0

    def runs(self, most: int = MOST_RUNS) -> list[str]:
        """The dates whose panes are behind, as ``first..last``, in runs of about equally many readings.

        Example:
            >>> dates = tuple(f"2026-01-{day:02d}" for day in range(5, 10))
            >>> Due(1, (), dates[0], dates, {}, dict.fromkeys(dates, 100)).runs(most=2)
            ['2026-01-05..2026-01-07', '2026-01-08..2026-01-09']
        """
        share = max(sum(self.readings.get(date, 0) for date in self.panes), 1) / most
        cut: dict[int, list[str]] = {}
        before = 0
        for date in self.panes:
            cut.setdefault(int(before / share), []).append(date)
            before += self.readings.get(date, 0)
        return [f"{dates[0]}..{dates[-1]}" for dates in cut.values()]


@dataclass(frozen=True, slots=True)
class PanesSummary:
    """What the first stage did.

    Attributes:
        readings: Readings that panes were computed from.
        panes: Panes that were computed.
        dates: Their dates.
        batch: The ingest batch up to which they are complete.
    """

    readings: int
    panes: int
    dates: tuple[str, ...]
    batch: int


def due(lake: Lake, features: FeatureSet) -> Due:
    """Find out what is to be done.

    Raises:
        TableMissingError: There is no telemetry yet.
        PartitionError: The panes do not divide a day.
    """
    if DAY_US % features.pane_us:
        raise PartitionError(
            f"panes of {features.pane} do not divide a day",
            where=f"feature set of fleet {features.fleet.name}",
            fix=f"tidemill materialize {features.fleet.name}, or choose a pane that divides 24 hours",
        )
    telemetry = lake.telemetry(features.fleet).open()
    batches = {date: newest for date, (_, newest) in telemetry.ranges("batch").items()}
    rows, panes = (
        table.open() if table.exists() else None for table in (lake.features(features), lake.panes(features))
    )
    name = f"{features.fleet.name}:{short(features.digest)}"
    reached = {
        f"materialize:{name}": telemetry.transaction(f"ingest:{features.fleet.name}"),
        f"materialize-events:{name}": happened.number(lake, features),
    }
    done = {writer: rows.transaction(writer) if rows else 0 for writer in reached}
    batch, events = reached.values()
    for date, newest in withdrawn.dates(lake, features, batch):
        batches[date] = max(newest, batches.get(date, 0))
    batches = dict(sorted(batches.items()))
    # Panes removed by hand: the rows of old readings rest on panes that are gone.
    done_batch = done[f"materialize:{name}"] if panes else 0
    fresh = [date for date, newest in batches.items() if newest > done_batch]
    touched = happened.read(lake, features, Devices(), done[f"materialize-events:{name}"], events).touched.first
    # The first day alone: an event can touch all rows until the end of time, and nobody counts those days.
    told = day_names(touched.min(), touched.min() + 1) if len(touched) else []
    return Due(
        batch,
        tuple((writer, number) for writer, number in reached.items() if number > done[writer]),
        min([*fresh, *told], default=""),
        tuple(date for date in fresh if not panes or panes.transaction(_mark(date)) < batches[date]),
        batches,
        telemetry.row_counts(),
        events,
        done_batch,
    )


def make_panes(
    lake: Lake,
    features: FeatureSet,
    crew: Crew,
    first: str = "",
    last: str = "9",
    *,
    most_readings: int = _MOST_READINGS,
) -> PanesSummary:
    """Make the panes that are behind, of some dates, in one commit.

    Args:
        lake: The tables.
        features: Says how long a pane is.
        crew: Who does the work.
        first: The first date to look at.
        last: The last.
        most_readings: How many readings a worker takes at once; a file of more is taken whole.

    Raises:
        TableMissingError: There is no telemetry yet.
        CommitConflictError: Another run made panes of one of these dates at the same time.
    """
    table = lake.panes(features)
    before, found = table.create(), due(lake, features)
    dates = tuple(date for date in found.panes if first <= date <= last)
    if not dates:
        return PanesSummary(0, 0, (), found.batch)
    telemetry = lake.telemetry(features.fleet)
    files = telemetry.open().files(dates)
    written = crew.panes(PaneJob(features, telemetry.folder, table.folder, loads(files, most_readings)))
    before.adopt(written, dates, transactions=[(_mark(date), found.batches[date]) for date in dates])
    return PanesSummary(sum(file.rows for file in files), sum(file.rows for file in written), dates, found.batch)


def make_rows(lake: Lake, features: FeatureSet, crew: Crew, *, most_panes: int = _MOST_PANES) -> MaterializeSummary:
    """Make the feature rows of all dates from the first on that has new readings, in one commit.

    Args:
        lake: The tables.
        features: What to compute.
        crew: Who does the work.
        most_panes: How many panes a worker takes at once; a file of more is taken whole.

    Raises:
        TableMissingError: There is no telemetry yet.
        PanesBehindError: Panes are to be made first.
        CommitConflictError: Another run did the same at the same time.
    """
    before, found = lake.features(features).create(), due(lake, features)
    if found.panes:
        raise PanesBehindError(
            f"the panes of {len(found.panes)} dates do not hold all readings yet",
            where=f"from {found.panes[0]} to {found.panes[-1]}",
            fix=f"tidemill materialize {features.fleet.name} --stage panes",
        )
    if not found.marks:
        return MaterializeSummary(0, 0, 0, (), found.batch, before.version)
    panes = lake.panes(features).open()
    files = panes.files()
    end = max((file.highs["start"] for file in files), default=0) + features.pane_us
    begin = day_of(found.first) * DAY_US if found.first else end
    pauses = Pauses(lake, features, panes, found.done, day_names(begin, end))
    stale = [date for date in before.dates() if found.first and date >= found.first]
    dates = sorted({*pauses.dates, *stale, *(day_names(begin, end + 1) if begin < end else [])})
    written: list[DataFile] = []
    if dates:
        folders = lake.panes(features).folder, lake.features(features).folder
        events, after = _events(lake, features, found.events), day_of(dates[0]) * DAY_US - 1
        written = crew.rows(RowJob(features, *folders, events, after, loads(files, most_panes), dates))
    version = before.adopt(written, dates, transactions=found.marks)
    pauses.remember(found.batch)
    rows = sum(file.rows for file in written)
    return MaterializeSummary(0, 0, rows, tuple(sorted({file.date for file in written})), found.batch, version)


def materialize_by(lake: Lake, features: FeatureSet, crew: Crew, progress: Progress = silent) -> MaterializeSummary:
    """Bring panes and features up to the telemetry with the work of a crew; see `pipelines.materialize.materialize`."""
    progress("panes", 0, 1)
    panes = make_panes(lake, features, crew)
    progress("panes", 1, 1)
    progress("features", 0, 1)
    rows = make_rows(lake, features, crew)
    progress("features", 1, 1)
    return MaterializeSummary(panes.readings, panes.panes, rows.rows, rows.dates, rows.batch, rows.version)


def _events(lake: Lake, features: FeatureSet, number: int) -> pa.Table:
    """All events: they are few, so every worker gets them with its job."""
    table = lake.events(features.fleet)
    return table.open(number - 1).read() if number else table.layout.schema.empty_table()


def _mark(date: str) -> str:
    return f"panes:{date}"
