"""A small synthetic fleet that does what real ones do: jitter, missing signals, gaps, late starters, drift."""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.event import Events
from features.feature import Difference, EventCount, Feature, Lag, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.regime import Regimes
from features.schema import MICROSECOND, Fleet, Signal
from features.sketch import QUANTILES
from features.statistic import STATISTICS

START = 1_767_225_600_000_000  # 2026-01-01
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, eq=False)
class Telemetry:
    """Readings of a fleet in the order of their event times, each device and time once."""

    device: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    events: Events

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> "Telemetry":
        return Telemetry(self.device[rows], self.times[rows], self.values[rows], self.events)


def workbench() -> FeatureSet:
    """Every statistic there is, over windows that share no factor with the step, on signals that strain the numbers."""
    fleet = Fleet(
        name="workbench",
        description="",
        signals=(
            Signal("counter", "1", 1e8, 1e8 + 1e5, limit=1e8 + 3e4),
            Signal("noise", "V", -1, 1, limit=0.0),
            Signal("rare", "1", 0, 1, limit=0.5),
        ),
        sampling=5 * MINUTE,
        late_after=30 * MINUTE,
        max_future=MINUTE,
        max_age=timedelta(days=1),
    )
    windows = [10 * MINUTE, 50 * MINUTE, 70 * MINUTE]
    return FeatureSet(fleet, 10 * MINUTE, 20 * MINUTE, grid(fleet.signal_names, STATISTICS, windows))


def conditions() -> FeatureSet:
    """Signals normalised per operating condition, one of them the setting itself; the noise says the condition."""
    fleet = replace(workbench().fleet, name="conditions")
    regimes = Regimes(
        settings=("noise",),
        signals=("counter", "noise"),
        offset=(0.1,),
        scale=(0.3,),
        centres=((-1.5,), (0.0,), (1.7,)),
        mean=((1e8 + 2e4, -0.6), (1e8 + 5e4, 0.1), (1e8 + 8e4, 0.6)),
        std=((4e3, 0.2), (1e4 / 3, 0.1), (5e3, 0.3)),
    )
    statistics = ("count", "missing_share", "mean", "std", "max", "slope", "rms", "last")
    features = grid(fleet.signal_names, statistics, [20 * MINUTE, 70 * MINUTE])
    return FeatureSet(fleet, 10 * MINUTE, 20 * MINUTE, features, regimes)


def logbook() -> FeatureSet:
    """Every kind of feature that looks at more than one window: lags, differences, growing windows, events."""
    fleet = replace(workbench().fleet, name="logbook", event_kinds=("service", "alarm"))
    level = Feature("counter", "mean", 50 * MINUTE)
    features = (
        level,
        *(Feature(signal, name, Since()) for signal in ("counter", "rare") for name in STATISTICS),
        *(Feature("noise", name, Since("service")) for name in STATISTICS),
        *(Feature("noise", name, Since("service", 40 * MINUTE)) for name in STATISTICS),
        *(Feature("counter", name, Since(most=90 * MINUTE)) for name in ("mean", "slope", "since_last")),
        *(kind(of, 2) for kind in (Lag, Difference) for of in (level, Feature("noise", "last", Since("service")))),
        Lag(Feature("noise", "max", Since("service", 40 * MINUTE)), 2),
        *(Lag(EventCount("alarm", 60 * MINUTE), 1), Difference(TimeSince("service"), 3), Lag(level, 1)),
        *(EventCount("alarm", 60 * MINUTE), EventCount("alarm", timedelta(days=2)), EventCount("service", 70 * MINUTE)),
        *(TimeSince(), TimeSince("service"), TimeSince("alarm")),
        *grid(["counter", "noise"], QUANTILES, [10 * MINUTE, 70 * MINUTE]),
        Difference(Feature("noise", "p95", 50 * MINUTE), 1),
    )
    return FeatureSet(fleet, 10 * MINUTE, 20 * MINUTE, features)


def echo() -> FeatureSet:
    """Every statistic as it was some steps ago, and how much it has changed since."""
    fleet = replace(workbench().fleet, name="echo")
    now = grid(["counter", "noise"], STATISTICS, [20 * MINUTE, 50 * MINUTE])
    lags = (Lag(feature, 1 + place % 3) for place, feature in enumerate(now))
    differences = (Difference(feature, 2) for feature in now)
    return FeatureSet(fleet, 10 * MINUTE, 20 * MINUTE, (*lags, *now[::5], *differences))


def neighbours() -> FeatureSet:
    """What needs readings in the order of time, sampled so densely that late ones fall among those of their pane."""
    fleet = replace(workbench().fleet, name="neighbours", sampling=MINUTE)
    features = grid(fleet.signal_names, ["mean_absolute_change", "std"], [10 * MINUTE, 50 * MINUTE, 70 * MINUTE])
    return FeatureSet(fleet, 10 * MINUTE, 20 * MINUTE, features)


def telemetry(features: FeatureSet, seed: int) -> Telemetry:
    """Four devices: steady; pausing for longer than the longest window; starting late and sparse; one reading only."""
    random = np.random.default_rng(seed)
    longest, step = features.longest_us, max(features.fleet.sampling // MICROSECOND, features.longest_us // 300)
    steady = np.arange(0, longest + 6 * features.every_us, step)
    pausing = np.concatenate([steady, steady[-1] + longest + 3 * features.every_us + steady])
    sparse = features.every_us // 3 + np.arange(0, 2 * longest, longest // 5)
    parts = []
    for code, ideal in enumerate((steady, pausing, sparse, steady[:1])):
        jitter = random.integers(0, step // 3_000, len(ideal)) * 1_000
        times = START + (ideal + jitter)[random.random(len(ideal)) < (0.9 if len(ideal) > 1 else 1.1)]
        values = _values(features.fleet, times, random)
        parts.append((np.full(len(times), code, np.int32), times, values))
    device, times, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    whole = Telemetry(device, times, values, _events(features, device, times, random))
    return whole[np.lexsort((whole.device, whole.times))]


def _events(
    features: FeatureSet, device: NDArray[np.int32], times: NDArray[np.int64], random: np.random.Generator
) -> Events:
    """Events at, between and before readings, on whole panes and off them, some known only long after."""
    kinds, owners = len(features.fleet.event_kinds), np.unique(device)
    rows = random.integers(0, len(times), 12 * kinds * len(owners) if kinds else 0)
    time = times[rows] + random.integers(-2, 3, len(rows)) * features.pane_us // 2
    on_a_pane = random.random(len(rows)) < 0.3
    time[on_a_pane] -= time[on_a_pane] % features.pane_us
    delay = np.where(random.random(len(rows)) < 0.4, random.integers(0, 4 * features.every_us, len(rows)), 0)
    return Events(device[rows], random.integers(0, max(kinds, 1), len(rows)).astype(np.int32), time, time + delay)


def _values(fleet: Fleet, times: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
    columns = []
    for signal in fleet.signals:
        share = np.linspace(0.1, 0.8, len(times)) + random.uniform(-0.1, 0.1, len(times))
        column = signal.low + (signal.high - signal.low) * share
        missing = 0.9 if signal.name.startswith(("rare", "error")) else 0.1
        column[random.random(len(times)) < missing] = np.nan
        columns.append(column)
    values = np.stack(columns, axis=1)
    mute = len(times) // 3
    values[mute : 2 * mute, 0] = np.nan  # one sensor is dead for a third of the time
    return values
