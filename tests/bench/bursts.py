"""What a burst costs: kernel, numpy in its place, and scipy with the same statistics, a burst at a time."""

import time
from collections.abc import Callable

import numpy as np
from scipy.signal import welch
from scipy.stats import kurtosis

from features.burst import twiddles
from features.kernel import BURST_RESULTS, burst, burst_reference
from tests.bench.table import Row, of_runs

SAMPLES, RATE, SEGMENT, BURSTS = 2_560, 25_600.0, 1_024, 500
BANDS = np.array([[0, 40], [40, 80], [80, 160], [160, 513]], np.int64)


def microseconds(rounds: int) -> dict[str, list[float]]:
    """CPU microseconds a burst of 2,560 samples with four bands takes, by round; rounds are interleaved.

    Example:
        >>> {name: len(found) for name, found in microseconds(1).items()}
        {'kernel': 1, 'numpy': 1, 'scipy': 1}
    """
    samples = np.random.default_rng(0).normal(0, 1, (BURSTS, SAMPLES))
    pairs, result = twiddles(SEGMENT), np.empty(BURST_RESULTS + len(BANDS))

    def by_scipy(one: np.ndarray) -> None:
        rms = np.sqrt(np.mean(one**2))
        frequency, density = welch(one, RATE, nperseg=SEGMENT)
        result[:4] = rms, np.abs(one).max() / rms, kurtosis(one, fisher=False), frequency[density.argmax()]
        result[4:] = [density[first:end].sum() * RATE / SEGMENT for first, end in BANDS.tolist()]

    ways: dict[str, Callable[[np.ndarray], None]] = {
        "kernel": lambda one: burst(one, RATE, pairs, BANDS, result),
        "numpy": lambda one: burst_reference.burst(one, RATE, pairs, BANDS, result),
        "scipy": by_scipy,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            for one in samples:
                way(one)
            found[name].append((time.process_time() - begin) / BURSTS * 1e6)
    return found


def rows(rounds: int) -> list[Row]:
    """The cost of a burst by the kernel, with the others as peers."""
    found = microseconds(rounds)
    peers = {name: float(np.median(found[name])) for name in ("numpy", "scipy")}
    note = f"CPU, {SAMPLES} samples: RMS, crest, kurtosis, peak and four bands, segments of {SEGMENT}"
    return [of_runs("burst_cost", found["kernel"], "us", peers=peers, note=note)]
