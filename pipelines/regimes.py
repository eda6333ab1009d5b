"""Regimes are learned: where the operating conditions of a fleet lie, and what is usual in each.

Only readings of the training devices within the training span are looked at; of what is held out, not one number gets
into the parameters. Which devices and which span these are depends on the rows there are and on their labels, not on
values, so it is found with the raw features first: those that `tidemill materialize` keeps for such a fleet, so that
this pass usually finds nothing left to do. Their panes do not help the learned set, because each of its readings is
normalised before it is summed up. The readings are read a day at a time, twice: once a sample of their settings for the
centres, once all of them for the means and deviations.

A rule says how many regimes there are *at most*. Fleets differ in it: of the C-MAPSS engines some fly under six
conditions, some under one, and to cut the jitter around one condition in six would only tell apart what is the same. So
two centres count as two regimes when they lie ``_FAR_IN_NOISE`` times as far apart as the readings around them scatter,
or ``_FAR_IN_RANGE`` of the valid range of a setting: a load that is driven from idle to full, without steps, is cut in
as many regimes as declared. What a fleet does not send is no fault either: a setting or signal without one reading is
left as it is.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from features.featureset import FeatureSet
from features.regime import RegimeRule, Regimes
from features.schema import Fleet
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
_FAR_IN_NOISE = 8.0  # an even scatter cut in pieces reaches 3.5, six flight conditions 100 and more
_FAR_IN_RANGE = 0.1
_DECIMALS = 9  # of centres, in standard deviations of the settings: sums differ in the last digits between machines
_DUST = 1e-12  # deviations below this share of the mean are rounding: the signal is constant

Array = NDArray[np.float64]


def learned(
    store: Store, lake: Lake, usecase: UseCase, *, since: int | None, until: int | None, seed: int, now_us: int
) -> UseCase:
    """The use case with the regimes of its features learned and their rows computed; as it is where there is no rule.

    Rows of features that are the use case's own are computed too: `tidemill materialize` knows those of the catalog.

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
        if usecase.feature_set is not None:
            materialize(lake, features)
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
        TooLittleDataError: A regime has too few readings, or too few of a signal that is sent.
    """
    declared = features.regimes
    if not isinstance(declared, RegimeRule):
        return features
    telemetry = lake.telemetry(features.fleet).open()
    readings = _Readings(telemetry, declared.settings, declared.signals, frozenset(devices), since, until)
    readings = readings.of_sent_settings()
    where = f"regimes of fleet {features.fleet.name}"
    settings = readings.sample()
    if len(settings) < LEAST_READINGS:
        raise TooLittleDataError(
            f"{len(settings)} readings do not make a regime",
            where=where,
            why=f"complete settings ({', '.join(readings.settings) or 'none'}) are needed {LEAST_READINGS} times",
            fix="train on a longer period",
        )
    offset, scale = settings.mean(axis=0), settings.std(axis=0)
    scale[scale <= _DUST * np.abs(offset)] = 1.0
    centres = _centres((settings - offset) / scale, declared.count, _far(features.fleet, readings.settings) / scale)
    blank = _unlearned(readings, offset, scale, centres)
    usual = _usual(readings, blank)
    _require_readings(usual, readings, offset + scale * centres, where)
    std = np.sqrt(usual.square / np.maximum(usual.count - 1, 1))
    std[std <= _DUST * np.abs(usual.mean)] = 1.0
    return features.learned(replace(blank, mean=_rows(usual.mean), std=_rows(std)))


@dataclass(frozen=True, slots=True)
class _Readings:
    """The readings that count, a day at a time, in an order that does not depend on how they are stored."""

    telemetry: Snapshot
    settings: tuple[str, ...]
    signals: tuple[str, ...]
    devices: frozenset[str]
    since: int
    until: int

    def of_sent_settings(self) -> "_Readings":
        """The same with the settings that are sent at all; none of them where the fleet sends none."""
        sent = np.zeros(len(self.settings), dtype=np.bool_)
        for settings, _ in self.days():
            sent |= ~np.isnan(settings).all(axis=0)
        kept = tuple(name for name, there in zip(self.settings, sent.tolist(), strict=True) if there)
        return replace(self, settings=kept)

    def days(self) -> Iterator[tuple[Array, Array]]:
        """Settings and signals of each day that has any, shapes ``(n, settings)`` and ``(n, signals)``."""
        names = dict.fromkeys([*self.settings, *self.signals])
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
            settings, signals = ([values[name] for name in part] for part in (self.settings, self.signals))
            yield np.array(settings).reshape(-1, len(rows)).T, np.column_stack(signals)

    def sample(self) -> Array:
        """Complete settings, evenly from all days, about ``_SAMPLE`` of them."""
        step = max(1, sum(self.telemetry.row_counts().values()) // _SAMPLE)
        parts = [settings[~np.isnan(settings).any(axis=1)][::step] for settings, _ in self.days()]
        return np.concatenate([np.empty((0, len(self.settings))), *parts])


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


def _require_readings(usual: _Usual, readings: _Readings, places: Array, where: str) -> None:
    """Enough readings of each signal in each regime; of a signal that nobody sends, none are asked."""
    scarce = (usual.count < LEAST_READINGS) & (usual.count.sum(axis=0) > 0)
    for regime, signal in np.argwhere(scarce)[:1].tolist():
        place = ", ".join(f"{n} {value:.4g}" for n, value in zip(readings.settings, places[regime], strict=True))
        raise TooLittleDataError(
            f"a regime has {usual.count[regime, signal]:.0f} readings of {readings.signals[signal]}",
            where=where,
            why=f"regime {regime + 1} of {len(places)}, at {place or 'any setting'}, needs {LEAST_READINGS} or more",
            fix="train on a longer period, declare fewer regimes, or leave the signal out of them",
        )


def _far(fleet: Fleet, settings: tuple[str, ...]) -> Array:
    """From which difference on two values of a setting are two conditions, whatever scatters around them."""
    signals = {signal.name: signal for signal in fleet.signals}
    return np.array([_FAR_IN_RANGE * (signals[name].high - signals[name].low) for name in settings])


def _centres(settings: Array, most: int, far: Array) -> Array:
    """Centres by k-means, as many as there are conditions, in an order of their own."""
    if not settings.shape[1]:
        return np.zeros((1, 0))
    for count in range(min(most, len(np.unique(settings, axis=0))), 1, -1):
        centres, scatter = _clusters(settings, count)
        if _apart(centres, scatter, far):
            return centres
    return _clusters(settings, 1)[0]


def _clusters(settings: Array, count: int) -> tuple[Array, Array]:
    """Sorted centres, and how far from each its readings scatter."""
    with threadpool_limits(limits=1):  # the order in which threads add up decides the last digits
        found = KMeans(count, n_init=10, random_state=0).fit(settings)
    centres = np.round(found.cluster_centers_, _DECIMALS) + 0.0  # no negative zero
    distance = np.square(settings - found.cluster_centers_[found.labels_]).sum(axis=1)
    sizes = np.maximum(np.bincount(found.labels_, minlength=count), 1)
    scatter = np.sqrt(np.bincount(found.labels_, weights=distance, minlength=count) / sizes)
    order = np.lexsort(centres.T[::-1])
    return centres[order], scatter[order]


def _apart(centres: Array, scatter: Array, far: Array) -> bool:
    """Whether every two centres are two conditions."""
    between = centres[:, None] - centres
    in_noise = np.sqrt(np.square(between).sum(axis=2)) >= _FAR_IN_NOISE * np.maximum(scatter[:, None], scatter)
    in_range = (np.abs(between) >= far).any(axis=2)
    pairs = np.triu_indices(len(centres), 1)
    return bool((in_noise | in_range)[pairs].all())


def _unlearned(readings: _Readings, offset: Array, scale: Array, centres: Array) -> Regimes:
    """The regimes with their places alone: means are zero and deviations one."""
    nothing = np.zeros((len(centres), len(readings.signals)))
    places = (tuple(offset.tolist()), tuple(scale.tolist()), _rows(centres))
    return Regimes(readings.settings, readings.signals, *places, _rows(nothing), _rows(nothing + 1.0))


def _rows(table: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, table.tolist()))
