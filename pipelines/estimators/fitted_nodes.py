"""Fitted models of scikit-learn as nodes: those that our own writers know to be exact.

==========================================  ==========================================================
linear models                               a weighted sum
trees, forests, both kinds of boosting      ``TreeEnsembleRegressor`` in float64
``MLPClassifier``, ``MLPRegressor``         layers
a ``Pipeline`` of any of them               behind imputers and scalers, each as it is computed
==========================================  ==========================================================

Scalers stay steps of their own instead of being folded into thresholds: they are the same IEEE operations as numpy's,
and trees of scikit-learn look at what float32 makes of the result, so the graph rounds there as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn import discriminant_analysis, ensemble, linear_model, neural_network, preprocessing, svm, tree
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from pipelines.errors import ExportError
from pipelines.estimators import boosting, forest
from pipelines.estimators.network import ACTIVATIONS, Layer, Network, Scaling
from pipelines.export import Tree, tree_nodes, weighted_nodes
from pipelines.links import Nodes

Array = NDArray[np.float64]

LINEAR = (
    linear_model.ARDRegression, linear_model.BayesianRidge, linear_model.ElasticNet, linear_model.ElasticNetCV,
    linear_model.HuberRegressor, linear_model.Lars, linear_model.Lasso, linear_model.LassoCV, linear_model.LassoLars,
    linear_model.LinearRegression, linear_model.LogisticRegression, linear_model.LogisticRegressionCV,
    linear_model.OrthogonalMatchingPursuit, linear_model.Perceptron, linear_model.Ridge, linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV, linear_model.RidgeCV, linear_model.SGDClassifier, linear_model.SGDRegressor,
    linear_model.TheilSenRegressor, discriminant_analysis.LinearDiscriminantAnalysis, svm.LinearSVC, svm.LinearSVR,
)  # fmt: skip
FORESTS = (
    ensemble.RandomForestClassifier, ensemble.RandomForestRegressor, ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor,
)  # fmt: skip
TREES = (
    tree.DecisionTreeClassifier, tree.DecisionTreeRegressor, tree.ExtraTreeClassifier, tree.ExtraTreeRegressor,
)  # fmt: skip
BOOSTED = (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor)
HISTOGRAMS = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
NETWORKS = (neural_network.MLPClassifier, neural_network.MLPRegressor)


@dataclass(frozen=True, slots=True)
class Wood:
    """A sum of trees.

    Attributes:
        trees: The trees, over values as the last step of the model sees them.
        base: What is added to all.
        rounded: Whether the trees look at what float32 makes of a value.
    """

    trees: list[Tree]
    base: float
    rounded: bool


def known(model: Any) -> bool:
    """Whether there is an exact writer for a model, by its type: a subclass may compute something else."""
    last = _last(model)
    if not all(_is_affine(step) for step in _before(model)):
        return False
    return type(last) in (*LINEAR, *FORESTS, *TREES, *BOOSTED, *HISTOGRAMS, *NETWORKS)


def nodes_of(model: Any, width: int) -> Nodes:
    """Return the nodes of a known fitted model from ``filled``, float64 ``(n, width)``, to ``margin``.

    Raises:
        ExportError: The model is of a known type, and of a form that cannot be written exactly.
    """
    written, current = Nodes([], {}), "filled"
    for number, step in enumerate(_before(model)):
        made = f"step{number}"
        written, current = written.followed_by(_step_nodes(step, current, made, width)), made
    last = _last(model)
    if type(last) in LINEAR:
        piece = weighted_nodes(np.ravel(last.coef_).astype(np.float64), float(np.ravel(last.intercept_)[0]))
        return written.followed_by(piece.renamed({"scaled": current, "margin": "margin"}, "last."))
    if type(last) in NETWORKS:
        return written.followed_by(_network_nodes(last, current))
    wood = wood_of(model)
    if wood is None:
        raise ExportError(f"there is no writer for {type(last).__name__}")
    if wood.rounded:
        casts = [
            helper.make_node("Cast", [current], ["narrow"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["narrow"], ["rounded"], to=TensorProto.DOUBLE),
        ]
        written, current = written.followed_by(Nodes(casts, {})), "rounded"
    piece = tree_nodes(wood.trees, wood.base, width)
    return written.followed_by(piece.renamed({"wide": current, "margin": "margin"}, "last."))


def filled_nodes(fill: Array, where: NDArray[np.bool_], given: str, made: str) -> Nodes:
    """Return nodes that put ``fill`` in place of missing values of the features ``where`` it is true."""
    steps = [
        helper.make_node("IsNaN", [given], [f"{made}.missing"]),
        helper.make_node("And", [f"{made}.missing", f"{made}.where"], [f"{made}.replaced"]),
        helper.make_node("Where", [f"{made}.replaced", f"{made}.fill", given], [made]),
    ]
    return Nodes(steps, {f"{made}.fill": fill, f"{made}.where": where})


def wood_of(model: Any) -> Wood | None:
    """Return the trees of a fitted model; None where it has none.

    Raises:
        ExportError: A form that cannot be written exactly.
    """
    last = _last(model)
    for kinds, read in _READERS.items():
        if type(last) in kinds:
            return read(last)
    return None


def trees_before_scaling(model: Any, width: int) -> list[Tree]:
    """Return the trees as they would look at values before imputers and scalers, to the last bit or nearly so."""
    if not known(model) or (wood := wood_of(model)) is None:
        return []
    found = wood.trees
    for step in reversed(_before(model)):
        center, scale = _affine(step, width)
        found = [replace(each, threshold=_back(each, center, scale)) for each in found]
    return found


def _back(each: Tree, center: Array, scale: Array) -> Array:
    at = np.where(each.is_leaf, 0, each.feature)
    return np.asarray(each.threshold * scale[at] + center[at])


def _before(model: Any) -> list[Any]:
    steps = [step for _, step in model.steps[:-1]] if isinstance(model, Pipeline) else []
    return [step for step in steps if step is not None and step != "passthrough"]


def _last(model: Any) -> Any:
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def _is_affine(step: Any) -> bool:
    if type(step) is SimpleImputer:
        return not step.add_indicator and isinstance(step.missing_values, float) and np.isnan(step.missing_values)
    return type(step) in (preprocessing.StandardScaler, preprocessing.RobustScaler)


def _filled(step: Any, width: int) -> Array:
    if len(step.statistics_) != width or np.isnan(step.statistics_).any():
        fix = "SimpleImputer(keep_empty_features=True)"
        raise ExportError("an imputer drops a feature that was always missing", fix=fix)
    return np.asarray(step.statistics_, dtype=np.float64)


def _affine(step: Any, width: int) -> tuple[Array, Array]:
    """What a scaler subtracts and divides by."""
    if isinstance(step, SimpleImputer):
        return np.zeros(width), np.ones(width)
    standard = isinstance(step, preprocessing.StandardScaler)
    center = step.mean_ if standard and step.with_mean else None if standard else step.center_
    return np.zeros(width) if center is None else center, np.ones(width) if step.scale_ is None else step.scale_


def _step_nodes(step: Any, given: str, made: str, width: int) -> Nodes:
    if isinstance(step, SimpleImputer):
        return filled_nodes(_filled(step, width), np.ones(width, dtype=np.bool_), given, made)
    center, scale = _affine(step, width)  # a scaler lets missing values pass, as the same steps in ONNX do
    steps = [
        helper.make_node("Sub", [given, f"{made}.center"], [f"{made}.centred"]),
        helper.make_node("Div", [f"{made}.centred", f"{made}.scale"], [made]),
    ]
    return Nodes(steps, {f"{made}.center": center, f"{made}.scale": scale})


def _network_nodes(model: Any, current: str) -> Nodes:
    if model.activation not in ACTIVATIONS or model.out_activation_ not in ("identity", "logistic"):
        raise ExportError(
            f"a network of activation {model.activation!r} and output {model.out_activation_!r} has no writer",
            fix=f"use activation {' or '.join(ACTIVATIONS)}",
        )
    layers = tuple(Layer(*pair) for pair in zip(model.coefs_, model.intercepts_, strict=True))
    nothing, ones = np.zeros(model.n_features_in_), np.ones(model.n_features_in_)
    network = Network(Scaling(nothing, nothing, ones), layers, activation=model.activation).nodes()
    if model.out_activation_ == "identity":
        return network.renamed({"wide": current, "margin": "margin"}, "last.")
    share = Nodes([helper.make_node("Sigmoid", ["last.log_odds"], ["margin"])], {})
    return network.renamed({"wide": current, "margin": "last.log_odds"}, "last.").followed_by(share)


def _column(model: Any) -> int:
    return 1 if hasattr(model, "classes_") else 0


def _from_tree(found: Any, column: int, share: float) -> Tree:
    return forest.tree_of(found, found.value[:, 0, column] * share)


def _of_tree(model: Any) -> Wood:
    return Wood([_from_tree(model.tree_, _column(model), 1.0)], 0.0, rounded=True)


def _of_forest(model: Any) -> Wood:
    column, share = _column(model), 1.0 / len(model.estimators_)
    return Wood([_from_tree(each.tree_, column, share) for each in model.estimators_], 0.0, rounded=True)


def _of_boosted(model: Any) -> Wood:
    if model.init is not None:
        raise ExportError("boosting that starts from another model has no writer", fix="leave out init=")
    base = float(model._raw_predict_init(np.zeros((1, model.n_features_in_)))[0, 0])  # noqa: SLF001 - no public name
    trees = [_from_tree(each.tree_, 0, model.learning_rate) for each in model.estimators_[:, 0]]
    return Wood(trees, base, rounded=True)


def _of_histograms(model: Any) -> Wood:
    if model.is_categorical_ is not None and model.is_categorical_.any():
        raise ExportError("boosting over categories has no writer", fix="leave out categorical_features=")
    if model.loss in ("poisson", "gamma"):
        raise ExportError(f"boosting with loss {model.loss!r} has no writer", fix="use loss='squared_error'")
    trees = [boosting.tree_of(predictor.nodes) for (predictor,) in model._predictors]  # noqa: SLF001 - no public name
    return Wood(trees, float(model._baseline_prediction.item()), rounded=False)  # noqa: SLF001 - no public name


_READERS: Mapping[tuple[Any, ...], Callable[[Any], Wood]] = {
    TREES: _of_tree,
    FORESTS: _of_forest,
    BOOSTED: _of_boosted,
    HISTOGRAMS: _of_histograms,
}
