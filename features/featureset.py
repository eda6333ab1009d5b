"""Which features a model sees: declared once, named once, digested once.

A feature is a signal, a statistic and a window. A feature set is a fleet, a pane length, a step and features; its
digest names every parameter, so equal digests mean equal numbers. The digest is stored in MLflow, in the bundle and in
every prediction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from features.errors import FeatureSetError, FleetError
from features.pane import PANE_VERSION
from features.schema import MICROSECOND, Fleet, digest_of
from features.statistic import STATISTICS
from features.window import Request, WindowPlan

_SECOND = timedelta(seconds=1)
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", _SECOND))
_LONGEST_IN_HOURS = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Feature:
    """A statistic of a signal over a window.

    Example:
        >>> Feature("vibration", "mean", timedelta(hours=6)).name
        'vibration_mean_6h'
    """

    signal: str
    statistic: str
    window: timedelta

    @property
    def name(self) -> str:
        """``<signal>_<statistic>_<window>``, the name of the column everywhere."""
        return f"{self.signal}_{self.statistic}_{duration_name(self.window)}"


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
    return f"{duration / _SECOND:g}s"


def grid(signals: Iterable[str], statistics: Iterable[str], windows: Iterable[timedelta]) -> tuple[Feature, ...]:
    """Every statistic of every signal over every window, signal by signal.

    Example:
        >>> hour = timedelta(hours=1)
        >>> [feature.name for feature in grid(["flow"], ["mean", "max"], [hour, 6 * hour])]
        ['flow_mean_1h', 'flow_mean_6h', 'flow_max_1h', 'flow_max_6h']
    """
    statistics, windows = tuple(statistics), tuple(windows)
    return tuple(Feature(signal, name, window) for signal in signals for name in statistics for window in windows)


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The features of a fleet, and the rhythm they are computed in.

    Args:
        fleet: Whose signals they are made of.
        pane: Length of a pane: whole seconds. The smallest interval a window can be built from.
        every: Step between two feature rows of a device, a whole number of panes. Rows end at whole multiples of it in
            UTC.
        features: The features, in the order of the model's input.

    Raises:
        FeatureSetError: A signal or statistic is unknown, a duration is not a whole number of panes, or two features
            have one name.
    """

    fleet: Fleet
    pane: timedelta
    every: timedelta
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        where = f"feature set of fleet {self.fleet.name}"
        if self.pane < _SECOND or self.pane % _SECOND:
            raise FeatureSetError(f"a pane of {self.pane} is not a whole number of seconds", where=where)
        if not self.features:
            raise FeatureSetError("there are no features", where=where, fix="declare at least one")
        self._check_multiple(self.every, "the step", where)
        for feature in self.features:
            self._check_feature(feature, where)
        if len(set(self.names)) < len(self.features):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise FeatureSetError(f"two features are called {twice}", where=where, fix="remove one")

    def _check_feature(self, feature: Feature, where: str) -> None:
        for kind, given, known in (
            ("signal", feature.signal, self.fleet.signal_names),
            ("statistic", feature.statistic, tuple(STATISTICS)),
        ):
            if given not in known:
                raise FeatureSetError(
                    f"there is no {kind} '{given}'", where=where, fix=f"use one of {', '.join(known)}"
                )
        signal = self.fleet.signals[self.fleet.signal_names.index(feature.signal)]
        if feature.statistic == "above_share" and signal.limit is None:
            raise FeatureSetError(
                f"{feature.name} counts readings above a limit, and {signal.name} has none",
                where=where,
                fix="give the signal a limit in the catalog",
            )
        self._check_multiple(feature.window, f"the window of {feature.name}", where)

    def _check_multiple(self, duration: timedelta, what: str, where: str) -> None:
        if duration < self.pane or duration % self.pane:
            raise FeatureSetError(
                f"{what}, {duration_name(duration)}, is not a whole number of panes of {duration_name(self.pane)}",
                where=where,
                fix="choose a multiple of the pane",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in column order."""
        return tuple(feature.name for feature in self.features)

    @property
    def pane_us(self) -> int:
        """Length of a pane in microseconds."""
        return self.pane // MICROSECOND

    @property
    def every_us(self) -> int:
        """Step between two rows of a device in microseconds."""
        return self.every // MICROSECOND

    @property
    def longest_us(self) -> int:
        """Length of the longest window in microseconds."""
        return max(feature.window for feature in self.features) // MICROSECOND

    @property
    def digest(self) -> str:
        """``sha256:…`` over every parameter, the fleet and the version of the pane included; descriptions are not."""
        return digest_of({"pane_version": PANE_VERSION, **self.to_json()})

    def plan(self) -> WindowPlan:
        """How panes become rows of these features; what batch and online compute with."""
        signals = self.fleet.signal_names
        return WindowPlan(
            self.pane_us,
            self.every_us,
            [Request(signals.index(f.signal), f.statistic, f.window // MICROSECOND) for f in self.features],
        )

    def to_json(self) -> dict[str, Any]:
        """The feature set as JSON-ready dictionary; durations are whole microseconds."""
        return {
            "fleet": self.fleet.to_json(),
            "pane_us": self.pane_us,
            "every_us": self.every_us,
            "features": [
                {"signal": f.signal, "statistic": f.statistic, "window_us": f.window // MICROSECOND}
                for f in self.features
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The feature set that ``to_json`` wrote.

        Raises:
            FeatureSetError: A field is missing or has another form, or the set cannot be computed.
        """
        try:
            return cls(
                fleet=Fleet.from_json(document["fleet"]),
                pane=int(document["pane_us"]) * MICROSECOND,
                every=int(document["every_us"]) * MICROSECOND,
                features=tuple(
                    Feature(str(f["signal"]), str(f["statistic"]), int(f["window_us"]) * MICROSECOND)
                    for f in document["features"]
                ),
            )
        except (KeyError, TypeError, ValueError, OverflowError, FleetError) as error:
            raise FeatureSetError("this is no description of a feature set", why=str(error)) from error
