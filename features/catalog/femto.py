"""Bearings on the PRONOSTIA test rig: a tenth of a second at 25.6 kHz on two axes, a row every five minutes.

The samples of a record are read into signals as they arrive (`features.burst`): RMS, crest factor, kurtosis and the
energy in bands of the spectrum, for each axis.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("h_crest", "max", HALF),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.burst import Burst, BurstReading
from features.feature import Feature, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

MINUTE = timedelta(minutes=1)
HALF = 30 * MINUTE
LONG = 60 * MINUTE  # the shortest life among the bearings is an hour and a half

RATE_HZ = 25_600
BANDS = ((0, 1_000), (1_000, 4_000), (4_000, 12_801))
AXES = {"h": "horizontal", "v": "vertical"}


def _signals(axis: str) -> tuple[Signal, ...]:
    name = AXES[axis]
    return (
        Signal(f"{axis}_rms", "g", 0, 200, f"Acceleration, {name}, RMS"),
        Signal(f"{axis}_crest", "1", 0, 100, f"Crest factor, {name}"),
        Signal(f"{axis}_kurtosis", "1", 0, 10_000, f"Kurtosis, {name}; 3 for noise, more for shocks"),
        *(
            Signal(f"{axis}_band_{low}", "g2", 0, 40_000, f"Energy from {low} to {high} Hz, {name}")
            for low, high in BANDS
        ),
    )


def _burst(axis: str) -> Burst:
    readings = [BurstReading(f"{axis}_{name}", name) for name in ("rms", "crest", "kurtosis")]
    readings += [BurstReading(f"{axis}_band_{low}", "band_energy", (low, high)) for low, high in BANDS]
    return Burst(f"acc_{axis}", RATE_HZ, tuple(readings), longest=2_560)


FLEET = Fleet(
    name="femto",
    description="Ball bearings that were loaded until they failed, of the IEEE PHM 2012 data challenge",
    signals=tuple(signal for axis in AXES for signal in _signals(axis)),
    sampling=timedelta(seconds=100),
    late_after=10 * MINUTE,
    max_future=10 * MINUTE,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
    bursts=tuple(_burst(axis) for axis in AXES),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=5 * MINUTE,
    every=5 * MINUTE,
    features=(
        *grid(["h_rms", "v_rms", "h_band_1000", "v_band_1000"], ["mean"], [HALF]),
        *grid(["h_kurtosis", "v_kurtosis", "h_crest", "v_crest"], ["max"], [HALF]),
        *grid(["h_rms", "v_rms"], ["slope"], [LONG]),
        # What is usual for this bearing, and how long it has run.
        *(Feature(signal, "mean", Since()) for signal in ("h_rms", "v_rms", "h_band_1000", "v_band_1000")),
        TimeSince(),
    ),
)
