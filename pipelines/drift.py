"""How far values have moved from what a model was trained on: effect sizes, never a p-value.

With thousands of windows every test finds a significant difference; what matters is how large it is. Two sizes are
told, both against deciles: of the training rows, which travel in the manifest of each bundle, and of the test's scores:

* the *population stability index* compares the shares of values between the deciles. By custom below 0.1 is calm,
  above 0.25 is a major shift;
* the *distance* is Wasserstein's, of the middle 80 %, divided by the scale of the reference (its standard deviation, if
  it is normal): by how much values have moved in their own unit. Of the tails deciles know too little.

The index alone cries wolf where values are so narrow that nothing follows from a move, such as a setpoint that is off
by a thousandth; so what has moved *far* has a major index and a distance that is worth mentioning.

Two habits of telemetry are allowed for: a decile edge that repeats is a single value that makes up at least that share
(counters that are mostly zero), and how much more is unknown, so the share nearest to what is seen is taken; and values
outside the training range count as classes of their own, of which training had none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

CALM, MAJOR = 0.1, 0.25
WORTH_MENTIONING = 0.1
DECILES = 10
_FLOOR = 0.01  # of a share: an empty decile says little, and its logarithm would say everything
_SHARES = np.linspace(0, 1, DECILES + 1)
_MIDDLE = np.linspace(0.1, 0.9, 81)
_NORMAL = 2.5631  # standard deviations between the first and the ninth decile


@dataclass(frozen=True, slots=True)
class Shift:
    """How far something has moved.

    Attributes:
        index: Population stability index; NaN where it cannot be told.
        distance: Wasserstein distance in scales of the reference; NaN where the reference is a single value.
        values: How many values this rests on.
    """

    index: float
    distance: float
    values: int

    def to_json(self) -> dict[str, float | int | None]:
        """The same for JSON, which has no NaN."""
        told = {name: None if math.isnan(size) else round(size, 4) for name, size in self._sizes.items()}
        return {**told, "values": self.values}

    @property
    def _sizes(self) -> dict[str, float]:
        return {"index": self.index, "distance": self.distance}


NOWHERE = Shift(math.nan, math.nan, 0)
"""Of what cannot be compared."""


def shift(edges: Sequence[float] | NDArray[np.float64], values: NDArray[np.float64]) -> Shift:
    """Compare values with the deciles of a reference.

    Args:
        edges: The deciles, minimum and maximum included, shape ``(11,)``, not decreasing.
        values: What is compared, shape ``(n,)``; NaN is left out.

    Returns:
        An index and a distance of 0 for the same distribution, growing with the difference.

    Example:
        >>> deciles = np.linspace(0, 1, 11)
        >>> moved = shift(deciles, np.linspace(0, 1, 5000) + 0.5)
        >>> round(moved.index, 1), round(moved.distance, 1), moved.values
        (3.0, 1.6, 5000)
    """
    known = np.sort(values[~np.isnan(values)])
    reference = np.asarray(edges, dtype=np.float64)
    if not len(known) or np.isnan(reference).any():
        return Shift(math.nan, math.nan, len(known))
    return Shift(_index(reference, known), _distance(reference, known), len(known))


def shifts(names: Sequence[str], reference: Mapping[str, list[float]], values: NDArray[np.float64]) -> dict[str, Shift]:
    """Compare each feature that has a reference.

    Args:
        names: Feature names, the columns of ``values``.
        reference: Deciles by name.
        values: Shape ``(n, F)``.
    """
    return {name: shift(reference[name], values[:, at]) for at, name in enumerate(names) if name in reference}


def deciles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deciles of values, minimum and maximum included; NaN where there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.full(DECILES + 1, np.nan)
    return np.maximum.accumulate(np.quantile(known, _SHARES))


def _index(reference: NDArray[np.float64], known: NDArray[np.float64]) -> float:
    points, first, count = np.unique(reference, return_index=True, return_counts=True)
    last = first + count - 1
    actual = np.searchsorted(known, points, side="right") / len(known)
    highest = np.where(count > 1, np.minimum(last + 1, DECILES), last) / DECILES
    expected = np.maximum.accumulate(np.clip(actual, last / DECILES, highest))
    below = np.searchsorted(known, points[0], side="left") / len(known)
    seen = np.concatenate([[below, actual[0] - below], np.diff(actual), [1 - actual[-1]]]).clip(_FLOOR)
    due = np.concatenate([[0.0, expected[0]], np.diff(expected), [0.0]]).clip(_FLOOR)
    return float(np.sum((seen - due) * np.log(seen / due)))


def _distance(reference: NDArray[np.float64], known: NDArray[np.float64]) -> float:
    scale = (reference[-2] - reference[1]) / _NORMAL or reference[-1] - reference[0]
    if scale <= 0:
        return math.nan
    # Both sides are read off their deciles: between two heaps of values a straight line is wrong, but wrong alike.
    seen = known[np.rint(_SHARES * (len(known) - 1)).astype(np.intp)]
    due, seen = (np.interp(_MIDDLE, _SHARES, edges) for edges in (reference, seen))
    return float(wasserstein_distance(seen, due)) / float(scale)
