"""Feature rows as they would have been at the end of their windows: from what was there before it, and nothing else.

Each window is made again for itself, from the readings with an earlier time and the events that were known. Readings
and events count as far as the stored rows had seen them, so that news the rows do not know yet makes no difference.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.event import Events
from features.featureset import FeatureSet
from features.panetable import panes_of
from features.plan import FROM_START, Bounds, Plan
from pipelines import happened
from pipelines.devices import Devices
from pipelines.lake import Lake
from pipelines.materialize import writers
from pipelines.windows import Windows


def before_ends(
    lake: Lake, features: FeatureSet, windows: Windows, *, version: int | None = None
) -> NDArray[np.float64]:
    """Make features again, window by window.

    Args:
        lake: Holds telemetry, events and the rows that say how much of both they had seen.
        features: What to compute; with its regimes learned.
        windows: Whose features are wanted: dozens, not thousands.
        version: Of the rows the windows were read from; the newest without it.

    Returns:
        Shape ``(n, F)``; NaN throughout where there is no row without what came later.

    Raises:
        TableMissingError: Telemetry or features are not there.
    """
    rows = lake.features(features).open(version)
    batch, told = (rows.transaction(writer) for writer in writers(features))
    telemetry = lake.telemetry(features.fleet).open()
    plan, names = features.plan(), np.unique(windows.device).tolist()
    everything = happened.read(lake, features, Devices(names), told, told).events
    since = None if _from_start(plan) else _pane_before(features, int(windows.end.min()) - features.longest_us)
    readings = telemetry.read(
        ["device", "time", *features.fleet.signal_names],
        devices=names,
        after={} if since is None else {"time": since - 1},
        before={"time": int(windows.end.max()), "batch": batch + 1},
    ).sort_by([("device", "ascending"), ("time", "ascending")])
    owners = np.asarray(readings["device"].to_numpy(zero_copy_only=False), dtype=np.str_)
    values = np.full((len(windows), len(features.names)), np.nan)
    for code, name in enumerate(names):
        first, last = np.searchsorted(owners, name), np.searchsorted(owners, name, side="right")
        own, told_of = readings.slice(first, last - first), _of(everything, code)
        for row in np.flatnonzero(windows.device == name).tolist():
            values[row] = _made(features, plan, own, told_of, int(windows.end[row]))
    return values


def _made(features: FeatureSet, plan: Plan, readings: pa.Table, events: Events, end: int) -> NDArray[np.float64]:
    """The row of one device that ends at a moment."""
    nothing = np.full(len(features.names), np.nan)
    times = readings["time"].to_numpy()
    known = int(np.searchsorted(times, end))
    begin = 0 if _from_start(plan) else int(np.searchsorted(times, _pane_before(features, end - features.longest_us)))
    if known == begin:
        return nothing
    part = readings.slice(begin, known - begin)
    signals = [part[name].fill_null(np.nan).to_numpy() for name in features.fleet.signal_names]
    panes = panes_of(features, np.zeros(known - begin, np.int32), times[begin:known], np.column_stack(signals))
    first = int(panes.start[0]) if _from_start(plan) else end - features.longest_us
    bounds = Bounds(*(np.array([moment], np.int64) for moment in (first, end - 1, end)))
    told = np.maximum(events.time, events.known) < end
    before = Events(events.device[told], events.kind[told], events.time[told], events.known[told])
    found = plan.rows(panes.device, panes.start, panes.state, bounds, counts=panes.counts, events=before)
    return found.values[0] if len(found.end) else nothing


def _of(events: Events, code: int) -> Events:
    """The events of one device, which has code 0 from here on."""
    own = events.device == code
    return Events(np.zeros(int(own.sum()), np.int32), events.kind[own], events.time[own], events.known[own])


def _from_start(plan: Plan) -> bool:
    """Whether a row depends on all that ever was."""
    return bool(plan.growing) or any(elapsed.kind == FROM_START for _, elapsed in plan.elapsed)


def _pane_before(features: FeatureSet, moment: int) -> int:
    return moment - moment % features.pane_us
