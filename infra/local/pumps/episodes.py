"""Stretches of time in which something is different: a pump starves, an uplink is down, a sensor is stuck."""

import numpy as np
from numpy.typing import NDArray


def episodes(random: np.random.Generator, minutes: int, every: float, length: float) -> NDArray[np.int64]:
    """Draw episodes one after the other until the period is full.

    Args:
        random: Source of chance; a longer period begins with the same episodes.
        minutes: Length of the period.
        every: Mean pause before an episode, minutes; infinite for none at all.
        length: Mean length of an episode, minutes (gamma distributed, rarely very short or long).

    Returns:
        First minute and minute after the last of each episode, shape ``(n, 2)``; the last one may end after the period.
    """
    found: list[tuple[int, int]] = []
    begin = 0.0
    while np.isfinite(every):
        begin += random.exponential(every)
        if begin >= minutes:
            break
        end = begin + 1.0 + random.gamma(3.0, length / 3.0)
        found.append((int(begin), int(end)))
        begin = end
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def pause_for(share: float, length: float) -> float:
    """Mean pause that makes episodes of mean ``length`` fill ``share`` of the time.

    Example:
        >>> pause_for(0.25, 10.0), pause_for(0.0, 10.0)
        (30.0, inf)
    """
    return length * (1.0 - share) / share if share > 0.0 else float("inf")
