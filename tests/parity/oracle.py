"""Features from raw readings by brute force: every definition once more, in plain Python and exact sums.

Nothing here knows panes, merging or vectors. A statistic without an entry in ``ORACLES`` fails the suite.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

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


def _rms(points: Points) -> float:
    return math.sqrt(_mean([value**2 for _, value in points]))


@dataclass(frozen=True, slots=True)
class Window:
    """What else a definition may speak of: records without the signal, hours the window has, the signal's limit."""

    nulls: int
    hours: float
    limit: float


Oracle = Callable[[Points, Window], float]


def _needs(readings: int, statistic: Callable[[Points], float]) -> Oracle:
    return lambda points, _window: statistic(points) if len(points) >= readings else NAN


ORACLES: dict[str, Oracle] = {
    "count": lambda points, _: float(len(points)),
    "missing_share": lambda points, window: (
        window.nulls / (len(points) + window.nulls) if len(points) + window.nulls else NAN
    ),
    "mean": _needs(1, lambda points: _mean([value for _, value in points])),
    "std": _needs(2, _std),
    "min": _needs(1, lambda points: min(value for _, value in points)),
    "max": _needs(1, lambda points: max(value for _, value in points)),
    "range": _needs(1, lambda points: max(v for _, v in points) - min(v for _, v in points)),
    "first": _needs(1, lambda points: points[0][1]),
    "last": _needs(1, lambda points: points[-1][1]),
    "delta": _needs(1, lambda points: points[-1][1] - points[0][1]),
    "slope": _needs(2, _slope),
    "rms": _needs(1, _rms),
    "crest": _needs(1, lambda points: max(abs(v) for _, v in points) / _rms(points) if _rms(points) else NAN),
    "mean_absolute_change": _needs(2, lambda points: _mean([abs(b[1] - a[1]) for a, b in pairwise(points)])),
    "above_share": lambda points, window: (
        sum(value > window.limit for _, value in points) / len(points) if points else NAN
    ),
    "since_last": lambda points, window: window.hours - points[-1][0] if points else NAN,
}


def scale(statistic: str, points: Points) -> float:
    """The size of number a statistic of these points works with; errors are told as a share of it."""
    values = [value for _, value in points] or [0.0]
    if statistic in {"count", "missing_share", "above_share", "crest"}:
        return 1.0
    if statistic == "since_last":
        return max([1.0, *(time for time, _ in points)])
    if statistic in {"std", "range", "delta", "mean_absolute_change"}:
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
    limit = features.fleet.limits[features.fleet.signal_names.index(feature.signal)]
    window = Window(int((~present).sum()), feature.window / timedelta(hours=1), float(limit))
    return ORACLES[feature.statistic](points, window), scale(feature.statistic, points)
