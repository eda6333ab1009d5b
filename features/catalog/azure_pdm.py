"""Machines of Microsoft's Azure Predictive Maintenance data set: hourly telemetry and error codes, a row per 3 h.

An error is a reading of value 1 of the signal named like it, in the record of its hour, so that ``count`` counts it.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("volt", "slope", DAY),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Difference, Feature, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
STEP = 3 * HOUR

MEASURED = ("volt", "rotate", "pressure", "vibration")
ERRORS = ("error1", "error2", "error3", "error4", "error5")

FLEET = Fleet(
    name="azure_pdm",
    description="Machines of the Azure Predictive Maintenance data set; the data set names no units",
    signals=(
        Signal("volt", "V", 0, 400, "Voltage"),
        Signal("rotate", "rpm", 0, 1000, "Rotation"),
        Signal("pressure", "1", 0, 300, "Pressure"),
        Signal("vibration", "1", 0, 150, "Vibration"),
        *(Signal(name, "1", 0, 1, f"The machine reported {name} without stopping") for name in ERRORS),
    ),
    sampling=HOUR,
    late_after=HOUR,
    max_future=HOUR,
    max_age=timedelta(days=10_950),  # from 2015 and replayed today; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
    event_kinds=("failure", "maintenance"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=HOUR,
    every=STEP,
    features=(
        *grid(MEASURED, ["mean", "std", "min", "max"], [3 * HOUR, DAY]),
        # How far the day is from the days before, on this machine.
        *(Difference(Feature(signal, "mean", DAY), DAY // STEP) for signal in MEASURED),
        *(Feature(signal, "mean", Since()) for signal in MEASURED),
        *grid(ERRORS, ["count"], [DAY, 3 * DAY]),
        # How fresh an error is; nothing where there was none.
        *grid(ERRORS, ["since_last"], [3 * DAY]),
        TimeSince("maintenance"),
        TimeSince("failure"),
    ),
)
