"""From the margin of a model to its score: what calibration learns, and the last nodes of every exported graph.

A margin is any number that an estimator gives, in float64. Its score is what people and thresholds see:

=================  ==============================================  =====================================
``Sigmoid``        a probability, after Platt (1999)               ``1 / (1 + exp(-(slope m + offset)))``
``Isotonic``       a probability, after Zadrozny and Elkan (2002)  a line through rising knots
``Clipped``        a quantity within its bounds                    ``min(max(m, low), high)``
``Ratio``          an anomaly score, a half at the control limit   ``m / (m + limit)``
=================  ==============================================  =====================================

Each computes in numpy what its nodes compute in ONNX, in float64; only the score is rounded to float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[np.float64]


class Link(Protocol):
    """From margins to scores.

    Attributes:
        name: Its name in manifests and reports.
    """

    name: ClassVar[str]

    def __call__(self, margin: Array) -> Array:
        """Return the score of each margin, shape ``(n,)``."""

    def nodes(self) -> "Nodes":
        """Return the nodes from ``margin``, float64 ``(n, 1)``, to ``scored`` of the same kind."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """A piece of an ONNX graph.

    Attributes:
        nodes: In order of computation.
        constants: By name.
    """

    nodes: list[Any]
    constants: dict[str, NDArray[Any]]

    @property
    def initializers(self) -> list[Any]:
        """The constants as ONNX has them."""
        return [numpy_helper.from_array(numbers, name) for name, numbers in self.constants.items()]

    def followed_by(self, other: "Nodes") -> "Nodes":
        """Return this piece and the one after it."""
        return Nodes([*self.nodes, *other.nodes], {**self.constants, **other.constants})

    def renamed(self, names: Mapping[str, str], prefix: str = "") -> "Nodes":
        """Return a copy with other names of values, so that pieces that were written alike can stand in one graph.

        Args:
            names: New names by old ones.
            prefix: Put before all other names.

        Example:
            >>> Sigmoid().nodes().renamed({"margin": "odds"}, "a.").nodes[0].input
            ['odds', 'a.slope']
        """

        def name(old: str) -> str:
            return names.get(old, prefix + old) if old else ""  # an input that is left out has no name

        copies = []
        for node in self.nodes:
            copy = type(node).FromString(node.SerializeToString())
            for values in (copy.input, copy.output):
                values[:] = [name(old) for old in values]
            copies.append(copy)
        return Nodes(copies, {name(old): numbers for old, numbers in self.constants.items()})


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The probability is ``1 / (1 + exp(-(slope * margin + offset)))``."""

    name: ClassVar[str] = "sigmoid"

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, margin: Array) -> Array:
        """Turn margins into probabilities."""
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * margin + self.offset))))

    def nodes(self) -> Nodes:
        """See ``Link``."""
        steps = [
            helper.make_node("Mul", ["margin", "slope"], ["sloped"]),
            helper.make_node("Add", ["sloped", "offset"], ["log_odds"]),
            helper.make_node("Sigmoid", ["log_odds"], ["scored"]),
        ]
        return Nodes(steps, {"slope": np.array([self.slope]), "offset": np.array([self.offset])})


@dataclass(frozen=True, slots=True)
class Isotonic:
    """The probability is read off a rising line through knots, flat before the first and after the last.

    Attributes:
        margins: Where the knots lie, rising.
        shares: The probability at each, never falling.

    Example:
        >>> Isotonic((0.0, 2.0), (0.25, 0.75))(np.array([-1.0, 1.0, 9.0])).tolist()
        [0.25, 0.5, 0.75]
    """

    name: ClassVar[str] = "isotonic"

    margins: tuple[float, ...]
    shares: tuple[float, ...]

    def __call__(self, margin: Array) -> Array:
        """Turn margins into probabilities."""
        at, widths, slopes = self._ramps()
        climbed = np.minimum(np.maximum(margin.reshape(-1, 1) - at, 0.0), widths) @ slopes
        return np.asarray(climbed.reshape(-1) + self.shares[0])

    def nodes(self) -> Nodes:
        """See ``Link``. A sum of ramps, each of which climbs from one knot to the next."""
        at, widths, slopes = self._ramps()
        steps = [
            helper.make_node("Sub", ["margin", "knots"], ["beyond"]),
            helper.make_node("Max", ["beyond", "nothing"], ["begun"]),
            helper.make_node("Min", ["begun", "widths"], ["ramps"]),
            helper.make_node("MatMul", ["ramps", "slopes"], ["climbed"]),
            helper.make_node("Add", ["climbed", "first"], ["scored"]),
        ]
        constants = {"knots": at, "nothing": np.zeros(1), "widths": widths, "slopes": slopes}
        return Nodes(steps, {**constants, "first": np.array([self.shares[0]])})

    def _ramps(self) -> tuple[Array, Array, Array]:
        at, shares = np.array(self.margins), np.array(self.shares)
        if len(at) == 1:  # one knot: the same share everywhere
            return at.reshape(1, 1), np.zeros((1, 1)), np.zeros((1, 1))
        widths = np.diff(at)
        return at[:-1].reshape(1, -1), widths.reshape(1, -1), (np.diff(shares) / widths).reshape(-1, 1)


@dataclass(frozen=True, slots=True)
class Clipped:
    """The quantity itself, within its bounds."""

    name: ClassVar[str] = "clipped"

    low: float
    high: float

    def __call__(self, margin: Array) -> Array:
        """Keep quantities within their bounds."""
        return np.clip(margin, self.low, self.high)

    def nodes(self) -> Nodes:
        """See ``Link``."""
        steps = [
            helper.make_node("Max", ["margin", "low"], ["raised"]),
            helper.make_node("Min", ["raised", "high"], ["scored"]),
        ]
        return Nodes(steps, {"low": np.array([self.low]), "high": np.array([self.high])})


@dataclass(frozen=True, slots=True)
class Ratio:
    """An anomaly score in 0..1: a half where the margin is at its control limit, and never quite one.

    Attributes:
        limit: The control limit, above zero; margins are not below zero.
    """

    name: ClassVar[str] = "ratio"

    limit: float

    def __call__(self, margin: Array) -> Array:
        """Turn distances from normal into scores."""
        return np.asarray(margin / (margin + self.limit))

    def nodes(self) -> Nodes:
        """See ``Link``."""
        steps = [
            helper.make_node("Add", ["margin", "limit"], ["whole"]),
            helper.make_node("Div", ["margin", "whole"], ["scored"]),
        ]
        return Nodes(steps, {"limit": np.array([self.limit])})
