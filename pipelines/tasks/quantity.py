"""How answers that are quantities are judged: remaining life, and the forecast of a feature."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Question
from pipelines.rules import Alerting
from pipelines.tasks.measures import Measure
from pipelines.tasks.span import Learns, Span
from pipelines.tasks.thresholds import nearest_cut
from pipelines.windows import Windows

_EARLY, _LATE = 13.0, 10.0  # of the PHM 2008 score, in units of the label
_ERRORS = (
    Measure("rmse", "root mean squared error", "lower", "label"),
    Measure("mae", "mean absolute error", "lower", "label"),
)
_EXPLAINED = Measure("r2", "share of the variance explained")
_EARLY_PERCENT, _LATE_PERCENT = 20.0, 5.0  # of the PHM 2012 score: errors that halve the accuracy


@dataclass(frozen=True, slots=True)
class QuantityMetrics:
    """The numbers of one model on one set of windows, in the unit of the label. Figures of nothing are NaN.

    Attributes:
        windows: Windows measured.
        devices: Devices they are of.
        rmse: Root of the mean squared error.
        mae: Mean absolute error.
        bias: Mean of foreseen less true; above zero is too late for a remaining life.
        r2: Share of the variance that is explained.
        score: Sum over windows of ``exp(d/10) - 1`` for a life foreseen ``d`` too long, ``exp(-d/13) - 1`` for one too
            short (Saxena et al. 2008): being late costs more than being early. Lower is better.
    """

    windows: int
    devices: int
    rmse: float
    mae: float
    bias: float
    r2: float
    score: float

    @property
    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {name: float(value) for name, value in asdict(self).items()}


def measure(windows: Windows, score: NDArray[np.float64]) -> QuantityMetrics:
    """Measure a model that foresees quantities.

    Args:
        windows: Labelled windows.
        score: What was foreseen, shape ``(n,)``, in the unit of the label.

    Example:
        >>> windows = Windows(np.array(["a", "b"]), np.array([1, 2]), np.zeros((2, 1)), np.array([50.0, 20.0]))
        >>> found = measure(windows, np.array([60.0, 7.0]))
        >>> round(found.rmse, 2), round(found.score, 3)
        (11.6, 3.437)
    """
    error, truth = score - windows.label, windows.label
    if not len(error):
        return QuantityMetrics(0, 0, *[math.nan] * 5)
    spread = float(np.sum((truth - truth.mean()) ** 2))
    with np.errstate(over="ignore"):
        penalty = np.where(error < 0, np.exp(-error / _EARLY), np.exp(error / _LATE)) - 1
    return QuantityMetrics(
        windows=len(windows),
        devices=len(np.unique(windows.device)),
        rmse=float(np.sqrt(np.mean(error**2))),
        mae=float(np.mean(np.abs(error))),
        bias=float(np.mean(error)),
        r2=1 - float(np.sum(error**2)) / spread if spread else math.nan,
        score=float(np.sum(penalty)),
    )


def accuracy(truth: NDArray[np.float64], foreseen: NDArray[np.float64]) -> float:
    """Return the score of the IEEE PHM 2012 challenge: the mean accuracy of remaining lives, 1 where all are exact.

    An accuracy is halved by every 20 % of its true life that a life is foreseen too short, and by every 5 % that it is
    foreseen too long (Nectoux et al. 2012).

    Args:
        truth: True lives, above zero, shape ``(n,)``.
        foreseen: What was foreseen, shape ``(n,)``, in the same unit.

    Returns:
        A number in 0..1; NaN for no lives.

    Example:
        >>> round(accuracy(np.array([100.0, 100.0, 100.0]), np.array([100.0, 80.0, 105.0])), 6)
        0.666667
    """
    if not len(truth):
        return math.nan
    percent = 100.0 * (truth - foreseen) / truth
    halved = np.where(percent > 0, percent / _EARLY_PERCENT, -percent / _LATE_PERCENT)
    return float(np.mean(0.5**halved))


class _Quantity:
    """What remaining lives and forecasts have in common."""

    learns: ClassVar[Learns] = "quantity"
    limits: ClassVar[Mapping[str, float]] = {}

    def measure(
        self, windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span
    ) -> QuantityMetrics:
        """See ``measure``."""
        del alert, span
        return measure(windows, score)

    def severity(self, metrics: QuantityMetrics) -> tuple[float, ...]:
        """Order devices: the largest error first."""
        return (-metrics.rmse,)

    def headline(self, metrics: QuantityMetrics) -> str:
        """Say in at most twenty characters what it reaches."""
        return f"RMSE {metrics.rmse:.3g}"


class Life(_Quantity):
    """How answers to "how long until it fails?" are judged. Alerts where little is left."""

    question: ClassVar[Question] = "life"
    measures: ClassVar[tuple[Measure, ...]] = (
        *_ERRORS,
        Measure("score", "PHM 2008 score, lower is better", "lower", digits=0),
        _EXPLAINED,
    )

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count the devices whose end of life is known."""
        return len(np.intersect1d(windows.device, span.events.device)), "devices whose end of life is known"

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Return the threshold that was declared, between two scores; a tenth of the longest life where none was."""
        del span
        longest = float(windows.label.max())
        wanted = 0.1 * longest if alerting.at is None else alerting.at
        return nearest_cut(score, wanted, 0.0, longest)

    def sentence(self, metrics: QuantityMetrics, unit: str) -> str:
        """Say in one sentence what the model does."""
        if not metrics.windows:
            return "No life in the test has a known end, so nothing can be said about this model."
        side = "too long" if metrics.bias > 0 else "too short"
        return (
            f"Its remaining lives are off by {metrics.mae:.3g} {unit} on average, {abs(metrics.bias):.2g} {unit} "
            f"{side} on balance, on {metrics.devices} devices."
        )


class Forecast(_Quantity):
    """How answers to "what will this feature be?" are judged. Alerts where it will be high."""

    question: ClassVar[Question] = "forecast"
    measures: ClassVar[tuple[Measure, ...]] = (*_ERRORS, _EXPLAINED)

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count the windows whose answer is known."""
        del span
        return len(windows), "windows whose answer is known"

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Return the declared threshold, between two scores; the highest tenth of what was seen where none was."""
        del span
        low, high = float(windows.label.min()), float(windows.label.max())
        wanted = float(np.quantile(windows.label, 0.9)) if alerting.at is None else alerting.at
        return nearest_cut(score, wanted, low, high)

    def sentence(self, metrics: QuantityMetrics, unit: str) -> str:
        """Say in one sentence what the model does."""
        return f"Its forecasts are off by {metrics.mae:.3g} {unit} on average, on {metrics.devices} devices."
