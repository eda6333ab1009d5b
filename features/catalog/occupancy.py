"""An office room whose climate tells whether people are in it: a record a minute, and a row.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("co2", "max", HALF),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

MINUTE = timedelta(minutes=1)
NOW = 2 * MINUTE  # records come every 59 to 60 s, so a single minute may hold none

FLEET = Fleet(
    name="occupancy",
    description="The room of the UCI Occupancy Detection data; whether it is in use is told by events, not by a signal",
    signals=(
        Signal("temperature", "degC", -30, 60, "Air temperature"),
        Signal("humidity", "%", 0, 100, "Relative humidity"),
        Signal("light", "lux", 0, 20_000, "Illuminance"),
        Signal("co2", "ppm", 200, 10_000, "Carbon dioxide"),
        Signal("humidity_ratio", "kg/kg", 0, 0.1, "Water vapour to dry air, derived from temperature and humidity"),
    ),
    sampling=MINUTE,
    late_after=10 * MINUTE,
    max_future=10 * MINUTE,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=MINUTE,
    every=MINUTE,
    features=(*grid(["temperature", "humidity", "light", "co2", "humidity_ratio"], ["last"], [NOW]),),
)
