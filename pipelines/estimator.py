"""What can be fitted: three kinds of model behind one small interface.

An estimator is fitted once, gives a *margin* (any number that grows with the danger) and writes itself as ONNX. The
probability is the calibrated sigmoid of the margin. The float64 margin here is the reference against which the exported
model is held on every test row.

How to add one: write a class with the six members of ``Estimator``, register it in ``ESTIMATORS``, add its name to
``pipelines.usecases.ESTIMATORS``. The parity tests collect it from there.

Fits are deterministic on every machine: seeded, and boosting runs on one thread, because the order in which threads add
gradients shows in the last bits and thereby in the digest of the bundle.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.dataset import Windows
from pipelines.errors import UnknownNameError
from pipelines.export import Sigmoid, Tree, export_linear, export_trees

Parameters = Mapping[str, Any]
# A range of two ints or two floats (searched on a logarithmic scale), or a list of choices.
Space = Mapping[str, tuple[float, float] | list[Any]]
_FOLDS = 3


class Estimator(Protocol):
    """A model that can be fitted, asked and written as ONNX.

    Attributes:
        name: Its name in use cases.
        defaults: Parameters used where none are given.
        space: Where the search looks.
    """

    name: ClassVar[str]
    defaults: ClassVar[Parameters]
    space: ClassVar[Space]

    def fit(self, values: NDArray[np.float64], label: NDArray[np.int8], parameters: Parameters, seed: int) -> None:
        """Fit on rows ``(n, F)`` that float32 can hold, NaN allowed, and labels 0 or 1."""

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the margin of each row, shape ``(n,)``."""

    def onnx(self, sigmoid: Sigmoid) -> bytes:
        """Write the fitted model with its calibration."""

    def thresholds(self) -> list[tuple[int, float]]:
        """Return where decisions flip: pairs of feature index and threshold, without doubles."""


class HistGradientBoosting:
    """Boosted trees on binned values: the default. Routes missing values by what helped in training.

    Small trees that see a third of the features at each split: with a few dozen failures to learn from, they beat
    larger ones on both catalog fleets. Classes are not weighted: the calibration and the threshold do that, the average
    precision stays the same, and weighted binning takes ten times as long as everything else together.
    """

    name: ClassVar[str] = "hist_gradient_boosting"
    defaults: ClassVar[Parameters] = {
        "max_iter": 100,
        "learning_rate": 0.1,
        "max_leaf_nodes": 7,
        "max_features": 0.3,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
    }
    space: ClassVar[Space] = {
        "learning_rate": (0.03, 0.3),
        "max_leaf_nodes": (4, 31),
        "max_features": [0.15, 0.3, 0.6],
        "min_samples_leaf": (10, 80),
        "l2_regularization": (0.1, 10.0),
    }

    def fit(self, values: NDArray[np.float64], label: NDArray[np.int8], parameters: Parameters, seed: int) -> None:
        """Fit; early stopping is off because its validation rows would be neighbours of training rows."""
        given = {**self.defaults, **parameters}
        self._model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **given)
        with threadpool_limits(limits=1):
            self._model.fit(values, label)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds."""
        margin: NDArray[np.float64] = self._model.decision_function(values)
        return margin

    def onnx(self, sigmoid: Sigmoid) -> bytes:
        """Write the trees."""
        # The fitted trees have no public accessor; the parity check of every training guards these two names.
        base = float(self._model._baseline_prediction.item())  # noqa: SLF001
        return export_trees(self._trees(), base, sigmoid, self._model.n_features_in_)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points."""
        return _split_points(self._trees())

    def _trees(self) -> list[Tree]:
        return [_boosted_tree(predictor.nodes) for (predictor,) in self._model._predictors]  # noqa: SLF001


class RandomForest:
    """Averaged deep trees. Routes missing values as its trees learned to."""

    name: ClassVar[str] = "random_forest"
    defaults: ClassVar[Parameters] = {
        "n_estimators": 100,
        "max_depth": 10,
        "min_samples_leaf": 5,
        "max_features": "sqrt",
    }
    space: ClassVar[Space] = {
        "max_depth": (5, 14),
        "min_samples_leaf": (2, 30),
        "max_features": ["sqrt", 0.2, 0.4],
    }

    def fit(self, values: NDArray[np.float64], label: NDArray[np.int8], parameters: Parameters, seed: int) -> None:
        """Fit on all cores: each tree has its own seed, so their number does not show."""
        given = {**self.defaults, **parameters}
        self._model = RandomForestClassifier(class_weight="balanced", random_state=seed, n_jobs=-1, **given)
        self._model.fit(values, label)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean share of positives in the leaves.

        The trees are asked directly: the forest refuses missing values when training had none, although each of its
        trees knows where to send them.
        """
        rows = np.ascontiguousarray(values, dtype=np.float32)
        shares = [tree.tree_.predict(rows)[:, 1] for tree in self._model.estimators_]
        return np.asarray(np.mean(shares, axis=0), dtype=np.float64)

    def onnx(self, sigmoid: Sigmoid) -> bytes:
        """Write the trees, each leaf with its part of the mean."""
        return export_trees(self._trees(), 0.0, sigmoid, self._model.n_features_in_)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points."""
        return _split_points(self._trees())

    def _trees(self) -> list[Tree]:
        count = len(self._model.estimators_)
        return [_forest_tree(fitted.tree_, count) for fitted in self._model.estimators_]


class Logistic:
    """A weighted sum of scaled values: the baseline to beat. A missing value counts as the median."""

    name: ClassVar[str] = "logistic"
    defaults: ClassVar[Parameters] = {"C": 1.0}
    space: ClassVar[Space] = {"C": (0.001, 100.0)}

    def fit(self, values: NDArray[np.float64], label: NDArray[np.int8], parameters: Parameters, seed: int) -> None:
        """Fit."""
        given = {**self.defaults, **parameters}
        self._model = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=500, random_state=seed, **given),
        )
        with threadpool_limits(limits=1):
            self._model.fit(values, label)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds."""
        margin: NDArray[np.float64] = self._model.decision_function(values)
        return margin

    def onnx(self, sigmoid: Sigmoid) -> bytes:
        """Write the sum."""
        imputer, scaler, linear = (step for _, step in self._model.steps)
        return export_linear(
            imputer.statistics_,
            scaler.mean_,
            scaler.scale_,
            linear.coef_[0],
            bias=float(linear.intercept_[0]),
            sigmoid=sigmoid,
        )

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a sum has no steps."""
        return []


ESTIMATORS: Mapping[str, type[Estimator]] = {kind.name: kind for kind in (HistGradientBoosting, RandomForest, Logistic)}


def create(name: str) -> Estimator:
    """Return a new estimator of this name.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]()
    close = difflib.get_close_matches(name, ESTIMATORS, n=1)
    fix = f"did you mean {close[0]}?" if close else f"known are {', '.join(ESTIMATORS)}"
    raise UnknownNameError(f"there is no estimator {name!r}", fix=fix)


def calibrate(margin: NDArray[np.float64], label: NDArray[np.int8]) -> Sigmoid:
    """Fit a sigmoid from margins to probabilities (Platt 1999, with his smoothed labels against overconfidence).

    A margin that does not grow with the danger gets slope 0: every row then scores the base rate, which no gate passes.

    Args:
        margin: Margins of rows that were not fitted on, shape ``(n,)``.
        label: Their labels, 0 or 1, both present.

    Example:
        >>> sigmoid = calibrate(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([0, 0, 1, 0, 1], dtype=np.int8))
        >>> bool(sigmoid.slope > 0)
        True
    """
    positive = int(label.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(label) - positive + 2)
    truth = np.where(label == 1, high, low)
    rows, weights = np.tile(margin, 2).reshape(-1, 1), np.concatenate([truth, 1 - truth])
    center, scale = float(margin.mean()), float(margin.std()) or 1.0
    # Smoothed labels are doubled rows with weights: liblinear-free, convex, no penalty.
    fitted = LogisticRegression(C=np.inf, max_iter=500).fit(
        (rows - center) / scale, np.repeat([1, 0], len(label)), sample_weight=weights
    )
    slope = float(fitted.coef_[0, 0]) / scale
    if slope <= 0:
        return Sigmoid(0.0, float(np.log(truth.mean() / (1 - truth.mean()))))
    return Sigmoid(slope, float(fitted.intercept_[0]) - slope * center)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted estimator with its calibration: the float64 reference of what is served.

    Attributes:
        estimator: Fitted on all training windows.
        sigmoid: From margins to probabilities.
        rehearsed: Probability of each training window by a model that had not seen its device, shape ``(n,)``: what the
            threshold is chosen by.
    """

    estimator: Estimator
    sigmoid: Sigmoid
    rehearsed: NDArray[np.float64]

    def score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities for rows ``(n, F)``, rounded to float32 first as serving does."""
        return self.sigmoid(self.estimator.margin(values.astype(np.float32).astype(np.float64)))

    def onnx(self) -> bytes:
        """Write the model as it is served."""
        return self.estimator.onnx(self.sigmoid)


def fit(name: str, parameters: Parameters, train: Windows, seed: int) -> Fitted:
    """Fit an estimator, and its calibration by leaving out a third of the devices in turn.

    Raises:
        UnknownNameError: There is no such estimator.
    """
    estimator = create(name)
    estimator.fit(train.values, train.label, parameters, seed)
    margin = estimator.margin(train.values)
    for learned, left_out in folds(train, seed):
        rehearsal = create(name)
        rehearsal.fit(train.values[learned], train.label[learned], parameters, seed)
        margin[left_out] = rehearsal.margin(train.values[left_out])
    sigmoid = calibrate(margin, train.label)
    return Fitted(estimator, sigmoid, sigmoid(margin))


def folds(train: Windows, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Divide the training devices in three: rows to learn from and rows left out, for each third that allows it.

    A third that holds all failures cannot be left out; where only one device ever failed, nothing can.
    """
    count = min(_FOLDS, len(np.unique(train.device)))
    if count == 1:
        return []
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    divided = splitter.split(train.values, train.label, groups=train.device)
    return [(learned, left_out) for learned, left_out in divided if train.label[learned].any()]


def _boosted_tree(nodes: NDArray[Any]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"].astype(np.float64),
    )


def _forest_tree(tree: Any, count: int) -> Tree:
    return Tree(
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(bool),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        value=tree.value[:, 0, 1] / count,
    )


def _split_points(trees: list[Tree]) -> list[tuple[int, float]]:
    points = {
        (int(feature), float(threshold))
        for tree in trees
        for feature, threshold in zip(tree.feature[~tree.is_leaf], tree.threshold[~tree.is_leaf], strict=True)
    }
    return sorted(points)
