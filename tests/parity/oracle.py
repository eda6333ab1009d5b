"""Features from raw readings by brute force: every definition once more, in plain Python and exact sums.

Nothing here knows panes, merging or vectors. A statistic without an entry in ``ORACLES`` fails the suite.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.featureset import Feature, FeatureSet
from features.schema import MICROSECOND

Points = Sequence[tuple[float, float]]  # (hours since 1970-ish origin, value), by time

NAN = math.nan


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _distances(points: Points) -> list[float]:
    """Values less the first one: exact for neighbours in binary, where a mean near 1e8 would round their noise away."""
    return [value - points[0][1] for _, value in points]


def _std(points: Points) -> float:
    values = _distances(points)
    center = _mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


def _slope(points: Points) -> float:
    middle = _mean([time for time, _ in points])
    values = _distances(points)
    center = _mean(values)
    spread = math.fsum((time - middle) ** 2 for time, _ in points)
    moments = ((time - middle) * (value - center) for (time, _), value in zip(points, values, strict=True))
    return math.fsum(moments) / spread


def _needs(readings: int, statistic: Callable[[Points], float]) -> Callable[[Points, int], float]:
    return lambda points, nulls: statistic(points) if len(points) >= readings else NAN


ORACLES: dict[str, Callable[[Points, int], float]] = {
    "count": lambda points, nulls: float(len(points)),
    "missing_share": lambda points, nulls: nulls / (len(points) + nulls) if len(points) + nulls else NAN,
    "mean": _needs(1, lambda points: _mean([value for _, value in points])),
    "std": _needs(2, _std),
    "min": _needs(1, lambda points: min(value for _, value in points)),
    "max": _needs(1, lambda points: max(value for _, value in points)),
    "range": _needs(1, lambda points: max(v for _, v in points) - min(v for _, v in points)),
    "first": _needs(1, lambda points: points[0][1]),
    "last": _needs(1, lambda points: points[-1][1]),
    "delta": _needs(1, lambda points: points[-1][1] - points[0][1]),
    "slope": _needs(2, _slope),
    "rms": _needs(1, lambda points: math.sqrt(_mean([value**2 for _, value in points]))),
}


def scale(statistic: str, points: Points) -> float:
    """The size of number a statistic of these points works with; errors are told as a share of it."""
    values = [value for _, value in points] or [0.0]
    if statistic in {"count", "missing_share"}:
        return 1.0
    if statistic in {"std", "range", "delta"}:
        return max(values) - min(values)
    if statistic == "slope" and len(points) > 1:
        return (max(values) - min(values)) / (points[-1][0] - points[0][0])
    return max(abs(value) for value in values)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the features of a fleet's readings are, and in which scale each is to be compared."""

    keys: list[tuple[int, int]]  # (device code, end), sorted
    values: NDArray[np.float64]
    scales: NDArray[np.float64]


def truth(
    features: FeatureSet, device: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]
) -> Truth:
    """Every feature row of the readings."""
    keys: list[tuple[int, int]] = []
    rows: list[list[tuple[float, float]]] = []
    for code in np.unique(device).tolist():
        order = np.flatnonzero(device == code)
        order = order[np.argsort(times[order], kind="stable")]
        for end in _ends(features, times[order]):
            keys.append((code, end))
            rows.append(
                [_feature(features, feature, end, times[order], values[order]) for feature in features.features]
            )
    table = np.array(rows).reshape(len(rows), len(features.features), 2)
    return Truth(keys, table[..., 0], table[..., 1])


def _ends(features: FeatureSet, times: NDArray[np.int64]) -> list[int]:
    first_pane = int(times[0]) // features.pane_us * features.pane_us
    last_pane_end = (int(times[-1]) // features.pane_us + 1) * features.pane_us
    warm = first_pane + features.longest_us
    ends = range(-(-warm // features.every_us) * features.every_us, last_pane_end + 1, features.every_us)
    return [end for end in ends if ((times >= end - features.longest_us) & (times < end)).any()]


def _feature(
    features: FeatureSet, feature: Feature, end: int, times: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[float, float]:
    begin = end - feature.window // MICROSECOND
    inside = (times >= begin) & (times < end)
    column = values[inside, features.fleet.signal_names.index(feature.signal)]
    hours = (times[inside] - begin) / 3.6e9
    present = ~np.isnan(column)
    points = list(zip(hours[present].tolist(), column[present].tolist(), strict=True))
    return ORACLES[feature.statistic](points, int((~present).sum())), scale(feature.statistic, points)
