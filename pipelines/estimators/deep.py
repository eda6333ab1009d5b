"""Deep learning on windows: what torch and Keras have in common, which is nearly everything.

A library is asked for four things only (``Trainer``): to build a network, to go once over the training rows, to say how
far off it is, and to hand over its weights. The shapes, the scaling, the batches, when to stop and how it is exported
are one for all (here, and in ``network``).

Early stopping looks at devices that are not learned from, a fifth of them, or at stretches of time where there is one
device: rows picked at random would be neighbours of those learned from. Where rows belong to one group only, all passes
are made. The weights of the best pass are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from pipelines.errors import UseCaseError
from pipelines.estimators.estimator import Parameters, Rows, Space
from pipelines.estimators.network import Network, Scaling
from pipelines.estimators.sequence import demanded, steps_of
from pipelines.links import Nodes
from pipelines.tasks import Learns

Array = NDArray[np.float64]
Loss = Literal["log", "square"]

_FOLDS = 5  # one of them says when to stop
_LEAST_GAIN = 1e-4  # of the loss, as a share, for a pass to count as a better one


@dataclass(frozen=True, slots=True)
class Shape:
    """What a network looks like, and how it learns.

    Attributes:
        inputs: Channels at each step, or features where there are no steps.
        steps: Steps; 0 where rows are taken as they are.
        channels: Outputs of each convolution.
        kernel: Steps that a convolution covers; odd, its ends repeated beyond themselves.
        dense: Outputs of each dense layer, the last without activation; all others are rectified.
        loss: ``"log"`` of log odds against 0 and 1, or mean ``"square"`` error.
        learning_rate: Of Adam.
        decay: Weight decay, decoupled (Loshchilov and Hutter 2019).
    """

    inputs: int
    steps: int
    channels: tuple[int, ...]
    kernel: int
    dense: tuple[int, ...]
    loss: Loss
    learning_rate: float
    decay: float


class Trainer(Protocol):
    """A network under training. Rows are ``(n, steps, channels)`` or ``(n, features)``."""

    def pass_over(self, rows: Array, truth: Array, batches: Sequence[NDArray[np.intp]]) -> None:
        """Learn from each batch in turn; ``truth`` has the shape of the last layer."""

    def loss(self, rows: Array, truth: Array) -> float:
        """Return the mean loss."""

    def weights(self) -> Any:
        """Return a copy of what was learned so far: ``Layer`` by ``Layer``, convolutions first."""


class Deep:
    """What both kinds of networks do; each library names itself by a subclass of each.

    Attributes:
        needs: The library.
    """

    needs: ClassVar[str]
    space: ClassVar[Space] = {"hidden": (8, 64), "learning_rate": (0.0003, 0.01), "decay": (0.00001, 0.1)}

    _network: Network

    def trainer(self, shape: Shape, seed: int) -> Trainer:
        """Return a new network of the library; to be said by a subclass."""
        raise NotImplementedError

    def thresholds(self) -> list[tuple[int, float]]:
        """Return nothing: a network has no steps."""
        return []


class Convolutional(Deep):
    """A network over the steps of a window; its margin is the log odds, or the quantity."""

    name: ClassVar[str]
    learns: ClassVar[frozenset[Learns]] = frozenset({"probability", "quantity"})
    along_time: ClassVar[bool] = True  # it wants features with lags
    defaults: ClassVar[Parameters] = {
        "channels": 16,
        "convolutions": 2,
        "kernel": 3,
        "hidden": 32,
        "epochs": 60,
        "patience": 8,
        "batch": 256,
        "learning_rate": 0.002,
        "decay": 0.01,
    }

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit.

        Raises:
            UseCaseError: No feature has lags, or the kernel is even.
            ExtraMissingError: The library is not installed.
        """
        given = {**self.defaults, **parameters}
        steps, kernel, scaling = demanded(rows.names, self.name), _odd(given["kernel"]), Scaling.learned(rows.values)
        center, scale = 0.0, 1.0
        if rows.learns == "quantity":
            center, scale = float(rows.label.mean()), float(rows.label.std()) or 1.0
        shape = Shape(
            inputs=steps.shape[1],
            steps=len(steps),
            channels=(given["channels"],) * given["convolutions"],
            kernel=kernel,
            dense=(given["hidden"], 1),
            loss="log" if rows.learns == "probability" else "square",
            learning_rate=given["learning_rate"],
            decay=given["decay"],
        )
        truth = ((rows.label - center) / scale).reshape(-1, 1)
        sequence = scaling(rows.values)[:, steps]
        layers = learned(self.trainer(shape, seed), sequence, truth, rows, given=given, seed=seed)
        count = len(shape.channels)
        network = Network(scaling, layers[count:], steps, layers[:count], kernel)
        self._network = network.stretched(center, scale)

    def margin(self, values: Array) -> Array:
        """Return the log odds, or the quantity."""
        return self._network(values)[:, 0]

    def nodes(self) -> Nodes:
        """Write the layers."""
        return self._network.nodes()


class Autoencoder(Deep):
    """A network that tells a row again from less; its margin is how far off it is: the mean square of scaled values.

    Over the steps of a window where features have lags, else over rows as they are.
    """

    name: ClassVar[str]
    learns: ClassVar[frozenset[Learns]] = frozenset({"normality"})
    defaults: ClassVar[Parameters] = {
        "channels": 16,
        "convolutions": 1,
        "kernel": 3,
        "hidden": 32,
        "code": 4,
        "epochs": 100,
        "patience": 10,
        "batch": 128,
        "learning_rate": 0.003,
        "decay": 0.0001,
    }
    space: ClassVar[Space] = {**Deep.space, "code": (2, 16)}

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit.

        Raises:
            UseCaseError: The kernel is even.
            ExtraMissingError: The library is not installed.
        """
        given = {**self.defaults, **parameters}
        steps, kernel, scaling = steps_of(rows.names), _odd(given["kernel"]), Scaling.learned(rows.values)
        scaled = scaling(rows.values)
        sequence = scaled if steps is None else scaled[:, steps]
        shape = Shape(
            inputs=sequence.shape[-1],
            steps=0 if steps is None else len(steps),
            channels=() if steps is None else (given["channels"],) * given["convolutions"],
            kernel=kernel,
            dense=(given["hidden"], given["code"], given["hidden"], scaled.shape[1]),
            loss="square",
            learning_rate=given["learning_rate"],
            decay=given["decay"],
        )
        layers = learned(self.trainer(shape, seed), sequence, scaled, rows, given=given, seed=seed)
        count = len(shape.channels)
        self._network = Network(scaling, layers[count:], steps, layers[:count], kernel)

    def margin(self, values: Array) -> Array:
        """Return how far off the network is."""
        return self._network.error(values)

    def nodes(self) -> Nodes:
        """Write the layers, and the difference to what went in."""
        return self._network.error_nodes()


def learned(trainer: Trainer, inputs: Array, truth: Array, rows: Rows, *, given: Parameters, seed: int) -> Any:
    """Train a network and return the weights of its best pass.

    Args:
        trainer: The network.
        inputs: Scaled rows in the shape that it takes.
        truth: Scaled, in the shape of its last layer.
        rows: Where they come from: what is left out together.
        given: ``epochs``, ``batch`` and ``patience``, passes without gain after which it ends.
        seed: Of the batches and of what is left out.
    """
    stop, random = _Stop.chosen(rows, seed), np.random.default_rng(seed)
    best, kept, waited = np.inf, trainer.weights(), 0
    for _ in range(given["epochs"]):
        order = stop.learned[random.permutation(len(stop.learned))]
        starts = range(0, len(order), given["batch"])
        trainer.pass_over(inputs, truth, [order[at : at + given["batch"]] for at in starts])
        if stop.judged is None:
            continue
        loss = trainer.loss(inputs[stop.judged], truth[stop.judged])
        if loss < best * (1 - _LEAST_GAIN):
            best, kept, waited = loss, trainer.weights(), 0
        elif (waited := waited + 1) >= given["patience"]:
            break
    return trainer.weights() if stop.judged is None else kept


@dataclass(frozen=True, slots=True)
class _Stop:
    """Rows to learn from, and those that say when to stop; None for no such."""

    learned: NDArray[np.intp]
    judged: NDArray[np.intp] | None

    @classmethod
    def chosen(cls, rows: Rows, seed: int) -> "_Stop":
        everything = np.arange(len(rows.values))
        count = 0 if rows.group is None else min(_FOLDS, len(np.unique(rows.group)))
        if count <= 1:
            return cls(everything, None)
        if rows.learns == "probability":
            splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
            divided = splitter.split(rows.values, rows.label, groups=rows.group)
        else:
            divided = GroupKFold(n_splits=count, shuffle=True, random_state=seed).split(rows.values, groups=rows.group)
        for learned, judged in divided:
            both = all(len(np.unique(rows.label[part])) > 1 for part in (learned, judged))
            if both or rows.learns != "probability":
                return cls(learned, judged)
        return cls(everything, None)  # all that failed would be left out, or nothing


def _odd(kernel: int) -> int:
    if kernel < 1 or kernel % 2 == 0:
        raise UseCaseError(f"kernel is {kernel}", where="parameters of the estimator", fix="it must be odd: 1, 3, 5")
    return kernel
