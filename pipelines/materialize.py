"""Telemetry becomes panes, and panes become feature rows; only what new readings touched is computed.

    readings newer than the last run -> panes they lie in -> feature rows whose windows reach those panes

The number of the last ingest batch that is in the features is kept in their table, in the commit that brings the last
of the rows. A run that is killed before it does the same again and overwrites what it finds, so it always ends in the
same tables: those that one run over all readings at once would have made.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from features.featureset import FeatureSet
from pipelines.lake import Lake
from pipelines.refresh import Changes, feature_rows_of, refresh_panes, runs_of_dates, touched_dates
from pipelines.tables import short

_MOST_READINGS = 2_000_000
_MOST_PANES = 100_000


@dataclass(frozen=True, slots=True)
class MaterializeSummary:
    """What a run did.

    Attributes:
        readings: Readings that panes were computed from, new ones and their neighbours.
        panes: Panes that were computed.
        rows: Feature rows that were computed.
        dates: The dates of these rows.
        batch: The ingest batch up to which the features are complete.
        version: The version of the table of features.
    """

    readings: int
    panes: int
    rows: int
    dates: tuple[str, ...]
    batch: int
    version: int


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def materialize(
    lake: Lake, features: FeatureSet, progress: Callable[[str, int, int], None] = silent
) -> MaterializeSummary:
    """Bring panes and features up to the telemetry.

    Args:
        lake: The tables.
        features: What to compute.
        progress: Told the stage, how many dates are done, and how many there are.

    Raises:
        TableMissingError: There is no telemetry yet.
        CommitConflictError: Another run did the same at the same time.
    """
    fleet = features.fleet
    telemetry = lake.telemetry(fleet).open()
    table, panes = lake.features(features), lake.panes(features)
    writer = f"materialize:{fleet.name}:{short(features.digest)}"
    snapshot = table.create()
    done, reached = snapshot.transaction(writer), telemetry.transaction(f"ingest:{fleet.name}")
    if reached <= done:
        return MaterializeSummary(0, 0, 0, (), done, snapshot.version)
    if not panes.exists():  # removed by hand: the rows of old readings rest on panes that are gone
        done = 0
    panes.create()
    changes = Changes()
    counts = telemetry.row_counts()
    every_date = sorted({*counts, *panes.open().dates()})
    looked_at = 0
    for dates in runs_of_dates(every_date, counts, _MOST_READINGS):
        refresh_panes(telemetry, panes, features, dates, after_batch=done, changes=changes)
        looked_at += len(dates)
        progress("panes", looked_at, len(every_date))
    stored = panes.open()
    touched = touched_dates(features, changes)
    runs = list(runs_of_dates(touched, stored.row_counts(), _MOST_PANES)) or [[]]
    rows = version = written = 0
    for number, dates in enumerate(runs, start=1):
        computed = (
            feature_rows_of(stored, features, dates, changes.reaches) if dates else table.layout.schema.empty_table()
        )
        marker = (writer, reached) if number == len(runs) else None
        version = table.open().replace(computed, dates, transaction=marker)
        rows, written = rows + len(computed), written + len(dates)
        progress("features", written, len(touched))
    return MaterializeSummary(changes.readings, changes.panes, rows, tuple(touched), reached, version)


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
