import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from features import featureset
from features.errors import FeatureSetError
from features.feature import Feature, duration_name, grid
from features.featureset import FeatureSet
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
