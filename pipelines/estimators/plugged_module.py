"""Somebody else's torch module behind our interface (extra ``torch``).

It is trained as our own networks are (``deep``: scaled rows, early stopping by devices, seeds, one thread) and
written through torch's own exporter, in float64, if that uses operators that serving lets through: sums, products,
activations and means. It has no ``Conv``, which the runtime computes in float32 only, and no recurrent layers, which
are loops. What needs them brings its own nodes.
"""

import copy
import io
import warnings
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pipelines.errors import ExportError
from pipelines.estimators.deep import Convolutional, Loss, Shape, learned
from pipelines.estimators.estimator import Parameters, Rows
from pipelines.estimators.extras import demand, imported
from pipelines.estimators.foreign import embedded
from pipelines.estimators.made import Made
from pipelines.estimators.network import Scaling
from pipelines.estimators.torch_nets import TorchTrainer, alone
from pipelines.export import OPSETS, scaled_nodes
from pipelines.links import Nodes
from pipelines.tasks import Learns

Array = NDArray[np.float64]
_TRAINING = ("epochs", "patience", "batch", "learning_rate", "decay")


class PluggedModule(Made):
    """A torch module that takes scaled rows ``(n, F)`` and gives log odds or a quantity, ``(n, 1)``.

    Args:
        factory: Takes ``inputs``, the number of features, and parameters by name; returns the module.
        defaults: Parameters used where none are given; ``epochs``, ``patience``, ``batch``, ``learning_rate`` and
            ``decay`` are those of the training, the others go to the factory.
        space: Where a search for parameters looks; empty for no search.
        nodes: Takes the trained module and the number of features; returns nodes from ``scaled``, float64 ``(n, F)``,
            to ``out``, float64 ``(n, 1)``. For modules that torch's exporter writes with other operators than allowed.
    """

    name = "plugged_module"
    learns: frozenset[Learns] = frozenset({"probability", "quantity"})
    usual: ClassVar[Parameters] = {name: Convolutional.defaults[name] for name in _TRAINING}

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit.

        Raises:
            ExtraMissingError: torch is not installed.
        """
        demand("torch", self.name)
        given = {**self.defaults, **parameters}
        own = {name: value for name, value in given.items() if name not in _TRAINING}
        self._scaling, self._width = Scaling.learned(rows.values), rows.values.shape[1]
        self._center, self._scale = 0.0, 1.0
        if rows.learns == "quantity":
            self._center, self._scale = float(rows.label.mean()), float(rows.label.std()) or 1.0
        loss: Loss = "log" if rows.learns == "probability" else "square"
        shape = Shape(self._width, 0, (), 1, (1,), loss, given["learning_rate"], given["decay"])
        with alone(seed):
            trainer = _WholeTrainer(self._factory(inputs=self._width, **own), shape)
        truth = ((rows.label - self._center) / self._scale).reshape(-1, 1)
        with alone(seed):  # a module may draw random numbers while it learns
            self._module = learned(trainer, self._scaling(rows.values), truth, rows, given=given, seed=seed)

    def margin(self, values: Array) -> Array:
        """Return the log odds, or the quantity."""
        torch = imported("torch")
        with alone(), torch.no_grad():
            out = self._module(torch.from_numpy(self._scaling(values))).numpy()
        return np.asarray(out.reshape(-1) * self._scale + self._center, dtype=np.float64)

    def nodes(self) -> Nodes:
        """Write the module between scaling and its quantity.

        Raises:
            ExportError: torch cannot export it, or needs more operators than serving lets through.
        """
        first = scaled_nodes(self._scaling.fill, self._scaling.center, self._scaling.scale)
        module = self._own_nodes(self._module, self._width) if self._own_nodes else self._exported()
        last = [
            helper.make_node("Mul", ["out", "spread"], ["spreaded"]),
            helper.make_node("Add", ["spreaded", "middle"], ["margin"]),
        ]
        numbers = {"spread": np.array([self._scale]), "middle": np.array([self._center])}
        return first.followed_by(module).followed_by(Nodes(last, numbers))

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: whether a module has steps is not known."""
        return []

    def _exported(self) -> Nodes:
        torch = imported("torch")
        data = io.BytesIO()
        try:
            with warnings.catch_warnings(), alone():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    self._module,
                    (torch.zeros(2, self._width, dtype=torch.float64),),
                    data,
                    dynamo=False,  # the other exporter asks for one more package
                    opset_version=dict(OPSETS)[""],
                    input_names=["scaled"],
                    output_names=["out"],
                    dynamic_axes={"scaled": {0: "n"}, "out": {0: "n"}},
                )
        except Exception as error:  # whatever the exporter raises, it cannot write this module
            why = f"torch says: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
            fix = "write its nodes yourself: PluggedModule(..., nodes=...)"
            raise ExportError("the module cannot be written", why=why, fix=fix) from error
        return embedded(onnx.load_from_string(data.getvalue()), "scaled", "out")


class _WholeTrainer(TorchTrainer):
    """A module whose layers nobody knows: it is kept whole."""

    def weights(self) -> Any:
        """Return a copy of the module as it is, in float64."""
        return copy.deepcopy(self.network).double().eval()
