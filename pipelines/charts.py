"""Pictures of a training report as numbers: what the SVG macros in ``templates/charts.html.j2`` draw.

Every picture has a sentence that says what is seen, for those who do not see it. Coordinates are rounded to a tenth of
a pixel: a page with all of them stays below 300 kB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.calibration import Calibration
from pipelines.dataset import Dataset
from pipelines.lines import WIDTH, across, path, signal_line
from pipelines.sensitivity import Leaning
from pipelines.tasks.failure import HOUR_US, DialPoint
from pipelines.timeline import Timeline

_SIGNAL_HEIGHT, _SCORE_HEIGHT = 110.0, 40.0
_DIAL_HEIGHT, _DIAL_WIDTH = 200.0, 320.0
_SQUARE = 240.0
_HEADROOM = 2.0  # above the threshold
_BARS = 12
_SECOND_US, _DAY_US = 1_000_000, 24 * HOUR_US
_MOST_TICKS = 7
_STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)


@dataclass(frozen=True, slots=True)
class TimelinePicture:
    """One stretch of a device: its signal above, the score below, alarms and failures through both."""

    caption: str
    alt: str
    signal: str
    score: str
    score_high: str
    threshold: float
    band: tuple[float, float] | None
    alarms: list[tuple[float, float]]
    failures: list[float]
    ticks: list[tuple[float, str]]
    low: str
    high: str
    unit: str


@dataclass(frozen=True, slots=True)
class SplitPicture:
    """Train, gap and test over time (0..1 of the width) and devices (share that is held out)."""

    alt: str
    gap_from: float
    gap_to: float
    held_out: float
    ticks: list[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class DialPicture:
    """Failures caught over false alarms: a line of thresholds, and the chosen one."""

    alt: str
    line: str
    chosen: tuple[float, float]
    most_alarms: str


@dataclass(frozen=True, slots=True)
class BarsPicture:
    """How many failures had how many hours of warning."""

    alt: str
    bars: list[tuple[float, float, float, int]]
    ticks: list[tuple[float, str]]


def timeline_picture(timeline: Timeline, threshold: float) -> TimelinePicture:
    """Draw a stretch of a device.

    Args:
        timeline: What happened.
        threshold: Of the model.
    """
    told, stretch = timeline.drawn, (timeline.since, timeline.until)
    drawn = signal_line(told.times, told.values, stretch, told.normal, _SIGNAL_HEIGHT)

    def x(times: ArrayLike) -> NDArray[np.float64]:
        return across(times, timeline.since, timeline.until)

    widest = (
        2.5 * timeline.every / (timeline.until - timeline.since) * WIDTH
    )  # where nothing was asked, nothing is drawn
    what = "a false alarm" if timeline.kind == "false alarm" else f"a failure {timeline.kind}"
    caption = f"{timeline.device}: {what}"
    top = min(1.0, max(_HEADROOM * threshold, *timeline.scores.tolist(), 0.0))  # rare failures have low scores
    alt = (
        f"{caption}. {told.signal} from {_moment(timeline.since)} to {_moment(timeline.until)}, "
        f"{len(timeline.alarms)} alarms, {len(timeline.failures)} failures."
    )
    return TimelinePicture(
        caption=f"{caption}; {told.signal} and score",
        alt=alt,
        signal=drawn.path,
        score=path(x(timeline.ends), _SCORE_HEIGHT * (1 - timeline.scores / top), widest),
        score_high=f"{top:.2g}",
        threshold=round(_SCORE_HEIGHT * (1 - threshold / top), 1),
        band=drawn.band,
        alarms=[
            (round(float(x(max(a.start, timeline.since))), 1), round(float(x(min(a.end, timeline.until)) + 1.5), 1))
            for a in timeline.alarms
        ],
        failures=[round(float(x(at)), 1) for at in timeline.failures],
        ticks=moments(timeline.since, timeline.until),
        low=drawn.low,
        high=drawn.high,
        unit=told.unit,
    )


def split_picture(dataset: Dataset) -> SplitPicture:
    """Draw how history was cut."""
    length = max(dataset.until - dataset.since, 1)
    devices = len(np.unique(np.concatenate([dataset.train.device, dataset.test.device])))
    held = len(dataset.held_out) / devices
    alt = (
        f"Training on {devices - len(dataset.held_out)} devices until {_moment(dataset.train_until)}, then a gap; "
        f"test on all {devices} devices from {_moment(dataset.test_from)}, {len(dataset.held_out)} of them held out."
    )
    return SplitPicture(
        alt=alt,
        gap_from=round((dataset.train_until - dataset.since) / length, 4),
        gap_to=round((dataset.test_from - dataset.since) / length, 4),
        held_out=round(held, 4),
        ticks=moments(dataset.since, dataset.until),
    )


def dial_picture(points: Sequence[DialPoint], chosen: float) -> DialPicture:
    """Draw what every threshold does; failures caught upwards, false alarms to the right."""
    alarms = np.array([point.metrics.false_alarms for point in points], dtype=np.float64)
    caught = np.array([point.metrics.caught for point in points], dtype=np.float64)
    x = np.sqrt(alarms / max(alarms.max(), 1)) * _DIAL_WIDTH  # the root spreads the few alarms people can bear
    y = _DIAL_HEIGHT * (1 - caught / max(points[0].metrics.failures, 1))
    at = next(i for i, point in enumerate(points) if point.threshold == chosen)
    alt = (
        f"Failures caught over false alarms for {len(points)} thresholds. The chosen one, {chosen:.3f}, catches "
        f"{int(caught[at])} of {points[at].metrics.failures} with {int(alarms[at])} false alarms."
    )
    return DialPicture(
        alt, path(x, y), (round(float(x[at]), 1), round(float(y[at]), 1)), f"{int(alarms.max())} false alarms"
    )


def lead_picture(hours: Sequence[float], horizon_us: int) -> BarsPicture:
    """Draw a histogram of the hours of warning."""
    horizon = horizon_us / HOUR_US
    counts, edges = np.histogram(hours, bins=_BARS, range=(0, horizon))
    width, top = WIDTH / _BARS, max(int(counts.max()), 1)
    bars = [
        (round(i * width + 2, 1), round(100 * (1 - n / top), 1), round(width - 4, 1), int(n))
        for i, n in enumerate(counts)
    ]
    spoken = ", ".join(
        f"{n} with {low:.0f} to {high:.0f} h" for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True) if n
    )
    ticks = [(round(i * width, 1), f"{edge:.0f} h") for i, edge in enumerate(edges[:-1])]
    return BarsPicture(f"Failures by hours of warning: {spoken or 'none was caught'}.", bars, ticks)


@dataclass(frozen=True, slots=True)
class ReliabilityPicture:
    """What happened over what was foreseen: a point with its interval for each bin that holds windows."""

    alt: str
    points: list[tuple[float, float, float, float, float]]


def reliability_picture(found: Calibration) -> ReliabilityPicture:
    """Draw a reliability diagram: x, y, top and bottom of the interval, and a radius that grows with the windows."""
    most = max((each.windows for each in found.bins), default=0)
    told = [each for each in found.bins if each.windows]
    points = [
        (
            round(_SQUARE * each.foreseen, 1),
            round(_SQUARE * (1 - each.happened), 1),
            round(_SQUARE * (1 - each.interval[1]), 1),
            round(_SQUARE * (1 - each.interval[0]), 1),
            round(2 + 6 * (each.windows / most) ** 0.25, 1),
        )
        for each in told
    ]
    spoken = ", ".join(f"{each.happened:.2f} where {each.foreseen:.2f} was foreseen" for each in told)
    return ReliabilityPicture(f"Share that came true: {spoken}.", points)


def bar_widths(leanings: Sequence[Leaning]) -> list[float]:
    """Return the importance of each signal as a share of the largest, 0..1."""
    return shares([leaning.loss for leaning in leanings])


def shares(values: Sequence[float]) -> list[float]:
    """Return values as shares of the largest, 0..1; what is not known or below zero is 0.

    The largest is that without its sign: beside what does harm, little good looks little.

    Example:
        >>> shares([2.0, 1.0, -1.0, float("nan")]), shares([0.1, -1.0])
        ([1.0, 0.5, 0.0, 0.0], [0.1, 0.0])
    """
    known = [value if value > 0 else 0.0 for value in values]
    largest = max((abs(value) for value in values if not np.isnan(value)), default=0.0)
    return [round(value / largest, 3) if largest else 0.0 for value in known]


def moments(since: int, until: int) -> list[tuple[float, str]]:
    """Ticks at round moments, at most eight: place over the width in pixels, and day or time of day.

    Example:
        >>> moments(0, 10 * 86_400_000_000)[:2]
        [(144.0, 'Jan 03'), (288.0, 'Jan 05')]
        >>> moments(0, 3_600_000_000)[0]
        (180.0, '00:15')
    """
    length = max(until - since, 1)
    step = next((s * _SECOND_US for s in _STEPS if length <= _MOST_TICKS * s * _SECOND_US), 0)
    step = step or -(-length // (_MOST_TICKS * _DAY_US)) * _DAY_US
    shape = "%b %d" if step >= _DAY_US else "%H:%M" if step >= 60 * _SECOND_US else "%H:%M:%S"
    first = since - since % step + step
    return [
        (round((moment - since) / length * WIDTH, 1), _at(moment).strftime(shape))
        for moment in range(first, until + 1, step)
    ]


def _at(moment_us: int) -> datetime:
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC)


def _moment(moment_us: int) -> str:
    return _at(moment_us).strftime("%Y-%m-%d %H:%M")
