"""Features of stored telemetry: panes to feature rows, for a whole fleet at once.

    >>> from features.catalog import load
    >>> from features.panetable import panes_of
    >>> features = load("pumps").features
    >>> minutes = np.arange(0, 26 * 60) * 60_000_000  # a reading a minute for 26 hours
    >>> values = np.full((len(minutes), 6), 5.0)
    >>> panes = panes_of(features, np.zeros(len(minutes), np.int32), minutes, values)
    >>> table = feature_rows(features, panes)
    >>> (table.end // 3_600_000_000).tolist(), table.values.shape  # the first row comes with the first whole day
    ([24, 25, 26], (3, 55))

The stage is a map over devices and takes slices: rows of some devices, rows after some time. The stage before it, from
readings to panes, is ``features.panetable``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.errors import ReadingsShapeError
from features.event import Events
from features.featureset import FeatureSet
from features.panetable import PaneTable
from features.plan import Bounds


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Feature rows, sorted by device and end.

    Args:
        device: Device codes, shape ``(rows,)``.
        end: Ends of the windows, shape ``(rows,)``, UTC microseconds; a reading at the end itself is not inside.
        values: Features in the order of the feature set, shape ``(rows, features)``; NaN where there is nothing to say.
    """

    device: NDArray[np.int32]
    end: NDArray[np.int64]
    values: NDArray[np.float64]


def feature_rows(
    features: FeatureSet,
    panes: PaneTable,
    first_start: NDArray[np.int64] | None = None,
    after_us: int | None = None,
    *,
    events: Events | None = None,
) -> FeatureTable:
    """Compute the feature rows of panes.

    A device has a row for each multiple of ``features.every`` at which its longest window is behind it since its first
    pane, up to the end of its last pane, unless the longest window holds no record at all.

    Args:
        features: The features.
        panes: Panes sorted by device and start. When they are a slice of the stored ones, it must reach back the
            longest window before ``after_us``, and to the beginning where a window grows.
        first_start: For each device code the start of its first pane ever, when ``panes`` is a slice that lacks it.
        after_us: Only rows that end after it; all rows when left out.
        events: What happened to the devices; without it, nothing did.

    Returns:
        The rows; ``values`` is NaN where a statistic has nothing to work on.

    Raises:
        ReadingsShapeError: The panes are of another fleet.
    """
    signals = len(features.fleet.signals)
    if panes.state.shape[1:] != (signals, kernel.FIELDS):
        raise ReadingsShapeError(
            f"panes of shape {panes.state.shape} do not belong to fleet {features.fleet.name}",
            why=f"expected (rows, {signals}, {kernel.FIELDS})",
        )
    codes, begins = np.unique(panes.device, return_index=True)
    devices = int(codes[-1]) + 1 if len(codes) else 0
    first, last = np.zeros(devices, np.int64), np.zeros(devices, np.int64)
    first[codes] = panes.start[begins]
    last[codes] = panes.start[np.append(begins[1:], len(panes.start))[: len(begins)] - 1] + features.pane_us
    after = first if after_us is None else np.full(devices, after_us)
    bounds = Bounds(first if first_start is None else first_start, after, last)
    rows = features.plan().rows(panes.device, panes.start, panes.state, bounds, counts=panes.counts, events=events)
    return FeatureTable(rows.device, rows.end, rows.values)
