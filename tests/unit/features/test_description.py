"""What `tidemill features show` says of signals that are not simply measured."""

from dataclasses import replace
from datetime import timedelta

from features.burst import Burst, BurstReading
from features.description import describe
from features.feature import Feature
from features.featureset import FeatureSet
from features.regime import RegimeRule
from features.schema import Fleet, Signal

HOUR = timedelta(hours=1)
SIGNALS = (
    Signal("speed", "rpm", 0, 3000),
    Signal("kurtosis", "1", 0, 99, "Acceleration"),
    Signal("heat", "degC", 0, 99),
)
BURST = Burst("acc", 25_600, (BurstReading("kurtosis", "kurtosis"),))
FLEET = Fleet("fans", "", SIGNALS, HOUR, HOUR, HOUR, HOUR, bursts=(BURST,))
FEATURES = FeatureSet(FLEET, HOUR, HOUR, tuple(Feature(signal.name, "slope", HOUR) for signal in SIGNALS))


def test_a_reading_of_a_burst_names_its_burst():
    assert describe(FEATURES)[1].source == "kurtosis: Acceleration; kurtosis of the burst acc"


def test_a_normalised_signal_has_no_unit_and_names_its_settings():
    _, _, plain = describe(FEATURES)
    speed, _, heat = describe(replace(FEATURES, regimes=RegimeRule(("speed",), 3, ("heat",))))
    assert (plain.unit, plain.source) == ("degC/h", "heat")
    assert (heat.unit, heat.source) == ("1/h", "heat; in standard deviations, by regime of speed")
    assert (speed.unit, speed.source) == ("rpm/h", "speed")
