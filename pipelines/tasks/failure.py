"""How good a model is, in the words of the plant: failures caught, false alarms, hours of warning.

Everything here looks at scores and alerts, wherever they come from; training hands in those of the *bundle*, run by the
predictor that will serve it.

* A failure is *caught* when at least one window within the horizon before it raised an alert.
* Consecutive alerting windows of a device are one *alarm*, for as long as the horizon: an alarm that goes on is a new
  claim, or a model that always alerts would raise a single one and be right. It is *false* when no window of it
  precedes a failure.
* The *lead time* of a caught failure runs from its first alerting window within the horizon to the failure.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Question
from pipelines.rules import Alerting, Cost
from pipelines.tasks.measures import Measure
from pipelines.tasks.ranking import areas
from pipelines.tasks.span import Learns, Span
from pipelines.tasks.thresholds import cuts_between, spread
from pipelines.windows import Windows

HOUR_US = 3_600_000_000
WEEK_US = 168 * HOUR_US
_UNBROKEN = 2  # windows further apart than this many steps belong to two alarms


@dataclass(frozen=True, slots=True)
class Alarm:
    """Consecutive alerting windows of one device, a horizon long at most; times are window ends, UTC microseconds."""

    device: str
    start: int
    end: int
    hit: bool


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A failure that the measured windows could have foreseen; ``first_alert`` is None when none did."""

    device: str
    time: int
    first_alert: int | None

    @property
    def lead_hours(self) -> float:
        """Hours of warning; NaN for a missed failure."""
        return math.nan if self.first_alert is None else (self.time - self.first_alert) / HOUR_US


@dataclass(frozen=True, slots=True)
class FailureMetrics:
    """The numbers of one model on one set of windows. Rates of nothing are NaN.

    Attributes:
        windows: Windows measured.
        positives: Those before a failure.
        precision: Share of alerting windows that precede a failure.
        recall: Share of windows before a failure that alert.
        f1: Harmonic mean of both.
        average_precision: Area under the precision-recall curve: independent of the threshold.
        roc_auc: Probability that a dangerous window scores above a calm one.
        brier: Mean squared error of the probability.
        failures: Failures that could have been foreseen.
        caught: Those that were.
        false_alarms: Alarms without a failure.
        device_weeks: Time that was watched.
        leads: Hours of warning before each caught failure.
    """

    windows: int
    positives: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    roc_auc: float
    brier: float
    failures: int
    caught: int
    false_alarms: int
    device_weeks: float
    leads: tuple[float, ...] = ()

    @property
    def lead_time_hours_median(self) -> float:
        """Warning before a caught failure."""
        return float(np.median(self.leads)) if self.leads else math.nan

    @property
    def lead_time_hours_p10(self) -> float:
        """The shortest tenth of the warnings."""
        return float(np.quantile(self.leads, 0.1)) if self.leads else math.nan

    @property
    def figures(self) -> dict[str, float]:
        """All of them by name."""
        plain = {name: float(value) for name, value in asdict(self).items() if name != "leads"}
        derived = ("caught_share", "false_alarms_per_device_week", "lead_time_hours_median", "lead_time_hours_p10")
        return {**plain, **{name: getattr(self, name) for name in derived}}

    @property
    def caught_share(self) -> float:
        """Caught failures of all."""
        return _ratio(self.caught, self.failures)

    @property
    def false_alarms_per_device_week(self) -> float:
        """False alarms per device and week."""
        return _ratio(self.false_alarms, self.device_weeks)


def measure(
    windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span, *, ranking: bool = True
) -> FailureMetrics:
    """Measure a model.

    Args:
        windows: Labelled windows, sorted by device and end.
        score: Probability for each, shape ``(n,)``.
        alert: Whether each raised an alert, shape ``(n,)``.
        span: Failures and rhythm.
        ranking: Whether to compute the areas and the Brier score, which no threshold changes; NaN without.
    """
    positive = windows.positive
    hits = int(np.sum(alert & positive))
    found = failures(windows, alert, span)
    leads = [f.lead_hours for f in found if f.first_alert is not None]
    precision, area = areas(positive, score) if ranking else (math.nan, math.nan)
    return FailureMetrics(
        windows=len(windows),
        positives=int(positive.sum()),
        precision=_ratio(hits, int(alert.sum())),
        recall=_ratio(hits, int(positive.sum())),
        f1=_ratio(2 * hits, int(alert.sum()) + int(positive.sum())),
        average_precision=precision,
        roc_auc=area,
        brier=float(np.mean((score - positive) ** 2)) if ranking and len(windows) else math.nan,
        failures=len(found),
        caught=len(leads),
        false_alarms=sum(not alarm.hit for alarm in alarms(windows, alert, span)),
        device_weeks=len(windows) * span.every_us / WEEK_US,
        leads=tuple(leads),
    )


def failures(windows: Windows, alert: NDArray[np.bool_], span: Span) -> list[Foreseen]:
    """Return the failures that at least one window precedes within the horizon, by device and time.

    Windows are sorted by device, so those of a device are one stretch; many thousands of devices cost no more.
    """
    result = []
    first = np.flatnonzero(np.append(True, windows.device[1:] != windows.device[:-1])[: len(windows)])
    names, bounds = windows.device[first], np.append(first, len(windows))
    for device in np.unique(span.events.device):
        place = int(np.searchsorted(names, device))
        if place == len(names) or names[place] != device:
            continue
        rows = slice(bounds[place], bounds[place + 1])
        ends, alerts = windows.end[rows], windows.end[rows][alert[rows]]
        for time in span.events.time[span.events.device == device].tolist():
            if not np.any((ends < time) & (ends > time - span.horizon_us)):
                continue
            ahead = alerts[(alerts < time) & (alerts > time - span.horizon_us)]
            result.append(Foreseen(str(device), time, int(ahead.min()) if len(ahead) else None))
    return result


def alarms(windows: Windows, alert: NDArray[np.bool_], span: Span) -> list[Alarm]:
    """Return the alarms: runs of alerting windows of a device, cut at the horizon, by device and time."""
    device, end, positive = windows.device[alert], windows.end[alert], windows.positive[alert]
    breaks = (device[1:] != device[:-1]) | (end[1:] - end[:-1] > _UNBROKEN * span.every_us)
    found = []
    start = 0
    for stop in range(1, len(end) + 1):
        if stop == len(end) or breaks[stop - 1] or end[stop] - end[start] >= span.horizon_us:
            hit = bool(positive[start:stop].any())
            found.append(Alarm(str(device[start]), int(end[start]), int(end[stop - 1]), hit))
            start = stop
    return found


def choose_threshold(windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
    """Choose from which score on to alert: see ``Failure.threshold``."""
    cuts, room = cuts_between(score)
    if not windows.positive.any():
        return float(cuts[-1])
    if alerting.cost is None and alerting.false_alarms_per_device_week is None:
        positives, alerts = windows.positive[np.argsort(score)], np.sort(score)
        first = np.searchsorted(alerts, cuts)
        hits = positives.sum() - np.concatenate([[0], np.cumsum(positives)])[first]
        worth = 2 * hits / np.maximum(len(score) - first + positives.sum(), 1)
    else:
        kept = spread(cuts)
        cuts, room = cuts[kept], room[kept]
        worth = np.array([_worth(alerting, measure(windows, score, score >= cut, span, ranking=False)) for cut in cuts])
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    return float(cuts[best[np.argmax(room[best])]])


def _worth(alerting: Alerting, found: "FailureMetrics") -> float:
    """What a threshold is worth: less cost, or more failures caught within the budget of false alarms."""
    if alerting.cost is not None:
        return -paid(alerting.cost, found)
    budget = alerting.false_alarms_per_device_week or 0.0
    over = found.false_alarms_per_device_week - budget
    return -over if over > 0 else float(found.caught)


def paid(cost: Cost, found: "FailureMetrics") -> float:
    """Return what the mistakes cost; a failure that was caught too late for anything to be done counts as missed."""
    late = sum(lead < cost.lead_hours for lead in found.leads)
    return cost.of(found.failures - found.caught + late, found.false_alarms)


@dataclass(frozen=True, slots=True)
class DialPoint:
    """What another threshold would have done."""

    threshold: float
    metrics: FailureMetrics


def dial(windows: Windows, score: NDArray[np.float64], span: Span, chosen: float) -> list[DialPoint]:
    """Return what thresholds from careful to bold do, the chosen one among them, ascending."""
    cuts, _ = cuts_between(score)
    thresholds = np.unique(np.append(cuts[spread(cuts)], chosen))
    whole = measure(windows, score, score >= chosen, span)
    same = {name: getattr(whole, name) for name in ("average_precision", "roc_auc", "brier")}
    found = [measure(windows, score, score >= cut, span, ranking=False) for cut in thresholds]
    return [DialPoint(float(cut), replace(each, **same)) for cut, each in zip(thresholds, found, strict=True)]


class Failure:
    """How answers to "does it fail within the horizon?" are judged."""

    question: ClassVar[Question] = "failure"
    learns: ClassVar[Learns] = "probability"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("average_precision", "average precision"),
        Measure("caught_share", "share of failures caught"),
        Measure("false_alarms_per_device_week", "false alarms per device and week", "lower"),
        Measure("lead_time_hours_median", "warning, median", unit="h", digits=0),
        Measure("lead_time_hours_p10", "warning, shortest tenth", unit="h", digits=0),
        Measure("f1", "F1 of the windows"),
        Measure("precision", "precision"),
        Measure("recall", "recall"),
        Measure("roc_auc", "ROC AUC"),
        Measure("brier", "Brier score", "lower", digits=3),
    )
    limits: ClassVar[Mapping[str, float]] = {
        "caught_share": 0.5,
        "false_alarms_per_device_week": 1.0,
        "average_precision": 0.3,
    }

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count the failures that the windows could have foreseen."""
        return len(failures(windows, np.zeros(len(windows), dtype=np.bool_), span)), "failures"

    def measure(
        self, windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span
    ) -> "FailureMetrics":
        """See ``measure``."""
        return measure(windows, score, alert, span)

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Choose from which score on to alert.

        The best F1 of the windows; or the least cost, where one is declared; or the most failures caught within a
        budget of false alarms. The threshold lies in the middle between two scores that are further apart than the
        noise of float32, so that no row seen here changes sides on another machine. Of equals, the one in the widest
        gap wins. Without a failure to choose by, it never alerts.
        """
        return choose_threshold(windows, score, span, alerting)

    def severity(self, metrics: "FailureMetrics") -> tuple[float, ...]:
        """Order devices: missed failures first, then false alarms."""
        return metrics.caught - metrics.failures, -metrics.false_alarms

    def headline(self, metrics: "FailureMetrics") -> str:
        """Say in at most twenty characters what it reaches."""
        return f"{metrics.caught}/{metrics.failures} failures caught"

    def sentence(self, metrics: "FailureMetrics", unit: str) -> str:
        """Say in one sentence what the model does, in events."""
        del unit
        if not metrics.failures:
            return "No failure fell into the test, so nothing can be said about this model."
        alarms_ = f"{metrics.false_alarms_per_device_week:.2f} false alarms per device and week"
        if not metrics.caught:
            return f"It warns of none of {metrics.failures} failures, with {alarms_}."
        lead = f"{metrics.lead_time_hours_median:.0f} hours ahead at the median"
        return f"It warns of {metrics.caught} of {metrics.failures} failures, {lead}, with {alarms_}."


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
