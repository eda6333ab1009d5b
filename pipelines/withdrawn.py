"""Readings that are gone from the telemetry: no row tells of them, so the ingest notes them in a table of their own."""

import numpy as np
import pyarrow as pa

from features.featureset import FeatureSet
from features.pane import pane_starts
from pipelines.devices import Devices
from pipelines.lake import Lake
from pipelines.reach import Codes, Times
from pipelines.unique import date_names


def dates(lake: Lake, features: FeatureSet, until: int) -> list[tuple[str, int]]:
    """The dates of panes that lost readings, and the ingest batch that took them away; see `read`."""
    table = lake.withdrawn(features.fleet)
    if not table.exists():
        return []
    notes = table.open().read(["time", "batch"], before={"batch": until + 1})
    names = date_names(pane_starts(notes["time"].to_numpy(), features.pane_us))
    found = pa.table({"date": names, "batch": notes["batch"]}).group_by("date").aggregate([("batch", "max")])
    return list(zip(found["date"].to_pylist(), found["batch_max"].to_pylist(), strict=True))


def read(lake: Lake, features: FeatureSet, devices: Devices, after: int, until: int) -> tuple[Codes, Times]:
    """The panes that lost readings.

    Args:
        lake: The tables.
        features: Says how long a pane is.
        devices: Codes of the devices; learns new names.
        after: Only what later ingest batches took away.
        until: Only what ingest batches up to this one took away.

    Returns:
        Codes and starts of the panes, each once. There may be panes among them that lost nothing.
    """
    table = lake.withdrawn(features.fleet)
    if not table.exists():
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    notes = table.open().read(["device", "time"], after={"batch": after}, before={"batch": until + 1})
    starts = pane_starts(notes["time"].to_numpy(), features.pane_us)
    pairs = pa.table({"device": devices.codes(notes["device"]), "start": starts}).group_by(["device", "start"])
    found = pairs.aggregate([])
    return found["device"].to_numpy().astype(np.int32), found["start"].to_numpy()
