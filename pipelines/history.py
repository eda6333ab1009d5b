"""History as training reads it: feature rows and events of a period, each from one named version of its table."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from features.panetable import PaneTable
from features.schema import Fleet
from pipelines import dataset, graph, quarantine
from pipelines.dataset import Dataset
from pipelines.errors import TooLittleDataError
from pipelines.labels import Events
from pipelines.lake import Lake, Snapshot
from pipelines.rows import digest_of_rows
from pipelines.usecases import UseCase
from pipelines.windows import Windows
from serving.predictor import pane_shape
from serving.store import Store

_DEVICES_AT_ONCE = 16  # 30 days of the pumps' panes are 50 MB
_BYTES_AT_ONCE = 32 * 2**20  # of dense panes


def load(
    store: Store,
    lake: Lake,
    usecase: UseCase,
    *,
    since: int | None,
    until: int | None,
    seed: int,
    now_us: int,
    versions: Mapping[str, int] | None = None,
) -> Dataset:
    """Read feature rows and events, label and split them.

    The present is never later than the last window there is, or the last event that became known: of what happened
    after both, nothing is known.

    Args:
        store: Where rejected readings are counted.
        lake: Holds features, events and telemetry.
        usecase: Label and split.
        since: First window end, UTC microseconds; None for all there is.
        until: The present to act in; None for now.
        seed: Decides which devices are held out.
        now_us: The clock.
        versions: Versions of the tables ``features`` and ``events`` to read; the newest where none are given.

    Raises:
        TableMissingError: Features or events are not there yet, or not in this version any more.
        TooLittleDataError: There is not enough history.
    """
    features, named = usecase.features, versions or {}
    table = lake.features(features).open(named.get("features"))
    happened = lake.events(features.fleet).open(named.get("events"))
    present = now_us if until is None else min(until, now_us)
    after = {} if since is None else {"end": since - 1}
    windows = windows_of(table, features, after=after, before={"end": present + 1})
    if not len(windows):
        raise TooLittleDataError(
            "there is not one feature row in this period", where=usecase.name, fix="train on another period"
        )
    columns = happened.read(["device", "time", "kind", "known_at"])
    events = Events.of({name: columns[name].to_numpy(zero_copy_only=False) for name in columns.column_names})
    told = events.known_at[events.known_at <= present]
    present = min(present, max([int(windows.end.max()), *told.tolist()]))
    found = dataset.build(
        features.names,
        windows,
        usecase.label,
        events,
        usecase.split,
        known_until=present,
        every_us=features.every_us,
        reach_us=features.longest_us,
        seed=seed,
        lineage={
            "features.digest": features.digest,
            "features.version": str(table.version),
            "events.version": str(happened.version),
            "since": str(int(windows.end.min())),
            "until": str(present),
            "definition.label": repr(usecase.label),
            "definition.split": repr(usecase.split),
        },
        rejected=_rejected(store, lake, features.fleet, int(windows.end.min()), present),
    )
    return replace(found, lineage={**found.lineage, "rows.sha256": digest_of_rows(found)})


def windows_of(
    table: Snapshot,
    features: FeatureSet,
    *,
    after: Mapping[str, int] | None = None,
    before: Mapping[str, int] | None = None,
    dates: Collection[str] | None = None,
) -> Windows:
    """Read feature rows whose ``end`` lies after and before the given times, or on some dates; unlabelled, unsorted."""
    rows = table.read(["device", "end", *features.names], after=after, before=before, dates=dates)
    values = np.column_stack([rows[name].to_numpy() for name in features.names])
    device = np.asarray(rows["device"].to_numpy(zero_copy_only=False), dtype=np.str_)
    return Windows.unlabelled(device, rows["end"].to_numpy(), values)


def _rejected(store: Store, lake: Lake, fleet: Fleet, since: int, until: int) -> tuple[float, float]:
    """Shares of quarantined and of late readings. Rejects carry no time: theirs is of all that was ever ingested."""
    telemetry = lake.telemetry(fleet).open()
    times = telemetry.read(["time", "received"], after={"time": since}, before={"time": until})
    delay = times["received"].to_numpy() - times["time"].to_numpy()
    late = float(np.mean(delay > fleet.late_after.total_seconds() * 1e6)) if len(delay) else 0.0
    refused = sum(batch.count for batch in quarantine.batches(store, fleet.name))
    readings = sum(telemetry.row_counts().values())
    return refused / max(refused + readings, 1), late


def matched(test: Windows, other: Windows) -> NDArray[np.float64] | None:
    """Return the values of other feature rows in the order of the test; None when a window is missing there."""
    places = places_in(test, other)
    return None if np.any(places < 0) else other.values[places]


def places_in(test: Windows, other: Windows) -> NDArray[np.intp]:
    """Return where each window of the test stands among other feature rows; -1 where it is missing there."""
    places = {key: place for place, key in enumerate(zip(other.device.tolist(), other.end.tolist(), strict=True))}
    order = (places.get(key, -1) for key in zip(test.device.tolist(), test.end.tolist(), strict=True))
    return np.fromiter(order, dtype=np.intp, count=len(test))


def panes_behind(
    lake: Lake, features: FeatureSet, windows: Windows
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Read the panes behind windows, as the graph from panes takes them.

    Args:
        lake: Holds the panes, in their newest version: windows and panes agree unless a run is changing both.
        features: What the windows are of.
        windows: Whose panes are wanted.

    Yields:
        Rows of ``windows``, and for each of them its dense panes, shape ``(rows, panes, signals, FIELDS)``; in parts
        that fit in memory.
    """
    table = lake.panes(features).open()
    shape = pane_shape(features)
    most = max(_BYTES_AT_ONCE // (math.prod(shape) * 8), 1)
    names = np.unique(windows.device)
    for first in range(0, len(names), _DEVICES_AT_ONCE):
        devices = names[first : first + _DEVICES_AT_ONCE]
        rows = np.flatnonzero(np.isin(windows.device, devices))
        ends = windows.end[rows]
        since, until = int(ends.min()) - shape[0] * features.pane_us, int(ends.max())
        panes = _pane_table(table, features, devices, since, until)
        for begin in range(0, len(rows), most):
            part = rows[begin : begin + most]
            codes = np.searchsorted(devices, windows.device[part]).astype(np.int32)
            yield part, graph.panes_behind(features, panes, codes, windows.end[part])


def _pane_table(table: Snapshot, features: FeatureSet, devices: NDArray[np.str_], since: int, until: int) -> PaneTable:
    """The panes of some devices that start from ``since`` on and before ``until``; codes count the devices given."""
    stored = table.read(devices=devices.tolist(), after={"start": since - 1}, before={"start": until})
    codes = np.searchsorted(devices, np.asarray(stored["device"].to_numpy(zero_copy_only=False), dtype=np.str_))
    start = stored["start"].to_numpy()
    order = np.lexsort((start, codes))
    state = np.empty((len(start), len(features.fleet.signals), len(PANE_FIELDS)))
    for signal, name in enumerate(features.fleet.signal_names):
        for number, part in enumerate(PANE_FIELDS):
            state[:, signal, number] = stored[f"{name}.{part}"].fill_null(np.nan).to_numpy()
    return PaneTable(codes[order].astype(np.int32), start[order], state[order])
