"""What each version predicted lately, and what came of it.

The latest four weeks of the log, version by version. One window of a device counts once for a version, however many
gateways and servers were asked about it. The present is the latest reading of the fleet, not the clock: a fleet that
fell silent has not become healthy, and the failures of what was not heard yet are not known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.drift import DECILES, stability_index, stability_indices
from pipelines.labels import Events
from pipelines.lake import Lake
from pipelines.tasks import Metrics, Span, Task, task_of
from pipelines.usecases import UseCase
from pipelines.windows import Windows
from serving.bundle import Manifest, unpack
from serving.errors import BundleError, MissingObjectError
from serving.store import Store

PERIOD = timedelta(days=28)
WEEK_US = timedelta(days=7) // timedelta(microseconds=1)
_COLUMNS = ("device", "window_end", "predicted_at", "version", "bundle", "score", "alert", "features")


@dataclass(frozen=True, slots=True)
class Watched:
    """What one version predicted, sorted by device and end, with what came of it.

    Attributes:
        version: The version.
        bundle: Digest of its bundle.
        windows: Windows with their features and labels; no feature columns where they cannot be told apart.
        score: Score of each, shape ``(n,)``.
        alert: Whether each raised an alert, shape ``(n,)``.
        span: The failures, as far as they are known.
        task: How its answers are judged.
        manifest: Of its bundle; None when that cannot be read.
    """

    version: str
    bundle: str
    windows: Windows
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    span: Span
    task: Task
    manifest: Manifest | None

    @property
    def joined(self) -> NDArray[np.bool_]:
        """Which windows have a known outcome."""
        return self.windows.labelled

    def metrics(self) -> Metrics:
        """Its quality on the windows whose outcome is known."""
        joined = self.joined
        found: Metrics = self.task.measure(
            self.windows.select(joined), self.score[joined], self.alert[joined], self.span
        )
        return found

    def feature_index(self, rows: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Stability index by feature, of some of the rows; empty without the bundle."""
        if self.manifest is None:
            return {}
        values = self.windows.values if rows is None else self.windows.values[rows]
        return stability_indices(self.manifest.features.names, self.manifest.reference, values)

    def score_index(self) -> float:
        """Stability index of the scores of its latest week against its first; NaN before there are two weeks."""
        end = self.windows.end
        if not len(end) or end.max() - end.min() < 2 * WEEK_US:
            return math.nan
        first = self.score[end <= end.min() + WEEK_US]
        edges = np.quantile(first, np.linspace(0, 1, DECILES + 1))
        return stability_index(edges, self.score[end > end.max() - WEEK_US])


def present(lake: Lake, usecase: UseCase, now_us: int) -> int:
    """Return up to when the fleet was heard, UTC microseconds."""
    table = lake.telemetry(usecase.fleet)
    dates = table.open().dates() if table.exists() else []
    if not dates:
        return now_us
    return min(now_us, int(pc.max(table.open().read(["time"], dates=dates[-1:])["time"]).as_py()))


def watched_versions(store: Store, lake: Lake, usecase: UseCase, present_us: int) -> list[Watched]:
    """Return what each version predicted in the latest four weeks, the one that predicted last at the end."""
    snapshot = lake.predictions(usecase.name).open()
    dates = snapshot.dates()
    if not dates:
        return []
    first = f"{datetime.fromisoformat(dates[-1]) - PERIOD:%Y-%m-%d}"
    rows = snapshot.read(_COLUMNS, dates=[date for date in dates if date > first])
    table = lake.events(usecase.fleet)
    events = Events.of(_columns(table.open().read() if table.exists() else None))
    groups = []
    for bundle in rows["bundle"].unique().to_pylist():
        own = rows.filter(pc.equal(rows["bundle"], bundle))
        groups.append((pc.max(own["predicted_at"]).as_py(), bundle, own))
    ordered = sorted(groups, key=lambda group: group[:2])
    return [_watch(usecase, own, _manifest(store, bundle), events, present_us) for _, bundle, own in ordered]


def _watch(usecase: UseCase, rows: pa.Table, manifest: Manifest | None, events: Events, present_us: int) -> Watched:
    newest = rows.slice(int(np.argmax(rows["predicted_at"].to_numpy())), 1).to_pylist()[0]
    rows = rows.sort_by([("device", "ascending"), ("window_end", "ascending"), ("predicted_at", "ascending")])
    device = np.asarray(rows["device"].to_pylist(), dtype=np.str_)
    end = rows["window_end"].to_numpy()
    again = np.concatenate([[False], (device[1:] == device[:-1]) & (end[1:] == end[:-1])])
    rows, device, end = rows.filter(pa.array(~again)), device[~again], end[~again]
    width = len(manifest.features.names) if manifest else 0
    values = _values(rows["features"], width)
    windows = Windows.unlabelled(device, end, values)
    label = usecase.label.label(windows, manifest.features.names if manifest else (), events, present_us)
    return Watched(
        newest["version"],
        newest["bundle"],
        replace(windows, label=label),
        rows["score"].to_numpy(),
        np.asarray(rows["alert"].to_pylist(), dtype=np.bool_),
        Span(
            usecase.label.known(events, present_us),
            usecase.label.horizon // timedelta(microseconds=1),
            usecase.features.every_us,
        ),
        task_of(usecase.label),
        manifest,
    )


def _columns(events: pa.Table | None) -> Mapping[str, Any]:
    names = ("device", "time", "kind", "known_at")
    return {name: [] if events is None else events[name].to_pylist() for name in names}


def _values(features: pa.ChunkedArray, width: int) -> NDArray[np.float64]:
    flat = pc.list_flatten(features).fill_null(math.nan).to_numpy()
    return flat.reshape(len(features), width) if width else np.empty((len(features), 0))


def _manifest(store: Store, bundle: str) -> Manifest | None:
    """Return the manifest of a released bundle, found by its content; None when it is gone or was never released."""
    number = bundle.removeprefix("sha256:")
    try:
        return unpack(store.get(f"updates/targets/bundles/{number}.{number}.tmb"), bundle).manifest
    except (MissingObjectError, BundleError):
        return None
