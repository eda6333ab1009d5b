"""Training-serving skew: the features gateways computed online against the batch features of the same windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.record import Prediction

Window = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Skew:
    """How far two computations of the same features lie apart.

    Attributes:
        rows: Windows that both computed.
        max_rel: Largest difference, as a share of the feature's largest absolute batch value; infinite where only one
            of the two has a value.
        feature: The feature where that happens.
        unmatched: Windows that only the gateways computed.
    """

    rows: int
    max_rel: float
    feature: str
    unmatched: int


def compare(
    names: Sequence[str], predictions: Sequence[Prediction], batch: Mapping[Window, NDArray[np.float64]]
) -> Skew:
    """Compare logged online features with batch features of the same device and window end.

    Args:
        names: Feature names, in column order.
        predictions: What the gateways recorded.
        batch: Batch features, shape ``(len(names),)``, by device and window end in UTC microseconds.
    """
    both = [(prediction, (prediction.device, prediction.window_end_us)) for prediction in predictions]
    matched = [(prediction.features, batch[window]) for prediction, window in both if window in batch]
    if not matched:
        return Skew(0, float("inf"), "", len(both))
    online = np.array([left for left, _ in matched], dtype=np.float64)
    offline = np.array([right for _, right in matched], dtype=np.float64)
    scale = np.maximum(np.nanmax(np.abs(offline), axis=0, initial=0.0), np.finfo(np.float64).tiny)
    missing_once = np.isnan(online) != np.isnan(offline)
    difference = np.where(missing_once, np.inf, np.nan_to_num(np.abs(online - offline)) / scale)
    worst = difference.max(axis=0)
    return Skew(len(matched), float(worst.max()), names[int(worst.argmax())], len(both) - len(matched))
