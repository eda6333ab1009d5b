"""Seven series of the Numenta Anomaly Benchmark: a value every five minutes, for some every half hour or hour.

The series have nothing in common but their form, so one signal carries them all, in units of their own.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("value", "slope", HOUR),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Difference, Feature, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

HOUR = timedelta(hours=1)
DAY = 24 * HOUR

LEVEL = Feature("value", "mean", 2 * HOUR)

FLEET = Fleet(
    name="nab",
    description="Temperatures, loads of servers, taxi rides and key strokes with anomalies of known cause",
    signals=(Signal("value", "1", -1e6, 1e6, "The value of the series, in its own unit"),),
    sampling=timedelta(minutes=5),
    late_after=HOUR,
    max_future=HOUR,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=timedelta(minutes=30),
    every=HOUR,
    features=(
        LEVEL,
        *grid(["value"], ["min", "max", "std"], [2 * HOUR]),
        *grid(["value"], ["mean", "std", "slope"], [DAY]),
        # Days resemble each other: what is unusual now was different a day ago.
        Difference(LEVEL, 24),
    ),
)
