"""Networks by Keras on TensorFlow (extra ``tensorflow``): the shapes, the training and the export of ``torch_nets``.

Keras' own ONNX export is not used: what is written comes from the weights, node by node, in float64 like the training.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.deep import Array, Autoencoder, Convolutional, Shape, Trainer
from pipelines.estimators.extras import demand, imported
from pipelines.estimators.network import Layer


class KerasTrainer:
    """A network of Keras under training."""

    def __init__(self, shape: Shape, seed: int) -> None:
        keras = imported("keras")
        keras.utils.set_random_seed(seed)
        imported("tensorflow").config.experimental.enable_op_determinism()
        self._network = _network(keras, shape)
        log = keras.losses.BinaryCrossentropy(from_logits=True)
        self._network.compile(
            optimizer=keras.optimizers.AdamW(shape.learning_rate, weight_decay=shape.decay),
            loss=log if shape.loss == "log" else keras.losses.MeanSquaredError(),
        )

    def pass_over(self, rows: Array, truth: Array, batches: Sequence[NDArray[np.intp]]) -> None:
        """See ``Trainer``."""
        for batch in batches:
            self._network.train_on_batch(rows[batch], truth[batch])

    def loss(self, rows: Array, truth: Array) -> float:
        """See ``Trainer``."""
        return float(self._network.evaluate(rows, truth, batch_size=4096, verbose=0))

    def weights(self) -> tuple[Layer, ...]:
        """See ``Trainer``."""
        held = [layer.get_weights() for layer in self._network.layers if layer.get_weights()]
        return tuple(
            Layer(kernel.astype(np.float64).reshape(-1, kernel.shape[-1]), bias.astype(np.float64))
            for kernel, bias in held
        )


def _network(keras: Any, shape: Shape) -> Any:
    layers = keras.layers
    start = keras.Input((shape.steps, shape.inputs) if shape.steps else (shape.inputs,), dtype="float64")
    current, reach = start, shape.kernel // 2
    for channels in shape.channels:
        ends = [layers.Cropping1D((0, shape.steps - 1), dtype="float64")(current)] * reach
        tail = [layers.Cropping1D((shape.steps - 1, 0), dtype="float64")(current)] * reach
        if reach:
            current = layers.Concatenate(axis=1, dtype="float64")([*ends, current, *tail])
        current = layers.Conv1D(channels, shape.kernel, activation="relu", dtype="float64")(current)
    if shape.steps:
        current = layers.Flatten(dtype="float64")(current)
    for outputs in shape.dense[:-1]:
        current = layers.Dense(outputs, activation="relu", dtype="float64")(current)
    return keras.Model(start, layers.Dense(shape.dense[-1], dtype="float64")(current))


class KerasCnn(Convolutional):
    """A 1-D convolutional network by Keras."""

    name: ClassVar[str] = "keras_cnn"
    needs: ClassVar[str] = "keras"

    def trainer(self, shape: Shape, seed: int) -> Trainer:
        """Return a new network."""
        demand(self.needs, self.name)
        return KerasTrainer(shape, seed)


class KerasAutoencoder(Autoencoder):
    """An autoencoder by Keras."""

    name: ClassVar[str] = "keras_autoencoder"
    needs: ClassVar[str] = "keras"

    def trainer(self, shape: Shape, seed: int) -> Trainer:
        """Return a new network."""
        demand(self.needs, self.name)
        return KerasTrainer(shape, seed)
