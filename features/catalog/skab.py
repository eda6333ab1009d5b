"""The water circulation testbed of the Skoltech Anomaly Benchmark: a record about every second, a row a half minute.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("pressure", "std", SHORT),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Feature, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

SECOND = timedelta(seconds=1)
HALF = 30 * SECOND
SHORT = 60 * SECOND
LONG = 900 * SECOND  # most of a run of the benchmark: what the loop did before a valve moved

FLEET = Fleet(
    name="skab",
    description="A testbed that pumps water in a circle while valves are closed on purpose",
    signals=(
        Signal("voltage", "V", 0, 400, "Voltage at the motor"),
        Signal("current", "A", 0, 20, "Current of the motor"),
        Signal("acceleration1", "g", 0, 10, "Vibration acceleration at the first accelerometer, RMS"),
        Signal("acceleration2", "g", 0, 10, "Vibration acceleration at the second accelerometer, RMS"),
        Signal("pressure", "bar", -5, 20, "Pressure in the loop behind the pump, against the surroundings"),
        Signal("temperature", "degC", -20, 150, "Temperature of the motor's body"),
        Signal("thermocouple", "degC", -20, 120, "Temperature of the water"),
        Signal("flow", "l/min", 0, 300, "Volume flow in the loop, RMS"),
    ),
    sampling=SECOND,
    late_after=60 * SECOND,
    max_future=60 * SECOND,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=HALF,
    every=HALF,
    features=(
        *grid(["acceleration1", "acceleration2", "current", "pressure", "flow"], ["mean"], [SHORT]),
        *grid(["acceleration1", "pressure", "flow"], ["std"], [SHORT]),
        Feature("thermocouple", "slope", LONG),
        Feature("flow", "mean", LONG),
    ),
)
