"""The signals of a fleet day by day, from its panes: level, spread, what is missing and what does not move any more.

Panes say all of this already, so no reading is read again: ten minutes of a signal are one row. They are added up date
by date, the days of training and those of late; of a long training as many days as of late, spread over it. Signals
that are normalised by regime are told in standard deviations from what is usual there, as the panes hold them.

A signal is *frozen* on a device where it has readings and stands at one value over the latest two days with readings of
the fleet, although in training it moved nearly every day on the same device. What always stands still, such as a
setting, is not frozen.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.featureset import FeatureSet
from pipelines.lake import Lake, Snapshot
from pipelines.predictionlog import PERIOD

FROZEN_DAYS = 2
_WEEK = timedelta(days=7)
_LEAST_READINGS = 10  # that have to say the same before a signal counts as frozen
_LEAST_DAYS, _MOVES = 3, 0.9  # days of training on a device, and on which share of them a signal has to move
_FIELDS = ("count", "nulls", "sum", "square", "first", "low", "high")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Days:
    """A signal over some days.

    Attributes:
        readings: How many there were.
        missing: Share of the records that lacked the signal, 0..1; NaN without records.
        mean: Of the readings, in the unit of the signal; NaN without any.
        std: Their standard deviation.
    """

    readings: int
    missing: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class SignalHistory:
    """A signal in training and of late.

    Attributes:
        name: The signal.
        training: Over the days of training; None where nobody knows them.
        late: Over the latest week.
        days: Each day of the latest four weeks, by date.
        frozen: Devices on which it is frozen, sorted.
    """

    name: str
    training: Days | None
    late: Days
    days: Mapping[str, Days]
    frozen: tuple[str, ...] = ()

    @property
    def moved(self) -> float:
        """By how many standard deviations of training its mean has moved; NaN where that cannot be told."""
        if self.training is None or not self.training.std > 0:
            return math.nan
        return abs(self.late.mean - self.training.mean) / self.training.std

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {**asdict(self), "moved": self.moved}


def histories(lake: Lake, features: FeatureSet, training: tuple[int, int] | None, now_us: int) -> list[SignalHistory]:
    """Tell the signals of a fleet.

    Args:
        lake: Holds the panes.
        features: Says which panes.
        training: First and last window end of the training, UTC microseconds; None where nobody knows.
        now_us: The moment, UTC microseconds.

    Returns:
        One for each signal; nothing where there are no panes.
    """
    table = lake.panes(features)
    snapshot = table.open() if table.exists() else None
    dates = [date for date in snapshot.dates() if date <= _date(now_us)] if snapshot else []
    if snapshot is None or not dates:
        return []
    first, week = (f"{datetime.fromisoformat(dates[-1]) - back:%Y-%m-%d}" for back in (PERIOD, _WEEK))
    names = features.fleet.signal_names
    late, days = _Total(names), {}
    for date in dates:
        if date > first:
            day = _day(snapshot, date, names)
            days[date] = _sums(day)
            if date > week:
                late.add(day, days[date], lasting=date in dates[-FROZEN_DAYS:])
    learned = _Total(names)
    for date in _spread([date for date in dates if training and _date(training[0]) <= date <= _date(training[1])]):
        day = _day(snapshot, date, names)
        learned.add(day, _sums(day))
    frozen = late.frozen(learned)
    return [
        SignalHistory(
            name,
            learned.sums[place].told() if learned.days else None,
            late.sums[place].told(),
            {date: sums[place].told() for date, sums in days.items()},
            tuple(sorted(device for device, still in frozen.items() if still[place])),
        )
        for place, name in enumerate(names)
    ]


@dataclass(frozen=True, slots=True)
class _Day:
    """One date: by device and signal, shape ``(devices, signals)``."""

    devices: Sequence[str]
    count: Array
    nulls: Array
    mean: Array
    square: Array
    low: Array
    high: Array


@dataclass(slots=True)
class _Sum:
    """Readings of one signal added up: sums of squares are those about the mean (Chan et al. 1979)."""

    count: float = 0.0
    nulls: float = 0.0
    mean: float = 0.0
    square: float = 0.0

    def add(self, count: float, nulls: float, mean: float, square: float) -> None:
        self.nulls += nulls
        if count:
            total, apart = self.count + count, mean - self.mean
            self.square += square + apart * apart * self.count * count / total
            self.mean += apart * count / total
            self.count = total

    def told(self) -> Days:
        if not self.count:
            return Days(0, 1.0 if self.nulls else math.nan, math.nan, math.nan)
        missing = self.nulls / (self.count + self.nulls)
        return Days(int(self.count), missing, self.mean, math.sqrt(self.square / self.count))


@dataclass(slots=True)
class _Total:
    """Days added up, and what each device did on them."""

    names: Sequence[str]
    days: int = 0
    sums: list[_Sum] = field(default_factory=list)
    seen: dict[str, Array] = field(default_factory=dict)
    moved: dict[str, Array] = field(default_factory=dict)
    lasting: dict[str, tuple[Array, Array, Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sums = [_Sum() for _ in self.names]

    def add(self, day: _Day, alone: Sequence[_Sum], *, lasting: bool = False) -> None:
        """Add a day, of which the sums are known; ``lasting`` days are those on which a signal may stand still."""
        self.days += 1
        for total, one in zip(self.sums, alone, strict=True):
            total.add(one.count, one.nulls, one.mean, one.square)
        for row, device in enumerate(day.devices):
            there, moves = (day.count[row] > 0).astype(float), (day.low[row] < day.high[row]).astype(float)
            self.seen[device] = self.seen.get(device, 0.0) + there
            self.moved[device] = self.moved.get(device, 0.0) + moves
            if lasting:
                before = self.lasting.get(device, (np.zeros(len(self.names)), day.low[row], day.high[row]))
                lows, highs = np.fmin(before[1], day.low[row]), np.fmax(before[2], day.high[row])
                self.lasting[device] = (before[0] + day.count[row], lows, highs)

    def frozen(self, learned: "_Total") -> dict[str, NDArray[np.bool_]]:
        """Which signals stand still of late, by device, that moved in training."""
        found = {}
        for device, (count, low, high) in self.lasting.items():
            seen = learned.seen.get(device)
            if seen is not None:
                usual = (seen >= _LEAST_DAYS) & (learned.moved[device] >= _MOVES * seen)
                found[device] = (count >= _LEAST_READINGS) & (low == high) & usual
        return found


def _sums(day: _Day) -> list[_Sum]:
    """Each signal over all devices."""
    count = day.count.sum(axis=0)
    mean = (day.count * day.mean).sum(axis=0) / np.maximum(count, 1)
    square = (day.square + day.count * (day.mean - mean) ** 2).sum(axis=0)
    columns = (count, day.nulls.sum(axis=0), mean, square)
    return [_Sum(*parts) for parts in zip(*(column.tolist() for column in columns), strict=True)]


def _day(snapshot: Snapshot, date: str, names: Sequence[str]) -> _Day:
    rows = snapshot.read(["device", *(f"{name}.{part}" for name in names for part in _FIELDS)], dates=[date])
    coded = rows["device"].combine_chunks().dictionary_encode()
    codes, devices = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    parts = {part: _matrix(rows, (f"{name}.{part}" for name in names)) for part in _FIELDS}
    count = parts["count"]
    there = count > 0
    # A pane's sums are about its first reading; those about its mean follow.
    mean = np.where(there, parts["first"] + parts["sum"] / np.maximum(count, 1), 0.0)
    inner = np.where(there, np.maximum(parts["square"] - parts["sum"] ** 2 / np.maximum(count, 1), 0.0), 0.0)

    def added(values: Array) -> Array:
        total = np.zeros((len(devices), len(names)))
        np.add.at(total, codes, values)
        return total

    total = added(count)
    level = added(count * mean) / np.maximum(total, 1)
    square = added(inner + count * (mean - level[codes]) ** 2)
    low, high = np.full(total.shape, np.nan), np.full(total.shape, np.nan)
    np.fmin.at(low, codes, parts["low"])
    np.fmax.at(high, codes, parts["high"])
    return _Day(devices, total, added(parts["nulls"]), level, square, low, high)


def _matrix(rows: pa.Table, names: Iterable[str]) -> Array:
    return np.column_stack([rows[name].to_numpy() for name in names])


def _spread(dates: Sequence[str]) -> list[str]:
    """At most as many dates as there are of late, evenly spread.

    Example:
        >>> _spread([str(number) for number in range(100)])[:3]
        ['0', '4', '7']
    """
    most = PERIOD.days
    if len(dates) <= most:
        return list(dates)
    return [dates[place] for place in np.linspace(0, len(dates) - 1, most).round().astype(int)]


def _date(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d}"
