"""One definition of a feature: every entry of the catalog, by every path, against the oracle on raw readings."""

from functools import cache

import numpy as np
import pytest

from features import catalog
from features.featureset import FeatureSet
from features.statistic import STATISTICS
from tests.parity.oracle import ORACLES, Truth, truth
from tests.parity.paths import PATHS, Rows, watermarks
from tests.parity.single import rounded
from tests.parity.telemetry import Telemetry, conditions, echo, logbook, neighbours, telemetry, workbench

SYNTHETIC = {
    "workbench": workbench(),
    "logbook": logbook(),
    "echo": echo(),
    "conditions": conditions(),
    "neighbours": neighbours(),
}
SETS: dict[str, FeatureSet] = {name: catalog.load(name).features.computable for name in catalog.names()} | SYNTHETIC
SEED = 2026
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")
CASES = [
    (name, path)
    for name, features in SETS.items()
    for path, way in PATHS.items()
    if way.events or not (features.fleet.event_kinds or features.growing)
    # Spark takes seconds to start its tasks for the many dates of a fleet that reports daily or hourly.
    if path != "spark" or name in {*SYNTHETIC, "pumps"}
]


@cache
def _readings(name: str, *, single: bool) -> Telemetry:
    readings = telemetry(SETS[name], SEED)
    return rounded(readings) if single else readings


@cache
def _truth(name: str, *, single: bool) -> Truth:
    readings = _readings(name, single=single)
    return truth(SETS[name], readings.device, readings.times, readings.values, readings.events)


@cache
def _rows(name: str, path: str) -> Rows:
    return PATHS[path].run(SETS[name], _readings(name, single=PATHS[path].single))


def _expected_keys(name: str, path: str) -> list[tuple[int, int]]:
    way = PATHS[path]
    keys = _truth(name, single=way.single).keys
    if way.lateness is None:
        return keys
    passed = watermarks(_readings(name, single=way.single), way.lateness(SETS[name]))
    return [key for key in keys if key[1] <= passed[key[0]]]


def test_every_statistic_has_an_oracle_on_raw_readings() -> None:
    assert set(ORACLES) == set(STATISTICS)


@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_path_gives_the_rows_there_are_and_no_others(name: str, path: str) -> None:
    expected = _expected_keys(name, path)
    assert len(expected) > 12
    assert sorted(_rows(name, path)) == expected


@pytest.mark.parametrize(
    ("name", "column", "path"),
    [
        pytest.param(name, column, path, id=f"{name}-{feature}:{path}")
        for name, path in CASES
        for column, feature in enumerate(SETS[name].names)
    ],
)
def test_a_feature_is_the_same_by_every_path(name: str, column: int, path: str) -> None:
    keys = _expected_keys(name, path)
    right = _truth(name, single=PATHS[path].single)
    places = {key: row for row, key in enumerate(right.keys)}
    chosen = [places[key] for key in keys]
    expected, scales = right.values[chosen, column], right.scales[chosen, column]
    found = np.array([_rows(name, path)[key][column] for key in keys])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    assert known.any()
    assert (np.abs(found - expected)[known] <= PATHS[path].bound * scales[known]).all(), f"seed {SEED}"
