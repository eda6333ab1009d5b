"""The second stage of materializing: the feature rows that changed panes and new events touch, and no others.

A row is computed from all panes it looks at, so it does not matter when they came to be; see `pipelines.refresh`.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.featureset import FeatureSet
from features.panetable import PaneTable
from features.plan import Bounds
from pipelines import panerows, tables
from pipelines.changes import Changes
from pipelines.growth import Growth
from pipelines.happened import Happened
from pipelines.lake import Snapshot
from pipelines.reach import NEVER, Codes, Spans
from pipelines.refresh import day_names, day_of, within
from pipelines.tables import DAY_US
from pipelines.unique import date_names


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
        self._plan = features.plan()
        self._growth = Growth(features, self._plan, self._read_states, changes.after.first)

    def compute(self, table: Snapshot, dates: Sequence[str]) -> tuple[pa.Table, int]:
        """Compute the touched rows of consecutive dates.

        Returns:
            All rows of these dates, those that are not touched included, and how many are touched.
        """
        begin, end = day_of(dates[0]) * DAY_US, (day_of(dates[-1]) + 1) * DAY_US
        spans = self._spans.within(begin, end - 1)
        computed = self._rows(spans)
        stored = table.read(computed.column_names, dates=dates)
        kept = stored.filter(pa.array(~spans.hold(self._codes(stored), stored["end"].to_numpy())))
        ours = spans.hold(self._codes(computed), computed["end"].to_numpy())
        computed = computed.filter(pa.array(ours))
        return pa.concat_tables([kept.cast(computed.schema), computed]), len(computed)

    def _codes(self, rows: pa.Table) -> Codes:
        return self._changes.devices.codes(rows["device"])

    def _rows(self, spans: Spans) -> pa.Table:
        """The rows of these devices from the first to the last of their spans, and what panes these rows look at."""
        features, after, devices = self._features, self._changes.after, self._changes.devices
        wanted = np.unique(spans.device)
        bounds = Bounds(after.first, np.full(len(devices), NEVER), np.full(len(devices), -1))
        np.minimum.at(bounds.after, spans.device, spans.first - 1)
        np.maximum.at(bounds.until, spans.device, spans.last)
        np.minimum(bounds.until, after.last + features.pane_us, out=bounds.until)
        low = int(spans.first.min()) - features.longest_us
        low -= low % features.pane_us
        panes = self._read(low, int(spans.last.max()), wanted, panerows.columns(features))
        events = self._happened.events
        carried = self._growth.up_to(low, wanted, events)
        rows = self._plan.rows(
            panes.device, panes.start, panes.state, bounds, counts=panes.counts, events=events, carried=carried
        )
        names = devices.names.take(pa.array(rows.device))
        columns = [date_names(rows.end), names, rows.end, *np.ascontiguousarray(rows.values.T)]
        return pa.table(columns, schema=tables.features(features).schema)

    def _read_states(self, begin: int, end: int, wanted: Codes) -> PaneTable:
        return self._read(begin, end, wanted, panerows.columns(self._features, sketches=False))

    def _read(self, begin: int, end: int, wanted: Codes, columns: Sequence[str]) -> PaneTable:
        """The panes of some devices that start within a time, sorted by device and start."""
        devices, when = self._changes.devices, within("start", begin, end)
        owners = None if len(wanted) == len(devices) else devices.names.take(pa.array(wanted)).to_pylist()
        dates = day_names(begin, end)
        stored = self._panes.read(columns, dates=dates, devices=owners, coded=True, **when)
        return panerows.table_of(self._features, devices.codes(stored["device"]), stored)
