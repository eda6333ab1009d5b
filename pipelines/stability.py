"""Whether a model is as good in one stretch of time as in another.

*Folds* fit the same recipe again on growing pasts and judge each on what came next, all within training: how much of a
good figure is the luck of one split. Where the test is not cut off in time, folds leave out devices instead. *Periods*
ask the bundle itself, day by day, week by week or month by month of the test: whether it wears out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipelines.fitting import Recipe, folds
from pipelines.split import Split, walk_forward
from pipelines.tasks import Metrics, Span, Task, evidence_of
from pipelines.windows import Windows

FOLDS = 3
_DAY_US = 86_400_000_000
_MOST_PERIODS = 16
_LEAST = 0.1  # of training, to learn from: less says nothing about the recipe


@dataclass(frozen=True, slots=True)
class Fold:
    """A recipe fitted on a part of training and judged with another.

    Attributes:
        since: First window end it was judged with.
        until: The last.
        learned: Windows learned from.
        judged: Windows judged with.
        value: The task's first measure; NaN where it cannot be told, as without a failure.
    """

    since: int
    until: int
    learned: int
    judged: int
    value: float


@dataclass(frozen=True, slots=True)
class Period:
    """The bundle in one stretch of the test.

    Attributes:
        name: The day, the week by its Monday, or the month.
        windows: Windows there.
        evidence: How much there was to judge with, as the task counts.
        metrics: What it reached.
    """

    name: str
    windows: int
    evidence: int
    metrics: Metrics


def by_fold(task: Task, recipe: Recipe, train: Windows, span: Span, split: Split, *, gap_us: int) -> list[Fold]:
    """Fit a recipe again on parts of training.

    Only margins are compared, within the bounds of a quantity: the first measure of a task asks for no threshold.

    Args:
        task: How answers are judged.
        recipe: What is fitted.
        train: Windows that may be learned from.
        span: What is known about their labels.
        split: Whether test and training lie apart in time.
        gap_us: How long labels take to become known.

    Returns:
        Nothing for normality: all of training is normal, so there is nothing to judge with.
    """
    if task.learns == "normality":
        return []
    parts = walk_forward(train.end, FOLDS, gap_us) if split.in_time else folds(train, task.learns, recipe.seed)
    found = []
    for learned, judged in parts:
        if len(learned) < _LEAST * len(train):
            continue
        own, rows = train.select(learned), train.select(judged)
        value = math.nan
        if len(np.unique(own.label)) > 1:
            score = recipe.fitted(own).margin(rows.values)
            if recipe.bounds is not None:
                score = np.clip(score, *recipe.bounds)
            metrics: Metrics = task.measure(rows, score, np.zeros(len(rows), dtype=np.bool_), span)
            value = metrics.figures[task.measures[0].name]
        found.append(Fold(int(rows.end.min()), int(rows.end.max()), len(own), len(rows), value))
    return found


def by_period(task: Task, test: Windows, span: Span, measured: Callable[[NDArray[np.bool_]], Metrics]) -> list[Period]:
    """Judge the bundle period by period.

    Args:
        task: Counts what there is to judge with.
        test: Windows of the test.
        span: What is known about their labels.
        measured: Gives what the bundle reaches on some of them.

    Returns:
        Nothing where the test is too short for two periods.
    """
    names = _periods(test.end)
    periods = sorted(set(names.tolist()))
    if not 1 < len(periods) <= _MOST_PERIODS:
        return []
    found = []
    for name in periods:
        rows = names == name
        evidence = evidence_of(task, test.select(rows), test, span)
        found.append(Period(name, int(rows.sum()), evidence, measured(rows)))
    return found


def _periods(end: NDArray[np.int64]) -> NDArray[np.str_]:
    """The period of each window: a day of up to ten, a week of up to twelve, else a month.

    Example:
        >>> _periods(np.array([1, 30, 100]) * 86_400_000_000).tolist()
        ['1970-01', '1970-01', '1970-04']
        >>> _periods(np.array([1, 6, 12]) * 86_400_000_000).tolist()  # 1970 began on a Thursday
        ['week of 1969-12-29', 'week of 1970-01-05', 'week of 1970-01-12']
    """
    if not len(end):
        return np.empty(0, dtype=np.str_)
    days, place = np.unique((end - 1) // _DAY_US, return_inverse=True)
    length = int(days[-1] - days[0]) + 1
    return np.array([_name(int(day), length) for day in days])[place]


def _name(day: int, length: int) -> str:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    if length <= 10:  # noqa: PLR2004 - see _periods
        return f"{date:%Y-%m-%d}"
    if length <= 12 * 7:
        return f"week of {date - timedelta(days=date.weekday()):%Y-%m-%d}"
    return f"{date:%Y-%m}"
