"""Regimes are learned: where the operating conditions of a fleet lie, and what is usual in each.

Only readings of the training devices within the training span are looked at; of what is held out, not one number gets
into the parameters. Which devices and which span these are depends on the rows there are and on their labels, not on
values, so it is found with the raw features first: those that `tidemill materialize` keeps for such a fleet, so that
this pass usually finds nothing left to do. Their panes do not help the learned set, because each of its readings is
normalised before it is summed up. The readings are read a day at a time, twice: once a sample of their settings for the
centres, once all of them for the means and deviations.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from features.featureset import FeatureSet
from features.regime import RegimeRule, Regimes
from pipelines import history
from pipelines.errors import TooLittleDataError
from pipelines.lake import Lake, Snapshot
from pipelines.materialize import materialize
from pipelines.tables import DAY_US
from pipelines.usecases import UseCase
from serving.store import Store

LEAST_READINGS = 30
"""A mean and a deviation from fewer readings say more about those readings than about the regime."""

_SAMPLE = 200_000
_DECIMALS = 9  # of centres, in standard deviations of the settings: sums differ in the last digits between machines
_DUST = 1e-12  # deviations below this share of the mean are rounding: the signal is constant

Array = NDArray[np.float64]


def learned(
    store: Store, lake: Lake, usecase: UseCase, *, since: int | None, until: int | None, seed: int, now_us: int
) -> UseCase:
    """The use case with the regimes of its features learned and their rows computed; as it is where there is no rule.

    Args:
        store: See `pipelines.history.load`, as for all that follow.
        lake: Holds telemetry and events; takes panes and features.
        usecase: What is trained.
        since: First window end; None for all there is.
        until: The present to act in; None for now.
        seed: Decides which devices are held out.
        now_us: The clock.

    Raises:
        TableMissingError: Telemetry or events are not there yet.
        TooLittleDataError: There is not enough history to split, or a regime has too few readings.
    """
    features = usecase.features
    if not isinstance(features.regimes, RegimeRule):
        return usecase
    raw = replace(usecase, feature_set=features.computable)
    materialize(lake, raw.features)
    data = history.load(store, lake, raw, since=since, until=until, seed=seed, now_us=now_us)
    devices = set(data.train.device.tolist())
    found = learn(lake, features, devices, since=data.since - features.longest_us, until=data.train_until)
    materialize(lake, found)
    return replace(usecase, feature_set=found)


def learn(lake: Lake, features: FeatureSet, devices: Collection[str], *, since: int, until: int) -> FeatureSet:
    """Learn the regimes of a feature set.

    Args:
        lake: Holds the telemetry.
        features: Declares a `RegimeRule`; one without is returned as it is.
        devices: Whose readings count.
        since: The first event time that counts, UTC microseconds.
        until: The first that does not count any more.

    Raises:
        TableMissingError: There is no telemetry yet.
        TooLittleDataError: A regime has too few readings, or too few of a signal.
    """
    rule = features.regimes
    if not isinstance(rule, RegimeRule):
        return features
    readings = _Readings(lake.telemetry(features.fleet).open(), rule, frozenset(devices), since, until)
    where = f"regimes of fleet {features.fleet.name}"
    settings = readings.sample()
    distinct = len(np.unique(settings, axis=0))
    if len(settings) < LEAST_READINGS or distinct < rule.count:
        raise TooLittleDataError(
            f"{len(settings)} readings with {distinct} different settings do not make {rule.count} regimes",
            where=where,
            why=f"{', '.join(rule.settings)} must stand in the same record, {LEAST_READINGS} times or more",
            fix="train on a longer period, or declare fewer regimes",
        )
    offset, scale = settings.mean(axis=0), settings.std(axis=0)
    scale[scale <= _DUST * np.abs(offset)] = 1.0
    centres = _centres((settings - offset) / scale, rule.count)
    usual = _usual(readings, _unlearned(rule, offset, scale, centres))
    _require_readings(usual, rule, offset + scale * centres, where)
    std = np.sqrt(usual.square / (usual.count - 1))
    std[std <= _DUST * np.abs(usual.mean)] = 1.0
    blank = _unlearned(rule, offset, scale, centres)
    return features.learned(replace(blank, mean=_rows(usual.mean), std=_rows(std)))


@dataclass(frozen=True, slots=True)
class _Readings:
    """The readings that count, a day at a time, in an order that does not depend on how they are stored."""

    telemetry: Snapshot
    rule: RegimeRule
    devices: frozenset[str]
    since: int
    until: int

    def days(self) -> Iterator[tuple[Array, Array]]:
        """Settings and signals of each day that has any, shapes ``(n, settings)`` and ``(n, signals)``."""
        names = dict.fromkeys([*self.rule.settings, *self.rule.signals])
        after, before = {"time": self.since - 1}, {"time": self.until}
        for date in sorted(self.telemetry.dates()):
            if not self.since // DAY_US <= np.datetime64(date, "D").astype(np.int64) <= self.until // DAY_US:
                continue
            columns = ["device", "time", *names]
            rows = self.telemetry.read(columns, dates=[date], devices=self.devices, after=after, before=before)
            if not len(rows):
                continue
            rows = rows.sort_by([("device", "ascending"), ("time", "ascending")])
            values = {name: rows[name].fill_null(np.nan).to_numpy() for name in names}
            settings, signals = ([values[name] for name in part] for part in (self.rule.settings, self.rule.signals))
            yield np.column_stack(settings), np.column_stack(signals)

    def sample(self) -> Array:
        """Complete settings, evenly from all days, about ``_SAMPLE`` of them."""
        step = max(1, sum(self.telemetry.row_counts().values()) // _SAMPLE)
        parts = [settings[~np.isnan(settings).any(axis=1)][::step] for settings, _ in self.days()]
        return np.concatenate([np.empty((0, len(self.rule.settings))), *parts])


@dataclass(slots=True)
class _Usual:
    """Count, mean and sum of squares about it, of each signal in each regime; shape ``(regimes, signals)`` each."""

    count: Array
    mean: Array
    square: Array

    def add(self, regime: int, values: Array) -> None:
        """Take in readings of one regime, shape ``(n, signals)``: Chan, Golub and LeVeque, 1983."""
        present = ~np.isnan(values)
        count = present.sum(axis=0)
        some = count > 0
        # About the first reading of each signal, so that the deviation of a constant is zero and not rounding.
        first = values[present.argmax(axis=0), np.arange(values.shape[1])]
        about = np.where(present, values - first, 0.0)
        shift = about.sum(axis=0) / np.maximum(count, 1)
        square = np.where(present, np.square(about - shift), 0.0).sum(axis=0)
        mean = np.where(some, first + shift, 0.0)
        before, total = self.count[regime], self.count[regime] + count
        delta = np.where(some & (before > 0), mean - self.mean[regime], 0.0)
        share = count / np.maximum(total, 1)
        self.square[regime] += square + np.square(delta) * before * share
        self.mean[regime] = np.where(before > 0, self.mean[regime] + delta * share, mean)
        self.count[regime] = total


def _usual(readings: _Readings, places: Regimes) -> _Usual:
    shape = (len(places.centres), len(places.signals))
    usual = _Usual(np.zeros(shape), np.zeros(shape), np.zeros(shape))
    for settings, signals in readings.days():
        regime = places.assign(settings)
        for number in range(len(places.centres)):
            here = signals[regime == number]
            if len(here):
                usual.add(number, here)
    return usual


def _require_readings(usual: _Usual, rule: RegimeRule, places: Array, where: str) -> None:
    for regime, signal in np.argwhere(usual.count < LEAST_READINGS)[:1].tolist():
        place = ", ".join(f"{name} {value:.4g}" for name, value in zip(rule.settings, places[regime], strict=True))
        raise TooLittleDataError(
            f"a regime has {usual.count[regime, signal]:.0f} readings of {rule.signals[signal]}",
            where=where,
            why=f"regime {regime + 1} of {rule.count}, at {place}, needs {LEAST_READINGS} or more",
            fix="train on a longer period, declare fewer regimes, or leave the signal out of them",
        )


def _centres(settings: Array, count: int) -> Array:
    """Centres by k-means, in an order of their own."""
    with threadpool_limits(limits=1):  # the order in which threads add up decides the last digits
        found = KMeans(count, n_init=10, random_state=0).fit(settings).cluster_centers_
    centres = np.round(found, _DECIMALS) + 0.0  # no negative zero
    ordered: Array = centres[np.lexsort(centres.T[::-1])]
    return ordered


def _unlearned(rule: RegimeRule, offset: Array, scale: Array, centres: Array) -> Regimes:
    """The regimes with their places alone: means are zero and deviations one."""
    nothing = np.zeros((len(centres), len(rule.signals)))
    places = (tuple(offset.tolist()), tuple(scale.tolist()), _rows(centres))
    return Regimes(rule.settings, rule.signals, *places, _rows(nothing), _rows(nothing + 1.0))


def _rows(table: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, table.tolist()))
