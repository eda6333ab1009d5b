"""What the candidates of a search are judged by: the task's first measure on training devices that were left out.

Folds are made of whole devices, never of rows; where there is one device, the judge walks forward through its time. The
test is not touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators import Space, create
from pipelines.fitting import Recipe, folds
from pipelines.split import walk_forward
from pipelines.study import Trial
from pipelines.tasks import Span, Task
from pipelines.windows import Windows

_STRETCHES = 3  # of time that are judged, where there is one device
_FINALISTS, _DIVISIONS = 3, 2  # judged again, and on how many other divisions


@dataclass(frozen=True, slots=True)
class Family:
    """One estimator and where its parameters may lie.

    Attributes:
        recipe: What is fitted; parameters of a trial go on top of its own.
        space: Where to look.
    """

    recipe: Recipe
    space: Space

    @property
    def name(self) -> str:
        """Name of the estimator."""
        return self.recipe.estimator

    @property
    def usual(self) -> dict[str, Any] | None:
        """What is used without a search; None where the space does not hold it."""
        given = {**create(self.name, self.recipe.learns).defaults, **self.recipe.parameters}
        if all(_holds(bounds, given.get(key)) for key, bounds in self.space.items()):
            return {key: given[key] for key in self.space}
        return None


@dataclass(frozen=True, slots=True)
class Judge:
    """What candidates are judged by.

    Attributes:
        task: Its first measure decides.
        train: Training windows, sorted by device and end.
        span: What is known about their labels.
        parts: Rows to learn from and rows to judge with.
        recipe: What it learns, and the seed by which devices were divided.
        gap_us: Left out before a stretch of time that is judged.
    """

    task: Task
    train: Windows
    span: Span
    parts: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]
    recipe: Recipe
    gap_us: int

    @classmethod
    def of(cls, task: Task, recipe: Recipe, train: Windows, span: Span, gap_us: int) -> "Judge":
        """Divide the training windows.

        Args:
            task: How answers are judged.
            recipe: What it learns, and the seed of the folds.
            train: Training windows.
            span: What is known about their labels.
            gap_us: How long labels take to become known: walking forward leaves it out.
        """
        alone = len(np.unique(train.device)) == 1
        divided = walk_forward(train.end, _STRETCHES, gap_us) if alone else folds(train, recipe.learns, recipe.seed)
        two = recipe.learns == "probability"
        parts = [
            (learned, judged)
            for learned, judged in divided
            if len(judged) and not (two and (_same(train.label[learned]) or _same(train.label[judged])))
        ]
        return cls(task, train, span, parts if recipe.learns != "normality" else [], recipe, gap_us)

    def elsewhere(self, number: int) -> "Judge":
        """Return a judge that divides the devices otherwise; of one device there is one division only."""
        return Judge.of(
            self.task, replace(self.recipe, seed=self.recipe.seed + number), self.train, self.span, self.gap_us
        )

    def score(self, recipe: Recipe) -> float:
        """Return what a recipe reaches, the mean over the parts."""
        return self._mean(lambda learned, values: recipe.fitted(learned).margin(values), recipe.bounds)

    def constant(self) -> float:
        """Return what always guessing the same reaches: the base rate, or the mean quantity."""
        return self._mean(lambda learned, values: np.full(len(values), learned.label.mean()), None)

    def _mean(
        self,
        answer: Callable[[Windows, NDArray[np.float64]], NDArray[np.float64]],
        bounds: tuple[float, float] | None,
    ) -> float:
        name, scores = self.task.measures[0].name, []
        for learned, judged in self.parts:
            windows = self.train.select(judged)
            margin = answer(self.train.select(learned), windows.values)
            score = margin if bounds is None else np.clip(margin, *bounds)
            found = self.task.measure(windows, score, np.zeros(len(judged), dtype=np.bool_), self.span)
            scores.append(found.figures[name])
        return float(np.mean(scores)) if scores else float("nan")


def judge_again(families: Sequence[Family], judge: Judge, trials: Sequence[Trial], seconds: float) -> dict[int, float]:
    """Judge the best trials again on other divisions of the devices.

    The winner of many trials on one division is partly the one that the division suited: on the Azure machines one
    division moves the average precision by a tenth, ten times the distance between the best families.

    Args:
        families: What was tried.
        judge: What the trials were judged by.
        trials: The best first.
        seconds: How much may be spent, by how long the trials took.

    Returns:
        By number of trial the mean over all divisions, of the best trial of each family or, of one family, of its best
        three; empty where the time is not enough for two.
    """
    firsts: dict[str, Trial] = {}
    for trial in trials:
        firsts.setdefault(trial.family, trial)
    finalists = list(firsts.values() if len(firsts) > 1 else trials)[:_FINALISTS]
    took = np.cumsum([_DIVISIONS * trial.seconds for trial in finalists])
    finalists = [trial for trial, so_far in zip(finalists, took, strict=True) if so_far <= seconds]
    if len(finalists) < 2 or len(np.unique(judge.train.device)) == 1:  # noqa: PLR2004 - a choice is between two
        return {}
    recipes, judges = (
        {family.name: family.recipe for family in families},
        [judge.elsewhere(n + 1) for n in range(_DIVISIONS)],
    )
    found = {}
    for trial in finalists:
        recipe = recipes[trial.family]
        tried = replace(recipe, parameters={**recipe.parameters, **trial.parameters})
        scores = [trial.score, *(other.score(tried) for other in judges if other.parts)]
        found[trial.number] = float(np.mean([score for score in scores if score is not None]))
    return found


def _holds(bounds: tuple[float, float] | list[Any], value: Any) -> bool:
    if isinstance(bounds, list):
        return value in bounds
    return value is not None and bounds[0] <= value <= bounds[1]


def _same(labels: NDArray[np.float64]) -> bool:
    return len(labels) == 0 or bool((labels == labels[0]).all())
