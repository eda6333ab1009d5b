"""What travels in a bundle for later comparison: deciles of the training rows, and golden rows.

Golden rows are what a machine must answer correctly before a model may serve on it. A random sample would leave out
exactly what breaks between machines, so they are chosen: ordinary rows over the whole range of scores, rows with
missing values, the edges of what was seen, rows one float32 step around the splits of the trees, and rows that come
out at leaves which no other golden row reaches.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators import Wooded
from pipelines.estimators.estimator import split_points
from pipelines.export import Tree
from pipelines.fitting import Fitted
from serving.baseline import Baseline
from serving.bundle import Golden

ORDINARY, GAPPY, AT_SPLITS, AT_LEAVES = 24, 16, 15, 22  # with the edges and the empty row: 80 at most
_POOL = 2000  # rows among which those for leaves are looked for
_EDGES = 11
_GAP_SHARE = 0.25


def deciles(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return eleven edges per feature, minimum and maximum included; NaN where a feature was never there.

    Args:
        names: Feature names.
        values: Training rows, shape ``(n, F)``.

    Example:
        >>> deciles(["flow_mean_1h"], np.arange(11.0).reshape(-1, 1))["flow_mean_1h"][:3]
        [0.0, 1.0, 2.0]
    """
    result = {}
    for name, column in zip(names, values.T, strict=True):
        known = column[~np.isnan(column)]
        edges = np.quantile(known, np.linspace(0, 1, _EDGES)) if len(known) else np.full(_EDGES, np.nan)
        result[name] = np.maximum.accumulate(edges).tolist()
    return result


def baseline(names: Sequence[str], values: NDArray[np.float64]) -> Baseline:
    """Return what else is known of the training rows: how many there are, and how much is missing.

    Args:
        names: Feature names.
        values: Training rows, shape ``(n, F)``.
    """
    shares = np.isnan(values).mean(axis=0)
    return Baseline(len(values), {name: round(float(share), 6) for name, share in zip(names, shares, strict=True)})


def golden_rows(fitted: Fitted, values: NDArray[np.float64], seed: int, tolerance: float = 1e-6) -> Golden:
    """Choose golden rows and score them with the float64 reference.

    Args:
        fitted: The model.
        values: Rows that were not fitted on, shape ``(n, F)``.
        seed: Decides which of them are used.
        tolerance: Largest difference of a score that another machine may show.
    """
    random = np.random.default_rng(seed)
    ranked = np.argsort(fitted.score(values), kind="stable")
    ordinary = values[ranked[np.linspace(0, len(ranked) - 1, ORDINARY).round().astype(int)]]
    rows = np.vstack(
        [
            ordinary,
            with_gaps(values, GAPPY, random),
            at_splits(values, fitted.estimator.thresholds(), AT_SPLITS, random),
            _edges(values),
            np.full((1, values.shape[1]), np.nan),
        ]
    )
    rows = rows.astype(np.float32).astype(np.float64)
    if isinstance(fitted.estimator, Wooded) and (trees := fitted.estimator.trees()):
        rows = np.vstack([rows, at_leaves(values, rows, trees, AT_LEAVES, random)])
    return Golden(rows, fitted.score(rows), tolerance)


def at_leaves(
    values: NDArray[np.float64],
    chosen: NDArray[np.float64],
    trees: list[Tree],
    count: int,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Return at most ``count`` rows that come out at leaves which ``chosen`` leave out, those at most leaves first.

    Rows as they are, rows with gaps, and rows beside splits are looked through; a leaf that none of them reaches stays
    out.
    """
    picked = values[random.permutation(len(values))[:_POOL]]
    splits = split_points(trees)
    pool = np.vstack([picked, with_gaps(values, _POOL // 2, random), at_splits(values, splits, _POOL, random)])
    pool = pool.astype(np.float32).astype(np.float64)
    sizes = [len(tree.left) for tree in trees]
    first = np.cumsum([0, *sizes])
    missing = np.ones(first[-1], dtype=np.bool_)
    missing[leaves_of(trees, chosen) + first[:-1]] = False
    reached = leaves_of(trees, pool) + first[:-1]
    found: list[int] = []
    while len(found) < count:
        gain = missing[reached].sum(axis=1)
        best = int(gain.argmax())
        if not gain[best]:
            break
        found.append(best)
        missing[reached[best]] = False
    return pool[found]


def leaves_of(trees: list[Tree], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return at which node of each tree each row comes out, shape ``(n, trees)``.

    Example:
        >>> nothing = np.zeros(3)
        >>> left, right = np.array([1, -1, -1]), np.array([2, -1, -1])
        >>> stump = Tree(np.zeros(3, np.int64), nothing, np.zeros(3, np.bool_), left, right, nothing)
        >>> leaves_of([stump], np.array([[-1.0], [1.0], [np.nan]])).ravel().tolist()
        [1, 2, 2]
    """
    found = np.zeros((len(values), len(trees)), dtype=np.intp)
    for number, tree in enumerate(trees):
        at = found[:, number]
        for _ in range(len(tree.left)):
            inner = np.flatnonzero(~tree.is_leaf[at])
            if not len(inner):
                break
            node = at[inner]
            value = values[inner, tree.feature[node]]
            left = np.where(np.isnan(value), tree.missing_left[node], value <= tree.threshold[node])
            at[inner] = np.where(left, tree.left[node], tree.right[node])
    return found


def with_gaps(values: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return ``count`` of the rows with a quarter of their values taken away."""
    rows = values[random.integers(len(values), size=count)].copy()
    rows[random.random(rows.shape) < _GAP_SHARE] = np.nan
    return rows


def at_splits(
    values: NDArray[np.float64], thresholds: list[tuple[int, float]], count: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return about ``count`` of the rows with one value moved onto a split, or one float32 step below or above it."""
    usable = [(feature, np.float32(at)) for feature, at in thresholds if abs(at) < np.finfo(np.float32).max]
    made = []
    for index in random.permutation(len(usable))[: -(-count // 3)]:
        feature, at = usable[index]
        for value in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            row = values[random.integers(len(values))].copy()
            row[feature] = value
            made.append(row)
    return np.array(made[:count]).reshape(-1, values.shape[1])


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # fmin and fmax skip missing values and stay silent where a column holds nothing else.
    return np.vstack([np.fmin.reduce(values), np.fmax.reduce(values)])
