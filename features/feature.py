"""Kinds of features: what one column of a model's input can be.

    >>> day, step = timedelta(days=1), 6
    >>> level = Feature("vibration", "mean", day)
    >>> kinds = level, Feature("vibration", "mean", Since("maintenance")), Difference(level, step)
    >>> [feature.name for feature in (*kinds, EventCount("error1", day), TimeSince("maintenance"))]
    ['vibration_mean_24h', 'vibration_mean_since_maintenance', 'vibration_mean_24h_difference_6', 'error1_count_24h',
     'time_since_maintenance']

An event counts from the moment it could be known: from ``max(time, known_at)`` on, and for rows that end after that. So
a feature row of the past never says what nobody knew then.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from features.schema import MICROSECOND

START: Final = "start"
"""The beginning that every device has: its first pane."""

_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", timedelta(0, 1)))
_LAG = re.compile(r"(.+)_lag_([0-9]+)")
_LONGEST_IN_HOURS = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Since:
    """A window that begins with an event and grows: since the device's first pane, or since its latest known event.

    Args:
        kind: ``start``, or a kind of event. The window begins with the first whole pane after the event was known; a
            device without one has no value.
        most: How long the window grows; from then on it stays as it is until the next event: what was usual when a run
            began. None for as long as there are readings.

    Example:
        >>> Feature("flow", "mean", Since("run", most=timedelta(minutes=5))).name
        'flow_mean_since_run_5min'
    """

    kind: str = START
    most: timedelta | None = None

    @property
    def name(self) -> str:
        """``since_<kind>``, and how long it grows."""
        return f"since_{self.kind}" + (f"_{duration_name(self.most)}" if self.most else "")


@dataclass(frozen=True, slots=True)
class Feature:
    """A statistic of a signal over a window.

    Example:
        >>> Feature("vibration", "mean", timedelta(hours=6)).name
        'vibration_mean_6h'
    """

    signal: str
    statistic: str
    window: timedelta | Since

    @property
    def name(self) -> str:
        """``<signal>_<statistic>_<window>``, the name of the column everywhere."""
        window = self.window.name if isinstance(self.window, Since) else duration_name(self.window)
        return f"{self.signal}_{self.statistic}_{window}"


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many events of a kind happened within a window and were known at its end."""

    kind: str
    window: timedelta

    @property
    def name(self) -> str:
        """``<kind>_count_<window>``."""
        return f"{self.kind}_count_{duration_name(self.window)}"


@dataclass(frozen=True, slots=True)
class TimeSince:
    """Hours from the latest known event of a kind to the end of the window; of ``start``, the age of the device."""

    kind: str = START

    @property
    def name(self) -> str:
        """``time_since_<kind>``."""
        return f"time_since_{self.kind}"


Plain = Feature | EventCount | TimeSince


@dataclass(frozen=True, slots=True)
class Lag:
    """What another feature said some steps earlier."""

    feature: Plain
    steps: int

    @property
    def name(self) -> str:
        """``<feature>_lag_<steps>``."""
        return f"{self.feature.name}_lag_{self.steps}"


def unlagged(name: str) -> tuple[str, int]:
    """Split the name of a column into that of the feature and how many steps earlier it looks.

    Example:
        >>> unlagged("vibration_mean_6h_lag_2"), unlagged("vibration_mean_6h")
        (('vibration_mean_6h', 2), ('vibration_mean_6h', 0))
    """
    found = _LAG.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


@dataclass(frozen=True, slots=True)
class Difference:
    """What another feature says, less what it said some steps earlier."""

    feature: Plain
    steps: int

    @property
    def name(self) -> str:
        """``<feature>_difference_<steps>``."""
        return f"{self.feature.name}_difference_{self.steps}"


AnyFeature = Plain | Lag | Difference


def plain(feature: AnyFeature) -> Plain:
    """The feature itself, or the one it is a lag or a difference of."""
    return feature.feature if isinstance(feature, Lag | Difference) else feature


def steps(feature: AnyFeature) -> int:
    """How many steps before its row a feature also looks; 0 for a plain one."""
    return feature.steps if isinstance(feature, Lag | Difference) else 0


def duration_name(duration: timedelta) -> str:
    """A duration in its largest whole unit of d, h, min, s; days begin above 72 h, as people say it.

    Example:
        >>> [duration_name(timedelta(hours=hours)) for hours in (0.25, 1, 24, 72, 168)]
        ['15min', '1h', '24h', '72h', '7d']
    """
    units = _UNITS if duration > _LONGEST_IN_HOURS else _UNITS[1:]
    for unit, length in units:
        if duration % length == timedelta(0):
            return f"{duration // length}{unit}"
    return f"{duration / timedelta(seconds=1):g}s"


def grid(signals: Iterable[str], statistics: Iterable[str], windows: Iterable[timedelta]) -> tuple[Feature, ...]:
    """Every statistic of every signal over every window, signal by signal.

    Example:
        >>> hour = timedelta(hours=1)
        >>> [feature.name for feature in grid(["flow"], ["mean", "max"], [hour, 6 * hour])]
        ['flow_mean_1h', 'flow_mean_6h', 'flow_max_1h', 'flow_max_6h']
    """
    statistics, windows = tuple(statistics), tuple(windows)
    return tuple(Feature(signal, name, window) for signal in signals for name in statistics for window in windows)


def lagged(features: Iterable[AnyFeature], rows: int) -> tuple[AnyFeature, ...]:
    """Features as a model sees them that looks along time: in its latest ``rows`` rows, this one included.

    Growing windows, times since, lags and differences stand once: the first two hardly change from row to row.

    Args:
        features: What each row says.
        rows: How many rows there are to see, 1 or more. The first row of a device comes as many steps later.

    Example:
        >>> level, usual = Feature("flow", "mean", timedelta(hours=1)), Feature("flow", "mean", Since("run"))
        >>> [feature.name for feature in lagged([level, usual], rows=3)]
        ['flow_mean_1h', 'flow_mean_since_run', 'flow_mean_1h_lag_1', 'flow_mean_1h_lag_2']
    """
    features = tuple(features)
    moving = [one for one in features if isinstance(one, Feature | EventCount) and isinstance(one.window, timedelta)]
    return (*features, *(Lag(one, step) for step in range(1, rows) for one in moving))


def to_json(feature: AnyFeature) -> dict[str, Any]:
    """A feature as JSON-ready dictionary; durations are whole microseconds."""
    match feature:
        case Feature(signal, statistic, Since(kind, most)):
            limit = {} if most is None else {"most_us": most // MICROSECOND}
            return {"signal": signal, "statistic": statistic, "since": kind, **limit}
        case Feature(signal, statistic, timedelta() as window):
            return {"signal": signal, "statistic": statistic, "window_us": window // MICROSECOND}
        case EventCount(kind, window):
            return {"event_count": kind, "window_us": window // MICROSECOND}
        case TimeSince(kind):
            return {"time_since": kind}
        case Lag(of, lag):
            return {"lag": lag, "of": to_json(of)}
        case Difference(of, lag):
            return {"difference": lag, "of": to_json(of)}
    raise TypeError(f"{feature!r} is no feature")


def from_json(document: Mapping[str, Any]) -> AnyFeature:
    """The feature that ``to_json`` wrote.

    Raises:
        KeyError, TypeError, ValueError: The document is none.
    """
    match document:
        case {"lag": lag, "of": of}:
            return Lag(_plain_from_json(of), int(lag))
        case {"difference": lag, "of": of}:
            return Difference(_plain_from_json(of), int(lag))
    return _plain_from_json(document)


def _plain_from_json(document: Mapping[str, Any]) -> Plain:
    match document:
        case {"event_count": kind, "window_us": window}:
            return EventCount(str(kind), int(window) * MICROSECOND)
        case {"time_since": kind}:
            return TimeSince(str(kind))
        case {"signal": signal, "statistic": statistic, "since": kind}:
            most = int(document["most_us"]) * MICROSECOND if "most_us" in document else None
            return Feature(str(signal), str(statistic), Since(str(kind), most))
    window = int(document["window_us"]) * MICROSECOND
    return Feature(str(document["signal"]), str(document["statistic"]), window)
