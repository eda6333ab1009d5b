"""What new readings and events touched, from panes to predictions: what a materialization did, or would do."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines import usecases
from pipelines.lake import Lake
from pipelines.materialize import MaterializeSummary
from pipelines.registration import TrainingSet


@dataclass(frozen=True, slots=True)
class Touched:
    """What was touched.

    Attributes:
        panes: How many panes have new readings.
        rows: How many feature rows look at them, at new events, or are new.
        dates: The dates of these rows.
        devices: Their devices, sorted.
        training_sets: The versions that learned from such rows, as ``use case/version``; None where the registry did
            not answer, and so nobody knows.
        predictions: How many predictions were made from such rows, by ``use case/version``; as far as the logs of the
            placements were taken in.
    """

    panes: int
    rows: int
    dates: tuple[str, ...]
    devices: tuple[str, ...]
    training_sets: tuple[str, ...] | None
    predictions: Mapping[str, int]


def trace(
    summary: MaterializeSummary,
    digest: str,
    training_sets: Collection[TrainingSet] | None,
    predictions: Mapping[str, pa.Table],
) -> Touched:
    """Follow touched rows to the training sets and predictions that were made of them.

    Args:
        summary: Which rows are touched.
        digest: Of their feature set.
        training_sets: What the registered versions learned from; None where nobody knows.
        predictions: Columns ``device``, ``window_end`` and ``version`` of predictions, by use case.
    """
    spans, names = summary.touched.spans, summary.touched.devices
    learned = None
    if training_sets is not None:
        learned = tuple(
            f"{each.usecase}/{each.version}"
            for each in training_sets
            if each.digest == digest and ((spans.last >= each.since) & (spans.first <= each.until)).any()
        )
    counts = Counter[str]()
    codes = {name: code for code, name in enumerate(names)}
    for usecase, rows in predictions.items():
        device = np.array([codes.get(name, -1) for name in rows["device"].to_pylist()], np.int32)
        held = spans.hold(device, rows["window_end"].to_numpy())
        versions = rows["version"].filter(pa.array(held)).to_pylist()
        counts.update(f"{usecase}/{version}" for version in versions)
    devices = tuple(sorted(names[code] for code in np.unique(spans.device).tolist()))
    return Touched(summary.panes, summary.rows, summary.dates, devices, learned, dict(sorted(counts.items())))


def usecases_of(fleet: str) -> list[str]:
    """The use cases of a fleet."""
    return [name for name in usecases.names() if usecases.load(name).fleet == fleet]


def predictions_on(lake: Lake, fleet: str, dates: Collection[str]) -> dict[str, pa.Table]:
    """The predictions of a fleet's use cases whose windows end on some dates, as `trace` takes them."""
    found = {name: lake.predictions(name) for name in usecases_of(fleet)}
    return {
        name: table.open().read(["device", "window_end", "version"], dates=dates)
        for name, table in found.items()
        if table.exists()
    }
