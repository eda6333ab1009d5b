"""Modes of operation within normal rows: clouds so far apart that one description of both would fit neither.

A pump that normally runs at two speeds has two normal operations. Their common mean is none of them, and their common
spread is the way from one to the other, in which every fault drowns.

Two clouds are two modes where they lie ``_APART`` times as far from each other as either scatters along the line
between their centres. Halves of one cloud do not: an even one reaches 3.5, a normal one 2.6; runs of SKAB's valve 1,
which differ in temperature, reach 6.4, and its two pump speeds 12.

Clouds are found by k-means over all features, so two modes have to differ in a good part of them, as speeds and loads
do; what shows in one feature of many stays one cloud.
"""

import itertools

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

_APART = 8.0
_LEAST_ROWS = 30  # a spread of fewer says more about them than about the mode


def modes_of(scaled: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return the mode of each row, numbered from 0, shape ``(n,)``.

    Args:
        scaled: Rows in units of their spread, shape ``(n, F)``, without missing values.
        most: How many modes are looked for; fewer are found where fewer lie apart.

    Example:
        >>> random = np.random.default_rng(0)
        >>> idle, load = random.normal(0, 1, (60, 2)), random.normal(50, 1, (40, 2))
        >>> [np.bincount(modes_of(rows, most=3)).tolist() for rows in (np.vstack([idle, load]), idle)]
        [[60, 40], [60]]
    """
    for count in range(min(most, len(scaled) // _LEAST_ROWS), 1, -1):
        with threadpool_limits(limits=1):  # the order in which threads add up decides the last digits
            found = KMeans(count, n_init=10, random_state=0).fit(scaled).labels_
        clouds = [scaled[found == number] for number in range(count)]
        if all(_are_apart(one, other) for one, other in itertools.combinations(clouds, 2)):
            _, first, mode = np.unique(found, return_index=True, return_inverse=True)
            return np.asarray(np.argsort(np.argsort(first))[mode], dtype=np.intp)  # numbered as they come
    return np.zeros(len(scaled), dtype=np.intp)


def _are_apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    if min(len(one), len(other)) < _LEAST_ROWS:
        return False
    way = other.mean(axis=0) - one.mean(axis=0)
    length = float(np.sqrt(way @ way))
    scatter = max(float(np.std(cloud @ way)) for cloud in (one, other))  # along the way, times its length
    return length > 0 and length * length >= _APART * scatter
