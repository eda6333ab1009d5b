"""Whether probabilities come true: of the windows that score about 0.3, three in ten should be right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.intervals import share_interval

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Windows with similar probabilities.

    Attributes:
        low: The lowest probability of the bin.
        high: The first above it.
        windows: How many windows there are.
        foreseen: Their mean probability; NaN where there are none.
        happened: Share that came true; NaN where there are none.
        interval: 95 % interval of that share, as if each window were news.
    """

    low: float
    high: float
    windows: int
    foreseen: float
    happened: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes:
        bins: Ten of equal width.
        error: Expected calibration error (Naeini et al. 2015): mean distance of foreseen and happened, by windows.
    """

    bins: tuple[Bin, ...]
    error: float


def calibration(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> Calibration:
    """Hold probabilities against what happened.

    Args:
        score: Probabilities, shape ``(n,)``.
        positive: What came true, shape ``(n,)``.

    Example:
        >>> found = calibration(np.array([0.05, 0.05, 0.95, 0.95]), np.array([False, False, True, False]))
        >>> round(found.error, 3), found.bins[9].windows, found.bins[9].happened
        (0.25, 2, 0.5)
    """
    place = np.minimum((score * BINS).astype(np.intp), BINS - 1)
    windows = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        foreseen = np.bincount(place, score, BINS) / windows
        happened = np.bincount(place, positive, BINS) / windows
    apart = np.nan_to_num(np.abs(foreseen - happened)) * windows
    bins = tuple(
        Bin(
            number / BINS,
            (number + 1) / BINS,
            int(windows[number]),
            float(foreseen[number]),
            float(happened[number]),
            share_interval(round(float(happened[number]) * count) if count else 0, count),
        )
        for number, count in enumerate(windows.tolist())
    )
    return Calibration(bins, float(apart.sum() / max(len(score), 1)))
