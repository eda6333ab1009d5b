"""A small network on rows as they are. A missing value counts as the median; values are scaled inside."""

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.estimators.estimator import Parameters, Rows, Space
from pipelines.estimators.network import Layer, Network, Scaling
from pipelines.links import Nodes
from pipelines.tasks import Learns


class Mlp:
    """Dense layers by scikit-learn; its margin is the log odds, or the quantity.

    Trained for a fixed number of passes at most: what scikit-learn would stop early by are rows picked at random,
    neighbours of those it learned from.
    """

    name: ClassVar[str] = "mlp"
    learns: ClassVar[frozenset[Learns]] = frozenset({"probability", "quantity"})
    defaults: ClassVar[Parameters] = {
        "hidden": 32,
        "layers": 1,
        "activation": "relu",
        "alpha": 0.01,
        "learning_rate_init": 0.003,
        "max_iter": 60,
    }
    space: ClassVar[Space] = {
        "hidden": (8, 64),
        "layers": [1, 2],
        "activation": ["relu", "tanh"],
        "alpha": (0.0001, 1.0),
        "learning_rate_init": (0.001, 0.01),
    }

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit on one thread."""
        given: dict[str, Any] = {**self.defaults, **parameters}
        shape = (given.pop("hidden"),) * given.pop("layers")
        kind = MLPClassifier if rows.learns == "probability" else MLPRegressor
        center, scale = 0.0, 1.0
        if rows.learns == "quantity":
            center, scale = float(rows.label.mean()), float(rows.label.std()) or 1.0
        scaling = Scaling.learned(rows.values)
        model = kind(**{"hidden_layer_sizes": shape, "random_state": seed, **given})
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # see the class: passes are bounded on purpose
            model.fit(scaling(rows.values), (rows.label - center) / scale)
        layers = tuple(Layer(*pair) for pair in zip(model.coefs_, model.intercepts_, strict=True))
        self._network = Network(scaling, layers, activation=given["activation"]).stretched(center, scale)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds, or the quantity."""
        return self._network(values)[:, 0]

    def nodes(self) -> Nodes:
        """Write the layers."""
        return self._network.nodes()

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a network has no steps."""
        return []
