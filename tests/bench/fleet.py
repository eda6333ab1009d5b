"""The fleet that benchmarks measure, and a stream of its readings. Imports little: it is in every measured process."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.feature import grid
from features.featureset import FeatureSet
from features.schema import Fleet, Signal
from features.statistic import STATISTICS

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
FIRST_DAY_US = 20_454 * DAY_US  # 2026-01-01
NULL_SHARE = 0.02
SIGNALS = tuple(f"s{number}" for number in range(8))
# Quantiles are paid for by those who ask, and measured on their own.
BASE_STATISTICS = tuple(name for name in STATISTICS if not name.removeprefix("p").isdigit())

FLEET = Fleet(
    name="bench",
    description="Devices that a benchmark made up",
    signals=tuple(Signal(name, "1", -1e6, 1e6, limit=60.0) for name in SIGNALS),
    sampling=timedelta(seconds=10),
    late_after=HOUR,
    max_future=HOUR,
    max_age=timedelta(days=400),
)
PANE = timedelta(minutes=10)
FEATURES = FeatureSet(FLEET, PANE, HOUR, grid(SIGNALS, BASE_STATISTICS, [HOUR, 6 * HOUR, 24 * HOUR]))
QUANTILES = FeatureSet(FLEET, PANE, HOUR, grid(SIGNALS, ["mean", "p50", "p99"], [24 * HOUR]))
YEAR_FEATURES = FeatureSet(FLEET, PANE, HOUR, grid(SIGNALS, ["mean", "std"], [HOUR, 6 * HOUR, 24 * HOUR]))


def micro_batches(
    count: int, size: int, devices: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]]:
    """A stream as a gateway hears it: batches of readings of many devices (as numbers) in turn, one each 10 s."""
    random = np.random.default_rng(7)
    for batch in range(count):
        rows = np.arange(batch * size, (batch + 1) * size)
        times = FIRST_DAY_US + rows // devices * 10_000_000 + rows % devices
        values = random.standard_normal((size, len(SIGNALS))) * 5 + 50
        values[random.random(values.shape) < NULL_SHARE] = np.nan
        yield (rows % devices).astype(np.int32), times, values
