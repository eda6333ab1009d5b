"""One definition of a feature: every entry of the catalog, by every path, against the oracle on raw readings."""

from functools import cache

import numpy as np
import pytest

from features import catalog
from features.featureset import FeatureSet
from features.statistic import STATISTICS
from tests.parity.oracle import ORACLES, Truth, truth
from tests.parity.paths import PATHS, Rows, watermarks
from tests.parity.telemetry import Telemetry, conditions, echo, logbook, neighbours, telemetry, workbench

SETS: dict[str, FeatureSet] = {name: catalog.load(name).features for name in catalog.names()} | {
    "workbench": workbench(),
    "logbook": logbook(),
    "echo": echo(),
    "conditions": conditions(),
    "neighbours": neighbours(),
}
SEED = 2026
CASES = [
    (name, path)
    for name, features in SETS.items()
    for path, way in PATHS.items()
    if way.events or not features.fleet.event_kinds
]


@cache
def _readings(name: str) -> Telemetry:
    return telemetry(SETS[name], SEED)


@cache
def _truth(name: str) -> Truth:
    readings = _readings(name)
    return truth(SETS[name], readings.device, readings.times, readings.values, readings.events)


@cache
def _rows(name: str, path: str) -> Rows:
    return PATHS[path].run(SETS[name], _readings(name))


def _expected_keys(name: str, path: str) -> list[tuple[int, int]]:
    lateness = PATHS[path].lateness
    if lateness is None:
        return _truth(name).keys
    passed = watermarks(_readings(name), lateness)
    return [key for key in _truth(name).keys if key[1] <= passed[key[0]]]


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
    right = {key: row for row, key in enumerate(_truth(name).keys)}
    chosen = [right[key] for key in keys]
    expected, scales = _truth(name).values[chosen, column], _truth(name).scales[chosen, column]
    found = np.array([_rows(name, path)[key][column] for key in keys])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    assert known.any()
    assert (np.abs(found - expected)[known] <= 1e-9 * scales[known]).all(), f"seed {SEED}"
