"""Centrifugal pumps in a pumping station: six signals a minute, a feature row an hour.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("flow", "range", DAY),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``. The
feature is then computed everywhere: in the batch job, on late data and on gateways that receive the next release.
"""

from datetime import timedelta

from features.feature import Feature, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

HOUR = timedelta(hours=1)
SHIFT = 6 * HOUR
DAY = 24 * HOUR

FLEET = Fleet(
    name="pumps",
    description="Centrifugal pumps of a pumping station, driven by induction motors",
    signals=(
        Signal("vibration", "mm/s", 0, 60, "Vibration velocity at the drive-end bearing, RMS"),
        Signal("bearing_temperature", "degC", -30, 180, "Temperature of the drive-end bearing"),
        Signal("pressure", "bar", 0, 25, "Discharge pressure"),
        Signal("flow", "m3/h", 0, 400, "Volume flow"),
        Signal("motor_current", "A", 0, 250, "Current of the motor, mean of the phases"),
        Signal("speed", "rpm", 0, 3600, "Speed of the shaft"),
    ),
    sampling=timedelta(minutes=1),
    late_after=timedelta(minutes=10),
    max_future=timedelta(minutes=5),
    max_age=timedelta(days=30),
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=timedelta(minutes=10),
    every=HOUR,
    features=(
        # Level and unrest of everything: now, over a shift, over a day.
        *grid(FLEET.signal_names, ["mean", "std"], [HOUR, SHIFT, DAY]),
        # Wear shows in the vibration first: its energy and its peaks.
        *grid(["vibration"], ["rms", "max"], [HOUR, DAY]),
        # Slow trends: a bearing that warms, a filter that clogs.
        *grid(["vibration", "bearing_temperature", "pressure", "flow", "motor_current"], ["slope"], [SHIFT, DAY]),
        Feature("bearing_temperature", "max", DAY),
        Feature("motor_current", "max", DAY),
        # A sensor that fails is a finding of its own.
        *grid(["vibration", "bearing_temperature", "pressure"], ["missing_share"], [DAY]),
    ),
)
