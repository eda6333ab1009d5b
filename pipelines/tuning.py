"""Search for better parameters within a budget of seconds.

Candidates are judged by average precision on training devices they were not fitted on: folds are made of whole devices,
never of rows. The test is not touched. The defaults are the first candidate where the space holds them, so a
search can only help.

A budget in seconds makes the number of trials depend on the machine. What was found is therefore recorded with the run,
and a repeated training takes it from there instead of searching again.
"""

from typing import Any

import numpy as np
import optuna
from sklearn.metrics import average_precision_score

from pipelines.dataset import Windows
from pipelines.estimator import Space, create, folds

_TRIALS = 200


def search(name: str, space: Space, train: Windows, budget_s: float, seed: int) -> dict[str, Any]:
    """Return the best parameters found for an estimator.

    Args:
        name: The estimator.
        space: Where to look; empty means the estimator's own space.
        train: Training windows.
        budget_s: Seconds after which no further trial starts.
        seed: Of folds, fits and search.

    Returns:
        Parameters that differ from the defaults; none without a budget, or where fewer than two devices fail.
    """
    kind = create(name)
    where = space or kind.space
    thirds = [(learned, judged) for learned, judged in folds(train, seed) if train.label[judged].any()]
    if budget_s <= 0 or not thirds:
        return {}

    def worth(trial: optuna.Trial) -> float:
        parameters = {key: _suggest(trial, key, bounds) for key, bounds in where.items()}
        scores = []
        for learned, judged in thirds:
            candidate = create(name)
            candidate.fit(train.values[learned], train.label[learned], parameters, seed)
            scores.append(average_precision_score(train.label[judged], candidate.margin(train.values[judged])))
        return float(np.mean(scores))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    if all(_holds(bounds, kind.defaults.get(key)) for key, bounds in where.items()):
        study.enqueue_trial({key: kind.defaults[key] for key in where})
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
