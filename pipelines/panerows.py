"""Panes as rows of their table, and back."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from features.panetable import PaneTable
from pipelines import tables
from pipelines.unique import date_names


def columns(features: FeatureSet, *, sketches: bool = True) -> list[str]:
    """The columns that `table_of` reads; without sketches, it gives none."""
    return ["device", "start", *_states(features), *(_sketches(features) if sketches else [])]


def rows_of(features: FeatureSet, names: pa.Array, panes: PaneTable) -> pa.Table:
    """Panes as rows of their table; ``names`` are the devices by code."""
    found = [date_names(panes.start), names.take(pa.array(panes.device)), panes.start]
    state = panes.state.reshape(len(panes.start), len(_states(features)))
    found += list(np.ascontiguousarray(state.T))
    if panes.counts is not None:
        found += [_lists(panes.counts[:, place].astype(np.int32)) for place in range(panes.counts.shape[1])]
    return pa.table(found, schema=tables.panes(features).schema)


def table_of(features: FeatureSet, codes: NDArray[np.int32], rows: pa.Table) -> PaneTable:
    """Rows of the table of panes as panes, sorted by device and start; ``codes`` are their devices."""
    start = rows["start"].to_numpy()
    order = np.lexsort((start, codes))
    state = rows.select(_states(features)).to_tensor(null_to_nan=True).to_numpy()[order]
    state = state.reshape(len(rows), len(features.fleet.signals), len(PANE_FIELDS))
    sketched = [name for name in _sketches(features) if name in rows.column_names]
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
