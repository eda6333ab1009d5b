import dataclasses

import numpy as np
import pytest

from pipelines.cutoff import before_ends
from pipelines.history import windows_of
from pipelines.materialize import materialize
from tests.fakes.fleets import DAY_US, HOUR_US, NOON_US, Plant
from tests.fakes.rebuilt import event, steady
from tests.unit.pipelines.test_materialize_kinds import SETS


def rows_of(plant, features):
    return windows_of(plant.lake.features(features).open(), features, after={}, before={})


@pytest.mark.parametrize("features", SETS.values(), ids=SETS)
def test_features_made_without_the_future_are_those_that_are_stored(tmp_path, features):
    plant = Plant(tmp_path)
    plant.write(steady("a", NOON_US, 40) + steady("b", NOON_US + 7 * HOUR_US, 20) + steady("b", NOON_US + DAY_US, 9))
    told = [event("a", NOON_US + 3 * HOUR_US), event("b", NOON_US + 9 * HOUR_US, "fault", NOON_US + 20 * HOUR_US)]
    plant.hub.write_events("1", NOON_US, told)
    plant.ingest(NOON_US + 6 * DAY_US)
    materialize(plant.lake, features)
    rows = rows_of(plant, features)
    assert len(rows) > 30
    np.testing.assert_allclose(before_ends(plant.lake, features, rows), rows.values, rtol=1e-9, atol=1e-9)


def test_readings_that_the_rows_have_not_seen_yet_do_not_count(tmp_path):
    plant, features = Plant(tmp_path), SETS["lagged"]
    plant.write(steady("a", NOON_US, 20))
    plant.ingest(NOON_US + 6 * DAY_US)
    materialize(plant.lake, features)
    rows = rows_of(plant, features)
    plant.write([{"device": "a", "ts": (NOON_US + 5 * HOUR_US) // 1000 + 1, "values": {"speed": 9.0}}])
    plant.ingest(NOON_US + 6 * DAY_US)
    assert np.array_equal(before_ends(plant.lake, features, rows), rows.values, equal_nan=True)


def test_rows_of_an_earlier_version_are_made_again_as_they_were_then(tmp_path):
    plant, features = Plant(tmp_path), SETS["lagged"]
    plant.write(steady("a", NOON_US, 20))
    plant.ingest(NOON_US + 6 * DAY_US)
    materialize(plant.lake, features)
    rows, version = rows_of(plant, features), plant.lake.features(features).version()
    plant.write([{"device": "a", "ts": (NOON_US + 5 * HOUR_US) // 1000 + 1, "values": {"speed": 9.0}}])
    plant.ingest(NOON_US + 6 * DAY_US)
    materialize(plant.lake, features)
    assert np.array_equal(before_ends(plant.lake, features, rows, version=version), rows.values, equal_nan=True)
    assert not np.array_equal(before_ends(plant.lake, features, rows), rows.values, equal_nan=True)


def test_a_row_without_anything_before_it_is_unknown(tmp_path):
    plant, features = Plant(tmp_path), SETS["lagged"]
    plant.write(steady("a", NOON_US, 20))
    plant.ingest(NOON_US + 6 * DAY_US)
    materialize(plant.lake, features)
    rows = rows_of(plant, features)
    early = dataclasses.replace(rows, end=rows.end - 30 * DAY_US)
    assert np.isnan(before_ends(plant.lake, features, early)).all()
