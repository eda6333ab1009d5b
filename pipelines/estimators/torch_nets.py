"""Networks by torch (extra ``torch``): on one thread, in float64, with deterministic algorithms.

Same rows, parameters and seed give the same weights however many threads there are. Another processor may add in
another order and differ in last bits, as with every library that multiplies matrices.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.deep import Array, Autoencoder, Convolutional, Shape, Trainer
from pipelines.estimators.extras import demand, imported
from pipelines.estimators.network import Layer


class TorchTrainer:
    """A network of torch under training.

    Args:
        network: A module from rows to what the last layer says, in float64.
        shape: How it learns.
    """

    def __init__(self, network: Any, shape: Shape) -> None:
        torch = imported("torch")
        self.network = network
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=shape.learning_rate, weight_decay=shape.decay)
        self._loss = torch.nn.BCEWithLogitsLoss() if shape.loss == "log" else torch.nn.MSELoss()

    @classmethod
    def of(cls, shape: Shape, seed: int) -> "TorchTrainer":
        """Return a new network of a shape."""
        with alone(seed):
            return cls(_network(shape).double(), shape)

    def pass_over(self, rows: Array, truth: Array, batches: Sequence[NDArray[np.intp]]) -> None:
        """See ``Trainer``."""
        torch = imported("torch")
        with alone():
            self.network.train()
            for batch in batches:
                self._optimizer.zero_grad()
                self._loss(self.network(torch.from_numpy(rows[batch])), torch.from_numpy(truth[batch])).backward()
                self._optimizer.step()

    def loss(self, rows: Array, truth: Array) -> float:
        """See ``Trainer``."""
        torch = imported("torch")
        with alone(), torch.no_grad():
            self.network.eval()
            return float(self._loss(self.network(torch.from_numpy(rows)), torch.from_numpy(truth)))

    def weights(self) -> tuple[Layer, ...]:
        """See ``Trainer``."""
        held = {name: value.detach().numpy().copy() for name, value in self.network.named_parameters()}
        weights = [(value, held[name.replace("weight", "bias")]) for name, value in held.items() if "weight" in name]
        return tuple(_layer(weight, bias) for weight, bias in weights)


@contextlib.contextmanager
def alone(seed: int | None = None) -> Iterator[None]:
    """Let torch use one thread and deterministic algorithms; with a seed, for its random numbers too.

    Everything is as before afterwards.
    """
    torch = imported("torch")
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    try:
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=strict)


def _network(shape: Shape) -> Any:
    nn = imported("torch").nn
    layers, width = [], shape.inputs
    if shape.steps:
        layers.append(_turned())
        for channels in shape.channels:
            convolution = nn.Conv1d(width, channels, shape.kernel, padding=shape.kernel // 2, padding_mode="replicate")
            layers += [convolution, nn.ReLU()]
            width = channels
        layers += [_turned(), nn.Flatten()]
        width *= shape.steps
    for number, outputs in enumerate(shape.dense):
        layers += [*([nn.ReLU()] if number else []), nn.Linear(width, outputs)]
        width = outputs
    return nn.Sequential(*layers)


def _turned() -> Any:
    """A module that swaps the axes of steps and channels: torch convolves over the last."""
    torch = imported("torch")

    class Turned(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return rows.transpose(1, 2)

    return Turned()


def _layer(weight: Array, bias: Array) -> Layer:
    if weight.ndim == 3:  # noqa: PLR2004 - a convolution holds (outputs, channels, kernel)
        return Layer(weight.transpose(2, 1, 0).reshape(-1, len(weight)), bias)
    return Layer(np.ascontiguousarray(weight.T), bias)


class TorchCnn(Convolutional):
    """A 1-D convolutional network by torch."""

    name: ClassVar[str] = "torch_cnn"
    needs: ClassVar[str] = "torch"

    def trainer(self, shape: Shape, seed: int) -> Trainer:
        """Return a new network."""
        demand(self.needs, self.name)
        return TorchTrainer.of(shape, seed)


class TorchAutoencoder(Autoencoder):
    """An autoencoder by torch."""

    name: ClassVar[str] = "torch_autoencoder"
    needs: ClassVar[str] = "torch"

    def trainer(self, shape: Shape, seed: int) -> Trainer:
        """Return a new network."""
        demand(self.needs, self.name)
        return TorchTrainer.of(shape, seed)
