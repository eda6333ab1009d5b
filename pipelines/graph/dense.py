"""Stored panes laid out as the graph takes them: every pane behind a row, empty ones included."""

import numpy as np
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.pane import empty
from features.panetable import PaneTable
from serving.predictor import pane_shape


def panes_behind(
    features: FeatureSet, panes: PaneTable, device: NDArray[np.int32], end: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The dense panes behind rows, oldest first.

    Args:
        features: Says how far a row reaches back.
        panes: Panes sorted by device and start, reaching back far enough before the rows.
        device: Device codes of the rows, shape ``(rows,)``.
        end: Ends of the rows, shape ``(rows,)``, UTC microseconds.

    Returns:
        Shape ``(rows, *pane_shape(features))``; ``features.pane.EMPTY`` where nothing was recorded.
        A row of the pumps takes 100 KB: many rows are laid out in parts.

    Example:
        >>> from features import catalog, panetable
        >>> pumps = catalog.load("pumps").features
        >>> table = panetable.panes_of(pumps, np.zeros(2, np.int32), np.array([0, 3_600_000_000]), np.ones((2, 6)))
        >>> dense = panes_behind(pumps, table, np.array([0], np.int32), np.array([86_400_000_000]))
        >>> dense.shape, np.flatnonzero(dense[0, :, 0, 0]).tolist()
        ((1, 144, 6, 15), [0, 6])
    """
    (reach, signals, _), pane_us = pane_shape(features), features.pane_us
    dense = empty((len(end), reach, signals))
    if not len(panes.start):
        return dense
    place = np.stack([panes.device.astype(np.int64), panes.start // pane_us], axis=1)
    wanted = (end // pane_us)[:, None] + np.arange(-reach, 0)
    origin = min(int(place[:, 1].min()), int(wanted.min()))
    span = max(int(place[:, 1].max()), int(wanted.max())) - origin + 1
    key = place[:, 0] * span + place[:, 1] - origin
    sought = device.astype(np.int64)[:, None] * span + wanted - origin
    found = np.minimum(np.searchsorted(key, sought), len(key) - 1)
    known = key[found] == sought
    dense[known] = panes.state[found[known]]
    return dense
