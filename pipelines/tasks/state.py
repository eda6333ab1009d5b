"""How answers about now are judged: the state of a device, and whether it behaves otherwise than usual.

Both count windows. An anomaly also counts spells: one is *found* when a window within it alerts.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Question
from pipelines.rules import Alerting
from pipelines.tasks.measures import Measure
from pipelines.tasks.ranking import areas
from pipelines.tasks.span import Learns, Span
from pipelines.tasks.thresholds import cuts_between, nearest_cut
from pipelines.windows import Windows

LIMIT = 0.5
"""The score at the control limit of an anomaly (``pipelines.links.Ratio``)."""


@dataclass(frozen=True, slots=True)
class StateMetrics:
    """The numbers of one model on one set of windows. Rates of nothing are NaN.

    Attributes:
        windows: Windows measured.
        positives: Those in the state.
        accuracy: Share of windows that are told right.
        precision: Share of alerting windows that are in the state.
        recall: Share of windows in the state that alert.
        f1: Harmonic mean of both.
        false_alarm_rate: Share of windows out of the state that alert.
        average_precision: Area under the precision-recall curve: independent of the threshold.
        roc_auc: Probability that a window in the state scores above one out of it.
        brier: Mean squared error of the score.
        spells: How many times a device was in the state without a break.
        spells_found: Those of them in which a window alerted.
    """

    windows: int
    positives: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    average_precision: float
    roc_auc: float
    brier: float
    spells: int
    spells_found: int

    @property
    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {name: float(value) for name, value in asdict(self).items()}


def measure(windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_]) -> StateMetrics:
    """Measure a model that tells a state.

    Args:
        windows: Labelled windows, sorted by device and end.
        score: Score of each, shape ``(n,)``, 0..1.
        alert: Whether each reached the threshold, shape ``(n,)``.

    Example:
        >>> label, alert = np.array([0.0, 1.0, 1.0, 0.0]), np.array([False, False, True, True])
        >>> windows = Windows(np.array([*"aaaa"]), np.arange(4), np.zeros((4, 1)), label)
        >>> found = measure(windows, np.array([0.1, 0.4, 0.9, 0.6]), alert)
        >>> found.accuracy, found.f1, found.false_alarm_rate, found.spells, found.spells_found
        (0.5, 0.5, 0.5, 1, 1)
    """
    positive = windows.positive
    hits, alerts, positives = int(np.sum(alert & positive)), int(alert.sum()), int(positive.sum())
    precision, area = areas(positive, score)
    fresh = np.append(True, windows.device[1:] != windows.device[:-1])[: len(windows)]
    begun = positive & (fresh | ~np.append(False, positive[:-1])[: len(windows)])
    spell = np.cumsum(begun)
    return StateMetrics(
        windows=len(windows),
        positives=positives,
        accuracy=_ratio(int(np.sum(alert == positive)), len(windows)),
        precision=_ratio(hits, alerts),
        recall=_ratio(hits, positives),
        f1=_ratio(2 * hits, alerts + positives),
        false_alarm_rate=_ratio(alerts - hits, len(windows) - positives),
        average_precision=precision,
        roc_auc=area,
        brier=float(np.mean((score - positive) ** 2)) if len(windows) else math.nan,
        spells=int(begun.sum()),
        spells_found=len(np.unique(spell[positive & alert])),
    )


_RANKING = Measure("average_precision", "average precision")
_COMMON = (
    Measure("f1", "F1 of the windows"),
    Measure("precision", "precision"),
    Measure("recall", "recall"),
    Measure("false_alarm_rate", "share of other windows that alert", "lower"),
    Measure("roc_auc", "ROC AUC"),
)


class _Windows:
    """What states and anomalies have in common: windows are counted."""

    def measure(
        self, windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span
    ) -> StateMetrics:
        """See ``measure``."""
        del span
        return measure(windows, score, alert)


class State(_Windows):
    """How answers to "is it in this state?" are judged."""

    question: ClassVar[Question] = "state"
    learns: ClassVar[Learns] = "probability"
    measures: ClassVar[tuple[Measure, ...]] = (
        _RANKING,
        Measure("accuracy", "share of windows told right", digits=3),
        *_COMMON,
        Measure("brier", "Brier score", "lower", digits=3),
    )
    limits: ClassVar[Mapping[str, float]] = {"accuracy": 0.8}

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count the windows in the rarer state."""
        del span
        positives = int(windows.positive.sum())
        return min(positives, len(windows) - positives), "windows in the rarer state"

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Return the threshold with the best accuracy, in the widest gap of equals; or the declared one."""
        del span
        if alerting.at is not None:
            return nearest_cut(score, alerting.at)
        cuts, room = cuts_between(score)
        positives = windows.positive[np.argsort(score)]
        first = np.searchsorted(np.sort(score), cuts)
        below = np.concatenate([[0], np.cumsum(positives)])[first]
        right = (first - below) + (positives.sum() - below)
        best = np.flatnonzero(right == right.max())
        return float(cuts[best[np.argmax(room[best])]])

    def severity(self, metrics: StateMetrics) -> tuple[float, ...]:
        """Order devices: the least accurate first."""
        return (metrics.accuracy,)

    def headline(self, metrics: StateMetrics) -> str:
        """Say in at most twenty characters what it reaches."""
        return f"{100 * metrics.accuracy:.1f} % told right"

    def sentence(self, metrics: StateMetrics, unit: str) -> str:
        """Say in one sentence what the model does."""
        del unit
        if not metrics.windows:
            return "No window of the test has a known state, so nothing can be said about this model."
        return (
            f"It tells {100 * metrics.accuracy:.1f} % of {metrics.windows:,} windows right: it sees "
            f"{100 * metrics.recall:.1f} % of the state, and takes {100 * metrics.false_alarm_rate:.1f} % of the rest "
            "for it."
        )


class Anomaly(_Windows):
    """How answers to "does it behave otherwise than usual?" are judged."""

    question: ClassVar[Question] = "anomaly"
    learns: ClassVar[Learns] = "normality"
    measures: ClassVar[tuple[Measure, ...]] = (_RANKING, *_COMMON)
    limits: ClassVar[Mapping[str, float]] = {"false_alarm_rate": 0.3}

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count the spells of the state; of windows without any, the windows."""
        del span
        found = measure(windows, np.zeros(len(windows)), np.zeros(len(windows), dtype=np.bool_)).spells
        return (found, "anomalies") if found else (len(windows), "windows of normal operation")

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Return the control limit, or the declared threshold, between two scores of normal operation."""
        del windows, span
        return nearest_cut(score, LIMIT if alerting.at is None else alerting.at)

    def severity(self, metrics: StateMetrics) -> tuple[float, ...]:
        """Order devices: the most false alarms first."""
        return (-metrics.false_alarm_rate,)

    def headline(self, metrics: StateMetrics) -> str:
        """Say in at most twenty characters what it reaches."""
        return f"{metrics.spells_found}/{metrics.spells} anomalies"

    def sentence(self, metrics: StateMetrics, unit: str) -> str:
        """Say in one sentence what the model does."""
        del unit
        if not metrics.spells:
            return "No anomaly fell into the test, so nothing can be said about this model."
        return (
            f"It finds {metrics.spells_found} of {metrics.spells} anomalies and {100 * metrics.recall:.0f} % of their "
            f"windows; {100 * metrics.false_alarm_rate:.1f} % of the other windows alert."
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
