"""Networks: laid out along time, trained the same way twice, kept as numbers."""

from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from pipelines.errors import ExtraMissingError, UseCaseError
from pipelines.estimators import Rows, able, create, extras
from pipelines.estimators.deep import Shape, _Stop
from pipelines.estimators.keras_nets import KerasTrainer
from pipelines.estimators.network import Network, Scaling
from pipelines.estimators.sequence import steps_of
from pipelines.estimators.torch_nets import TorchTrainer
from tests.unit.pipelines.test_estimators import COLUMNS, QUICK, fitted_on, needing, rows

with_torch = needing("torch_cnn")
SHAPE = Shape(3, 6, (4, 5), 3, (7, 2), "square", 0.01, 0.01)


class TestSequence:
    def test_a_feature_that_lacks_a_step_shows_the_nearest_it_has(self):
        found = steps_of(["a", "a_lag_2", "a_lag_4", "b", "b_lag_4", "c"])
        assert found is not None
        assert found.tolist() == [[2, 4, 5], [1, 3, 5], [0, 3, 5]]

    def test_a_feature_of_which_only_lags_are_there_is_a_channel_too(self):
        found = steps_of(["a_lag_1", "a_lag_2", "b"])
        assert found is not None
        assert found.tolist() == [[1, 2], [0, 2], [0, 2]]

    @with_torch
    def test_features_without_lags_are_refused_with_how_to_add_them(self):
        values, label = rows(count=50)
        with pytest.raises(UseCaseError, match=r"(?s)looks along time, and none of the 5 features has a lag.*lagged\("):
            create("torch_cnn", "probability").fit(Rows("probability", tuple("abcde"), values, label), {}, 0)


@pytest.mark.parametrize(
    ("name", "trainer"),
    [
        pytest.param("torch_cnn", TorchTrainer.of, marks=with_torch),
        pytest.param("keras_cnn", KerasTrainer, marks=needing("keras_cnn")),
    ],
)
@pytest.mark.parametrize("steps", [6, 0])
def test_what_is_kept_says_what_the_library_says(name, trainer, steps):
    """The mean square error that the library finds is zero where the truth is what our numbers say."""
    random = np.random.default_rng(4)
    shape = SHAPE if steps else Shape(18, 0, (), 1, (7, 2), "square", 0.01, 0.01)
    built = trainer(shape, 3)
    values = random.normal(size=(300, 18))
    columns = np.arange(18).reshape(6, 3) if steps else None
    sequence = values[:, columns] if steps else values
    built.pass_over(sequence, random.normal(size=(300, 2)), [np.arange(300)] * 3)
    layers = built.weights()
    count = len(shape.channels)
    as_they_are = Scaling(np.zeros(18), np.zeros(18), np.ones(18))
    ours = Network(as_they_are, layers[count:], columns, layers[:count], shape.kernel)
    assert built.loss(sequence, ours(values)) < 1e-11
    assert built.loss(sequence, ours(values) + 1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("learns", "kind"), [("probability", MLPClassifier), ("quantity", MLPRegressor)])
def test_layers_of_scikit_learn_say_what_scikit_learn_says(learns, kind, monkeypatch):
    values, label = rows()
    kept: list[Any] = []
    monkeypatch.setattr(kind, "__init__", _remembering(kind.__init__, kept))
    fitted = fitted_on("mlp", learns, values, label * 7 + 2 if learns == "quantity" else label, layers=2)
    scaled = Scaling.learned(values)(values)
    if learns == "quantity":
        assert fitted.margin(values) == pytest.approx(
            kept[0].predict(scaled) * (label * 7).std() + (label * 7 + 2).mean()
        )
    else:
        assert 1 / (1 + np.exp(-fitted.margin(values))) == pytest.approx(kept[0].predict_proba(scaled)[:, 1], abs=1e-12)


def _remembering(init, kept):
    def remembered(self, **given):
        kept.append(self)
        init(self, **given)

    return remembered


@with_torch
def test_the_number_of_threads_does_not_show():
    import torch  # noqa: PLC0415 - an extra

    values, label = rows(count=200)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(fitted_on("torch_cnn", "quantity", values, label, epochs=2).margin(values))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


@with_torch
def test_an_autoencoder_also_takes_rows_as_they_are():
    values, _ = rows(missing=0.0)
    values[:, 4] = values[:, 0] + values[:, 1]  # what is normal: one column tells of two others
    estimator = create("torch_autoencoder", "normality")
    estimator.fit(Rows("normality", tuple("abcde"), values, np.zeros(600), np.arange(600) % 6), {"epochs": 60}, 1)
    broken = values.copy()
    broken[:, 4] += 3
    assert np.median(estimator.margin(broken)) > 3 * np.median(estimator.margin(values))
    assert estimator.margin(values).min() >= 0


@with_torch
def test_training_ends_when_devices_left_out_gain_nothing_more():
    values, _ = rows(count=300)
    noise = np.random.default_rng(5).normal(size=300)
    group, passes = np.arange(300) % 6, {"epochs": 200, "patience": 2}
    estimator = create("torch_cnn", "quantity")
    estimator.fit(Rows("quantity", COLUMNS, values, noise, group), {**QUICK["torch_cnn"], **passes}, 1)
    assert estimator.margin(values).std() < 0.3  # of noise there is nothing to learn
    stubborn = create("torch_cnn", "quantity")
    stubborn.fit(Rows("quantity", COLUMNS, values, noise), {**QUICK["torch_cnn"], "epochs": 60}, 1)
    assert stubborn.margin(values).std() > 0.5


def test_devices_that_say_when_to_stop_are_not_learned_from():
    values, label = rows()
    group = np.arange(600) % 7
    for learns in ("probability", "quantity", "normality"):
        stop = _Stop.chosen(Rows(learns, COLUMNS, values, label, group), seed=2)
        assert stop.judged is not None
        assert not set(group[stop.learned]) & set(group[stop.judged])
        assert len(stop.learned) + len(stop.judged) == 600
    assert _Stop.chosen(Rows("quantity", COLUMNS, values, label), 0).judged is None
    assert _Stop.chosen(Rows("quantity", COLUMNS, values, label, group * 0), 0).judged is None
    only = (group == 3) * 1.0
    assert _Stop.chosen(Rows("probability", COLUMNS, values, only, group), 0).judged is None


@with_torch
def test_an_even_kernel_is_refused():
    values, label = rows(count=50)
    with pytest.raises(UseCaseError, match="kernel is 4"):
        fitted_on("torch_autoencoder", "normality", values, label, kernel=4)


@pytest.mark.parametrize(("name", "extra"), [("torch_cnn", "torch"), ("keras_autoencoder", "tensorflow")])
def test_without_its_library_a_network_is_refused_with_the_name_of_the_extra(name, extra, monkeypatch):
    monkeypatch.setattr(extras, "installed", lambda _module: False)
    monkeypatch.setattr("pipelines.estimators.installed", lambda _module: False)
    with pytest.raises(ExtraMissingError, match=f"needs the extra '{extra}'"):
        create(name, "probability" if name == "torch_cnn" else "normality")
    assert name not in able("probability") + able("normality")
