"""What a model leans on, signal by signal, and what happens when a sensor dies.

Asked of the bundle from outside, so it holds for any model: the columns of a signal are shuffled together over the rows
(apart, correlated features would cover for each other), and they are taken away as a dead sensor would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.feature import AnyFeature, Feature, plain
from features.featureset import FeatureSet
from features.schema import Signal
from pipelines.tasks import Metrics, Span, Task
from pipelines.windows import Windows
from serving.predictor import Predictor

_ROWS = 4000
_SHUFFLES = 3
_RANK = {"mean": 0, "last": 1, "max": 1, "count": 1}
"""Statistics that show the level of a signal, the best first."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """How much a model depends on one signal.

    Attributes:
        signal: Its name.
        unit: Its unit; ``"sd"`` where it is normalised by its regime, standard deviations from what is usual there.
        description: What it measures.
        loss: What is lost of the task's first measure when the signal is shuffled: a difference where higher is
            better, the growth of an error as a share of it where lower is.
        normal: Middle 80 % of the signal in training windows without label 1 (low, high), in its unit; NaN if unknown.
        before: Median of the signal in training windows with label 1; NaN if unknown.
        dead: What is left when the sensor dies.
    """

    signal: str
    unit: str
    description: str
    loss: float
    normal: tuple[float, float]
    before: float
    dead: Metrics


def lean(task: Task, predictor: Predictor, train: Windows, test: Windows, span: Span, *, seed: int) -> list[Leaning]:
    """Measure each signal that the features are made of, the most important first.

    Args:
        task: How answers are judged.
        predictor: The bundle.
        train: Where the normal band comes from.
        test: Where the model is asked.
        span: What is known about the labels of the test.
        seed: Of the shuffles.

    Returns:
        Nothing where the task's first measure cannot be told, as of a test without a failure.
    """
    random, features = np.random.default_rng(seed), predictor.bundle.manifest.features
    first = task.measures[0]
    sample = test.select(_sample(test, random))

    def reached(windows: Windows, values: NDArray[np.float64]) -> Metrics:
        answer = predictor.predict(values)
        found: Metrics = task.measure(windows, answer.score, answer.alert, span)
        return found

    whole = reached(sample, sample.values).figures[first.name]
    if np.isnan(whole):
        return []
    result = []
    for signal in features.fleet.signals:
        columns = [i for i, feature in enumerate(features.features) if reads(feature, signal.name)]
        if not columns:
            continue
        shuffled = [reached(sample, _shuffled(sample, columns, random)).figures[first.name] for _ in range(_SHUFFLES)]
        loss = -first.gain(float(np.mean(shuffled)), whole)
        taken = test.values.copy()
        taken[:, columns] = np.nan
        low, high, before = _band(features, signal.name, train)
        dead = reached(test, taken)
        result.append(
            Leaning(signal.name, _unit(features, signal), signal.description, loss, (low, high), before, dead)
        )
    return sorted(result, key=lambda leaning: -leaning.loss)


def level_column(features: FeatureSet, signal: str) -> int | None:
    """Return the column that shows the level of a signal best: its mean, else any other, over the shortest window."""
    own = [
        (not isinstance(f, Feature), _RANK.get(source.statistic, len(_RANK)), source.window, i)
        for i, f in enumerate(features.features)
        for source in (plain(f),)
        if isinstance(source, Feature) and source.signal == signal and isinstance(source.window, timedelta)
    ]
    return min(own)[-1] if own else None


def _unit(features: FeatureSet, signal: Signal) -> str:
    return "sd" if features.regimes and signal.name in features.regimes.signals else signal.unit


def reads(feature: AnyFeature, signal: str) -> bool:
    """Whether a feature is made of a signal."""
    source = plain(feature)
    return isinstance(source, Feature) and source.signal == signal


def _sample(test: Windows, random: np.random.Generator) -> NDArray[np.intp]:
    """All windows with label 1 and as many others as there is room for, in their order."""
    danger, calm = np.flatnonzero(test.positive), np.flatnonzero(~test.positive)
    chosen = random.permutation(calm)[: max(_ROWS - len(danger), _ROWS // 2)]
    return np.sort(np.concatenate([danger, chosen]))


def _shuffled(sample: Windows, columns: Sequence[int], random: np.random.Generator) -> NDArray[np.float64]:
    values = sample.values.copy()
    values[:, columns] = values[random.permutation(len(values))][:, columns]
    return values


def _band(features: FeatureSet, signal: str, train: Windows) -> tuple[float, float, float]:
    column = level_column(features, signal)
    if column is None:
        return np.nan, np.nan, np.nan
    level = train.values[:, column]
    known = ~np.isnan(level)
    calm, danger = level[known & ~train.positive], level[known & train.positive]
    low, high = np.quantile(calm, [0.1, 0.9]) if len(calm) else (np.nan, np.nan)
    return float(low), float(high), float(np.median(danger)) if len(danger) else np.nan
