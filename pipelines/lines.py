"""Lines over time as SVG path data: readings thinned to what can be seen, placed over a width in pixels."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.slices import rounded

WIDTH = 720.0
_POINTS = 400
_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class SignalLine:
    """The readings of a signal as path data, its normal band from top to bottom, and its range."""

    path: str
    band: tuple[float, float] | None
    low: str
    high: str


def across(times: ArrayLike, since: int, until: int) -> NDArray[np.float64]:
    """Return places of moments over the width, pixels."""
    return (np.asarray(times, dtype=np.float64) - since) / max(until - since, 1) * WIDTH


def signal_line(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    stretch: tuple[int, int],
    normal: tuple[float, float],
    height: float,
) -> SignalLine:
    """Draw the readings of a signal over a stretch of time.

    Args:
        times: When they were taken, shape ``(n,)``, UTC microseconds.
        values: The readings, shape ``(n,)``; NaN where there is none.
        stretch: Begin and end, UTC microseconds.
        normal: The normal band of the signal; NaN where it is unknown.
        height: Of the picture, pixels.
    """
    known = ~np.isnan(values)
    banded = [edge for edge in normal if not np.isnan(edge)]
    low, high = (float(f([*values[known], *banded])) if known.any() else 0.0 for f in (np.min, np.max))
    room = (high - low or 1.0) * _MARGIN

    def y(levels: ArrayLike) -> NDArray[np.float64]:
        return height * (1 - (np.asarray(levels, dtype=np.float64) - low + room) / (high - low + 2 * room))

    kept, levels = thinned(times[known], values[known])
    band = (round(float(y(normal[1])), 1), round(float(y(normal[0])), 1)) if len(banded) == len(normal) else None
    return SignalLine(
        path(across(kept, *stretch), y(levels)), band, rounded(low, high - low), rounded(high, high - low)
    )


def thinned(times: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep the smallest and the largest value of each slice of time: peaks survive, noise becomes a band.

    Example:
        >>> times, values = thinned(np.arange(10_000), np.sin(np.arange(10_000.0)))
        >>> len(times) <= 402, bool(values.max() > 0.999)
        (True, True)
    """
    if len(times) <= _POINTS:
        return times, values
    starts = np.linspace(0, len(times), _POINTS // 2 + 1).astype(np.intp)
    pairs = itertools.pairwise(starts)
    kept = [int(a + f(values[a:b])) for a, b in pairs for f in (np.argmin, np.argmax)]
    order = np.unique(kept)
    return times[order], values[order]


def path(x: NDArray[np.float64], y: NDArray[np.float64], widest: float = np.inf) -> str:
    """Write a line as SVG path data; it is broken where two points are further apart than ``widest``.

    Example:
        >>> path(np.array([0.0, 1.25, 9.0]), np.array([2.0, 3.0, 3.0]), widest=5.0)
        'M0.0,2.0L1.2,3.0M9.0,3.0'
    """
    lifted = np.diff(x, prepend=-np.inf) > widest
    lifted[:1] = True
    return "".join(f"{'M' if up else 'L'}{a:.1f},{b:.1f}" for up, a, b in zip(lifted, x, y, strict=True))
