"""The water circulation testbed of the Skoltech Anomaly Benchmark: a record about every second, a row every 5 s.

Runs differ in how the valves stood when they began, so a row also holds what the first 400 s of its run were like.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("pressure", "std", SHORT),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Feature, Since, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

SECOND = timedelta(seconds=1)
STEP = 5 * SECOND
SHORT = 10 * SECOND
USUAL = Since("run", most=400 * SECOND)  # how long the benchmark calls the beginning of a run normal

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
    event_kinds=("run",),
    late_after=60 * SECOND,
    max_future=60 * SECOND,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=STEP,
    every=STEP,
    features=(
        *grid(FLEET.signal_names, ["mean"], [SHORT]),
        *(Feature(signal, "mean", USUAL) for signal in FLEET.signal_names),
    ),
)
