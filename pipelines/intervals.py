"""How sure a figure is: 95 % intervals of shares, of rates, and of anything by drawing devices anew."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Events
from pipelines.windows import Windows

_Z = 1.96  # two-sided 95 %
_DRAWS, _FEWEST_DRAWS = 200, 40
_WINDOWS_IN_ALL = 20_000_000


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927: honest for few events).

    Example:
        >>> low, high = share_interval(4, 5)
        >>> round(low, 2), round(high, 2)
        (0.38, 0.96)
    """
    if whole == 0:
        return 0.0, 1.0
    share, z2 = part / whole, _Z * _Z
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    reach = _Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def rate_interval(count: int, exposure: float) -> tuple[float, float]:
    """Return the interval of a rate of rare events (Byar's approximation to the exact Poisson interval).

    Example:
        >>> low, high = rate_interval(0, 10.0)
        >>> round(low, 2), round(high, 2)
        (0.0, 0.37)
    """
    if exposure <= 0:
        return 0.0, math.inf
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    up = count + 1
    high = up * (1 - 1 / (9 * up) + _Z / (3 * math.sqrt(up))) ** 3
    return max(0.0, low) / exposure, high / exposure


@dataclass(frozen=True, slots=True)
class Draw:
    """Devices drawn anew.

    Attributes:
        rows: Rows of the windows, device by device; those of a device that was drawn twice stand there twice.
        device: Which draw each of them belongs to, shape ``(n,)``: copies of a device are devices of their own.
        events: The events of the drawn devices, by the same numbers.
    """

    rows: NDArray[np.intp]
    device: NDArray[np.intp]
    events: Events


def by_devices(
    windows: Windows, events: Events, figures: Callable[[Draw], dict[str, float]], *, seed: int = 0, most: int = _DRAWS
) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure when devices are drawn anew with replacement (Efron 1979, clustered).

    Windows of one device resemble each other, so whole devices are drawn: drawing windows would make the interval as
    narrow as if each of them were news.

    Args:
        windows: The windows that were judged.
        events: The events behind their labels.
        figures: Gives the figures of a draw.
        seed: Of the draws.
        most: How many draws there are at most; fewer of more than 100,000 windows.

    Returns:
        Low and high by figure, the 2.5 and the 97.5 per cent quantile; nothing with fewer than two devices, NaN for
        both where fewer than half of the draws have that figure.
    """
    names, codes = np.unique(windows.device, return_inverse=True)
    if len(names) < 2:  # noqa: PLR2004 - from one device nothing can be drawn
        return {}
    random = np.random.default_rng(seed)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.searchsorted(codes[order], np.arange(1, len(names))))
    own = {place: np.flatnonzero(events.device == name) for place, name in enumerate(names) if name in events.device}
    draws = min(most, max(_FEWEST_DRAWS, _WINDOWS_IN_ALL // len(windows)))
    drawn = []
    for _ in range(draws):
        chosen = random.integers(len(names), size=len(names)).tolist()
        sizes = [len(parts[place]) for place in chosen]
        kept = [own.get(place, np.empty(0, dtype=np.intp)) for place in chosen]
        again = np.concatenate(kept)
        copies = np.repeat(np.arange(len(chosen)), [len(each) for each in kept])
        told = Events(copies, events.time[again], events.kind[again], events.known_at[again])
        rows = np.concatenate([parts[place] for place in chosen])
        drawn.append(figures(Draw(rows, np.repeat(np.arange(len(chosen)), sizes), told)))
    return {name: _middle(np.array([each[name] for each in drawn])) for name in drawn[0]}


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) * 2 < len(values):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
