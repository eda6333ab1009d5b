"""Panes of parts of the telemetry, merged to the panes of the whole; feature rows of some devices.

The pure half of every engine that deals work out to processes: each function takes and gives tables with the columns of
`pipelines.tables`, and knows neither files nor engines. ::

    readings of some files → summarise → partial panes → merge → panes → rows → feature rows
                                                            ↳ interleaved: these must be summarised from their readings

Panes merge exactly but for the sum of changes, which needs readings in the order of time: where the parts of a pane
interleave, late readings for example, the merged pane does not know it. `interleaved` finds these few.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.batch import feature_rows
from features.event import Events
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS, pane_starts
from features.panetable import PaneTable, merge_tables, panes_of, unresolved
from pipelines import tables
from pipelines.unique import date_names


def summarise(features: FeatureSet, readings: pa.Table) -> pa.Table:
    """Panes of readings.

    Args:
        features: Says how long a pane is.
        readings: Columns ``device``, ``time`` and the signals of the fleet, in any order of rows.
    """
    device = _coded(readings["device"])
    values = _matrix(readings, features.fleet.signal_names)
    panes = panes_of(features, _codes(device), readings["time"].to_numpy(), values)
    return _table(features, device.dictionary, panes)


def merged(features: FeatureSet, parts: pa.Table) -> pa.Table:
    """One pane for each device and start, device by device, out of panes of parts of the readings.

    ``change`` is NaN where the parts interleave; see `interleaved`.
    """
    device = _coded(parts["device"])
    found = PaneTable(_codes(device), parts["start"].to_numpy(), _states(parts, features))
    # A second table, though empty: the first is no table yet, it holds the parts of a pane side by side.
    return _table(features, device.dictionary, merge_tables(features, [found, merge_tables(features, [])]))


def interleaved(features: FeatureSet, panes: pa.Table) -> NDArray[np.bool_]:
    """Which panes hold readings, but not the sum of their changes, shape ``(rows,)``."""
    device = _coded(panes["device"])
    return unresolved(PaneTable(_codes(device), panes["start"].to_numpy(), _states(panes, features)))


def mended(features: FeatureSet, panes: pa.Table, lost: NDArray[np.bool_], readings: pa.Table) -> pa.Table:
    """Put panes in place of those that were lost.

    Args:
        features: Says how long a pane is.
        panes: Merged panes.
        lost: Which of them to replace, see `interleaved`.
        readings: All readings of these; others do no harm.
    """
    keys = panes.filter(pa.array(lost)).select(["device", "start"])
    starts = pa.array(pane_starts(readings["time"].to_numpy(), features.pane_us))
    ours = readings.append_column("start", starts).join(keys, ["device", "start"], join_type="left semi")
    whole = summarise(features, ours.drop_columns("start"))
    both = pa.concat_tables([panes.filter(pa.array(~lost)), whole])
    return both.sort_by([("device", "ascending"), ("start", "ascending")])


def rows(features: FeatureSet, panes: pa.Table, events: pa.Table, after_us: int) -> pa.Table:
    """Feature rows of some devices.

    Args:
        features: The features.
        panes: Panes of these devices in any order: all where windows grow, else all from the longest window before
            ``after_us`` on and, of what lies before, at least the first pane of each device.
        events: What happened, to these and other devices.
        after_us: Only rows that end after it.
    """
    device = _coded(panes["device"])
    start, codes = panes["start"].to_numpy(), _codes(device)
    first = np.full(len(device.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(first, codes, start)
    near = np.flatnonzero(start >= earliest_needed(features, after_us))
    near = near[np.lexsort((start[near], codes[near]))]
    table = feature_rows(
        features,
        PaneTable(codes[near], start[near], _states(panes.take(pa.array(near)), features)),
        first,
        after_us,
        events=_events(features, events, device.dictionary),
    )
    owners = device.dictionary.take(pa.array(table.device))
    columns = [date_names(table.end), owners, table.end, *np.ascontiguousarray(table.values.T)]
    return pa.table(columns, schema=tables.features(features).schema)


def earliest_needed(features: FeatureSet, after_us: int) -> int:
    """The start of the first pane that rows after a time look at; where windows grow, before all times."""
    return 0 if features.growing else after_us - features.longest_us


def _events(features: FeatureSet, events: pa.Table, names: pa.Array) -> Events:
    kinds = pa.array(features.fleet.event_kinds, pa.string())
    device, kind = pc.index_in(events["device"], names), pc.index_in(events["kind"], kinds)
    ours = pc.and_(pc.is_valid(device), pc.is_valid(kind))
    columns = (device, kind, events["time"], events["known_at"])
    return Events(*(column.filter(ours).combine_chunks().to_numpy() for column in columns))


def _table(features: FeatureSet, names: pa.Array, panes: PaneTable) -> pa.Table:
    state = panes.state.reshape(len(panes.start), len(features.fleet.signals) * len(PANE_FIELDS))
    columns = [date_names(panes.start), names.take(pa.array(panes.device)), panes.start]
    return pa.table([*columns, *np.ascontiguousarray(state.T)], schema=tables.panes(features).schema)


def _states(panes: pa.Table, features: FeatureSet) -> NDArray[np.float64]:
    names = [f"{signal}.{part}" for signal in features.fleet.signal_names for part in PANE_FIELDS]
    return _matrix(panes, names).reshape(len(panes), len(features.fleet.signals), len(PANE_FIELDS))


def _matrix(table: pa.Table, names: tuple[str, ...] | list[str]) -> NDArray[np.float64]:
    matrix = np.empty((len(table), len(names)))
    for number, name in enumerate(names):
        matrix[:, number] = pc.fill_null(table[name], np.nan).to_numpy()
    return matrix


def _coded(names: pa.ChunkedArray) -> pa.DictionaryArray:
    return names.combine_chunks().dictionary_encode()


def _codes(coded: pa.DictionaryArray) -> NDArray[np.int32]:
    codes: NDArray[np.int32] = coded.indices.to_numpy().astype(np.int32)
    return codes
