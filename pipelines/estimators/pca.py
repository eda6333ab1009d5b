"""How far a row lies from normal operation: Hotelling's T2 within the usual directions, and Q beside them.

Standardised features of one machine move together. Principal components are the few directions in which they usually
do; T2 (Hotelling 1947) says how far a row lies along them, in their usual spread, Q (Jackson and Mudholkar 1979) how
far it lies off them. Each is divided by its control limit, a quantile of what normal operation reached, and both are
added, as in the combined index of Yue and Qin (2001): a fault may show in either.

A missing value counts as the mean. A feature that never moved in normal operation counts in its own unit from then on.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.errors import UseCaseError
from pipelines.estimators.estimator import Parameters, Rows, Space
from pipelines.export import scaled_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns

_DUST = 1e-12  # variances below this share of the largest are rounding


class Pca:
    """Principal components for a share of the variance; the margin is ``T2 / its limit + Q / its limit``.

    Parameters:
        variance: Share of the variance of the standardised features that the components hold, above 0 and up to 1.
        quantile: Share of normal operation within each limit.

    Source: J. Yue and S. Qin, Reconstruction-based fault identification using a combined index, I&EC Research 40, 2001.
    """

    name: ClassVar[str] = "pca"
    learns: ClassVar[frozenset[Learns]] = frozenset({"normality"})
    defaults: ClassVar[Parameters] = {"variance": 0.9, "quantile": 0.99}
    space: ClassVar[Space] = {}  # without answers there is nothing to search by

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit; nothing is drawn."""
        del seed
        given = {**self.defaults, **parameters}
        share, quantile = float(given["variance"]), float(given["quantile"])
        if not (0 < share <= 1 and 0 < quantile <= 1):
            found = f"variance is {share:g} and quantile {quantile:g}"
            raise UseCaseError(found, where="parameters of pca", fix="both are above 0 and at most 1")
        whole = ~np.isnan(rows.values)
        count = np.maximum(whole.sum(axis=0), 1)
        self._mean = np.where(whole, rows.values, 0.0).sum(axis=0) / count
        about = np.where(whole, rows.values - self._mean, 0.0)
        spread = np.sqrt(np.square(about).sum(axis=0) / count)
        self._scale = np.where(spread > _DUST * np.abs(self._mean), spread, 1.0)
        with threadpool_limits(limits=1):  # the order in which threads add up decides the last digits
            scaled = self._scaled(rows.values)
            variance, direction = np.linalg.eigh(scaled.T @ scaled / len(scaled))
            self._weights = self._weigh(scaled, variance[::-1], direction[:, ::-1], share, quantile)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the combined index, 0 or more; about 2 where both statistics are at their limits."""
        found: NDArray[np.float64] = np.square(self._scaled(values) @ self._weights).sum(axis=1)
        return found

    def nodes(self) -> Nodes:
        """Write both statistics as one product: the squares of all weighted sums, added."""
        squared = Nodes(
            [
                helper.make_node("MatMul", ["scaled", "directions"], ["along"]),
                helper.make_node("Mul", ["along", "along"], ["squares"]),
                helper.make_node("MatMul", ["squares", "each"], ["margin"]),
            ],
            {"directions": self._weights, "each": np.ones((self._weights.shape[1], 1))},
        )
        return scaled_nodes(self._mean, self._mean, self._scale).followed_by(squared)

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a sum of squares has no steps."""
        return []

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.where(np.isnan(values), self._mean, values)
        return np.asarray((whole - self._mean) / self._scale)

    def _weigh(
        self,
        scaled: NDArray[np.float64],
        variance: NDArray[np.float64],
        direction: NDArray[np.float64],
        share: float,
        quantile: float,
    ) -> NDArray[np.float64]:
        """Weights whose squared sums are ``T2 / limit`` and ``Q / limit``, shape ``(F, components + F)``."""
        real = int(np.sum(variance > _DUST * max(float(variance[0]), _DUST)))
        held = np.cumsum(np.maximum(variance, 0.0))
        count = min(real, int(np.searchsorted(held, share * held[-1])) + 1)
        usual = direction[:, :count]
        beside = np.eye(len(usual)) - usual @ usual.T
        parts = [usual / np.sqrt(variance[:count]), beside]
        limits = [float(np.quantile(np.square(scaled @ part).sum(axis=1), quantile)) for part in parts]
        # Where normal operation leaves nothing beside its components, rounding is no limit: it counts as it is.
        least = _DUST * scaled.shape[1]
        usable = [limit if limit > least else 1.0 for limit in limits]
        return np.hstack([part / np.sqrt(limit) for part, limit in zip(parts, usable, strict=True)])
