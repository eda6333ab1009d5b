"""Which features a model sees: declared once, named once, digested once.

A feature set is a fleet, a pane length, a step and features (`features.feature`); its digest names every parameter, so
equal digests mean equal numbers. The digest is stored in MLflow, in the bundle and in every prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from features.errors import FeatureSetError, FleetError
from features.feature import (
    START,
    AnyFeature,
    Difference,
    EventCount,
    Feature,
    Lag,
    Plain,
    Since,
    TimeSince,
    duration_name,
    from_json,
    plain,
    steps,
    to_json,
)
from features.pane import PANE_VERSION
from features.plan import FROM_START, Beginning, Column, Counted, Elapsed, Growing, Plan, Source
from features.regime import RegimeRule, Regimes, regimes_from_json, regimes_json
from features.running import NO_LIMIT
from features.schema import MICROSECOND, Fleet, digest_of
from features.sketch import QUANTILES, Sketch
from features.statistic import ORDERED, STATISTICS
from features.window import Request

_SECOND = timedelta(seconds=1)
_MOST_DEVIATIONS = 64.0


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The features of a fleet, and the rhythm they are computed in.

    Args:
        fleet: Whose signals they are made of.
        pane: Length of a pane: whole seconds. The smallest interval a window can be built from.
        every: Step between two feature rows of a device, a whole number of panes. Rows end at whole multiples of it in
            UTC.
        features: The features, in the order of the model's input.
        regimes: By which operating conditions which signals are normalised before anything is summed up: a rule that
            training learns, or what it learned. Left out, readings count as they are.

    Raises:
        FeatureSetError: A signal or statistic is unknown, a duration is not a whole number of panes, or two features
            have one name.
    """

    fleet: Fleet
    pane: timedelta
    every: timedelta
    features: tuple[AnyFeature, ...]
    regimes: RegimeRule | Regimes | None = None
    # Asked for with every batch of readings, and to go through hundreds of features takes as long as to sum one up.
    _sketched: dict[int, Sketch] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"feature set of fleet {self.fleet.name}"
        if self.pane < _SECOND or self.pane % _SECOND:
            raise FeatureSetError(f"a pane of {self.pane} is not a whole number of seconds", where=where)
        if not self.features:
            raise FeatureSetError("there are no features", where=where, fix="declare at least one")
        self._check_multiple(self.every, "the step", where)
        for signal in (*self.regimes.settings, *self.regimes.signals) if self.regimes else ():
            self._check_known("signal", signal, self.fleet.signal_names, where)
        for feature in self.features:
            self._check_feature(feature, where)
        if len(set(self.names)) < len(self.features):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise FeatureSetError(f"two features are called {twice}", where=where, fix="remove one")
        object.__setattr__(self, "_sketched", self._find_sketched())

    def _check_feature(self, feature: AnyFeature, where: str) -> None:
        if isinstance(feature, Lag | Difference) and feature.steps < 1:
            raise FeatureSetError(f"{feature.name} looks {feature.steps} steps back", where=where, fix="give 1 or more")
        if not isinstance(feature, Lag | Difference | Feature | EventCount | TimeSince):
            raise FeatureSetError(f"{feature!r} is no feature", where=where)
        source = plain(feature)
        if isinstance(source, Feature):
            self._check_statistic(source, where)
            kind = source.window.kind if isinstance(source.window, Since) else START
        else:
            kind = source.kind
        if kind not in self.fleet.event_kinds and (kind != START or isinstance(source, EventCount)):
            known = ", ".join(self.fleet.event_kinds) or "none: declare event_kinds of the fleet"
            raise FeatureSetError(
                f"{feature.name} needs events of kind '{kind}'", where=where, fix=f"there are {known}"
            )
        window = None if isinstance(source, TimeSince) else source.window
        limit = window.most if isinstance(window, Since) else window
        if limit is not None:
            self._check_multiple(limit, f"the window of {source.name}", where)

    def _check_statistic(self, feature: Feature, where: str) -> None:
        self._check_known("signal", feature.signal, self.fleet.signal_names, where)
        self._check_known("statistic", feature.statistic, (*STATISTICS, *QUANTILES), where)
        if feature.statistic in QUANTILES and isinstance(feature.window, Since):
            raise FeatureSetError(
                f"{feature.name} asks a quantile of a window that grows",
                where=where,
                fix="give the quantile a window of fixed length",
            )
        signal = self.fleet.signals[self.fleet.signal_names.index(feature.signal)]
        if feature.statistic == "above_share" and signal.limit is None:
            raise FeatureSetError(
                f"{feature.name} counts readings above a limit, and {signal.name} has none",
                where=where,
                fix="give the signal a limit in the catalog",
            )
        if feature.statistic == "above_share" and self.regimes and signal.name in self.regimes.signals:
            raise FeatureSetError(
                f"{feature.name} counts readings above a limit in {signal.unit}, but {signal.name} is normalised",
                where=where,
                fix=f"leave {signal.name} out of the regimes, or the feature out of the set",
            )

    def _check_known(self, kind: str, given: str, known: tuple[str, ...], where: str) -> None:
        if given not in known:
            raise FeatureSetError(f"there is no {kind} '{given}'", where=where, fix=f"use one of {', '.join(known)}")

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
        """How far before its end a row looks, lags included, in microseconds; growing windows and events aside."""
        return max(self._reach_us(feature) for feature in self.features)

    def _reach_us(self, feature: AnyFeature) -> int:
        window = getattr(plain(feature), "window", None)
        length = window // MICROSECOND if isinstance(window, timedelta) else self.every_us
        return steps(feature) * self.every_us + length

    @property
    def warm_up(self) -> timedelta:
        """How long a device must have been known before it has a row; a window that is not filled gives none."""
        return self.longest_us * MICROSECOND

    @property
    def ordered(self) -> bool:
        """Whether a statistic needs the readings of a pane in the order of time."""
        sources = (plain(feature) for feature in self.features)
        return any(isinstance(source, Feature) and source.statistic in ORDERED for source in sources)

    @property
    def sketched(self) -> dict[int, Sketch]:
        """The signals of which quantiles are asked, by place, and how their values fall into buckets; alike in size."""
        return self._sketched

    def _find_sketched(self) -> dict[int, Sketch]:
        sources = (plain(feature) for feature in self.features)
        names = {each.signal for each in sources if isinstance(each, Feature) and each.statistic in QUANTILES}
        ranges = {name: self._range(name) for name in self.fleet.signal_names if name in names}
        signed = any(low < 0 for low, _ in ranges.values())
        return {
            self.fleet.signal_names.index(name): Sketch(max(abs(low), abs(high)), signed)
            for name, (low, high) in ranges.items()
        }

    def _range(self, signal: str) -> tuple[float, float]:
        """What values of a signal panes may hold: its valid range, or some deviations where it is normalised."""
        if self.regimes and signal in self.regimes.signals:
            return -_MOST_DEVIATIONS, _MOST_DEVIATIONS
        declared = self.fleet.signals[self.fleet.signal_names.index(signal)]
        return declared.low, declared.high

    @property
    def growing(self) -> bool:
        """Whether a window begins with an event and grows: late data then touches every later row of its device."""
        sources = (plain(feature) for feature in self.features)
        return any(isinstance(source, Feature) and isinstance(source.window, Since) for source in sources)

    @property
    def digest(self) -> str:
        """``sha256:…`` over every parameter, the fleet and the version of the pane included; descriptions are not."""
        return digest_of({"pane_version": PANE_VERSION, **self.to_json()})

    @property
    def computable(self) -> "FeatureSet":
        """The set or, while its regimes are to be learned, that of readings as they are: it has the same rows."""
        return replace(self, regimes=None) if isinstance(self.regimes, RegimeRule) else self

    def learned(self, regimes: Regimes) -> "FeatureSet":
        """The same features with their regimes as training learned them."""
        return replace(self, regimes=regimes)

    def prepared(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Readings as panes take them: normalised where the set says so.

        Args:
            values: Shape ``(n, signals)`` in the fleet's order, in the units of the signals; NaN marks a missing value.

        Returns:
            The same array where there is nothing to do, else a new one.

        Raises:
            FeatureSetError: The regimes were not learned yet.
        """
        if self.regimes is None:
            return values
        if isinstance(self.regimes, RegimeRule):
            raise FeatureSetError(
                "the regimes of this feature set were not learned yet",
                where=f"feature set of fleet {self.fleet.name}",
                why="what is usual under which operating condition is learned by a training",
                fix="train a use case of the fleet; its bundle carries the learned set",
            )
        return self.regimes.normalise(self.fleet.signal_names, values)

    def plan(self) -> Plan:
        """How panes become rows of these features; what batch and online compute with."""
        sources: dict[tuple[Plain, int], int] = {}
        columns = []
        for feature in self.features:
            earlier = (plain(feature), steps(feature))
            place = sources.setdefault(earlier, len(sources))
            if isinstance(feature, Difference):
                now = sources.setdefault((feature.feature, 0), len(sources))
                columns.append(Column(now, less=place))
            else:
                columns.append(Column(place))
        made = [self._source(source, lag * self.every_us) for source, lag in sources]
        return Plan(self.pane_us, self.every_us, self.longest_us, made, columns, sketched=self.sketched)

    def _source(self, feature: Plain, lag_us: int) -> Source:
        match feature:
            case EventCount(kind, window):
                return Counted(self.fleet.event_kinds.index(kind), window // MICROSECOND, lag_us)
            case TimeSince(kind):
                return Elapsed(self._kind(kind), lag_us)
            case Feature(signal, statistic, Since(kind, most)):
                beginning = Beginning(self._kind(kind), NO_LIMIT if most is None else most // MICROSECOND)
                return Growing(self.fleet.signal_names.index(signal), statistic, beginning, lag_us)
            case Feature(signal, statistic, timedelta() as window):
                place = self.fleet.signal_names.index(signal)
                return Request(place, statistic, window // MICROSECOND, lag_us)
        raise TypeError(f"{feature!r} is no feature")

    def _kind(self, kind: str) -> int:
        return FROM_START if kind == START else self.fleet.event_kinds.index(kind)

    def to_json(self) -> dict[str, Any]:
        """The feature set as JSON-ready dictionary; durations are whole microseconds."""
        return {
            "fleet": self.fleet.to_json(),
            "pane_us": self.pane_us,
            "every_us": self.every_us,
            "features": [to_json(feature) for feature in self.features],
            "regimes": regimes_json(self.regimes),
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
                features=tuple(from_json(feature) for feature in document["features"]),
                regimes=regimes_from_json(document["regimes"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, FleetError) as error:
            raise FeatureSetError("this is no description of a feature set", why=str(error)) from error
