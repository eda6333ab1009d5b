"""From an estimator to a model with scores: fitted on all training windows, calibrated on windows it had not seen.

Training devices are left out by thirds, in turn; what the models fitted without them say of them is the *rehearsal*, by
which calibration is learned and the threshold chosen. Where there is one device only, stretches of its time are left
out instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from pipelines.estimators import Estimator, Rows, create
from pipelines.export import write
from pipelines.links import Clipped, Isotonic, Link, Ratio, Sigmoid
from pipelines.tasks import Learns
from pipelines.windows import Windows

Calibration = Literal["sigmoid", "isotonic"]
_FOLDS = 3
_STRETCHES = 9  # of time, where one device is all there is
_KNOTS = 32  # of an isotonic calibration at most
CONTROL_QUANTILE = 0.99
"""Share of normal operation within the control limit of an anomaly."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to fit and how.

    Attributes:
        estimator: What is fitted.
        learns: What it learns.
        names: Feature names, in the order of the columns.
        parameters: Those that differ from its defaults.
        calibration: From margins to probabilities.
        bounds: The lowest and the highest quantity there can be; those of the training labels where there are none.
        seed: Of fits and folds.
    """

    estimator: str
    learns: Learns
    names: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration = "sigmoid"
    bounds: tuple[float, float] | None = None
    seed: int = 0

    def rows(self, windows: Windows) -> Rows:
        """Return windows as estimators take them."""
        return Rows(self.learns, self.names, windows.values, windows.label, groups_of(windows))

    def fitted(self, windows: Windows) -> Estimator:
        """Return a new estimator, fitted on windows."""
        estimator = create(self.estimator, self.learns)
        estimator.fit(self.rows(windows), self.parameters, self.seed)
        return estimator


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted estimator with its link: the float64 reference of what is served.

    Attributes:
        estimator: Fitted on all training windows.
        link: From margins to scores.
        rehearsed: Score of each training window by a model that had not seen its device, shape ``(n,)``: what the
            threshold is chosen by.
    """

    estimator: Estimator
    link: Link
    rehearsed: NDArray[np.float64]

    def score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores for rows ``(n, F)``, rounded to float32 first as serving does."""
        return self.link(self.estimator.margin(values.astype(np.float32).astype(np.float64)))

    def onnx(self, width: int) -> bytes:
        """Write the model as it is served, for rows of ``width`` features."""
        return write(self.estimator.nodes(), self.link, width)


def fit(recipe: Recipe, train: Windows) -> Fitted:
    """Fit an estimator and its link.

    Raises:
        UnknownNameError: There is no such estimator.
        UseCaseError: It cannot learn that.
    """
    estimator = recipe.fitted(train)
    margin = estimator.margin(train.values)
    for learned, left_out in folds(train, recipe.learns, recipe.seed):
        margin[left_out] = recipe.fitted(train.select(learned)).margin(train.values[left_out])
    link = _link(recipe, margin, train.label)
    return Fitted(estimator, link, link(margin))


def _link(recipe: Recipe, margin: NDArray[np.float64], label: NDArray[np.float64]) -> Link:
    if recipe.learns == "normality":
        limit = float(np.quantile(margin, CONTROL_QUANTILE))
        return Ratio(limit if limit > 0 else float(np.finfo(np.float32).tiny))
    if recipe.learns == "quantity":
        return Clipped(*(recipe.bounds or (float(label.min()), float(label.max()))))
    return calibrate(margin, label) if recipe.calibration == "sigmoid" else isotonic(margin, label)


def folds(train: Windows, learns: Learns, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Divide the training devices in three: rows to learn from and rows left out, for each third that allows it.

    A third that holds all failures cannot be left out; where only one device ever failed, nothing can.
    """
    groups = groups_of(train)
    count = min(_FOLDS, len(np.unique(groups)))
    if count == 1:
        return []
    if learns == "probability":
        splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
        divided = splitter.split(train.values, train.label, groups=groups)
        return [(learned, left_out) for learned, left_out in divided if train.label[learned].any()]
    return list(GroupKFold(n_splits=count, shuffle=True, random_state=seed).split(train.values, groups=groups))


def groups_of(windows: Windows) -> NDArray[np.intp]:
    """Return which rows are left out together, by number: of one device, or one stretch of time of the only one."""
    names, groups = np.unique(windows.device, return_inverse=True)
    if len(names) == 1:
        rank = np.argsort(np.argsort(windows.end, kind="stable"), kind="stable")
        groups = rank * _STRETCHES // len(windows)
    return np.asarray(groups, dtype=np.intp)


def calibrate(margin: NDArray[np.float64], label: NDArray[np.float64]) -> Sigmoid:
    """Fit a sigmoid from margins to probabilities (Platt 1999, with his smoothed labels against overconfidence).

    A margin that does not grow with the danger gets slope 0: every row then scores the base rate, which no gate passes.

    Args:
        margin: Margins of rows that were not fitted on, shape ``(n,)``.
        label: Their labels, 0 or 1, both present.

    Example:
        >>> sigmoid = calibrate(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 0.0, 1.0]))
        >>> bool(sigmoid.slope > 0)
        True
    """
    positive = int(label.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(label) - positive + 2)
    truth = np.where(label == 1, high, low)
    rows, weights = np.tile(margin, 2).reshape(-1, 1), np.concatenate([truth, 1 - truth])
    center, scale = float(margin.mean()), float(margin.std()) or 1.0
    # Smoothed labels are doubled rows with weights: liblinear-free, convex, no penalty.
    fitted = LogisticRegression(C=np.inf, max_iter=500).fit(
        (rows - center) / scale, np.repeat([1, 0], len(label)), sample_weight=weights
    )
    slope = float(fitted.coef_[0, 0]) / scale
    if slope <= 0:
        return Sigmoid(0.0, float(np.log(truth.mean() / (1 - truth.mean()))))
    return Sigmoid(slope, float(fitted.intercept_[0]) - slope * center)


def isotonic(margin: NDArray[np.float64], label: NDArray[np.float64]) -> Isotonic:
    """Fit a rising line from margins to probabilities (Zadrozny and Elkan 2002), through at most 32 knots.

    The steps that isotonic regression finds become knots in their middles, so that the line has slopes that two
    machines agree on, and no step that a rounding could fall down.

    Args:
        margin: Margins of rows that were not fitted on, shape ``(n,)``.
        label: Their labels, 0 or 1, both present.

    Example:
        >>> found = isotonic(np.arange(6.0), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]))
        >>> found.margins, found.shares
        ((0.5, 2.5, 4.5), (0.0, 0.5, 1.0))
    """
    order = np.argsort(margin, kind="stable")
    shares = IsotonicRegression(out_of_bounds="clip").fit(margin, label).predict(margin[order])
    steps, first, count = np.unique(shares, return_index=True, return_counts=True)
    middle = np.array([margin[order][a : a + n].mean() for a, n in zip(first, count, strict=True)])
    kept = np.unique(np.linspace(0, len(steps) - 1, _KNOTS).round().astype(np.intp))
    return Isotonic(tuple(middle[kept].tolist()), tuple(steps[kept].tolist()))
