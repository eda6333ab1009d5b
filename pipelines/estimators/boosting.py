"""Boosted trees on binned values: the default. Routes missing values by what helped in training."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.estimators.estimator import Parameters, Rows, Space, split_points
from pipelines.export import Tree, tree_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns


class HistGradientBoosting:
    """Small trees that see a third of the features at each split.

    With a few dozen failures to learn from, they beat larger ones on both catalog fleets. Classes are not weighted by
    default: the calibration and the threshold do that, the average precision stays the same, and weighted binning takes
    ten times as long as everything else together.
    """

    name: ClassVar[str] = "hist_gradient_boosting"
    learns: ClassVar[frozenset[Learns]] = frozenset({"probability", "quantity"})
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

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit; early stopping is off because its validation rows would be neighbours of training rows."""
        given = {**self.defaults, **parameters}
        kind = HistGradientBoostingClassifier if rows.learns == "probability" else HistGradientBoostingRegressor
        self._model = kind(early_stopping=False, random_state=seed, **given)
        with threadpool_limits(limits=1):
            self._model.fit(_binnable(rows.values), rows.label)
        self._margin = "decision_function" if rows.learns == "probability" else "predict"

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds, or the quantity."""
        margin: NDArray[np.float64] = getattr(self._model, self._margin)(values)
        return margin

    def nodes(self) -> Nodes:
        """Write the trees."""
        # The fitted trees have no public accessor; the parity check of every training guards these two names.
        base = float(self._model._baseline_prediction.item())  # noqa: SLF001
        return tree_nodes(self.trees(), base, self._model.n_features_in_)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points."""
        return split_points(self.trees())

    def trees(self) -> list[Tree]:
        """Return the trees."""
        return [tree_of(predictor.nodes) for (predictor,) in self._model._predictors]  # noqa: SLF001


def _binnable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with zeros for features that nobody sends: scikit-learn 1.9 cannot bin them, and no tree splits there."""
    absent = np.isnan(values).all(axis=0)
    return np.where(absent, 0.0, values) if absent.any() else values


def tree_of(nodes: NDArray[Any]) -> Tree:
    """Return a tree from the array in which scikit-learn keeps it."""
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"].astype(np.float64),
    )
