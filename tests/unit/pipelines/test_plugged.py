"""Estimators of somebody else: plugged in by name, written exactly or refused."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pipelines import usecases
from pipelines.candidate import build, recipe_of
from pipelines.dataset import build as cut
from pipelines.errors import ExportError, UnknownNameError, UseCaseError
from pipelines.estimators import Plugged, PluggedModule, Rows, create
from pipelines.estimators.fitted_nodes import known
from pipelines.examine import examine
from pipelines.export import write
from pipelines.fitting import Recipe, fit
from pipelines.links import Clipped, Nodes, Sigmoid
from tests.fakes.histories import history
from tests.unit.pipelines.test_estimators import COLUMNS, needing, rows, windows
from tests.unit.pipelines.test_export import between, nudged

with_torch = needing("torch_cnn")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
filled = SimpleImputer(strategy="mean", keep_empty_features=True)

CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(max_iter=300),
    "linear svc": LinearSVC,
    "discriminant": LinearDiscriminantAnalysis,
    "tree": lambda: DecisionTreeClassifier(max_depth=6),
    "forest": lambda: RandomForestClassifier(20, max_depth=6),
    "extra trees": lambda: ExtraTreesClassifier(20, max_depth=6),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=20),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=20),
    "network": lambda: MLPClassifier((6, 4), max_iter=30),
    "scaled network": lambda: make_pipeline(
        filled, RobustScaler(), MLPClassifier((6,), activation="tanh", max_iter=30)
    ),
    "scaled histograms": lambda: make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=20)),
    "scaled forest": lambda: make_pipeline(filled, StandardScaler(), RandomForestClassifier(20, max_depth=6)),
}
REGRESSORS = {
    "lasso": lambda: Lasso(alpha=0.01),
    "gradient descent": lambda: make_pipeline(StandardScaler(), SGDRegressor()),
    "tree": lambda: make_pipeline(StandardScaler(with_mean=False), DecisionTreeRegressor(max_depth=6)),
    "extra trees": lambda: ExtraTreesRegressor(20, max_depth=6),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=20),
    "histograms": lambda: HistGradientBoostingRegressor(max_iter=20),
    "network": lambda: make_pipeline(
        filled, StandardScaler(with_std=False), MLPRegressor(hidden_layer_sizes=(6,), max_iter=30)
    ),
}
CASES = [("probability", name, make) for name, make in CLASSIFIERS.items()]
CASES += [("quantity", name, make) for name, make in REGRESSORS.items()]


def fitted(plugged, learns, **parameters):
    values, label = rows()
    values[:, 3] = values[:, 3] * 1e3 + 7e3
    plugged.fit(Rows(learns, COLUMNS, values, label, np.arange(600) % 6), parameters, seed=1)
    return plugged


def score(estimator, link, values):
    session = onnxruntime.InferenceSession(write(estimator.nodes(), link, 5))
    return session.run(["score"], {"features": values.astype(np.float32)})[0].ravel()


def asked(estimator):
    values, _ = rows(count=2000, seed=5, missing=0.1)
    values[:, 3] = (values[:, 3] * 1e3 + 7e3).astype(np.float32)
    values[0] = np.nan
    if points := [point for point in estimator.thresholds() if np.isfinite(point[1])]:
        values = np.vstack([values, nudged(values, points)])
    return values


@pytest.mark.parametrize(("learns", "name", "make"), CASES, ids=[f"{learns} {name}" for learns, name, _ in CASES])
def test_a_known_model_is_written_exactly(learns, name, make):
    estimator = fitted(Plugged(make), learns)
    assert known(estimator._model)
    values, link = asked(estimator), Sigmoid(1.5, -0.25) if learns == "probability" else Clipped(0.0, 1.0)
    expected, found = link(estimator.margin(values)), score(estimator, link, values)
    assert np.abs(found - expected).max() < 2e-7
    assert expected.std() > 0.01
    at = between(expected)
    assert np.array_equal(expected >= at, found >= at)


@pytest.mark.parametrize(
    ("learns", "make"),
    [
        ("probability", QuadraticDiscriminantAnalysis),
        ("probability", lambda: CalibratedClassifierCV(LinearSVC())),
        ("quantity", lambda: make_pipeline(MinMaxScaler(), PoissonRegressor())),
    ],
)
def test_others_are_written_by_the_converter(learns, make):
    estimator = fitted(Plugged(make), learns)
    assert not known(estimator._model)
    values, link = asked(estimator), Sigmoid(1.5, -0.25) if learns == "probability" else Clipped(0.0, 1.0)
    assert np.abs(score(estimator, link, values) - link(estimator.margin(values))).max() < 1e-6


class Squared(Lasso):
    """Computes something else than its parent."""

    def predict(self, X):  # noqa: N803 - as scikit-learn calls it
        return super().predict(X) ** 2


def test_a_model_that_nobody_can_write_is_refused_with_what_to_do():
    estimator = fitted(Plugged(Squared), "quantity", alpha=0.01)
    with pytest.raises(ExportError, match=r"(?s)Squared cannot be written.*skl2onnx says.*nodes="):
        estimator.nodes()


def squared_nodes(model, width):
    steps = [
        helper.make_node("MatMul", ["filled", "own.weights"], ["own.product"]),
        helper.make_node("Add", ["own.product", "own.bias"], ["own.sum"]),
        helper.make_node("Mul", ["own.sum", "own.sum"], ["margin"]),
    ]
    return Nodes(steps, {"own.weights": model.coef_.reshape(width, 1), "own.bias": np.array([model.intercept_])})


def test_it_can_bring_its_own_nodes():
    estimator = fitted(Plugged(Squared, defaults={"alpha": 0.01}, nodes=squared_nodes), "quantity")
    values, link = asked(estimator), Clipped(0.0, 1.0)
    assert np.abs(score(estimator, link, values) - link(estimator.margin(values))).max() < 2e-7


def test_seeds_are_set_where_they_are_open():
    found = [fitted(Plugged(lambda: RandomForestClassifier(5)), "probability").margin(asked_once) for _ in range(2)]
    assert np.array_equal(*found)
    estimator = fitted(Plugged(lambda: make_pipeline(RandomForestClassifier(5, random_state=7))), "probability")
    assert estimator._model[-1].random_state == 7


asked_once = rows(count=300, seed=9)[0]


@pytest.mark.parametrize(
    ("make", "learns", "error", "match"),
    [
        (SVC, "probability", UseCaseError, "gives no probabilities"),
        (lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=5), "quantity", ExportError, "loss 'poisson'"),
        (
            lambda: MLPRegressor(hidden_layer_sizes=(4,), activation="logistic", max_iter=5),
            "quantity",
            ExportError,
            "activation 'logistic'",
        ),
        (lambda: GradientBoostingClassifier(init="zero"), "probability", ExportError, "starts from another"),
        (GaussianNB, "probability", ExportError, "operator ReduceLogSumExp"),
        (KNeighborsRegressor, "quantity", ExportError, "operator Scan: it is a loop"),
        (lambda: AdaBoostClassifier(n_estimators=3), "probability", ExportError, "AdaBoostClassifier holds trees"),
        (
            lambda: make_pipeline(filled, BaggingRegressor(n_estimators=2)),
            "quantity",
            ExportError,
            "Pipeline holds trees",
        ),
    ],
)
def test_what_cannot_be_exact_is_refused_with_the_reason(make, learns, error, match):
    with pytest.raises(error, match=match):
        fitted(Plugged(make), learns).nodes()


@with_torch
class TestModules:
    def test_a_module_is_trained_and_written_exactly(self):
        import torch  # noqa: PLC0415 - an extra

        def module(inputs, width=8):
            nn = torch.nn
            return nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width), nn.Tanh(), nn.Linear(width, 1))

        few = {"epochs": 8, "batch": 64, "learning_rate": 0.02}
        for learns, link in (("probability", Sigmoid(1.5, -0.25)), ("quantity", Clipped(0.0, 1.0))):
            estimator = fitted(PluggedModule(module, defaults=few), learns, width=6)
            values = asked(estimator)
            expected = link(estimator.margin(values))
            assert expected.std() > 0.05
            assert np.abs(score(estimator, link, values) - expected).max() < 2e-7
        again = fitted(PluggedModule(module, defaults=few), "quantity", width=6)
        assert write(estimator.nodes(), link, 5) == write(again.nodes(), link, 5)

    @pytest.mark.parametrize("layer", ["LSTM", "Conv1d"])
    def test_a_layer_that_serving_does_not_let_through_is_refused(self, layer):
        import torch  # noqa: PLC0415 - an extra

        class Own(torch.nn.Module):
            def __init__(self, inputs):
                super().__init__()
                self.seen = (
                    torch.nn.LSTM(1, 1, batch_first=True) if layer == "LSTM" else torch.nn.Conv1d(1, 1, 3, padding=1)
                )
                self.last = torch.nn.Linear(inputs, 1)

            def forward(self, scaled):
                seen = (
                    self.seen(scaled.unsqueeze(2))[0].squeeze(2) if layer == "LSTM" else self.seen(scaled.unsqueeze(1))
                )
                return self.last(seen.reshape(-1, scaled.shape[1]))

        estimator = fitted(PluggedModule(Own), "quantity", epochs=1)
        reason = "is a loop" if layer == "LSTM" else "operator Conv"
        with pytest.raises(ExportError, match=reason):
            estimator.nodes()


MODEL = """
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def careful_trees(n_estimators=30, max_depth=6):
    return make_pipeline(StandardScaler(), ExtraTreesClassifier(n_estimators, max_depth=max_depth))

NUMBER = 7
"""
USECASE = """
from dataclasses import replace
from datetime import timedelta

from pipelines import usecases
from pipelines.labels import FailureWithin

USECASE = replace(
    usecases.load("machine_failure"),
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    estimator="plant_of_mine.model:careful_trees",
    parameters={"max_depth": 8},
)
"""


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Two short files of a new user."""
    folder = tmp_path / "plant_of_mine"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "model.py").write_text(MODEL)
    (folder / "usecase.py").write_text(USECASE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("plant_of_mine")]:
        del sys.modules[name]


def data_of(usecase):
    past = history(devices=12, days=45)
    names = usecase.features.names
    noise = np.random.default_rng(1).normal(size=(len(past.windows), len(names) - 8))
    values = np.hstack([np.tile(past.windows.values[:, :1], 8), noise])
    values[np.random.default_rng(2).random(values.shape) < 0.05] = np.nan
    found = replace(past.windows, values=values)
    return cut(names, found, usecase.label, past.events, usecase.split, known_until=past.until, every_us=past.every)


def test_a_new_user_trains_an_estimator_of_his_own_with_two_short_files(plant):
    usecase = importlib.import_module("plant_of_mine.usecase").USECASE

    data = data_of(usecase)
    candidate = build(usecase, data, usecase.estimator, {}, seed=0)
    examination = examine(usecase, data, candidate, None, panes=lambda _: [], seed=0, timer=iter(range(10**6)).__next__)
    assert candidate.bundle.manifest.estimator == "plant_of_mine.model:careful_trees"
    assert candidate.bundle.manifest.lineage["estimator.source"].startswith("sha256:")
    assert examination.parity.label_flips == 0
    assert examination.parity.max_abs < 2e-7
    assert examination.parity.split_rows > 500
    assert examination.metrics.figures["average_precision"] > 0.5


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("plant_of_nobody.model:trees", UnknownNameError, "no module 'plant_of_nobody'"),
        ("plant_of_mine.model:trees", UnknownNameError, "no 'trees'"),
        ("plant_of_mine.model:NUMBER", UseCaseError, "is a int"),
        ("datetime:date.today", UnknownNameError, "no 'date.today'"),
    ],
)
def test_a_dotted_name_that_leads_nowhere_is_refused(plant, name, error, match):
    with pytest.raises(error, match=match):
        create(name, "probability")


def test_only_the_file_of_a_use_case_names_code():
    usecase = usecases.load("machine_failure")
    with pytest.raises(UseCaseError, match="estimator"):
        replace(usecase, estimator="plant model:trees")
    with pytest.raises(UnknownNameError, match=r"(?s)'os:getcwd'.*set it as estimator of the use case"):
        recipe_of(usecase, None, "os:getcwd", {}, seed=0)  # type: ignore[arg-type]


def test_a_classifier_learns_no_quantity(plant):
    with pytest.raises(UseCaseError, match="cannot learn a quantity"):
        create("plant_of_mine.model:careful_trees", "quantity")


def test_what_is_plugged_in_says_where_a_search_looks_and_is_not_shared(plant, monkeypatch):
    module = importlib.import_module("plant_of_mine.model")
    trees = Plugged(module.careful_trees, defaults={"max_depth": 3}, space={"max_depth": (2, 4)})
    monkeypatch.setattr(module, "searched", trees, raising=False)
    one, other = (create("plant_of_mine.model:searched", "probability") for _ in range(2))
    assert one is not other
    assert (one.defaults, one.space) == ({"max_depth": 3}, {"max_depth": (2, 4)})


def test_it_goes_through_rehearsal_and_calibration_like_every_other(plant):
    found = fit(Recipe("plant_of_mine.model:careful_trees", "probability", COLUMNS), windows())
    assert 0 < found.rehearsed.min() < found.rehearsed.max() < 1
