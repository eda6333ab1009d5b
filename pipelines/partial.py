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
from features.pane import pane_starts
from features.panetable import merge_tables, panes_of, unresolved
from pipelines import panerows, tables
from pipelines.panestage import column_of
from pipelines.unique import date_names


def summarise(features: FeatureSet, readings: pa.Table) -> pa.Table:
    """Panes of readings.

    Args:
        features: Says how long a pane is.
        readings: Columns ``device``, ``time`` and the signals of the fleet, in any order of rows.
    """
    device = _coded(readings["device"])
    signals = [column_of(readings[name].combine_chunks()) for name in features.fleet.signal_names]
    panes = panes_of(features, _codes(device), readings["time"].to_numpy(), signals)
    return panerows.rows_of(features, device.dictionary, panes)


def merged(features: FeatureSet, parts: pa.Table) -> pa.Table:
    """One pane for each device and start, device by device, out of panes of parts of the readings.

    ``change`` is NaN where the parts interleave; see `interleaved`.
    """
    device = _coded(parts["device"])
    found = panerows.table_of(features, _codes(device), parts)
    # A second table, though empty: the first is no table yet, it holds the parts of a pane side by side.
    whole = merge_tables(features, [found, merge_tables(features, [])])
    return panerows.rows_of(features, device.dictionary, whole)


def interleaved(features: FeatureSet, panes: pa.Table) -> NDArray[np.bool_]:
    """Which panes hold readings, but not the sum of their changes, shape ``(rows,)``."""
    device = _coded(panes["device"])
    return unresolved(panerows.table_of(features, _codes(device), panes))


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
    table = feature_rows(
        features,
        panerows.table_of(features, codes[near], panes.take(pa.array(near))),
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


def _coded(names: pa.ChunkedArray) -> pa.DictionaryArray:
    return names.combine_chunks().dictionary_encode()


def _codes(coded: pa.DictionaryArray) -> NDArray[np.int32]:
    codes: NDArray[np.int32] = coded.indices.to_numpy().astype(np.int32)
    return codes
