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

from features.event import Events
from features.feature import AnyFeature, Difference, EventCount, Feature, Lag, Since, TimeSince
from features.featureset import FeatureSet
from features.regime import Regimes
from features.schema import MICROSECOND
from features.sketch import QUANTILES

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


def _sketched(share: float, largest: float) -> Oracle:
    """The answer DDSketch gives for the exact lower quantile: the middle of the bucket that the value lies in."""

    def answer(points: Points, window: Window) -> float:
        if not points:
            return NAN
        exact = sorted(value for _, value in points)[math.floor(share * (len(points) - 1))]
        exponent = math.floor(math.log2(abs(exact))) if exact else -9999
        if exponent <= math.floor(math.log2(largest)) - 10:
            return 0.0
        part = math.floor((abs(exact) / 2.0**exponent - 1.0) * 50)
        low, high = 1 + part / 50, 1 + (part + 1) / 50
        return math.copysign(2.0**exponent * 2 * low * high / (low + high), exact)

    return answer


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


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Everything that is known of one device: readings by time, and its events as (kind, time, known at)."""

    features: FeatureSet
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    events: list[tuple[str, int, int]]

    @property
    def first_pane(self) -> int:
        return int(self.times[0]) // self.features.pane_us * self.features.pane_us

    def ends(self) -> list[int]:
        """Where rows end: a whole step, filled windows before it, a record within reach, not after the last pane."""
        every, reach = self.features.every_us, self.features.longest_us
        last_pane_end = (int(self.times[-1]) // self.features.pane_us + 1) * self.features.pane_us
        ends = range(-(-(self.first_pane + reach) // every) * every, last_pane_end + 1, every)
        return [end for end in ends if ((self.times >= end - reach) & (self.times < end)).any()]

    def known(self, kind: str, end: int) -> list[int]:
        """When the events of a kind happened that were known at the end of a window."""
        return [time for name, time, known in set(self.events) if name == kind and max(time, known) < end]

    def beginning(self, kind: str, end: int) -> int | None:
        """The start of the first whole pane after the last event became known, if a pane lies behind it by now."""
        if kind == "start":
            return self.first_pane
        pane = self.features.pane_us
        panes = (-(-max(time, known) // pane) * pane for name, time, known in self.events if name == kind)
        return max((start for start in panes if start < end), default=None)


def truth(
    features: FeatureSet,
    device: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    events: Events | None = None,
) -> Truth:
    """Every feature row of the readings."""
    happened = events or Events.none()
    values = np.array([_normalised(features, row) for row in values.tolist()]).reshape(values.shape)
    keys: list[tuple[int, int]] = []
    rows: list[list[tuple[float, float]]] = []
    for code in np.unique(device).tolist():
        order = np.flatnonzero(device == code)
        order = order[np.argsort(times[order], kind="stable")]
        columns = (happened.device, happened.kind, happened.time, happened.known)
        of_device = [
            (features.fleet.event_kinds[kind], time, known)
            for owner, kind, time, known in zip(*(column.tolist() for column in columns), strict=True)
            if owner == code
        ]
        history = History(features, times[order], values[order], of_device)
        for end in history.ends():
            keys.append((code, end))
            rows.append([_value(history, feature, end) for feature in features.features])
    table = np.array(rows).reshape(len(rows), len(features.features), 2)
    return Truth(keys, table[..., 0], table[..., 1])


def _normalised(features: FeatureSet, row: list[float]) -> list[float]:
    """A record with its signals compared with the regime whose centre is nearest to its settings."""
    regimes, place = features.regimes, features.fleet.signal_names.index
    if regimes is None:
        return row
    assert isinstance(regimes, Regimes)
    settings = zip((row[place(name)] for name in regimes.settings), regimes.offset, regimes.scale, strict=True)
    scaled = [(value - offset) / by for value, offset, by in settings]
    distances = [math.dist(scaled, centre) for centre in regimes.centres]
    result = list(row)
    for number, name in enumerate(regimes.signals):
        nearest = distances.index(min(distances))
        z = (row[place(name)] - regimes.mean[nearest][number]) / regimes.std[nearest][number]
        result[place(name)] = NAN if any(map(math.isnan, scaled)) else z
    return result


def _value(history: History, feature: AnyFeature, end: int) -> tuple[float, float]:
    """What a feature says at the end of a window, and its scale."""
    match feature:
        case Lag(of, steps):
            return _value(history, of, end - steps * history.features.every_us)
        case Difference(of, steps):
            now, before = _value(history, of, end), _value(history, of, end - steps * history.features.every_us)
            return now[0] - before[0], max(now[1], before[1])
        case EventCount(kind, window):
            begin = end - window // MICROSECOND
            return float(sum(time >= begin for time in history.known(kind, end))), 1.0
        case TimeSince(kind):
            happened = [history.first_pane] if kind == "start" else history.known(kind, end)
            hours = (end - max(happened)) / 3.6e9 if happened else NAN
            return hours, 1.0
        case Feature(_, _, Since(kind, most)):
            beginning = history.beginning(kind, end)
            last = end if most is None or beginning is None else min(end, beginning + most // MICROSECOND)
            return (NAN, 1.0) if beginning is None else _windowed(history, feature, beginning, last)
        case Feature(_, _, timedelta() as length):
            return _windowed(history, feature, end - length // MICROSECOND, end)
    raise TypeError(feature)


def _windowed(history: History, feature: Feature, begin: int, end: int) -> tuple[float, float]:
    fleet = history.features.fleet
    inside = (history.times >= begin) & (history.times < end)
    column = history.values[inside, fleet.signal_names.index(feature.signal)]
    hours = (history.times[inside] - begin) / 3.6e9
    present = ~np.isnan(column)
    points = list(zip(hours[present].tolist(), column[present].tolist(), strict=True))
    limit = fleet.limits[fleet.signal_names.index(feature.signal)]
    window = Window(int((~present).sum()), (end - begin) / 3.6e9, float(limit))
    if feature.statistic in QUANTILES:
        sketch = history.features.sketched[fleet.signal_names.index(feature.signal)]
        oracle = _sketched(QUANTILES[feature.statistic], sketch.largest)
    else:
        oracle = ORACLES[feature.statistic]
    return oracle(points, window), scale(feature.statistic, points)
