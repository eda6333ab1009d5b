"""The ways readings become features. Each must give the rows the oracle gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import isfunction
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from features import kernel
from features.batch import feature_rows
from features.event import Events
from features.featureset import FeatureSet
from features.kernel import columns_reference, reference, stream_reference
from features.online import OnlineFeatures
from features.panetable import PaneTable, merge_tables, panes_of, unresolved
from features.schema import MICROSECOND
from pipelines.graph import feature_graph, panes_behind
from tests.parity import cluster, single
from tests.parity.telemetry import Telemetry

Key = tuple[int, int]
Rows = dict[Key, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Path:
    """A way; whether it stops at the watermark (a stream) or at the last pane (a table); whether it takes events
    and windows that grow, and whether it computes in single precision, of readings that have no more."""

    run: Callable[[FeatureSet, Telemetry], Rows]
    lateness: Callable[[FeatureSet], timedelta] | None = None
    events: bool = False
    single: bool = False

    @property
    def bound(self) -> float:
        """How far from the truth it may be, as a share of the scale."""
        return 1e-5 if self.single else 1e-9


def _none(_: FeatureSet) -> timedelta:
    """What comes in order is never late."""
    return timedelta(0)


def _some(features: FeatureSet) -> timedelta:
    """Several panes, but less than there are readings of."""
    return min(timedelta(minutes=25), 2 * features.pane)


def _batch(features: FeatureSet, readings: Telemetry) -> Rows:
    return _table(features, panes_of(features, readings.device, readings.times, readings.values), readings)


def _batch_in_numpy(features: FeatureSet, readings: Telemetry) -> Rows:
    with numpy_kernel():
        return _batch(features, readings)


def _merged(features: FeatureSet, readings: Telemetry) -> Rows:
    """Readings dealt out to five partial tables that are merged in random order: files, days, late data."""
    random = np.random.default_rng(11)
    pile = random.integers(0, 5, len(readings.times))
    parts = [readings[np.flatnonzero(pile == number)] for number in random.permutation(5)]
    tables = [panes_of(features, part.device, part.times, part.values) for part in parts]
    merged = merge_tables(features, [merge_tables(features, tables[:2]), merge_tables(features, tables[2:])])
    again = unresolved(merged) if features.ordered else np.zeros(len(merged.start), np.bool_)
    # Panes whose readings interleave between the parts are summed up once more from all their rows.
    starts = readings.times - readings.times % features.pane_us
    keys = set(zip(merged.device[again].tolist(), merged.start[again].tolist(), strict=True))
    rows = readings[np.array([key in keys for key in zip(readings.device.tolist(), starts.tolist(), strict=True)])]
    summed = panes_of(features, rows.device, rows.times, rows.values)
    kept = merged.counts if merged.counts is None else merged.counts[~again]
    whole = PaneTable(merged.device[~again], merged.start[~again], merged.state[~again], kept)
    return _table(features, merge_tables(features, [whole, summed]), readings)


def _single(features: FeatureSet, readings: Telemetry) -> Rows:
    online = OnlineFeatures(features, timedelta(0))
    return _streamed(online, readings, np.arange(len(readings.times) + 1))


def _shuffled(features: FeatureSet, readings: Telemetry) -> Rows:
    """Micro-batches of uneven size, out of order within the lateness, every tenth reading delivered twice."""
    arriving, twice = _arrivals(readings, _some(features))
    online = OnlineFeatures(features, _some(features))
    rows = _streamed(online, arriving, _cuts(len(arriving.times)))
    assert (online.late, online.duplicates) == (0, twice)
    return rows


def _shuffled_in_numpy(features: FeatureSet, readings: Telemetry) -> Rows:
    with numpy_kernel():
        return _shuffled(features, readings)


def _restored(features: FeatureSet, readings: Telemetry) -> Rows:
    """The same, with the process replaced by one that starts from a snapshot, twice."""
    arriving, twice = _arrivals(readings, _some(features))
    online = OnlineFeatures(features, _some(features))
    rows: Rows = {}
    third = len(arriving.times) // 3
    for begin, end in ((0, third), (third, 2 * third), (2 * third, None)):
        online = OnlineFeatures.restore(features, _some(features), online.snapshot())
        part = arriving[slice(begin, end)]
        rows |= _streamed(online, part, _cuts(len(part.times)))
    assert (online.late, online.duplicates) == (0, twice)
    return rows


def _onnx(features: FeatureSet, readings: Telemetry) -> Rows:
    """Panes from the batch, features from the graph that a bundle holds for runtimes without Python."""
    panes = panes_of(features, readings.device, readings.times, readings.values)
    due = feature_rows(features, panes)
    session = onnxruntime.InferenceSession(feature_graph(features), providers=["CPUExecutionProvider"])
    dense = panes_behind(features, panes, due.device, due.end)
    (values,) = session.run(["features"], {"panes": dense})
    return dict(zip(zip(due.device.tolist(), due.end.tolist(), strict=True), values, strict=True))


PATHS = {
    "batch": Path(_batch, events=True),
    "numpy": Path(_batch_in_numpy, events=True),
    "merged": Path(_merged, events=True),
    "online": Path(_single, _none, events=True),
    "shuffled": Path(_shuffled, _some, events=True),
    "shuffled-numpy": Path(_shuffled_in_numpy, _some, events=True),
    "restored": Path(_restored, _some, events=True),
    "onnx": Path(_onnx),
    "float32": Path(single.rows, single=True),
    "spark": Path(cluster.rows, events=True),
}


@contextmanager
def numpy_kernel() -> Iterator[None]:
    """Let the numpy reference serve in place of the compiled kernel."""
    with pytest.MonkeyPatch.context() as patch:
        for twin in (reference, columns_reference):
            for name in kernel.__all__:
                if isfunction(getattr(twin, name, None)):
                    patch.setattr(kernel, name, getattr(twin, name))
        patch.setattr(kernel, "STATISTICS", columns_reference.STATISTICS)
        patch.setattr(kernel, "Stream", stream_reference.Stream)
        yield


def watermarks(readings: Telemetry, lateness: timedelta) -> dict[int, int]:
    """Up to where a stream has emitted each device's windows after all readings."""
    codes = np.unique(readings.device).tolist()
    return {code: int(readings.times[readings.device == code].max()) - lateness // MICROSECOND for code in codes}


def _table(features: FeatureSet, panes: PaneTable, readings: Telemetry) -> Rows:
    table = feature_rows(features, panes, events=readings.events)
    return dict(zip(zip(table.device.tolist(), table.end.tolist(), strict=True), table.values, strict=True))


def _arrivals(readings: Telemetry, lateness: timedelta) -> tuple[Telemetry, int]:
    random = np.random.default_rng(5)
    twice = np.flatnonzero(random.random(len(readings.times)) < 0.1)
    rows = np.concatenate([np.arange(len(readings.times)), twice])
    delay = random.integers(0, lateness // MICROSECOND, len(rows))
    return readings[rows[np.argsort(readings.times[rows] + delay, kind="stable")]], len(twice)


def _cuts(count: int) -> NDArray[np.intp]:
    random = np.random.default_rng(3)
    return np.unique(np.concatenate([[0, count], random.integers(0, count + 1, count // 40 + 1)]))


def _streamed(online: OnlineFeatures, readings: Telemetry, cuts: NDArray[np.intp]) -> Rows:
    """Feed readings piece by piece; events are told, some again and again, before the readings of their time."""
    rows: Rows = {}
    for begin, end in pairwise(cuts.tolist()):
        part = readings[slice(begin, end)]
        _tell(online, readings.events, int(part.times.max(initial=0)))
        due = online.update([f"device-{code}" for code in part.device], part.times, part.values)
        for name, window_end, values in zip(due.device, due.end.tolist(), due.values, strict=True):
            key = (int(name.removeprefix("device-")), window_end)
            assert key not in rows, "a row was emitted twice"
            rows[key] = values
    return rows


def _tell(online: OnlineFeatures, events: Events, until: int) -> None:
    rows = np.flatnonzero(np.maximum(events.time, events.known) <= until)
    kinds = [online.features.fleet.event_kinds[kind] for kind in events.kind[rows]]
    names = [f"device-{code}" for code in events.device[rows]]
    online.events(names, kinds, events.time[rows], events.known[rows])
