"""Search for better parameters within a budget of seconds.

Candidates are judged by the task's first measure on training devices they were not fitted on: folds are made of whole
devices, never of rows. The test is not touched. The defaults are the first candidate where the space holds them, so a
search can only help.

A budget in seconds makes the number of trials depend on the machine. What was found is therefore recorded with the run,
and a repeated training takes it from there instead of searching again.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from pipelines.estimators import Space, create
from pipelines.fitting import Recipe, folds
from pipelines.tasks import Span, Task
from pipelines.windows import Windows

_TRIALS = 200


def search(task: Task, recipe: Recipe, space: Space, train: Windows, span: Span, *, budget_s: float) -> dict[str, Any]:
    """Return the best parameters found for an estimator.

    Args:
        task: How answers are judged.
        recipe: What is fitted; parameters of the search go on top of its own.
        space: Where to look; empty means the estimator's own space.
        train: Training windows.
        span: What is known about their labels.
        budget_s: Seconds after which no further trial starts.

    Returns:
        Parameters that differ from the recipe's; none without a budget, or where nothing can be left out to judge by.
    """
    kind, first = create(recipe.estimator, recipe.learns), task.measures[0]
    where = space or kind.space
    parts = [(learned, judged) for learned, judged in folds(train, recipe.learns, recipe.seed) if len(judged)]
    if recipe.learns == "probability":
        parts = [(learned, judged) for learned, judged in parts if train.label[judged].any()]
    if budget_s <= 0 or not parts or not where or recipe.learns == "normality":
        return {}

    def worth(trial: optuna.Trial) -> float:
        parameters = {key: _suggest(trial, key, bounds) for key, bounds in where.items()}
        tried = replace(recipe, parameters={**recipe.parameters, **parameters})
        scores = []
        for learned, judged in parts:
            margin = tried.fitted(train.select(learned)).margin(train.values[judged])
            windows = train.select(judged)
            found = task.measure(windows, margin, np.zeros(len(judged), dtype=np.bool_), span)
            scores.append(found.figures[first.name])
        return float(np.mean(scores))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "maximize" if first.better == "higher" else "minimize"
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=recipe.seed))
    usual = {**kind.defaults, **recipe.parameters}
    if all(_holds(bounds, usual.get(key)) for key, bounds in where.items()):
        study.enqueue_trial({key: usual[key] for key in where})
    study.optimize(worth, n_trials=_TRIALS, timeout=budget_s)
    return dict(study.best_params)


def _holds(bounds: tuple[float, float] | list[Any], value: Any) -> bool:
    if isinstance(bounds, list):
        return value in bounds
    return value is not None and bounds[0] <= value <= bounds[1]


def _suggest(trial: optuna.Trial, key: str, bounds: tuple[float, float] | list[Any]) -> Any:
    if isinstance(bounds, list):
        return trial.suggest_categorical(key, bounds)
    low, high = bounds
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=True)
    return trial.suggest_float(key, low, high, log=True)
