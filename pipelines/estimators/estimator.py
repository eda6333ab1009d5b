"""What an estimator is: the small interface behind which every kind of model stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipelines.export import Tree
from pipelines.links import Nodes
from pipelines.tasks import Learns

Parameters = Mapping[str, Any]
# A range of two ints or two floats (searched on a logarithmic scale), or a list of choices.
Space = Mapping[str, tuple[float, float] | list[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """What an estimator is fitted on.

    Attributes:
        learns: What it is to learn.
        names: Feature names, in the order of the columns.
        values: Shape ``(n, F)``, numbers that float32 can hold, NaN where a feature had no data.
        label: Shape ``(n,)``: 0 or 1, a quantity, or 0 throughout where normality is learned.
        group: Number of the device of each row, or of the stretch of time where there is one device, shape ``(n,)``:
            what is left out together where a fit is stopped early. None where it is not known.
    """

    learns: Learns
    names: tuple[str, ...]
    values: NDArray[np.float64]
    label: NDArray[np.float64]
    group: NDArray[np.intp] | None = None


class Estimator(Protocol):
    """A model that can be fitted, asked and written as ONNX.

    Attributes:
        name: Its name in use cases.
        learns: What it can learn.
        defaults: Parameters used where none are given.
        space: Where the search looks.
    """

    name: ClassVar[str]
    learns: ClassVar[frozenset[Learns]]
    defaults: ClassVar[Parameters]
    space: ClassVar[Space]

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit. The same rows, parameters and seed give the same model, on any number of threads."""

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the margin of each row, shape ``(n,)``.

        It grows with the probability, is the quantity, or grows with the distance from normal and is not below zero.
        """

    def nodes(self) -> Nodes:
        """Write the fitted model from ``wide``, float64 ``(n, F)``, to ``margin``, float64 ``(n, 1)``."""

    def thresholds(self) -> list[tuple[int, float]]:
        """Return where decisions flip: pairs of feature index and threshold, without doubles."""


@runtime_checkable
class Wooded(Protocol):
    """An estimator made of trees over the features as they are: its golden rows are chosen to reach their leaves."""

    def trees(self) -> list[Tree]:
        """Return the trees."""


def split_points(trees: list[Tree]) -> list[tuple[int, float]]:
    """Return the splits of trees, sorted, each once."""
    points = {
        (int(feature), float(threshold))
        for tree in trees
        for feature, threshold in zip(tree.feature[~tree.is_leaf], tree.threshold[~tree.is_leaf], strict=True)
    }
    return sorted(points)
