import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from features import featureset
from features.errors import FeatureSetError
from features.feature import Feature, duration_name, grid
from features.featureset import FeatureSet
from features.regime import RegimeRule, Regimes
from features.schema import Fleet, Signal

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("fuel", "l", 0, 90)), MINUTE, HOUR, HOUR, HOUR)
FEATURES = FeatureSet(FLEET, 10 * MINUTE, HOUR, grid(["speed", "fuel"], ["mean", "max"], [HOUR, 6 * HOUR]))


def test_names_and_lengths_follow_the_declaration() -> None:
    assert FEATURES.names[:3] == ("speed_mean_1h", "speed_mean_6h", "speed_max_1h")
    assert (FEATURES.pane_us, FEATURES.every_us, FEATURES.longest_us) == (600_000_000, 3_600_000_000, 21_600_000_000)


@pytest.mark.parametrize(
    ("duration", "name"),
    [
        (timedelta(seconds=90), "90s"),
        (90 * MINUTE, "90min"),
        (72 * HOUR, "72h"),
        (73 * HOUR, "73h"),
        (96 * HOUR, "4d"),
    ],
)
def test_a_duration_reads_in_its_largest_whole_unit(duration: timedelta, name: str) -> None:
    assert duration_name(duration) == name


def test_a_feature_set_survives_json_with_its_digest() -> None:
    again = FeatureSet.from_json(json.loads(json.dumps(FEATURES.to_json())))
    assert again == FEATURES
    assert again.digest == FEATURES.digest


@pytest.mark.parametrize(
    "change",
    [
        {"fleet": replace(FLEET, max_age=2 * HOUR)},
        {"pane": 20 * MINUTE},
        {"every": 2 * HOUR},
        {"features": FEATURES.features[1:]},
        {"features": FEATURES.features[::-1]},
        {"features": (Feature("speed", "mean", 2 * HOUR), *FEATURES.features[1:])},
        {"features": (Feature("speed", "std", HOUR), *FEATURES.features[1:])},
    ],
)
def test_every_parameter_is_in_the_digest(change: dict[str, Any]) -> None:
    assert replace(FEATURES, **change).digest != FEATURES.digest


def test_the_version_of_the_pane_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FEATURES.digest
    monkeypatch.setattr(featureset, "PANE_VERSION", 99)
    assert FEATURES.digest != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pane": timedelta(seconds=0.5)}, "whole number of seconds"),
        ({"pane": timedelta(0)}, "whole number of seconds"),
        ({"features": ()}, "no features"),
        ({"every": 15 * MINUTE}, "the step, 15min, is not a whole number of panes of 10min"),
        ({"every": timedelta(0)}, "the step"),
        ({"features": (Feature("speed", "mean", 65 * MINUTE),)}, "window of speed_mean_65min"),
        ({"features": (Feature("spede", "mean", HOUR),)}, "no signal 'spede'.*use one of speed, fuel"),
        ({"features": (Feature("speed", "median", HOUR),)}, "no statistic 'median'.*rms"),
        ({"features": FEATURES.features * 2}, "two features are called speed_mean_1h"),
    ],
)
def test_a_set_that_cannot_be_computed_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureSetError, match=message):
        replace(FEATURES, **change)


@pytest.mark.parametrize("damage", [{"fleet": {}}, {"pane_us": None}, {"features": [{"signal": "speed"}]}])
def test_a_document_that_is_no_feature_set_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(FeatureSetError, match="no description of a feature set"):
        FeatureSet.from_json(FEATURES.to_json() | damage)


RULE = RegimeRule(("speed",), 2, ("fuel",))
LEARNED = Regimes(("speed",), ("fuel",), (0.0,), (130.0,), ((0.0,), (1.0,)), ((10.0,), (20.0,)), ((1.0,), (4.0,)))


@pytest.mark.parametrize("regimes", [RULE, LEARNED], ids=["rule", "learned"])
def test_a_feature_set_with_regimes_survives_json_and_has_a_digest_of_its_own(regimes: RegimeRule | Regimes) -> None:
    normalising = replace(FEATURES, regimes=regimes)
    again = FeatureSet.from_json(json.loads(json.dumps(normalising.to_json(), allow_nan=False)))
    assert again == normalising
    assert again.digest == normalising.digest
    another = replace(FEATURES, regimes=replace(regimes, settings=("fuel",)))
    assert len({FEATURES.digest, normalising.digest, another.digest}) == 3


def test_readings_are_prepared_as_the_regimes_say() -> None:
    readings = np.array([[10.0, 12.0], [120.0, 12.0], [np.nan, 12.0]])
    assert FEATURES.prepared(readings) is readings
    found = replace(FEATURES, regimes=RULE).learned(LEARNED).prepared(readings)
    np.testing.assert_array_equal(found, [[10.0, 2.0], [120.0, -2.0], [np.nan, np.nan]])


def test_regimes_that_were_not_learned_prepare_nothing_and_say_what_to_do() -> None:
    declared = replace(FEATURES, regimes=RULE)
    with pytest.raises(FeatureSetError, match=r"not learned yet.*train a use case"):
        declared.prepared(np.zeros((1, 2)))
    assert declared.computable == FEATURES
    assert declared.learned(LEARNED).computable.regimes == LEARNED


@pytest.mark.parametrize("change", [{"settings": ("torque",)}, {"signals": ("torque",)}], ids=str)
def test_regimes_of_signals_the_fleet_does_not_have_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FeatureSetError, match="there is no signal 'torque'"):
        replace(FEATURES, regimes=replace(RULE, **change))


def test_a_limit_in_the_signal_s_unit_is_not_held_against_normalised_readings() -> None:
    fleet = replace(FLEET, signals=(replace(FLEET.signals[0], limit=100), replace(FLEET.signals[1], limit=80)))
    counting = replace(FEATURES, fleet=fleet, features=(Feature("fuel", "above_share", HOUR),))
    with pytest.raises(FeatureSetError, match="but fuel is normalised"):
        replace(counting, regimes=RULE)
    replace(counting, features=(Feature("speed", "above_share", HOUR),), regimes=RULE)
