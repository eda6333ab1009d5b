"""Regimes are learned on training data alone, and a training with them sees what raw values hide."""

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features import catalog
from features.errors import FeatureSetError
from features.feature import grid, lagged
from features.featureset import FeatureSet
from features.regime import RegimeRule, Regimes
from features.schema import Fleet, Signal
from pipelines import history, regimes, usecases
from pipelines.candidate import build
from pipelines.errors import TooLittleDataError
from pipelines.estimators import ESTIMATORS
from pipelines.labels import FailureWithin
from pipelines.lake import Lake
from pipelines.materialize import materialize
from pipelines.rebuild import rebuild
from pipelines.registration import BUNDLE
from pipelines.rows import canonical
from pipelines.searching import load, searched, take_part
from pipelines.training import Parameters, train
from pipelines.unique import date_names
from serving.bundle import unpack
from serving.predictor import Predictor
from serving.store import open_store
from tests.fakes.histories import HOUR, append
from tests.fakes.trainings import MemoryTrainings

DAY, START = 24 * HOUR, 20_000 * 24 * HOUR
FLEET = catalog.load("azure_pdm").fleet
NAMES = FLEET.signal_names
RULE = RegimeRule(settings=("volt", "rotate"), count=3, signals=("vibration", "pressure"))
FEATURES = replace(
    catalog.load("azure_pdm").features,
    features=grid(("vibration", "pressure"), ("mean", "max"), (timedelta(hours=6), timedelta(hours=24))),
    regimes=RULE,
)
USECASE = replace(
    usecases.load("machine_failure"),
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    feature_set=FEATURES,
)
PLACES = np.array([[100.0, 300.0], [200.0, 300.0], [200.0, 700.0]])  # volt and rotate in three conditions
USUAL = np.array([[20.0, 50.0], [60.0, 150.0], [110.0, 90.0]])  # vibration and pressure there


def fleet_past(devices=12, days=45, seed=0):
    """Hourly readings of a fleet that changes its condition every hour; vibration rises by 4 a day before a failure.

    The rise is a fifth of what conditions make of it, and four times the noise within one.
    """
    random = np.random.default_rng(seed)
    times = START + np.arange(days * 24) * HOUR
    columns, events = [], []
    for number in range(devices):
        failures = START + np.cumsum(random.uniform(5, 13, days)).astype(np.int64) * DAY
        failures = failures[failures < times[-1]] if number % 4 != 3 else failures[:0]
        condition = random.integers(0, 3, len(times))
        values = np.full((len(times), len(NAMES)), np.nan)
        values[:, :2] = PLACES[condition] + random.normal(0, 2, (len(times), 2))
        ill = ((failures[:, None] > times) & (failures[:, None] - times < DAY)).any(axis=0)
        values[:, NAMES.index("vibration")] = USUAL[condition, 0] + random.normal(0, 1, len(times)) + 4 * ill
        values[:, NAMES.index("pressure")] = USUAL[condition, 1] + random.normal(0, 3, len(times))
        columns.append(values)
        events += [(f"machine-{number:02d}", time) for time in failures.tolist()]
    device = np.repeat([f"machine-{number:02d}" for number in range(devices)], len(times))
    return device, np.tile(times, devices), np.concatenate(columns), events


def fill(folder, past):
    folder.mkdir(exist_ok=True)
    store, (device, times, values, events) = open_store(str(folder)), past
    lake = Lake(str(folder))
    readings = {"date": date_names(times), "device": device, "time": times, "received": times}
    columns = {**readings, "batch": np.ones(len(times), np.int64), **dict(zip(NAMES, values.T, strict=True))}
    table = lake.telemetry(FLEET)
    schema = table.layout.schema
    rows = pa.table(
        {name: pa.array(columns[name], schema.field(name).type) for name in schema.names if name in columns}
    )
    table.create().append(rows, transaction=(f"ingest:{FLEET.name}", 1))
    owner, time = ([event[part] for event in events] for part in (0, 1))
    told = {"device": owner, "time": time, "kind": ["failure"] * len(time), "known_at": [t + HOUR for t in time]}
    append(lake.events(FLEET), {**told, "detail": [""] * len(time)})
    return store, lake


NOW = START + 100 * DAY


def learned(works, usecase):
    store, lake = works
    return regimes.learned(store, lake, usecase, since=None, until=None, seed=1, now_us=NOW)


@pytest.fixture(scope="module")
def past():
    return fleet_past()


@pytest.fixture(scope="module")
def filled(tmp_path_factory, past):
    return fill(tmp_path_factory.mktemp("store"), past)


@pytest.fixture(scope="module")
def found(filled):
    return learned(filled, USECASE).features.regimes


def test_the_conditions_of_the_fleet_are_found_and_what_is_usual_there(found):
    assert isinstance(found, Regimes)
    order = found.assign(PLACES)
    places = np.array(found.offset) + np.array(found.scale) * np.array(found.centres)
    np.testing.assert_allclose(places[order], PLACES, atol=1)
    np.testing.assert_allclose(np.array(found.mean)[order], USUAL, atol=1)
    np.testing.assert_allclose(np.array(found.std)[:, 1], 3.0, atol=0.3)


def test_the_deviation_is_that_of_the_readings_in_the_regime(filled, past):
    device, times, values, _ = past
    chosen = ["machine-01", "machine-05"]
    learned = regimes.learn(filled[1], FEATURES, chosen, since=START + DAY, until=START + 9 * DAY).regimes
    here = np.isin(device, chosen) & (times >= START + DAY) & (times < START + 9 * DAY)
    assert isinstance(learned, Regimes)
    regime = learned.assign(values[here, :2])
    for number in range(3):
        inside = values[here][regime == number]
        for column, name in enumerate(RULE.signals):
            numbers = inside[:, NAMES.index(name)]
            np.testing.assert_allclose(learned.mean[number][column], numbers.mean(), rtol=1e-12)
            np.testing.assert_allclose(learned.std[number][column], numbers.std(ddof=1), rtol=1e-12)


def test_nothing_that_is_held_out_or_comes_later_is_learned_from(tmp_path, filled, past, found):
    device, times, values, events = past
    raw = replace(USECASE, feature_set=FEATURES.computable)
    data = history.load(filled[0], filled[1], raw, since=None, until=None, seed=1, now_us=NOW)
    outside = np.isin(device, data.held_out) | (times >= data.train_until)
    assert 0.3 < outside.mean() < 0.8
    changed = np.where(outside[:, None], np.random.default_rng(3).uniform(0, 140, values.shape), values)
    changed[np.isnan(values)] = np.nan
    same = learned(fill(tmp_path / "outside", (device, times, changed, events)), USECASE)
    assert same.features.regimes == found
    inside = np.flatnonzero(~outside)[1000]
    touched = values.copy()
    touched[inside, NAMES.index("vibration")] += 5
    other = learned(fill(tmp_path / "inside", (device, times, touched, events)), USECASE)
    assert other.features.regimes != found


def test_a_set_without_a_rule_is_left_alone(filled):
    plain = replace(USECASE, feature_set=None)
    assert learned(filled, plain) is plain
    assert regimes.learn(filled[1], plain.features, [], since=0, until=1) is plain.features


def test_rows_of_features_that_only_a_use_case_has_are_computed_by_its_training(filled):
    own = replace(FEATURES, features=lagged(FEATURES.features, rows=3), regimes=None)
    usecase = replace(USECASE, feature_set=own)
    assert learned(filled, usecase) is usecase
    rows = filled[1].features(own).open().read(["vibration_mean_6h", "vibration_mean_6h_lag_2"], devices=["machine-03"])
    now, before = (rows[name].to_numpy() for name in rows.column_names)
    assert len(rows) > 100
    assert np.array_equal(before[2:], now[:-2])


def test_one_regime_makes_z_scores(filled):
    rule = replace(RULE, count=1, settings=("pressure",))
    features = regimes.learn(filled[1], replace(FEATURES, regimes=rule), ["machine-03"], since=0, until=2**60)
    readings = filled[1].telemetry(FLEET).open().read(list(NAMES), devices=["machine-03"])
    values = np.column_stack([readings[name].to_numpy() for name in NAMES])
    scores = features.prepared(values)[:, [NAMES.index(name) for name in RULE.signals]]
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(axis=0, ddof=1), 1, rtol=1e-12)


def test_a_constant_signal_and_a_constant_setting_divide_by_one(tmp_path, past):
    device, times, values, events = past
    still = values.copy()
    still[:, NAMES.index("pressure")], still[:, NAMES.index("rotate")] = 0.1, 0.3
    lake = fill(tmp_path, (device, times, still, events))[1]
    learned = regimes.learn(lake, replace(FEATURES, regimes=replace(RULE, count=2)), set(device), since=0, until=2**60)
    assert isinstance(learned.regimes, Regimes)
    assert learned.regimes.scale[1] == 1.0
    assert [row[1] for row in learned.regimes.std] == [1.0, 1.0]
    assert learned.prepared(still[:5])[:, NAMES.index("pressure")].tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("hours", "message"), [(20, "20 readings do not make a regime"), (60, "a regime has .. readings of")]
)
def test_too_few_readings_for_a_regime_are_told(filled, hours, message):
    with pytest.raises(TooLittleDataError, match=message):
        regimes.learn(filled[1], FEATURES, ["machine-01"], since=START, until=START + hours * HOUR)


def rules_of(filled, rule, devices=("machine-01", "machine-02")):
    features = regimes.learn(filled[1], replace(FEATURES, regimes=rule), devices, since=0, until=2**60)
    assert isinstance(features.regimes, Regimes)
    return features.regimes


def test_a_fleet_with_fewer_conditions_than_declared_gets_fewer_regimes(filled):
    found = rules_of(filled, replace(RULE, count=6))
    assert sorted(found.assign(PLACES).tolist()) == [0, 1, 2]


def test_settings_that_stand_still_are_one_condition(tmp_path, past):
    device, times, values, events = past
    still = values.copy()
    still[:, :2] = 7.0
    works = fill(tmp_path, (device, times, still, events))
    assert rules_of(works, RULE).centres == ((0.0, 0.0),)


@pytest.mark.parametrize(("low", "high", "count"), [(0, 400, 4), (170, 171, 1)])
def test_an_even_load_is_cut_in_as_many_as_declared_and_its_jitter_is_not(tmp_path, past, low, high, count):
    device, times, values, events = past
    even = values.copy()
    even[:, 0] = np.random.default_rng(4).uniform(low, high, len(even))
    found = rules_of(fill(tmp_path, (device, times, even, events)), replace(RULE, settings=("volt",), count=4))
    assert len(found.centres) == count


def test_what_the_fleet_never_sends_is_left_out_of_its_regimes(filled):
    found = rules_of(filled, RegimeRule(("volt", "rotate", "error1"), 3, ("vibration", "error2")))
    assert (found.settings, len(found.centres)) == (("volt", "rotate"), 3)
    assert [(mean[1], std[1]) for mean, std in zip(found.mean, found.std, strict=True)] == [(0.0, 1.0)] * 3
    alone = rules_of(filled, RegimeRule(("error1",), 3, ("vibration",)))
    assert (alone.settings, alone.centres) == ((), ((),))
    values = np.full((5, len(NAMES)), np.nan)
    values[:, NAMES.index("vibration")] = alone.mean[0][0]
    assert alone.normalise(NAMES, values)[:, NAMES.index("vibration")].tolist() == [0.0] * 5


def test_an_unlearned_set_is_not_materialized(filled):
    with pytest.raises(FeatureSetError, match="not learned yet"):
        materialize(filled[1], FEATURES)


ALTITUDE_MACH_THROTTLE = np.array(
    [[0, 0, 100], [10, 0.25, 100], [20, 0.7, 100], [25, 0.62, 60], [35, 0.84, 100], [42, 0.84, 100]]
)


def test_six_flight_conditions_are_told_apart_and_the_wear_behind_them_shows(tmp_path):
    """Turbofans in the manner of C-MAPSS FD002: six conditions, one a cycle, and sensors that wear moves by little."""
    names = ("altitude", "mach", "throttle", "temperature", "pressure", "fan_speed", "bleed")
    hour = timedelta(hours=1)
    signals = tuple(Signal(name, "1", -1e4, 1e4) for name in names)
    fleet = Fleet("turbofans", "", signals, hour, hour, hour, 1000 * 24 * hour)
    rule = RegimeRule(names[:3], 6, names[3:])
    features = FeatureSet(fleet, hour, 6 * hour, grid(names[3:], ["mean"], [6 * hour]), rule)
    random = np.random.default_rng(2)
    usual = random.uniform(100, 2000, (6, 4))
    rows, engines, cycles = [], [], []
    for engine in range(20):
        life = int(random.integers(150, 300))
        condition = random.integers(0, 6, life)
        wear = np.linspace(0, 1, life)[:, None] ** 2 * [3.0, -3.0, 3.0, 0.0]
        settings = ALTITUDE_MACH_THROTTLE[condition] + random.normal(0, [0.002, 0.0005, 0], (life, 3))
        rows.append(np.hstack([settings, usual[condition] + wear + random.normal(0, 1, (life, 4)) * [1, 1, 1, 0]]))
        engines += [f"engine-{engine:02d}"] * life
        cycles.append(np.arange(life))
    values, cycle = np.concatenate(rows), np.concatenate(cycles)
    times = START + cycle * HOUR
    lake = Lake(str(tmp_path))
    columns = {"date": date_names(times), "device": engines, "time": times, "received": times}
    told = dict(zip(names, values.T, strict=True))
    append(lake.telemetry(fleet), {**columns, "batch": np.ones(len(times), np.int64), **told})
    training = {name for name in engines if name < "engine-10"}
    learned = regimes.learn(lake, features, training, since=START, until=START + 400 * HOUR)
    assert isinstance(learned.regimes, Regimes)
    assert sorted(learned.regimes.assign(ALTITUDE_MACH_THROTTLE).tolist()) == [0, 1, 2, 3, 4, 5]
    held_out = np.array([name not in training for name in engines])
    scores = learned.prepared(values)
    for place in (3, 4, 5):
        before, after = (abs(np.corrcoef(cycle[held_out], table[held_out, place])[0, 1]) for table in (values, scores))
        assert before < 0.1
        assert after > 0.4
    assert np.abs(scores[:, 6]).max() < 1e-6  # a sensor that only knows the condition says nothing more


def test_a_training_sees_the_fault_that_raw_values_hide(tmp_path, past):
    store, lake = fill(tmp_path, past)
    registry, parameters = MemoryTrainings(), Parameters(estimator="linear", seed=1)
    plain = replace(USECASE, feature_set=FEATURES.computable)
    materialize(lake, plain.features)
    caught: dict[str, Any] = {}
    for name, usecase in (("raw", plain), ("normalised", USECASE)):
        summary = train(store, lake, registry, usecase, parameters, now_us=NOW)
        caught[name] = summary.metrics["average_precision"]
        bundle = unpack(registry.registrations[-1].files[BUNDLE])
        assert bundle.digest == summary.digest
    assert caught["normalised"] > 0.9
    assert caught["raw"] < 0.6
    carried = bundle.manifest.features
    assert isinstance(carried.regimes, Regimes)
    assert carried.digest == bundle.manifest.lineage["features.digest"]
    Predictor(bundle).check_golden()
    again = train(store, lake, registry, USECASE, parameters, now_us=NOW)
    assert (again.digest, again.reused) == (summary.digest, True)


TOGETHER = Parameters(estimator="automatic", budget_s=2.0, seed=1, study="manual__2026-11-22T00:00:00+00:00")


def ticking():
    """A clock on which every look takes a quarter of a second."""
    ticks = count()
    return lambda: next(ticks) / 4


def readings_come_late(lake):
    """Of all devices, in the middle of what is learned from and in the test, far from what is usual there."""
    hours = np.concatenate([np.arange(280, 320), np.arange(580, 715)])
    times, names = START + hours * HOUR + HOUR // 2, [f"machine-{number:02d}" for number in range(6)]
    size = len(times) * len(names)
    at = np.tile(times, len(names))
    told = {"date": date_names(at), "device": np.repeat(names, len(times)), "time": at, "received": at}
    values = {"volt": 100.0, "rotate": 300.0, "vibration": 90.0, "pressure": 90.0}
    columns = {name: np.full(size, value) for name, value in values.items()}
    append(lake.telemetry(FLEET), {**told, "batch": np.full(size, 2), **columns}, f"ingest:{FLEET.name}")


def share(folder, late):
    """Two shares of a search; late readings come in before one of them, or after both."""
    store, lake = fill(folder, fleet_past(devices=6, days=30))
    for number in (0, 1):
        if late == number:
            readings_come_late(lake)
        take_part(store, lake, USECASE, TOGETHER, (number + 1, 2), now_us=NOW, timer=ticking())
    if late == 2:
        readings_come_late(lake)
    return store, lake


def test_those_who_search_together_share_the_regimes_whatever_comes_in(tmp_path, monkeypatch):
    for name in ("hist_gradient_boosting", "random_forest"):
        few = {"n_estimators": 5, "max_iter": 5}
        usual = {key: few.get(key, value) for key, value in ESTIMATORS[name].defaults.items()}
        monkeypatch.setattr(ESTIMATORS[name], "defaults", usual)
    store, lake = share(tmp_path / "between", 1)
    registry = MemoryTrainings()
    summary = train(store, lake, registry, USECASE, TOGETHER, now_us=NOW)
    assert summary.search.startswith("Best of ")
    assert "leak" not in " ".join(summary.reasons)  # rows are made again as of the pinned version, too
    bundle = unpack(registry.registrations[0].files[BUNDLE])
    carried, lineage = bundle.manifest.features, bundle.manifest.lineage
    usecase, data = load(store, lake, USECASE, TOGETHER, NOW)
    rebuilt = rebuild(store, lake, USECASE, carried, lineage)
    assert (rebuilt.equal, rebuilt.changes) == (True, ())
    assert b"".join(canonical(rebuilt.dataset)) == b"".join(canonical(data))
    assert learned((store, lake), USECASE).features.digest != usecase.features.digest == carried.digest

    store, lake = share(tmp_path / "after", 2)
    usecase, data = load(store, lake, USECASE, TOGETHER, NOW)
    found = searched(store, usecase, TOGETHER, data, now_us=NOW)
    other = build(usecase, data, found.estimator, found.parameters, TOGETHER.seed).bundle
    assert other.model == bundle.model
    assert other.digest == bundle.digest


def test_who_divides_the_devices_otherwise_learns_regimes_of_their_own(filled):
    store, lake = filled
    (one, _), (other, _) = (load(store, lake, USECASE, replace(TOGETHER, seed=seed), NOW) for seed in (1, 2))
    assert one.features.digest != other.features.digest
