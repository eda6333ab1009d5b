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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.dataset import Windows
from pipelines.label import Events
from pipelines.rules import Cost

HOUR_US = 3_600_000_000
WEEK_US = 168 * HOUR_US
NOISE = 1e-6  # what two machines may differ by in a score; no threshold is put closer than this to a score
_DIAL_POINTS = 24
_Z = 1.96  # two-sided 95 %
_UNBROKEN = 2  # windows further apart than this many steps belong to two alarms


@dataclass(frozen=True, slots=True)
class Span:
    """What is known about the label of the windows that are measured.

    Attributes:
        events: The failures, sorted by device and time.
        horizon_us: How far ahead the label looks.
        every_us: Step between two windows of a device.
    """

    events: Events
    horizon_us: int
    every_us: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Consecutive alerting windows of one device, a horizon long at most; times are window ends, UTC microseconds."""

    device: str
    start: int
    end: int
    hit: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that the measured windows could have foreseen; ``first_alert`` is None when none did."""

    device: str
    time: int
    first_alert: int | None

    @property
    def lead_hours(self) -> float:
        """Hours of warning; NaN for a missed failure."""
        return math.nan if self.first_alert is None else (self.time - self.first_alert) / HOUR_US


@dataclass(frozen=True, slots=True)
class Metrics:
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
        lead_time_hours_median: Warning before a caught failure.
        lead_time_hours_p10: The shortest tenth of the warnings.
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
    lead_time_hours_median: float
    lead_time_hours_p10: float

    @property
    def caught_share(self) -> float:
        """Caught failures of all."""
        return _ratio(self.caught, self.failures)

    @property
    def false_alarms_per_device_week(self) -> float:
        """False alarms per device and week."""
        return _ratio(self.false_alarms, self.device_weeks)


def measure(windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span) -> Metrics:
    """Measure a model.

    Args:
        windows: Labelled windows, sorted by device and end.
        score: Probability for each, shape ``(n,)``.
        alert: Whether each raised an alert, shape ``(n,)``.
        span: Failures and rhythm.
    """
    positive = windows.positive
    hits = int(np.sum(alert & positive))
    found = failures(windows, alert, span)
    leads = [f.lead_hours for f in found if f.first_alert is not None]
    ranked = bool(positive.any() and not positive.all())
    return Metrics(
        windows=len(windows),
        positives=int(positive.sum()),
        precision=_ratio(hits, int(alert.sum())),
        recall=_ratio(hits, int(positive.sum())),
        f1=_ratio(2 * hits, int(alert.sum()) + int(positive.sum())),
        average_precision=float(average_precision_score(positive, score)) if ranked else math.nan,
        roc_auc=float(roc_auc_score(positive, score)) if ranked else math.nan,
        brier=float(np.mean((score - positive) ** 2)) if len(windows) else math.nan,
        failures=len(found),
        caught=len(leads),
        false_alarms=sum(not alarm.hit for alarm in alarms(windows, alert, span)),
        device_weeks=len(windows) * span.every_us / WEEK_US,
        lead_time_hours_median=float(np.median(leads)) if leads else math.nan,
        lead_time_hours_p10=float(np.quantile(leads, 0.1)) if leads else math.nan,
    )


def failures(windows: Windows, alert: NDArray[np.bool_], span: Span) -> list[Failure]:
    """Return the failures that at least one window precedes within the horizon, by device and time."""
    result = []
    for device in np.unique(span.events.device):
        rows = windows.device == device
        ends, alerts = windows.end[rows], windows.end[rows & alert]
        for time in span.events.time[span.events.device == device].tolist():
            if not np.any((ends < time) & (ends > time - span.horizon_us)):
                continue
            ahead = alerts[(alerts < time) & (alerts > time - span.horizon_us)]
            result.append(Failure(str(device), time, int(ahead.min()) if len(ahead) else None))
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


def choose_threshold(windows: Windows, score: NDArray[np.float64], span: Span, cost: Cost | None = None) -> float:
    """Choose from which score on to alert: the best F1 of the windows, or the least cost where one is declared.

    The threshold lies in the middle between two scores that are further apart than the noise of float32, so that no row
    seen here changes sides on another machine. Of equals, the one in the widest gap wins. Without a failure to choose
    by, it never alerts.
    """
    cuts, room = cuts_between(score)
    if not windows.positive.any():
        return float(cuts[-1])
    if cost is None:
        positives, alerts = windows.positive[np.argsort(score)], np.sort(score)
        first = np.searchsorted(alerts, cuts)
        hits = positives.sum() - np.concatenate([[0], np.cumsum(positives)])[first]
        worth = 2 * hits / np.maximum(len(score) - first + positives.sum(), 1)
    else:
        kept = spread(cuts)
        cuts, room = cuts[kept], room[kept]
        worth = np.array([-_paid(cost, measure(windows, score, score >= cut, span)) for cut in cuts])
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    return float(cuts[best[np.argmax(room[best])]])


def _paid(cost: Cost, found: Metrics) -> float:
    return cost.of(found.failures - found.caught, found.false_alarms)


def cuts_between(score: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the thresholds that separate scores safely, ascending, and the width of the gap each lies in.

    The last one is above every score: never alert.
    """
    values = np.unique(score)
    gaps = np.diff(values)
    safe = gaps > 2 * NOISE
    top = (values[-1] + 1) / 2
    cuts = np.append((values[:-1] + gaps / 2)[safe], top)
    return cuts, np.append(gaps[safe], 1 - values[-1])


def spread(cuts: NDArray[np.float64], points: int = _DIAL_POINTS) -> NDArray[np.intp]:
    """Return indices of at most ``points`` cuts: half of them evenly by rank, half evenly by score."""
    by_rank = np.linspace(0, len(cuts) - 1, points // 2).round().astype(np.intp)
    by_score = np.searchsorted(cuts, np.linspace(cuts[0], cuts[-1], points // 2)).clip(max=len(cuts) - 1)
    return np.unique(np.concatenate([by_rank, by_score]))


@dataclass(frozen=True, slots=True)
class DialPoint:
    """What another threshold would have done."""

    threshold: float
    metrics: Metrics


def dial(windows: Windows, score: NDArray[np.float64], span: Span, chosen: float) -> list[DialPoint]:
    """Return what thresholds from careful to bold do, the chosen one among them, ascending."""
    cuts, _ = cuts_between(score)
    thresholds = np.unique(np.append(cuts[spread(cuts)], chosen))
    return [DialPoint(float(cut), measure(windows, score, score >= cut, span)) for cut in thresholds]


def by_device(windows: Windows, alert: NDArray[np.bool_], span: Span) -> list[tuple[str, Metrics]]:
    """Measure each device for itself, worst first: missed failures, then false alarms."""
    rows = []
    for device in np.unique(windows.device):
        own = windows.device == device
        rows.append((str(device), measure(windows.select(own), alert[own].astype(float), alert[own], span)))
    return sorted(rows, key=lambda row: (row[1].caught - row[1].failures, -row[1].false_alarms, row[0]))


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927: honest for few events).

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
    """Return the 95 % interval of a rate of rare events (Byar's approximation to the exact Poisson interval).

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


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
