import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from features.errors import FeatureSetError
from features.feature import Difference, EventCount, Feature, Lag, Since, TimeSince, from_json, to_json
from features.featureset import FeatureSet
from features.schema import Fleet, Signal

HOUR = timedelta(hours=1)
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), HOUR, HOUR, HOUR, HOUR, event_kinds=("service",))
LEVEL = Feature("speed", "mean", HOUR)
KINDS = (
    LEVEL,
    Feature("speed", "max", Since()),
    Feature("speed", "max", Since("service")),
    Feature("speed", "max", Since("service", 3 * HOUR)),
    EventCount("service", 24 * HOUR),
    TimeSince(),
    TimeSince("service"),
    Lag(LEVEL, 3),
    Difference(TimeSince("service"), 2),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_feature_survives_json(kind: Any) -> None:
    assert from_json(json.loads(json.dumps(to_json(kind)))) == kind


def test_every_kind_has_a_name_of_its_own() -> None:
    features = FeatureSet(FLEET, HOUR, HOUR, KINDS)
    assert features.names == (
        "speed_mean_1h",
        "speed_max_since_start",
        "speed_max_since_service",
        "speed_max_since_service_3h",
        "service_count_24h",
        "time_since_start",
        "time_since_service",
        "speed_mean_1h_lag_3",
        "time_since_service_difference_2",
    )
    assert FeatureSet.from_json(json.loads(json.dumps(features.to_json()))) == features


@pytest.mark.parametrize(
    ("kinds", "hours"),
    [
        ((LEVEL,), 1),
        ((LEVEL, Lag(LEVEL, 3)), 4),
        ((Lag(Feature("speed", "mean", 2 * HOUR), 1), Feature("speed", "mean", 6 * HOUR)), 6),
        ((EventCount("service", 9 * HOUR),), 9),
        ((TimeSince(),), 1),
        ((Difference(Feature("speed", "max", Since()), 4),), 5),
    ],
)
def test_the_warm_up_is_as_long_as_the_farthest_look_back(kinds: tuple[Any, ...], hours: int) -> None:
    assert FeatureSet(FLEET, HOUR, HOUR, kinds).warm_up == hours * HOUR


def test_a_set_knows_what_its_statistics_ask_for() -> None:
    plain = FeatureSet(FLEET, HOUR, HOUR, (LEVEL,))
    assert (plain.ordered, plain.growing) == (False, False)
    assert FeatureSet(FLEET, HOUR, HOUR, (Lag(Feature("speed", "mean_absolute_change", HOUR), 1),)).ordered
    assert FeatureSet(FLEET, HOUR, HOUR, (Lag(Feature("speed", "max", Since()), 1),)).growing


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Lag(LEVEL, 0), "looks 0 steps back"),
        (Difference(LEVEL, -1), "looks -1 steps back"),
        (TimeSince("repair"), "needs events of kind 'repair'"),
        (EventCount("start", HOUR), "needs events of kind 'start'"),
        (Feature("speed", "max", Since("repair")), "needs events of kind 'repair'"),
        (Feature("speed", "max", Since(most=HOUR / 2)), "not a whole number of panes"),
        (EventCount("service", timedelta(minutes=90)), "not a whole number of panes"),
        (Lag(Feature("sped", "mean", HOUR), 1), "no signal 'sped'"),
        (Feature("speed", "above_share", HOUR), "speed has none"),
    ],
)
def test_what_cannot_be_computed_is_refused(kind: Any, message: str) -> None:
    with pytest.raises(FeatureSetError, match=message):
        FeatureSet(FLEET, HOUR, HOUR, (kind,))


def test_a_fleet_cannot_call_an_event_start() -> None:
    with pytest.raises(Exception, match="event_kinds"):
        replace(FLEET, event_kinds=("start",))
