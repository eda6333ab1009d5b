"""How easily a row is told apart from normal operation: random splits that isolate what is unusual early.

Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation Forest, ICDM 2008.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from sklearn.ensemble import IsolationForest as Forest

from pipelines.estimators.estimator import Parameters, Rows, Space, split_points
from pipelines.export import Tree, tree_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns


class IsolationForest:
    """The margin is the anomaly score of the paper, ``2 ** -(mean depth / usual depth)``: above 0, and 1 at most.

    A missing value counts as the median of normal operation, of a feature that never had one as 0: every branch sends
    it where that number goes, so no node of its own is needed to fill it in.
    """

    name: ClassVar[str] = "isolation_forest"
    learns: ClassVar[frozenset[Learns]] = frozenset({"normality"})
    defaults: ClassVar[Parameters] = {"n_estimators": 200, "max_samples": 256}
    space: ClassVar[Space] = {}  # without answers there is nothing to search by

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit; a tree draws ``max_samples`` rows, or all there are."""
        given: dict[str, Any] = {**self.defaults, **parameters}
        if isinstance(given["max_samples"], int):
            given["max_samples"] = min(given["max_samples"], len(rows.values))
        known = ~np.isnan(rows.values).all(axis=0)
        self._fill = np.zeros(rows.values.shape[1])
        # Rounded as the trees see it.
        self._fill[known] = np.nanmedian(rows.values[:, known], axis=0).astype(np.float32)
        self._model = Forest(random_state=seed, **given).fit(self._filled(rows.values))
        self._trees = [
            self._tree(fitted.tree_, columns)
            for fitted, columns in zip(self._model.estimators_, self._model.estimators_features_, strict=True)
        ]

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the anomaly score."""
        rows = np.ascontiguousarray(self._filled(values), dtype=np.float32)
        summed = np.zeros(len(rows))
        for fitted, columns, tree in zip(
            self._model.estimators_, self._model.estimators_features_, self._trees, strict=True
        ):
            summed += tree.value[fitted.tree_.apply(np.ascontiguousarray(rows[:, columns]))]
        return np.asarray(np.exp(summed))

    def nodes(self) -> Nodes:
        """Write the trees, each leaf with the logarithm of its factor."""
        summed = tree_nodes(self._trees, 0.0, len(self._fill))
        summed.nodes[-1].output[0] = "depth"
        return Nodes([*summed.nodes, helper.make_node("Exp", ["depth"], ["margin"])], summed.constants)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points."""
        return split_points(self._trees)

    def _filled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.isnan(values), self._fill, values)

    def _tree(self, tree: Any, columns: NDArray[np.intp]) -> Tree:
        """A tree whose leaves hold their part of the logarithm of the score."""
        left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
        depth = np.zeros(len(left))
        for node in np.flatnonzero(left >= 0):  # parents stand before their children
            depth[[left[node], right[node]]] = depth[node] + 1
        leaf = left < 0
        feature = np.where(leaf, 0, columns[np.maximum(tree.feature, 0)]).astype(np.int64)
        usual = _usual_depth(np.array([self._model.max_samples_]))[0] * len(self._model.estimators_)
        reached = depth + _usual_depth(tree.n_node_samples)
        return Tree(
            feature=feature,
            threshold=tree.threshold,
            missing_left=self._fill[feature] <= tree.threshold,
            left=left,
            right=right,
            value=np.where(leaf, -np.log(2.0) * reached / max(usual, 1.0), 0.0),
        )


def _usual_depth(samples: NDArray[Any]) -> NDArray[np.float64]:
    """How deep a search tree of so many rows is on average: ``c(n)`` of the paper.

    Example:
        >>> _usual_depth(np.array([1, 2, 256])).round(3).tolist()
        [0.0, 1.0, 10.245]
    """
    count = samples.astype(np.float64)
    more = np.maximum(count, 3.0)
    deep = 2.0 * (np.log(more - 1.0) + np.euler_gamma) - 2.0 * (more - 1.0) / more
    return np.where(count > 2.0, deep, np.where(count == 2.0, 1.0, 0.0))  # noqa: PLR2004 - the cases of the paper
