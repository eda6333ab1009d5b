"""Panes and features follow readings that go away, to the last one of a device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.feature import START, TimeSince
from features.featureset import FeatureSet
from pipelines.lake import Lake
from pipelines.materialize import foresee, materialize
from pipelines.partitions import Alone, materialize_by
from tests.fakes.fleets import FAN_FEATURES, HOUR_US, MINUTE_US, NOON_US, Plant, reading
from tests.unit.pipelines.test_exactly_once import EXAMPLES


def said(device: str, hours: int, speed: float = 7.0) -> Any:
    time = NOON_US + hours * HOUR_US
    return reading(device, time, speed, time + MINUTE_US)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def tables(lake: Lake, features: FeatureSet = FAN_FEATURES) -> dict[str, list[str]]:
    """All rows as text, in which one NaN is like the other."""
    found = {"panes": lake.panes(features), "features": lake.features(features)}
    return {name: sorted(map(repr, table.open().read().to_pylist())) for name, table in found.items()}


def by_parts(lake: Lake, features: FeatureSet = FAN_FEATURES) -> None:
    materialize_by(lake, features, Alone())


def from_scratch(
    root: Path, objects: dict[str, list[Any]], features: FeatureSet = FAN_FEATURES
) -> dict[str, list[str]]:
    plant = Plant(root)
    for name, messages in objects.items():
        plant.write(messages or b"[]", name=name)
    plant.ingest()
    materialize(plant.lake, features)
    return tables(plant.lake, features)


@pytest.mark.parametrize("bring_up", [materialize, by_parts])
@pytest.mark.parametrize("left", [(), (0,), (0, 30), (60,), (0, 60), (30, 60)])
def test_what_an_object_no_longer_gives_leaves_panes_and_features(tmp_path, bring_up, left):
    plant = Plant(folder(tmp_path / "plant"))
    objects = {"x": [said("a", hours) for hours in (0, 1, 30, 60)], "y": [said("b", 0), said("b", 50)]}
    for name, messages in objects.items():
        plant.write(messages, name=name)
    plant.ingest()
    bring_up(plant.lake, FAN_FEATURES)
    objects["x"] = [said("a", hours) for hours in left]
    plant.write(objects["x"] or b"[]", name="x")
    plant.ingest()
    foreseen = foresee(plant.lake, FAN_FEATURES).dates
    bring_up(plant.lake, FAN_FEATURES)
    expected = from_scratch(folder(tmp_path / "scratch"), objects)
    assert tables(plant.lake) == expected
    assert foreseen


readings = st.builds(said, st.sampled_from(["a", "b"]), st.sampled_from([0, 1, 2, 11, 12, 13, 30, 60]))
deliveries = st.lists(
    st.dictionaries(st.sampled_from("pqr"), st.lists(readings, max_size=4), min_size=1, max_size=2),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=max(EXAMPLES // 3, 3),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(deliveries, st.booleans())
def test_features_are_those_of_the_objects_as_they_are(tmp_path_factory, given_objects, aged):
    more = (TimeSince(START),) if aged else ()
    features = replace(FAN_FEATURES, features=(*FAN_FEATURES.features, *more))
    plant = Plant(tmp_path_factory.mktemp("plant"))
    objects: dict[str, Any] = {}
    for delivery in given_objects:
        for name, messages in delivery.items():
            plant.write(messages or b"[]", name=name)
            objects[name] = messages
        plant.ingest()
        materialize(plant.lake, features)
    assert tables(plant.lake, features) == from_scratch(tmp_path_factory.mktemp("scratch"), objects, features)
