"""What each version predicted lately, and what came of it.

The latest four weeks of the log, version by version. One window of a device counts once for a version, however many
gateways and servers were asked about it. The present is the latest reading of the fleet, not the clock: a fleet that
fell silent has not become healthy, and the failures of what was not heard yet are not known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.drift import DECILES, NOWHERE, Shift, deciles, shift, shifts
from pipelines.labels import Events
from pipelines.lake import Lake
from pipelines.predictionlog import Log
from pipelines.tasks import Metrics, Span, Task, task_of
from pipelines.usecases import UseCase
from pipelines.windows import Windows
from serving.approval import read_gate
from serving.bundle import Bundle, Manifest, unpack
from serving.errors import BundleError, GateRecordError, MissingObjectError
from serving.store import Store

WEEK_US = timedelta(days=7) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Watched:
    """What one version predicted, sorted by device and end, with what came of it.

    Attributes:
        version: The version.
        digest: Digest of its bundle.
        windows: Windows with their features and labels; no feature columns where they cannot be told apart.
        score: Score of each, shape ``(n,)``.
        alert: Whether each raised an alert, shape ``(n,)``.
        ids: Of all its predictions, those of windows that were predicted twice as well.
        place: To which window each of them belongs, shape ``(len(ids),)``.
        span: The failures, as far as they are known.
        task: How its answers are judged.
        bundle: Its bundle; None when that cannot be read.
        tested: What the gate saw of it on its test; empty where there is no record.
    """

    version: str
    digest: str
    windows: Windows
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    ids: pa.Array
    place: NDArray[np.intp]
    span: Span
    task: Task
    bundle: Bundle | None
    tested: Mapping[str, object] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest | None:
        """What its bundle says; None when that cannot be read."""
        return self.bundle.manifest if self.bundle else None

    @property
    def tested_scores(self) -> list[float] | None:
        """Deciles of its scores on its test; None where nobody kept them."""
        kept = self.tested.get("scores")
        if not isinstance(kept, list) or len(kept) != DECILES + 1:
            return None
        return kept if all(isinstance(edge, int | float) for edge in kept) and kept == sorted(kept) else None

    @property
    def joined(self) -> NDArray[np.bool_]:
        """Which windows have a known outcome."""
        return self.windows.labelled

    @property
    def lately(self) -> NDArray[np.bool_]:
        """Which windows ended in the latest week."""
        end = self.windows.end
        return np.asarray(end > end.max(initial=0) - WEEK_US, dtype=np.bool_)

    @property
    def bare(self) -> Windows:
        """The windows without their features, which is what judging looks at: of a million they are half a gigabyte."""
        return replace(self.windows, values=np.empty((len(self.windows), 0)))

    def metrics(self, rows: NDArray[np.bool_] | None = None) -> Metrics:
        """Its quality on the windows, or some of them, whose outcome is known."""
        joined = self.joined if rows is None else self.joined & rows
        found: Metrics = self.task.measure(self.bare.select(joined), self.score[joined], self.alert[joined], self.span)
        return found

    def feature_shifts(self, rows: NDArray[np.bool_], broken: NDArray[np.bool_] | None = None) -> dict[str, Shift]:
        """How far each feature has moved in some of the rows; nothing without the bundle.

        Args:
            rows: Which windows, shape ``(n,)``.
            broken: Values that say nothing because their sensor is broken, shape ``(windows of rows, F)``.
        """
        if self.manifest is None:
            return {}
        values = self.windows.values[rows]
        if broken is not None:
            values[broken] = math.nan
        return shifts(self.manifest.features.names, self.manifest.reference, values)

    def score_shift(self) -> Shift:
        """How far the scores of the latest week have moved.

        From those of its test; where nobody kept them, from those of its first week, if that is another one.
        """
        if self.tested_scores is not None:
            return shift(self.tested_scores, self.score[self.lately])
        end = self.windows.end
        if not len(end) or end.max() - end.min() < 2 * WEEK_US:
            return NOWHERE
        return shift(deciles(self.score[end <= end.min() + WEEK_US]), self.score[self.lately])


def present(lake: Lake, usecase: UseCase, now_us: int) -> int:
    """Return up to when the fleet was heard, UTC microseconds."""
    table = lake.telemetry(usecase.fleet)
    dates = table.open().dates() if table.exists() else []
    if not dates:
        return now_us
    return min(now_us, int(pc.max(table.open().read(["time"], dates=dates[-1:])["time"]).as_py()))


def events_of(lake: Lake, usecase: UseCase) -> Events:
    """Return everything that happened to the fleet."""
    table = lake.events(usecase.fleet)
    return Events.of(_columns(table.open().read() if table.exists() else None))


def watched_versions(store: Store, log: Log, usecase: UseCase, events: Events, present_us: int) -> list[Watched]:
    """Return what each version predicted, the one that predicted last at the end."""
    rows = log.rows
    groups = []
    for digest in rows["bundle"].unique().to_pylist():
        own = rows.filter(pc.equal(rows["bundle"], digest))
        groups.append((pc.max(own["predicted_at"]).as_py(), digest, own))
    ordered = sorted(groups, key=lambda group: group[:2])
    found = (
        (digest, _watch(usecase, log, own, _opened(store, digest), events, present_us)) for _, digest, own in ordered
    )
    return [replace(each, tested=_tested(store, digest)) for digest, each in found]


def _watch(  # noqa: PLR0917 - what all versions share, and one of them
    usecase: UseCase, log: Log, rows: pa.Table, bundle: Bundle | None, events: Events, present_us: int
) -> Watched:
    newest = rows.slice(int(np.argmax(rows["predicted_at"].to_numpy())), 1).to_pylist()[0]
    rows = rows.drop_columns(["instance", "version", "bundle"])
    # By id at last: of two answers of one moment the same one counts, in whatever order files are read.
    rows = rows.sort_by([(name, "ascending") for name in ("device", "window_end", "predicted_at", "id")])
    device = np.asarray(rows["device"].to_numpy(), dtype=np.str_)
    end = rows["window_end"].to_numpy()
    again = np.concatenate([[False], (device[1:] == device[:-1]) & (end[1:] == end[:-1])])
    once = rows.filter(pa.array(~again))
    names = bundle.manifest.features.names if bundle else ()
    values = log.features(once, len(names))
    windows = Windows.unlabelled(device[~again], end[~again], values)
    label = usecase.label.label(windows, names, events, present_us)
    return Watched(
        version=newest["version"],
        digest=newest["bundle"],
        windows=replace(windows, label=label),
        score=once["score"].to_numpy(),
        alert=np.asarray(once["alert"].to_numpy(), dtype=np.bool_),
        ids=rows["id"].combine_chunks(),
        place=np.cumsum(~again) - 1,
        span=Span(
            usecase.label.known(events, present_us),
            usecase.label.horizon // timedelta(microseconds=1),
            usecase.features.every_us,
        ),
        task=task_of(usecase.label),
        bundle=bundle,
    )


def _columns(events: pa.Table | None) -> Mapping[str, Any]:
    names = ("device", "time", "kind", "known_at")
    return {name: [] if events is None else events[name].to_pylist() for name in names}


def _opened(store: Store, digest: str) -> Bundle | None:
    """Return a released bundle, found by its content; None when it is gone or was never released."""
    number = digest.removeprefix("sha256:")
    try:
        return unpack(store.get(f"updates/targets/bundles/{number}.{number}.tmb"), digest)
    except (MissingObjectError, BundleError):
        return None


def _tested(store: Store, digest: str) -> Mapping[str, object]:
    """Return what the gate record of a bundle keeps as evidence; nothing where there is none."""
    try:
        record = read_gate(store, digest)
    except GateRecordError:
        return {}
    return record.evidence if record else {}
