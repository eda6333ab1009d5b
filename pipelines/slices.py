"""How good a model is on parts of the test: where it is worse than its average.

=======================  ===============================================================================
kind of device           by features that stand still in each device and differ between few, such as a model or a line
operating condition      by the regimes that the feature set has learned
age of the device        time since its first window, in thirds
true value               where a quantity is foreseen: what it really was, in thirds, and what lies at the cap
=======================  ===============================================================================

A part with few windows, or with too little to judge with, is marked: its figures are chance.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.regime import Regimes
from pipelines.dataset import Dataset
from pipelines.sensitivity import level_column
from pipelines.tasks import Metrics, Span, Task, evidence_of
from pipelines.windows import Windows

LEAST_WINDOWS = 50
_LEAST_EVIDENCE = 3
_MOST_KINDS = 6
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the test.

    Attributes:
        group: By what the test was divided.
        name: Which part.
        windows: Windows there.
        devices: Devices there.
        evidence: How much there was to judge with, as the task counts.
        small: Whether that is too little to trust the figures.
        metrics: What the model reaches there.
    """

    group: str
    name: str
    windows: int
    devices: int
    evidence: int
    small: bool
    metrics: Metrics


def slices(
    task: Task, dataset: Dataset, features: FeatureSet, span: Span, measured: Callable[[NDArray[np.bool_]], Metrics]
) -> list[Slice]:
    """Judge a model part by part.

    Args:
        task: Counts what there is to judge with.
        dataset: Its test is divided; ages count from the first window of a device in training or test.
        features: Gives the regimes.
        span: What is known about the labels of the test.
        measured: Gives what the model reaches on some windows.

    Returns:
        Parts by group; a group that would have one part only is left out.
    """
    found = []
    groups = [*divided(features, dataset.names, dataset.train, dataset.test)]
    if task.learns == "quantity":
        groups.append(("true value", _bands(dataset.test.label)))
    for group, names in groups:
        parts = [name for name in dict.fromkeys(sorted(names.tolist())) if name]
        if len(parts) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        for name in parts:
            rows = names == name
            windows = dataset.test.select(rows)
            evidence = evidence_of(task, windows, dataset.test, span)
            small = len(windows) < LEAST_WINDOWS or evidence < _LEAST_EVIDENCE
            devices = len(np.unique(windows.device))
            shown = name.partition(" ")[2]
            found.append(Slice(group, shown, len(windows), devices, evidence, small, measured(rows)))
    return found


def divided(
    features: FeatureSet, names: Sequence[str], train: Windows, test: Windows
) -> Iterator[tuple[str, NDArray[np.str_]]]:
    """Divide windows into parts, by what is known of them without their labels.

    Args:
        features: Gives the regimes.
        names: Feature names.
        train: Windows that count for the first one of a device, and for nothing else.
        test: Windows that are divided.

    Yields:
        Each group with the part of each window: a number that sorts, a space and a name; empty for none.
    """
    yield from _kinds(names, test)
    regimes = _regimes(test, features)
    if regimes is not None:
        yield "operating condition", regimes
    yield "age of the device", _ages(train, test)


def _kinds(names: Sequence[str], test: Windows) -> Iterator[tuple[str, NDArray[np.str_]]]:
    """Features that stand still in each device of the test and take few values over all of them."""
    _, place = np.unique(test.device, return_inverse=True)
    devices = int(place.max()) + 1 if len(place) else 0
    for column, name in enumerate(names):
        values = test.values[:, column]
        kinds = np.unique(values[~np.isnan(values)])
        if not 1 < len(kinds) <= min(_MOST_KINDS, devices // 2) or np.isnan(values).any():
            continue
        low, high = np.full(devices, np.inf), np.full(devices, -np.inf)
        np.minimum.at(low, place, values)
        np.maximum.at(high, place, values)
        if np.array_equal(low, high):
            yield name, np.array([f"{np.searchsorted(kinds, value):02d} {value:g}" for value in values])


def _regimes(test: Windows, features: FeatureSet) -> NDArray[np.str_] | None:
    """The regime of each window, by the level of its settings; None where none were learned or levels are not known."""
    regimes = features.regimes
    if not isinstance(regimes, Regimes):
        return None
    columns = [level_column(features, setting) for setting in regimes.settings]
    if any(column is None for column in columns) or set(regimes.settings) & set(regimes.signals):
        return None
    found = regimes.assign(test.values[:, [column for column in columns if column is not None]])
    places = np.array(regimes.offset) + np.array(regimes.scale) * np.array(regimes.centres)
    told = [
        f"{number:02d} " + ", ".join(f"{name} {value:.3g}" for name, value in zip(regimes.settings, row, strict=True))
        for number, row in enumerate(places)
    ]
    return np.array(["" if regime < 0 else told[regime] for regime in found.tolist()])


def _ages(train: Windows, test: Windows) -> NDArray[np.str_]:
    devices = np.concatenate([train.device, test.device])
    names, place = np.unique(devices, return_inverse=True)
    first = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(first, place, np.concatenate([train.end, test.end]))
    age = test.end - first[place[len(train) :]]
    step, unit = (_DAY_US, "d") if age.max(initial=0) > 3 * _DAY_US else (_HOUR_US, "h")
    return _thirds(age / step, unit)


def _bands(label: NDArray[np.float64]) -> NDArray[np.str_]:
    top = float(label.max())
    capped = label == top
    if capped.mean() < 0.05:  # noqa: PLR2004 - a single largest value is no cap
        return _thirds(label, "")
    names = np.array([f"3 at the cap of {top:g}"] * len(label), dtype=object)
    names[~capped] = _thirds(label[~capped], "")
    return names.astype(np.str_)


def _thirds(values: NDArray[np.float64], unit: str) -> NDArray[np.str_]:
    """Name the third that each value lies in.

    Example:
        >>> _thirds(np.array([1.0, 2.0, 3.0, 40.0, 50.0, 60.0]), "d").tolist()[::2]
        ['0 1.0 to 2.7 d', '1 2.7 to 43.3 d', '2 43.3 to 60.0 d']
    """
    if not len(values):
        return np.empty(0, dtype=np.str_)
    edges = np.quantile(values, [0, 1 / 3, 2 / 3, 1])
    part = np.searchsorted(edges[1:3], values, side="left")
    told = [rounded(edge, float(edges[-1] - edges[0])) for edge in edges]
    named = [f"{number} {told[number]} to {told[number + 1]} {unit}".rstrip() for number in range(3)]
    return np.array(named)[part]


def rounded(value: float, span: float) -> str:
    """Write a value with as many digits as tell it apart within a span: about a hundredth of it.

    Example:
        >>> rounded(0.00404, 120.0), rounded(2.6667, 59.0), rounded(0.01234, 0.5)
        ('0', '2.7', '0.012')
    """
    digits = max(0, 2 - int(np.floor(np.log10(span)))) if span > 0 else 2
    return f"{round(value, digits) + 0.0:,.{digits}f}"
