"""Search for the estimator and its parameters that do best, within a budget of seconds, alone or with others.

Candidates are judged on training devices they were not fitted on (`pipelines.judging`). The defaults of each family
come first, a linear model before all, so a search can only help.

What is tried next follows from the trials there are, the number of the next one and the seed: Optuna's TPE sampler is
told of all of them anew each time, of those that still run too, so that two who search at once do not try the same.

A budget in seconds makes the number of trials depend on the machine. The study therefore stays in the store, and a
repeated training takes what was found there instead of searching again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from features.errors import TidemillError
from pipelines.judging import Family, Judge
from pipelines.study import Study, Trial
from pipelines.tasks import Task

MOST_TRIALS = 200
_ALWAYS = 2  # trials that are made however small the budget is: a linear model and the use case's own estimator
_FAMILY = "family"

Watch = Callable[[Sequence[Trial], float], None]
"""Told after each trial: all trials there are, and the seconds used."""


def search(
    study: Study,
    families: Sequence[Family],
    judge: Judge,
    *,
    share: str,
    budget_s: float,
    seed: int,
    now_us: int,
    watch: Watch,
    timer: Callable[[], float] = time.perf_counter,
) -> None:
    """Try one thing after the other until a share of the budget is used up.

    Killed and called again it goes on: seconds of trials that ended count, and the one that ran is ended first.

    Args:
        study: Where trials are shared with others.
        families: What may be tried, in the order in which their defaults are.
        judge: What they are judged by.
        share: The name of this share.
        budget_s: Seconds after which no further trial of this share starts.
        seed: Of the proposals.
        now_us: The clock at the beginning, UTC microseconds.
        watch: Told after each trial.
        timer: A monotonic clock in seconds.
    """
    if share in study.closed():
        return
    began = timer()
    used = sum(trial.seconds for trial in study.trials() if trial.share == share)
    recipes = {family.name: family.recipe for family in families}

    def in_time() -> bool:
        return used + timer() - began < budget_s

    for trial in _begun(study, families, judge.task, share=share, seed=seed, in_time=in_time):
        start = timer()
        recipe = recipes[trial.family]
        tried = replace(recipe, parameters={**recipe.parameters, **trial.parameters})
        at = replace(trial, began_us=now_us + int((start - began) * 1e6))
        try:
            ended = at.ended(judge.score(tried), timer() - start, "there is nothing to judge it by")
        except (TidemillError, ValueError, ArithmeticError) as error:
            ended = at.ended(float("nan"), timer() - start, " ".join(str(error).split())[:300])
        study.end(ended)
        watch(study.trials(), used + timer() - began)
    study.close(share, budget_s)


def _begun(
    study: Study, families: Sequence[Family], task: Task, *, share: str, seed: int, in_time: Callable[[], bool]
) -> Iterator[Trial]:
    """Take trials: first what an earlier attempt at this share left, then what is proposed."""
    while True:
        trials = study.trials()
        left = [trial for trial in trials if trial.share == share and trial.state == "running"]
        if left:
            yield left[0]
            continue
        always = max(1, min(_ALWAYS, sum(family.usual is not None for family in families)))
        if len(trials) >= MOST_TRIALS or not (in_time() or len(trials) < always):
            return
        family, parameters = propose(families, trials, task, seed)
        trial = Trial(len(trials), family, parameters, share)
        if study.begin(trial):
            yield trial


def propose(families: Sequence[Family], trials: Sequence[Trial], task: Task, seed: int) -> tuple[str, dict[str, Any]]:
    """Say what to try next: a family and its parameters, as JSON has them.

    A family of which every trial failed is left alone from then on.

    Args:
        families: What may be tried.
        trials: All trials there are.
        task: Its first measure says which of them did well.
        seed: The same seed and trials give the same proposal.
    """
    starts = [(family.name, family.usual) for family in families if family.usual is not None]
    if len(trials) < len(starts):
        name, usual = starts[len(trials)]
        return name, _plain(usual)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=(seed * 1_000_003 + len(trials)) % 2**32)
    direction = "maximize" if task.measures[0].better == "higher" else "minimize"
    known = optuna.create_study(direction=direction, sampler=sampler)
    hopeless = {trial.family for trial in trials} - {trial.family for trial in trials if trial.state != "failed"}
    by_name = {
        family.name: family for family in families if family.name not in hopeless or len(families) == len(hopeless)
    }
    known.add_trials([_told(by_name, trial) for trial in trials if trial.family in by_name and trial.state != "failed"])
    asked = known.ask()
    family = by_name[asked.suggest_categorical(_FAMILY, list(by_name))]
    found = {key: _suggested(asked, f"{family.name}.{key}", bounds) for key, bounds in family.space.items()}
    return family.name, _plain(found)


def _told(families: Mapping[str, Family], trial: Trial) -> optuna.trial.FrozenTrial:
    """A trial as Optuna knows it: each family has parameters of its own."""
    space = families[trial.family].space
    places = {f"{trial.family}.{key}": _distribution(space[key]) for key in trial.parameters}
    values = {
        f"{trial.family}.{key}": json.dumps(value) if isinstance(space[key], list) else value
        for key, value in trial.parameters.items()
    }
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if trial.state == "done" else optuna.trial.TrialState.RUNNING,
        value=trial.score,
        params={_FAMILY: trial.family, **values},
        distributions={_FAMILY: optuna.distributions.CategoricalDistribution(list(families)), **places},
    )


def _distribution(bounds: tuple[float, float] | list[Any]) -> optuna.distributions.BaseDistribution:
    if isinstance(bounds, list):
        return optuna.distributions.CategoricalDistribution([json.dumps(choice) for choice in bounds])
    kind = optuna.distributions.IntDistribution if _whole(bounds) else optuna.distributions.FloatDistribution
    return kind(*bounds, log=True)


def _suggested(trial: optuna.Trial, name: str, bounds: tuple[float, float] | list[Any]) -> Any:
    if isinstance(bounds, list):
        return json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in bounds]))
    suggest = trial.suggest_int if _whole(bounds) else trial.suggest_float
    return suggest(name, *bounds, log=True)


def _whole(bounds: tuple[float, float]) -> bool:
    return all(isinstance(bound, int) for bound in bounds)


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they come back from the store, so that a resumed trial is the one that was begun."""
    plain: dict[str, Any] = json.loads(json.dumps(parameters))
    return plain
