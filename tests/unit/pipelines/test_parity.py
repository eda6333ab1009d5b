"""Parity and what travels in the bundle: a wrong export has to show."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from features.feature import Feature, Lag
from pipelines import usecases
from pipelines.candidate import build, span_of
from pipelines.dataset import build as cut
from pipelines.estimators import Wooded, able
from pipelines.export import Tree, tree_nodes, write
from pipelines.footprint import peak_memory_mib
from pipelines.labels import Anomaly, Events, FailureWithin
from pipelines.parity import compare
from pipelines.reference import at_splits, deciles, golden_rows, leaves_of, with_gaps
from pipelines.sensitivity import lean, level_column
from pipelines.tasks.failure import Failure
from serving.bundle import pack, unpack
from serving.errors import GoldenMismatchError
from serving.predictor import Predictor
from tests.fakes.histories import history
from tests.unit.pipelines.test_estimators import QUICK

MACHINES = usecases.load("machine_failure")
COLUMNS = tuple(feature for feature in MACHINES.features.features if isinstance(feature, Feature))[:42]
USECASE = replace(
    MACHINES,
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    feature_set=replace(MACHINES.features, features=COLUMNS),  # whatever the catalog adds one day
)
NORMALITY = replace(USECASE, label=Anomaly(normal=timedelta(days=15)), estimator="pca")
NAMES = USECASE.features.names


def told(failures):
    """The day before each failure as anomalies that people told of."""
    day, count = 86_400_000_000, len(failures)
    kind = np.repeat(["anomaly_begin", "anomaly_end"], count)
    return Events(
        np.tile(failures.device, 2), np.append(failures.time - day, failures.time), kind, np.zeros(2 * count, np.int64)
    )


@pytest.fixture(scope="module")
def past():
    past = history(devices=12, days=45)
    noise = np.random.default_rng(1).normal(size=(len(past.windows), len(NAMES) - 8))
    values = np.hstack([np.tile(past.windows.values[:, :1], 8), noise])
    values[np.random.default_rng(2).random(values.shape) < 0.05] = np.nan
    return replace(past, windows=replace(past.windows, values=values))


def cut_for(usecase, past, events):
    split = usecase.split
    return cut(NAMES, past.windows, usecase.label, events, split, known_until=past.until, every_us=past.every)


@pytest.fixture(scope="module")
def data(past):
    return cut_for(USECASE, past, past.events)


PLAIN = tuple(feature for feature in USECASE.features.features if isinstance(feature, Feature))[: len(NAMES) // 2]
LAGGED = replace(USECASE.features, features=(*PLAIN, *(Lag(feature, 1) for feature in PLAIN)))


@pytest.fixture(scope="module", params=[*able("probability"), *able("normality")])
def candidate(request, data, past):
    if request.param in able("normality"):
        quick = QUICK.get(request.param, {})
        return build(NORMALITY, cut_for(NORMALITY, past, told(past.events)), request.param, quick, seed=0)
    if request.param in QUICK:  # networks over time: the same columns under names with lags
        lagged = replace(data, names=LAGGED.names)
        return build(replace(USECASE, feature_set=LAGGED), lagged, request.param, QUICK[request.param], seed=0)
    return build(USECASE, data, request.param, {}, seed=0)


@pytest.fixture(scope="module")
def boosted(data):
    return build(USECASE, data, "hist_gradient_boosting", {}, seed=0)


def test_the_least_of_several_modes_is_what_the_bundle_says_too(past):
    moved = np.where(np.arange(len(past.windows)) % 2, 400.0, 0.0)[:, np.newaxis]  # every second row, in all features
    shifted = replace(past, windows=replace(past.windows, values=past.windows.values + moved))
    data = cut_for(NORMALITY, shifted, told(past.events))
    candidate = build(NORMALITY, data, "pca", {"modes": 3}, seed=0)
    assert [node.op_type for node in candidate.fitted.estimator.nodes().nodes].count("Min") == 1
    found = compare(candidate.fitted, candidate.predictor, data.test.values, seed=3)
    assert (found.label_flips, found.max_abs < 2e-7) == (0, True)


def test_the_bundle_decides_as_the_fitted_model_on_every_row(candidate, data):
    found = compare(candidate.fitted, candidate.predictor, data.test.values, seed=3)
    assert found.rows > 2 * len(data.test)
    assert found.missing_rows > len(data.test) // 2
    assert found.label_flips == 0
    assert found.max_abs < 2e-7
    assert (found.split_rows > 500) == bool(candidate.fitted.estimator.thresholds())


def other_way(tree: Tree):
    return replace(tree, missing_left=~tree.missing_left)


def a_step_lower(tree: Tree):
    return replace(tree, threshold=np.nextafter(tree.threshold.astype(np.float32), np.float32(-np.inf)).astype(float))


def repacked(candidate, change):
    """The candidate's bundle around a model that was exported wrongly."""
    estimator: Any = candidate.fitted.estimator
    trees = [change(tree) for tree in estimator.trees()]
    base = float(estimator._model._baseline_prediction.item())
    model = write(tree_nodes(trees, base, len(NAMES)), candidate.fitted.link, len(NAMES))
    return Predictor(unpack(pack(candidate.bundle.manifest, model, candidate.bundle.golden)))


@pytest.mark.parametrize("change", [other_way, a_step_lower])
def test_a_wrong_export_shows_in_parity_and_in_the_golden_rows(boosted, data, change):
    predictor = repacked(boosted, change)
    found = compare(boosted.fitted, predictor, data.test.values, seed=3)
    assert found.max_abs > 1e-3
    with pytest.raises(GoldenMismatchError):
        predictor.check_golden()


def test_complete_rows_away_from_splits_would_not_have_shown_it(boosted, data):
    """Why parity is asked where it hurts."""
    whole = data.test.values[~np.isnan(data.test.values).any(axis=1)]
    assert len(whole) > 50
    wrong, right = repacked(boosted, other_way), boosted.predictor
    assert np.abs(wrong.predict(whole).score - right.predict(whole).score).max() < 1e-6


def learned_by(candidate, data, past):
    if candidate.fitted.link.name != "ratio":
        return data.train.values
    return cut_for(NORMALITY, past, told(past.events)).train.values


def test_golden_rows_cover_what_breaks_between_machines(candidate, data, past):
    golden = candidate.bundle.golden
    assert 40 <= len(golden.rows) <= 80
    assert np.isnan(golden.rows).all(axis=1).any()
    assert (np.isnan(golden.rows).mean(axis=1) > 0.1).sum() >= 10
    assert np.array_equal(golden.rows, golden.rows.astype(np.float32), equal_nan=True)
    assert golden.scores.min() < candidate.threshold < golden.scores.max()
    again = golden_rows(candidate.fitted, learned_by(candidate, data, past), seed=0)
    assert np.array_equal(again.rows, golden.rows, equal_nan=True)


def test_golden_rows_come_out_at_the_leaves_of_the_trees(candidate):
    """By score, gaps and splits alone they reached 93 % of the leaves of these boosted trees, 64 % of the forest's."""
    if not isinstance(candidate.fitted.estimator, Wooded):
        return
    trees = candidate.fitted.estimator.trees()
    reached = leaves_of(trees, candidate.bundle.golden.rows)
    leaves = sum(int(tree.is_leaf.sum()) for tree in trees)
    assert sum(len(np.unique(column)) for column in reached.T) > 0.95 * leaves


def test_rows_beside_splits_lie_one_step_below_on_and_above():
    values, at = np.zeros((5, 2)), np.float32(0.3)
    rows = at_splits(values, [(1, float(at)), (0, np.inf)], 6, np.random.default_rng(0))
    assert sorted(rows[:, 1]) == [np.nextafter(at, np.float32(-1)), at, np.nextafter(at, np.float32(1))]
    assert at_splits(values, [], 6, np.random.default_rng(0)).shape == (0, 2)


def test_rows_with_gaps_are_copies():
    values = np.ones((10, 8))
    rows = with_gaps(values, 30, np.random.default_rng(0))
    assert 0.15 < np.isnan(rows).mean() < 0.35
    assert not np.isnan(values).any()


def test_deciles_ignore_missing_values_and_keep_order():
    values = np.array([[np.nan, np.nan], [5.0, np.nan], [1.0, np.nan], [3.0, np.nan]])
    edges = deciles(["a", "b"], values)
    assert (edges["a"][0], edges["a"][5], edges["a"][10]) == (1.0, 3.0, 5.0)
    assert edges["a"] == sorted(edges["a"])
    assert np.isnan(edges["b"]).all()


def test_the_signal_that_knows_comes_first_and_its_loss_is_felt(boosted, data):
    found = lean(Failure(), boosted.predictor, data.train, data.test, span_of(data), seed=0)
    assert found[0].signal == "volt"
    assert found[0].loss > 0.3
    assert max(leaning.loss for leaning in found[1:]) < 0.05
    assert found[0].dead.figures["caught"] < found[1].dead.figures["caught"]
    low, high = found[0].normal
    assert low < high < found[0].before


def test_the_level_of_a_signal_is_its_mean_over_the_shortest_window():
    column = level_column(USECASE.features, "volt")
    assert column is not None
    assert NAMES[column] == "volt_mean_3h"
    count = level_column(USECASE.features, "error1")
    assert count is not None
    assert NAMES[count] == "error1_count_24h"
    assert level_column(USECASE.features, "no such signal") is None


def test_a_bundle_takes_memory_and_a_broken_one_gives_no_number(boosted):
    small = peak_memory_mib(boosted.data)
    assert 20 < small < 128
    assert np.isnan(peak_memory_mib(b"not a bundle"))
