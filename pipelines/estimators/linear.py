"""A weighted sum of scaled values: the baseline to beat. A missing value counts as the median."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.estimators.estimator import Parameters, Rows, Space
from pipelines.export import scaled_nodes, weighted_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns


class Linear:
    """Logistic regression for probabilities, ridge regression for quantities; ``C`` is the inverse penalty of both."""

    name: ClassVar[str] = "linear"
    learns: ClassVar[frozenset[Learns]] = frozenset({"probability", "quantity"})
    defaults: ClassVar[Parameters] = {"C": 1.0}
    space: ClassVar[Space] = {"C": (0.001, 100.0)}

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit."""
        given = {**self.defaults, **parameters}
        if rows.learns == "probability":
            settings = {"class_weight": "balanced", "max_iter": 500, "random_state": seed, **given}
            last = LogisticRegression(**settings)
        else:
            last = Ridge(alpha=1.0 / float(given["C"]))
        self._model = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), last)
        with threadpool_limits(limits=1):
            self._model.fit(rows.values, rows.label)
        self._margin = "decision_function" if rows.learns == "probability" else "predict"

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds, or the quantity."""
        margin: NDArray[np.float64] = getattr(self._model, self._margin)(values)
        return margin

    def nodes(self) -> Nodes:
        """Write the sum."""
        imputer, scaler, linear = (step for _, step in self._model.steps)
        scaled = scaled_nodes(imputer.statistics_, scaler.mean_, scaler.scale_)
        return scaled.followed_by(weighted_nodes(np.ravel(linear.coef_), float(np.ravel(linear.intercept_)[0])))

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a sum has no steps."""
        return []
