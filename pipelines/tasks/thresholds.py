"""Where to put a threshold: between two scores that are further apart than what two machines may differ by."""

import numpy as np
from numpy.typing import NDArray

NOISE = 1e-6  # what two machines may differ by in a score, as a share of its range
DIAL_POINTS = 24


def cuts_between(
    score: NDArray[np.float64], low: float = 0.0, high: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the thresholds that separate scores safely, ascending, and the width of the gap each lies in.

    Args:
        score: The scores, shape ``(n,)``.
        low: The lowest score there can be.
        high: The highest.

    The last one is above every score.
    """
    values = np.unique(score)
    gaps = np.diff(values)
    safe = gaps > 2 * NOISE * (high - low)
    top = (values[-1] + high) / 2
    cuts = np.append((values[:-1] + gaps / 2)[safe], top)
    return cuts, np.append(gaps[safe], high - values[-1])


def nearest_cut(score: NDArray[np.float64], wanted: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return the safe threshold that is nearest to a wanted one.

    Example:
        >>> nearest_cut(np.array([0.1, 0.3, 0.3000001, 0.7]), 0.3)
        0.2
    """
    cuts, _ = cuts_between(score, low, high)
    return float(cuts[np.argmin(np.abs(cuts - wanted))])


def spread(cuts: NDArray[np.float64], points: int = DIAL_POINTS) -> NDArray[np.intp]:
    """Return indices of at most ``points`` cuts: half of them evenly by rank, half evenly by score."""
    by_rank = np.linspace(0, len(cuts) - 1, points // 2).round().astype(np.intp)
    by_score = np.searchsorted(cuts, np.linspace(cuts[0], cuts[-1], points // 2)).clip(max=len(cuts) - 1)
    return np.unique(np.concatenate([by_rank, by_score]))
