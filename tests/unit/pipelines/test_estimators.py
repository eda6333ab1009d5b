from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.estimators import ESTIMATORS, Rows, able, create, missing
from pipelines.export import write
from pipelines.fitting import Recipe, calibrate, fit, folds, isotonic
from pipelines.links import Sigmoid
from pipelines.windows import Windows


def needing(name):
    return pytest.mark.skipif(bool(missing(name)), reason=f"{missing(name)} is not installed")


CASES = [
    pytest.param(name, learns, marks=needing(name))
    for name, kind in ESTIMATORS.items()
    for learns in sorted(kind.learns)
]
COLUMNS = ("a", "a_lag_1", "b", "b_lag_1", "e")
_FEW = {"epochs": 12, "batch": 64, "learning_rate": 0.01}
QUICK = {name: _FEW for name in ESTIMATORS if name.startswith(("torch", "keras"))}


def rows(count=600, width=5, seed=0, missing=0.05):
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, width))
    label = (values[:, 0] + values[:, 1] * values[:, 2] + random.normal(size=count) * 0.5 > 1.2).astype(float)
    values[random.random(values.shape) < missing] = np.nan
    return values.astype(np.float32).astype(np.float64), label


def fitted_on(name, learns, values, label, **parameters):
    estimator = create(name, learns)
    truth = np.zeros_like(label) if learns == "normality" else label
    group = np.arange(len(label)) % 6
    estimator.fit(Rows(learns, COLUMNS, values, truth, group), {**QUICK.get(name, {}), **parameters}, seed=1)
    return estimator


def learnable(name, learns):
    """Rows with what can be learned from them: normality from calm rows alone."""
    values, label = rows()
    return (values[label == 0], np.zeros(int(np.sum(label == 0)))) if learns == "normality" else (values, label)


@pytest.mark.parametrize(("name", "learns"), [case for case in CASES if case.values[1] != "normality"])
def test_a_fitted_estimator_ranks_danger_above_calm(name, learns):
    values, label = rows()
    fitted = fitted_on(name, learns, values, label)
    unseen, truth = rows(seed=2)
    if learns == "normality":
        unseen[truth == 1] *= 4
    margin = fitted.margin(unseen)
    assert margin[truth == 1].mean() > margin[truth == 0].mean() + 0.1


@pytest.mark.parametrize(("name", "learns"), CASES)
def test_the_same_fit_gives_the_same_bytes(name, learns):
    values, label = learnable(name, learns)
    written = [write(fitted_on(name, learns, values, label).nodes(), Sigmoid(1.5, -0.25), 5) for _ in range(2)]
    assert written[0] == written[1]


def moving_together(count, seed=0):
    """Rows of five features that follow two of them, and one that never moves."""
    random = np.random.default_rng(seed)
    two = random.normal(size=(count, 2))
    values = np.column_stack([two, two.sum(axis=1), two[:, 0] - two[:, 1], np.full(count, 7.0)])
    return (
        (values + np.array([1, 1, 1, 1, 0]) * random.normal(size=values.shape) * 0.05).astype(np.float32).astype(float)
    )


@pytest.mark.parametrize("name", able("normality"))
def test_the_margin_of_normality_grows_with_the_distance_from_normal(name):
    usual = moving_together(800)
    fitted = fitted_on(name, "normality", usual, np.zeros(800))
    steps = [fitted.margin(np.median(usual, axis=0) + np.array([[far, far, 2 * far, 0, 0]])) for far in (0, 1, 2, 3)]
    assert (np.diff(np.ravel(steps)) > 0).all()
    assert fitted.margin(moving_together(500, seed=4)).min() >= 0
    nothing = fitted.margin(np.full((1, 5), np.nan))
    assert 0 <= nothing[0] < np.quantile(fitted.margin(usual), 0.5)  # what nobody knows is no alarm


@pytest.mark.parametrize("name", able("normality"))
def test_a_feature_without_any_data_neither_breaks_a_fit_nor_an_answer(name):
    usual = moving_together(300)
    usual[:, 4] = np.nan
    fitted = fitted_on(name, "normality", usual, np.zeros(300))
    assert np.isfinite(fitted.margin(usual)).all()
    assert np.isfinite(fitted.margin(np.nan_to_num(usual, nan=3.0))).all()


def test_components_find_what_moves_otherwise_although_no_feature_is_beyond_its_range():
    usual = moving_together(800)
    fitted = fitted_on("pca", "normality", usual, np.zeros(800))
    apart = np.median(usual, axis=0) + np.array([[1.0, 1.0, -2.0, 0.0, 0.0]])  # the sum goes the other way
    assert (apart < usual.max(axis=0) + 1e-9).all()
    assert (apart > usual.min(axis=0) - 1e-9).all()
    assert fitted.margin(apart)[0] > 10 * fitted.margin(usual).max()
    along = np.median(usual, axis=0) + np.array([[1.0, 1.0, 2.0, 0.0, 0.0]])
    assert fitted.margin(along)[0] < 2


def test_components_of_a_constant_fit_count_in_units():
    fitted = fitted_on("pca", "normality", np.full((50, 5), 3.0), np.zeros(50))
    assert fitted.margin(np.full((1, 5), 3.0)).tolist() == [0.0]
    assert fitted.margin(np.full((1, 5), 4.0))[0] == pytest.approx(5.0)


def test_two_modes_of_normal_operation_are_described_each_for_itself():
    idle, load = moving_together(400), moving_together(200, seed=1) + np.array([500.0, 500, 1000, 0, 0])
    usual = np.vstack([idle, load])
    fault = np.median(idle, axis=0) + np.array([[0.0, 2.0, -2.0, 0.0, 0.0]])
    between = (idle.mean(axis=0) + load.mean(axis=0)).reshape(1, -1) / 2
    one, two = (fitted_on("pca", "normality", usual, np.zeros(600), modes=modes) for modes in (1, 2))
    assert two.margin(fault)[0] > 20 * np.quantile(two.margin(usual), 0.99)
    assert two.margin(between)[0] > 1000 * np.quantile(two.margin(usual), 0.99)
    assert one.margin(between)[0] < np.quantile(one.margin(usual), 0.99)  # their mean is neither
    single = fitted_on("pca", "normality", idle, np.zeros(400), modes=3)
    asked = moving_together(100, seed=2)
    assert np.array_equal(single.margin(asked), fitted_on("pca", "normality", idle, np.zeros(400)).margin(asked))


@pytest.mark.parametrize(("name", "learns"), CASES)
def test_a_feature_that_nobody_reports_is_no_reason_to_fail(name, learns):
    values, label = learnable(name, learns)
    values[:, 3] = np.nan
    fitted = fitted_on(name, learns, values, label)
    reported = values.copy()
    reported[:, 3] = 3.0
    assert np.isfinite(fitted.margin(values)).all()
    assert np.isfinite(fitted.margin(reported)).all()


@pytest.mark.parametrize("wrong", [{"variance": 0.0}, {"variance": 1.5}, {"quantile": 0.0}, {"modes": 0}])
def test_shares_of_components_that_cannot_be_are_refused(wrong):
    with pytest.raises(UseCaseError, match="variance is"):
        fitted_on("pca", "normality", moving_together(50), np.zeros(50), **wrong)


def test_the_isolation_score_is_that_of_the_library():
    usual = moving_together(800)
    fitted: Any = fitted_on("isolation_forest", "normality", usual, np.zeros(800))
    asked = moving_together(200, seed=6) * 2
    assert np.abs(fitted.margin(asked) + fitted._model.score_samples(asked)).max() < 1e-12


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "random_forest", "linear", "mlp", "average"])
def test_a_feature_that_nobody_sends_changes_nothing(name):
    values, label = rows()
    values[:, 3] = np.nan
    fitted = fitted_on(name, "quantity", values, label)
    margin = fitted.margin(values)
    assert np.isfinite(margin).all()
    came = values.copy()
    came[:, 3] = 0.0
    np.testing.assert_array_equal(fitted.margin(came), margin)


def test_an_average_is_that_of_its_members():
    values, label = rows()
    members: list[tuple[str, dict[str, Any]]] = [
        ("linear", {}),
        ("hist_gradient_boosting", {"max_iter": 5}),
        ("linear", {"C": 0.001}),
    ]
    average = fitted_on("average", "quantity", values, label, members=members)
    alone = [fitted_on(name, "quantity", values, label, **own).margin(values) for name, own in members[::2]]
    boosting = create("hist_gradient_boosting", "quantity")
    boosting.fit(Rows("quantity", COLUMNS, values, label), {"max_iter": 5}, seed=2)
    np.testing.assert_allclose(average.margin(values), np.mean([*alone, boosting.margin(values)], axis=0), rtol=1e-12)
    assert average.thresholds() == boosting.thresholds()


@pytest.mark.parametrize("members", [(), (("linear", {}),), (("linear", {}), ("average", {}))])
def test_an_average_of_one_or_of_an_average_is_refused(members):
    values, label = rows(count=50)
    with pytest.raises(UseCaseError, match="name two or more"):
        fitted_on("average", "quantity", values, label, members=members)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_default_parameters_lie_where_the_search_looks(name):
    kind = ESTIMATORS[name]
    for key, where in kind.space.items():
        inside = kind.defaults[key] in where if isinstance(where, list) else where[0] <= kind.defaults[key] <= where[1]
        assert inside, key


def test_split_points_are_sorted_and_single():
    values, label = rows()
    fitted = fitted_on("hist_gradient_boosting", "probability", values, label, max_iter=20)
    points = fitted.thresholds()
    assert len(points) > 20
    assert all(left < right for left, right in pairwise(points))


def test_a_misspelt_estimator_is_answered_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean random_forest"):
        create("random_forrest", "probability")


def test_an_estimator_that_cannot_learn_it_is_refused_with_those_that_can():
    with pytest.raises(UseCaseError, match="cannot learn a normality"):
        create("linear", "normality")


def test_calibration_turns_margins_into_shares():
    random = np.random.default_rng(3)
    margin = random.normal(size=20_000) * 3
    label = (random.random(20_000) < 1 / (1 + np.exp(-(0.5 * margin - 1)))).astype(float)
    sigmoid = calibrate(margin * 100, label)
    assert sigmoid.slope * 100 == pytest.approx(0.5, abs=0.03)
    assert sigmoid.offset == pytest.approx(-1, abs=0.05)


def test_calibration_of_a_perfect_separation_stays_finite():
    margin, label = np.repeat([-1.0, 1.0], 50), np.repeat([0, 1], 50).astype(float)
    low, high = calibrate(margin, label)(np.array([-1.0, 1.0]))
    assert low == pytest.approx(1 / 52, abs=1e-3)
    assert high == pytest.approx(51 / 52, abs=1e-3)


def test_a_margin_against_the_truth_scores_the_base_rate():
    label = np.repeat([1, 0], [20, 80]).astype(float)
    sigmoid = calibrate(np.linspace(-1, 1, 100), label)
    assert sigmoid.slope == 0
    assert sigmoid(np.array([-9.0, 9.0])) == pytest.approx([0.2, 0.2], abs=0.02)


def recipe(name, **parameters):
    return Recipe(name, "probability", COLUMNS, parameters)


def windows(devices=6, seed=0):
    values, label = rows(seed=seed)
    return Windows(np.array([f"d{i % devices}" for i in range(600)]), np.arange(600), values, label)


def test_a_score_depends_only_on_what_float32_holds():
    train = windows()
    fitted = fit(recipe("hist_gradient_boosting", max_iter=10), train)
    nudged = train.values * (1 + 1e-9)
    assert not np.array_equal(nudged, train.values, equal_nan=True)
    assert np.array_equal(fitted.score(train.values), fitted.score(nudged))


def test_the_rehearsal_is_by_models_that_had_not_seen_the_device():
    train = windows()
    noise = replace(train, label=np.random.default_rng(8).permutation(train.label))
    fitted = fit(recipe("random_forest", max_depth=14, min_samples_leaf=1), noise)
    by_heart = roc_auc_score(noise.label, fitted.score(noise.values))
    rehearsed = roc_auc_score(noise.label, fitted.rehearsed)
    assert by_heart > 0.95
    assert rehearsed < 0.65


def test_folds_are_of_whole_devices_and_never_without_failures_to_learn_from():
    train = windows()
    for learned, left_out in folds(train, "probability", seed=0):
        assert not set(train.device[learned]) & set(train.device[left_out])
    one = replace(train, label=((train.device == "d0") & (train.label == 1)).astype(float))
    assert all(one.label[learned].any() for learned, _ in folds(one, "probability", seed=0))
    assert len(folds(one, "probability", seed=0)) == 2


def test_of_a_single_device_stretches_of_time_are_left_out():
    train = windows(devices=1)
    parts = folds(train, "quantity", seed=0)
    assert len(parts) == 3
    for learned, left_out in parts:
        assert len(np.flatnonzero(np.diff(np.sort(left_out)) > 1)) <= 2  # three stretches of nine
        assert not set(learned) & set(left_out)


def test_an_isotonic_calibration_never_falls_and_has_few_knots():
    random = np.random.default_rng(3)
    margin = random.normal(size=5_000)
    label = (random.random(5_000) < 1 / (1 + np.exp(-3 * margin))).astype(float)
    found = isotonic(margin, label)
    asked = found(np.linspace(-5, 5, 300))
    assert (np.diff(asked) >= 0).all()
    assert len(found.margins) <= 32
    assert np.abs(found(margin) - 1 / (1 + np.exp(-3 * margin))).mean() < 0.03
