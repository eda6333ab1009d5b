"""Columns as a time axis: what a network that looks along time sees of a row.

A feature set has a sequence where it holds a feature and its lags: ``level`` and ``level_lag_1`` to ``level_lag_9`` are
one channel of ten steps, earliest first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.feature import unlagged
from pipelines.errors import UseCaseError


def steps_of(names: Sequence[str]) -> NDArray[np.intp] | None:
    """Return which column each channel shows at each step, shape ``(steps, channels)``; None where there are no lags.

    The steps are all that any feature has. A feature that lacks one shows the nearest step it has there, the later of
    two: one without lags is the same at each step.

    Args:
        names: Feature names, in the order of the columns.

    Example:
        >>> steps_of(["flow_mean_1h", "flow_mean_1h_lag_1", "flow_mean_1h_lag_2", "time_since_start"]).tolist()
        [[2, 3], [1, 3], [0, 3]]
    """
    channels: dict[str, dict[int, int]] = {}
    for column, name in enumerate(names):
        feature, steps = unlagged(name)
        channels.setdefault(feature, {})[steps] = column
    axis = sorted({steps for columns in channels.values() for steps in columns}, reverse=True)
    if len(axis) == 1:
        return None
    return np.array([[columns[_nearest(step, columns)] for columns in channels.values()] for step in axis])


def demanded(names: Sequence[str], estimator: str) -> NDArray[np.intp]:
    """Return what ``steps_of`` does.

    Raises:
        UseCaseError: The features have no lags; the message shows how to add them.
    """
    found = steps_of(names)
    if found is None:
        raise UseCaseError(
            f"{estimator} looks along time, and none of the {len(names)} features has a lag",
            where="feature set of the fleet",
            why="its time axis is made of features and their lags",
            fix="let it see the last rows, in the use case: feature_set=replace(FEATURES, "
            "features=lagged(FEATURES.features, rows=10)), or use an estimator that takes rows as they are",
        )
    return found


def neighbours(steps: int, kernel: int) -> NDArray[np.int64]:
    """Return which steps a kernel covers at each step, shape ``(steps, kernel)``; ends are repeated beyond themselves.

    Example:
        >>> neighbours(3, 3).tolist()
        [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
    """
    reach = np.arange(kernel) - kernel // 2
    return np.asarray(np.clip(np.arange(steps)[:, np.newaxis] + reach, 0, steps - 1), dtype=np.int64)


def _nearest(step: int, columns: dict[int, int]) -> int:
    return min(columns, key=lambda known: (abs(known - step), known))
