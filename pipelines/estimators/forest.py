"""Averaged deep trees. Routes missing values as its trees learned to."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from pipelines.estimators.estimator import Parameters, Rows, Space, split_points
from pipelines.export import Tree, tree_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns


class RandomForest:
    """A forest; its margin is the mean share of positives in the leaves, or the mean quantity."""

    name: ClassVar[str] = "random_forest"
    learns: ClassVar[frozenset[Learns]] = frozenset({"probability", "quantity"})
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

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit on all cores: each tree has its own seed, so their number does not show."""
        given = {"random_state": seed, "n_jobs": -1, **self.defaults, **parameters}
        if rows.learns == "probability":
            self._model = RandomForestClassifier(**{"class_weight": "balanced", **given})
        else:
            self._model = RandomForestRegressor(**given)
        self._model.fit(rows.values, rows.label)
        self._column = 1 if rows.learns == "probability" else 0

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the trees.

        The trees are asked directly: the forest refuses missing values when training had none, although each of its
        trees knows where to send them.
        """
        rows = np.ascontiguousarray(values, dtype=np.float32)
        found = [tree.tree_.predict(rows)[:, self._column] for tree in self._model.estimators_]
        return np.asarray(np.mean(found, axis=0), dtype=np.float64)

    def nodes(self) -> Nodes:
        """Write the trees, each leaf with its part of the mean."""
        return tree_nodes(self.trees(), 0.0, self._model.n_features_in_)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points."""
        return split_points(self.trees())

    def trees(self) -> list[Tree]:
        """Return the trees."""
        count = len(self._model.estimators_)
        found = [fitted.tree_ for fitted in self._model.estimators_]
        return [tree_of(tree, tree.value[:, 0, self._column] / count) for tree in found]


def tree_of(tree: Any, value: NDArray[np.float64]) -> Tree:
    """Return a tree from the arrays in which scikit-learn keeps it, with the value of each node."""
    return Tree(
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(bool),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        value=value,
    )
