"""How far values have moved from what a model was trained on: an effect size, never a p-value.

With thousands of windows every test finds a significant difference; what matters is how large it is. The *population
stability index* compares the shares of values between the deciles of the training rows, which travel in the manifest
of each bundle. By custom below 0.1 is calm, above 0.25 is a major shift.

Two habits of telemetry are allowed for: a decile edge that repeats is a single value that makes up at least that share
(counters that are mostly zero), and how much more is unknown, so the share nearest to what is seen is taken; and values
outside the training range count as classes of their own, of which training had none.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

CALM, MAJOR = 0.1, 0.25
DECILES = 10
_FLOOR = 0.01  # of a share: an empty decile says little, and its logarithm would say everything


def stability_index(edges: Sequence[float] | NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return the population stability index of values against deciles.

    Args:
        edges: The deciles of the reference, minimum and maximum included, shape ``(11,)``, not decreasing.
        values: What is compared, shape ``(n,)``; NaN is left out.

    Returns:
        0 for the same distribution, growing with the difference; NaN when either side has no values.

    Example:
        >>> deciles = np.linspace(0, 1, 11)
        >>> calm = np.linspace(0, 1, 5000)
        >>> round(stability_index(deciles, calm), 3), round(stability_index(deciles, calm + 0.5), 1)
        (0.0, 3.0)
    """
    known = np.sort(values[~np.isnan(values)])
    reference = np.asarray(edges, dtype=np.float64)
    if not len(known) or np.isnan(reference).any():
        return float("nan")
    points, first, count = np.unique(reference, return_index=True, return_counts=True)
    last = first + count - 1
    actual = np.searchsorted(known, points, side="right") / len(known)
    highest = np.where(count > 1, np.minimum(last + 1, DECILES), last) / DECILES
    expected = np.maximum.accumulate(np.clip(actual, last / DECILES, highest))
    below = np.searchsorted(known, points[0], side="left") / len(known)
    seen = np.concatenate([[below, actual[0] - below], np.diff(actual), [1 - actual[-1]]]).clip(_FLOOR)
    due = np.concatenate([[0.0, expected[0]], np.diff(expected), [0.0]]).clip(_FLOOR)
    return float(np.sum((seen - due) * np.log(seen / due)))


def stability_indices(
    names: Sequence[str], reference: Mapping[str, list[float]], values: NDArray[np.float64]
) -> dict[str, float]:
    """Return the index of each feature that has a reference.

    Args:
        names: Feature names, the columns of ``values``.
        reference: Deciles by name.
        values: Shape ``(n, F)``.
    """
    return {name: stability_index(reference[name], values[:, at]) for at, name in enumerate(names) if name in reference}
