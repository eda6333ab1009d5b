"""A small fitted network in float64: layers over scaled values, in numpy and as ONNX nodes, number for number alike.

However it was trained (scikit-learn, torch, Keras), a network is kept as its weights alone. What is written needs no
``Conv``, which the runtime has in float32 only: a convolution over steps is a gather of each step's neighbours and one
matrix product, in float64, of operators that every gateway lets through. ::

    wide (n, F) → scaled (n, F) → [steps (n, T, C) → convolutions (n, T, C')] → (n, T C') → dense layers → out (n, O)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.errors import ExportError
from pipelines.estimators.sequence import neighbours
from pipelines.export import scaled_nodes
from pipelines.links import Nodes

Array = NDArray[np.float64]

_PART = 4096  # rows at a time: a convolution holds each step as often as its kernel is wide
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


@dataclass(frozen=True, slots=True)
class Scaling:
    """What happens to values first: ``((value or fill) - center) / scale``, shape ``(F,)`` each."""

    fill: Array
    center: Array
    scale: Array

    @classmethod
    def learned(cls, values: Array) -> "Scaling":
        """Return the scaling of training rows ``(n, F)``: medians, means and deviations.

        Example:
            >>> Scaling.learned(np.array([[1.0, np.nan], [3.0, np.nan]])).center.tolist()
            [2.0, 0.0]
        """
        known = [column[~np.isnan(column)] for column in values.T]
        fill = np.array([np.median(column) if len(column) else 0.0 for column in known])
        whole = np.where(np.isnan(values), fill, values)
        scale = whole.std(axis=0)
        return cls(fill, whole.mean(axis=0), np.where(scale > 0, scale, 1.0))

    def __call__(self, values: Array) -> Array:
        """Scale rows ``(n, F)``."""
        scaled: Array = (np.where(np.isnan(values), self.fill, values) - self.center) / self.scale
        return scaled


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights ``(inputs, outputs)`` and bias ``(outputs,)``.

    Of a convolution, inputs are the channels at the first step of the kernel, then those at the second, and so on.
    """

    weights: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Network:
    """A fitted network.

    Attributes:
        scaling: Of the values.
        dense: Layers, the last without activation.
        steps: Which column each channel shows at each step, ``(T, C)``; None where values are taken as they are.
        convolutions: Layers over steps, each with its activation.
        kernel: Steps that a convolution covers, an odd number.
        activation: ``"relu"`` or ``"tanh"``.
    """

    scaling: Scaling
    dense: tuple[Layer, ...]
    steps: NDArray[np.intp] | None = None
    convolutions: tuple[Layer, ...] = ()
    kernel: int = 1
    activation: str = "relu"

    def __call__(self, values: Array) -> Array:
        """Return what the last layer says of rows ``(n, F)``, shape ``(n, outputs)``."""
        with threadpool_limits(limits=1):  # how a product is shared out among threads shows in its last bits
            parts = [self._part(self.scaling(part)) for part in _parts(values)]
        return np.concatenate(parts)

    def error(self, values: Array) -> Array:
        """Return the mean square difference between scaled rows and what the network makes of them, shape ``(n,)``."""
        with threadpool_limits(limits=1):
            scaled = [self.scaling(part) for part in _parts(values)]
            return np.concatenate([np.mean((self._part(part) - part) ** 2, axis=1) for part in scaled])

    def stretched(self, center: float, scale: float) -> "Network":
        """Return the network with its only output times ``scale`` plus ``center``."""
        last = Layer(self.dense[-1].weights * scale, self.dense[-1].bias * scale + center)
        return replace(self, dense=(*self.dense[:-1], last))

    def nodes(self) -> Nodes:
        """Return the nodes from ``wide`` to ``margin``, the only output."""
        return self._nodes("margin")

    def error_nodes(self) -> Nodes:
        """Return the nodes from ``wide`` to ``margin``, the ``error``."""
        steps = [
            helper.make_node("Sub", ["out", "scaled"], ["missed"]),
            helper.make_node("Mul", ["missed", "missed"], ["squared"]),
            helper.make_node("ReduceMean", ["squared"], ["margin"], axes=[1], keepdims=1),
        ]
        return self._nodes("out").followed_by(Nodes(steps, {}))

    def _part(self, scaled: Array) -> Array:
        current = scaled
        if self.steps is not None:
            current = current[:, self.steps]
            for layer in self.convolutions:
                around = current[:, neighbours(len(self.steps), self.kernel)]
                current = self._activated(around.reshape(*around.shape[:2], -1) @ layer.weights + layer.bias)
            current = current.reshape(len(current), -1)
        for layer in self.dense[:-1]:
            current = self._activated(current @ layer.weights + layer.bias)
        last = self.dense[-1]
        return np.asarray(current @ last.weights + last.bias)

    def _activated(self, values: Array) -> Array:
        return np.asarray(np.tanh(values) if self.activation == "tanh" else np.maximum(values, 0.0))

    def _nodes(self, out: str) -> Nodes:
        if self.activation not in ACTIVATIONS:
            known = " or ".join(ACTIVATIONS)
            raise ExportError(f"the network's activation is {self.activation!r}", fix=f"use {known}")
        scaled = scaled_nodes(self.scaling.fill, self.scaling.center, self.scaling.scale)
        written = scaled.renamed({"wide": "wide", "scaled": "scaled"}, "scaling.")
        current = "scaled"
        if self.steps is not None:
            written, current = written.followed_by(self._step_nodes()), "flat"
        for number, layer in enumerate(self.dense):
            last = number == len(self.dense) - 1
            made = out if last else f"dense{number}"
            written = written.followed_by(self._layer_nodes(layer, current, made, activated=not last))
            current = made
        return written

    def _step_nodes(self) -> Nodes:
        steps = np.asarray(self.steps, dtype=np.int64)
        written = Nodes([helper.make_node("Gather", ["scaled", "steps"], ["stepped"], axis=1)], {"steps": steps})
        current, width = "stepped", steps.shape[1]
        for number, layer in enumerate(self.convolutions):
            made, shape = f"convolved{number}", np.array([-1, len(steps), self.kernel * width])
            around = [
                helper.make_node("Gather", [current, "neighbours"], [f"{made}.around"], axis=1),
                helper.make_node("Reshape", [f"{made}.around", f"{made}.shape"], [f"{made}.unfolded"]),
            ]
            constants = {"neighbours": neighbours(len(steps), self.kernel), f"{made}.shape": shape}
            layers = self._layer_nodes(layer, f"{made}.unfolded", made, activated=True)
            written = written.followed_by(Nodes(around, constants)).followed_by(layers)
            current, width = made, layer.weights.shape[1]
        flat = helper.make_node("Reshape", [current, "row"], ["flat"])
        return written.followed_by(Nodes([flat], {"row": np.array([-1, len(steps) * width])}))

    def _layer_nodes(self, layer: Layer, given: str, made: str, *, activated: bool) -> Nodes:
        weights, bias, summed = f"{made}.weights", f"{made}.bias", f"{made}.summed" if activated else made
        steps = [
            helper.make_node("MatMul", [given, weights], [f"{made}.product"]),
            helper.make_node("Add", [f"{made}.product", bias], [summed]),
        ]
        if activated:
            steps.append(helper.make_node(ACTIVATIONS[self.activation], [summed], [made]))
        return Nodes(steps, {weights: layer.weights, bias: layer.bias})


def _parts(values: Array) -> Sequence[Array]:
    return [values[begin : begin + _PART] for begin in range(0, max(len(values), 1), _PART)]
