"""Panes as rows of their table, and back."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.feature import Feature, plain
from features.featureset import FeatureSet
from features.fields import fields_behind
from features.pane import PANE_FIELDS, empty
from features.panetable import PaneTable
from pipelines import tables
from pipelines.unique import date_names


def columns(features: FeatureSet, *, sketches: bool = True) -> list[str]:
    """The columns that `table_of` needs to compute these features; without sketches, it gives none."""
    asked: dict[str, list[str]] = {signal: [] for signal in features.fleet.signal_names}
    for feature in features.features:
        if isinstance(source := plain(feature), Feature):
            asked[source.signal].append(source.statistic)
    states = [f"{signal}.{part}" for signal, names in asked.items() for part in fields_behind(names)]
    return ["device", "start", *states, *(_sketches(features) if sketches else [])]


def rows_of(features: FeatureSet, names: pa.Array, panes: PaneTable) -> pa.Table:
    """Panes as rows of their table; ``names`` are the devices by code."""
    found = [date_names(panes.start), names.take(pa.array(panes.device)), panes.start]
    state = panes.state.reshape(len(panes.start), len(_states(features)))
    found += list(np.ascontiguousarray(state.T))
    if panes.counts is not None:
        found += [_lists(panes.counts[:, place].astype(np.int32)) for place in range(panes.counts.shape[1])]
    return pa.table(found, schema=tables.panes(features).schema)


def table_of(features: FeatureSet, codes: NDArray[np.int32], rows: pa.Table) -> PaneTable:
    """Rows of the table of panes as panes, sorted by device and start; ``codes`` are their devices.

    Fields that the rows lack are those of a pane without readings.
    """
    start, names = rows["start"].to_numpy(), _states(features)
    order = np.lexsort((start, codes))
    there = set(rows.column_names)
    given = [place for place, name in enumerate(names) if name in there]
    state = empty((len(rows), len(features.fleet.signals)))
    if given:
        values = rows.select([names[place] for place in given]).to_tensor(null_to_nan=True).to_numpy()
        state.reshape(len(rows), len(names))[:, given] = values[order]
    sketched = [name for name in _sketches(features) if name in there]
    return PaneTable(codes[order], start[order], state, _counts(features, rows, sketched)[order] if sketched else None)


def _counts(features: FeatureSet, rows: pa.Table, names: Sequence[str]) -> NDArray[np.uint32]:
    buckets = [sketch.buckets for sketch in features.sketched.values()]
    counts = np.zeros((len(rows), len(names), max(buckets)), np.uint32)
    for place, (name, width) in enumerate(zip(names, buckets, strict=True)):
        flat = rows[name].combine_chunks().flatten().to_numpy()
        counts[:, place, :width] = flat.reshape(len(rows), width)
    return counts


def _lists(matrix: NDArray[np.int32]) -> pa.Array:
    ends = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(matrix.ravel()))


def _states(features: FeatureSet) -> list[str]:
    return [f"{signal}.{part}" for signal in features.fleet.signal_names for part in PANE_FIELDS]


def _sketches(features: FeatureSet) -> list[str]:
    return [f"{features.fleet.signal_names[place]}.counts" for place in features.sketched]
