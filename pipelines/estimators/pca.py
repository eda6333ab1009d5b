"""How far a row lies from normal operation: Hotelling's T2 within the usual directions, and Q beside them.

Standardised features of one machine move together. Principal components are the few directions in which they usually
do; T2 (Hotelling 1947) says how far a row lies along them, in their usual spread, Q (Jackson and Mudholkar 1979) how
far it lies off them. Each is divided by its control limit, a quantile of what normal operation reached, and both are
added, as in the combined index of Yue and Qin (2001): a fault may show in either.

A missing value counts as the mean. A feature that never moved in normal operation counts in its own unit from then on.

Where normal operation has several modes (``modes``), each is described for itself, and a row is as unusual as its mode
says that knows it best: the smallest index, as in monitoring by multiple models (Zhao, Zhang and Xu 2004).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.errors import UseCaseError
from pipelines.estimators.estimator import Parameters, Rows, Space
from pipelines.estimators.modes import modes_of
from pipelines.export import scaled_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns

Array = NDArray[np.float64]
_DUST = 1e-12  # variances below this share of the largest are rounding


class Pca:
    """Principal components for a share of the variance; the margin is ``T2 / its limit + Q / its limit``.

    Parameters:
        variance: Share of the variance of the standardised features that the components hold, above 0 and up to 1.
        quantile: Share of normal operation within each limit.
        modes: How many modes of normal operation are told apart at most, 1 or more; fewer where they do not lie apart.

    Source: J. Yue and S. Qin, Reconstruction-based fault identification using a combined index, I&EC Research 40, 2001;
    S. Zhao, J. Zhang and Y. Xu, Monitoring of processes with multiple operating modes through multiple principal
    component analysis models, I&EC Research 43, 2004.
    """

    name: ClassVar[str] = "pca"
    learns: ClassVar[frozenset[Learns]] = frozenset({"normality"})
    defaults: ClassVar[Parameters] = {"variance": 0.9, "quantile": 0.99, "modes": 1}
    space: ClassVar[Space] = {}  # without answers there is nothing to search by

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit; nothing is drawn."""
        del seed
        given = {**self.defaults, **parameters}
        share, quantile, most = float(given["variance"]), float(given["quantile"]), int(given["modes"])
        if not (0 < share <= 1 and 0 < quantile <= 1 and most >= 1):
            found = f"variance is {share:g}, quantile {quantile:g} and modes {most}"
            fix = "the first two are above 0 and at most 1, modes is 1 or more"
            raise UseCaseError(found, where="parameters of pca", fix=fix)
        mode = np.zeros(len(rows.values), dtype=np.intp)
        if most > 1:
            mode = modes_of(_Scaled.learned(rows.values)(rows.values), most)
        self._modes = [_Mode.learned(rows.values[mode == one], share, quantile) for one in range(int(mode.max()) + 1)]

    def margin(self, values: Array) -> Array:
        """Return the combined index, 0 or more; about 2 where both statistics are at their limits."""
        return np.asarray(np.min([mode.index(values) for mode in self._modes], axis=0))

    def nodes(self) -> Nodes:
        """Write both statistics as one product: the squares of all weighted sums, added; of modes, the least."""
        if len(self._modes) == 1:
            return self._modes[0].nodes()
        parts = [mode.nodes().renamed({"wide": "wide"}, f"mode_{one}_") for one, mode in enumerate(self._modes)]
        least = helper.make_node("Min", [f"mode_{one}_margin" for one in range(len(parts))], ["margin"])
        written = Nodes([], {})
        for part in parts:
            written = written.followed_by(part)
        return written.followed_by(Nodes([least], {}))

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a sum of squares has no steps."""
        return []


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Values in units of their spread about their mean, shape ``(F,)`` both; a missing one is the mean."""

    mean: Array
    spread: Array

    @classmethod
    def learned(cls, values: Array) -> "_Scaled":
        whole = ~np.isnan(values)
        count = np.maximum(whole.sum(axis=0), 1)
        mean = np.where(whole, values, 0.0).sum(axis=0) / count
        about = np.where(whole, values - mean, 0.0)
        spread = np.sqrt(np.square(about).sum(axis=0) / count)
        return cls(mean, np.where(spread > _DUST * np.abs(mean), spread, 1.0))

    def __call__(self, values: Array) -> Array:
        whole = np.where(np.isnan(values), self.mean, values)
        return np.asarray((whole - self.mean) / self.spread)


@dataclass(frozen=True, slots=True)
class _Mode:
    """One mode of normal operation.

    Attributes:
        scaled: What is usual in it.
        weights: Their squared sums are ``T2 / limit`` and ``Q / limit``, shape ``(F, components + F)``.
    """

    scaled: _Scaled
    weights: Array

    @classmethod
    def learned(cls, values: Array, share: float, quantile: float) -> "_Mode":
        usual = _Scaled.learned(values)
        with threadpool_limits(limits=1):  # the order in which threads add up decides the last digits
            scaled = usual(values)
            variance, direction = np.linalg.eigh(scaled.T @ scaled / len(scaled))
            return cls(usual, _weights(scaled, variance[::-1], direction[:, ::-1], share, quantile))

    def index(self, values: Array) -> Array:
        return np.asarray(np.square(self.scaled(values) @ self.weights).sum(axis=1))

    def nodes(self) -> Nodes:
        squared = Nodes(
            [
                helper.make_node("MatMul", ["scaled", "directions"], ["along"]),
                helper.make_node("Mul", ["along", "along"], ["squares"]),
                helper.make_node("MatMul", ["squares", "each"], ["margin"]),
            ],
            {"directions": self.weights, "each": np.ones((self.weights.shape[1], 1))},
        )
        return scaled_nodes(self.scaled.mean, self.scaled.mean, self.scaled.spread).followed_by(squared)


def _weights(scaled: Array, variance: Array, direction: Array, share: float, quantile: float) -> Array:
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
