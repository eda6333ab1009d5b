"""The search stage of a training: which estimator and parameters, found alone or by several processes together.

    tidemill train pump_failure --estimator automatic --budget 120                             # alone
    tidemill train pump_failure --estimator automatic --budget 120 --study monday --share 1/2  # one of two
    tidemill train pump_failure --estimator automatic --budget 120 --study monday              # then build the best

Those who search together name the same study. The first of them pins the versions of the tables, and the regimes where
they are learned, so all of them, and the training that builds the best, see the same rows although telemetry goes on
coming in. The trials lie in the store under the key of the training (`pipelines.study`), so it also works without that
name: who asks for the same again finds what was found before.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from features.regime import Regimes, regimes_from_json, regimes_json
from pipelines import history, regimes
from pipelines.candidate import recipe_of, span_of
from pipelines.chosen import Searched, Share, reached
from pipelines.dataset import Dataset
from pipelines.errors import UseCaseError
from pipelines.estimators import Space, able, create
from pipelines.estimators.linear import Linear
from pipelines.judging import Family, Judge, judge_again
from pipelines.lake import Lake
from pipelines.registration import TABLES
from pipelines.request import Parameters, Progress, Tell, silent, unheard
from pipelines.study import FOLDER, Study, Trial, ranked
from pipelines.tasks import task_of
from pipelines.tuning import search
from pipelines.usecases import AUTOMATIC, UseCase
from serving.bundle import canonical_json, digest_of
from serving.errors import MissingObjectError
from serving.store import Store

USUAL_BUDGET_S = 60.0
"""Of an automatic search that is given no budget."""
_TRYING = 0.75  # of the budget; the rest is for judging the best again


def load(store: Store, lake: Lake, usecase: UseCase, parameters: Parameters, now_us: int) -> tuple[UseCase, Dataset]:
    """Read the training set: of the versions that the study pinned, where there is one; and with the regimes learned.

    Raises:
        TableMissingError: Features or events are not there yet.
        TooLittleDataError: There is not enough history.
    """
    asked: dict[str, Any] = {"since": parameters.since, "seed": parameters.seed, "now_us": now_us}
    pin = _pin(usecase, parameters)
    pinned = _pinned(store, pin) if parameters.study else {}
    if not pinned:
        learned = regimes.learned(store, lake, usecase, until=parameters.until, **asked)
        data = history.load(store, lake, learned, until=parameters.until, **asked)
        read: dict[str, Any] = {name: int(data.lineage[f"{name}.version"]) for name in TABLES}
        read |= {"until": int(data.lineage["until"]), "regimes": regimes_json(learned.features.regimes)}
        if not parameters.study or store.put_if_absent(pin, canonical_json(read)):
            return learned, data
        pinned = _pinned(store, pin)  # somebody else was first
    # Late readings move what is learned from telemetry, so regimes are taken from the first and not learned again.
    found = regimes_from_json(pinned["regimes"])
    if isinstance(found, Regimes):
        usecase = replace(usecase, feature_set=usecase.features.learned(found))
    versions = {name: int(pinned[name]) for name in TABLES}
    return usecase, history.load(store, lake, usecase, until=int(pinned["until"]), versions=versions, **asked)


def searched(
    store: Store,
    usecase: UseCase,
    parameters: Parameters,
    data: Dataset,
    *,
    now_us: int,
    progress: Progress = silent,
    tell: Tell = unheard,
    timer: Callable[[], float] = time.perf_counter,
) -> Searched:
    """Decide what to fit, with what is left of the budget once others have used their shares.

    A quarter of it is kept for judging the best again, on other divisions of the devices.

    Raises:
        UnknownNameError: There is no such estimator.
        UseCaseError: It cannot learn that, or nothing can be chosen between those that can.
    """
    own = parameters.estimator or usecase.estimator
    asked = _Search(store, usecase, parameters, data, now_us=now_us, progress=progress, tell=tell, timer=timer)
    study, judge, measure = asked.study, asked.judge, asked.measure
    trying = asked.budget_s * _TRYING
    if asked.budget_s <= 0:
        return Searched(own, {}, measure)
    if not judge.parts:
        tell(note := "Nothing was searched: no training device can be left out to judge by.")
        return Searched(usecase.estimator if own == AUTOMATIC else own, {}, measure, note=note)
    closed = study.closed()
    left = trying - sum(closed.values())
    if left > 0 and any(family.space for family in asked.families):
        asked.take("rest" if closed and "1-of-1" not in closed else "1-of-1", left)
    trials = tuple(trial for trial in study.trials() if trial.state != "running")
    best_first = ranked(trials, measure)
    if not best_first:
        note = "; ".join(dict.fromkeys(f"{trial.family}: {trial.note}" for trial in trials))
        return Searched(usecase.estimator if own == AUTOMATIC else own, {}, measure, trials, note=note)
    again = study.decide(lambda: judge_again(asked.families, judge, best_first, asked.budget_s - trying))
    found = Searched(own, {}, measure, trials, judge.constant(), again=again)
    return replace(found, estimator=found.order[0].family, parameters=found.order[0].parameters)


def take_part(
    store: Store,
    lake: Lake,
    usecase: UseCase,
    parameters: Parameters,
    share: tuple[int, int],
    *,
    now_us: int,
    progress: Progress = silent,
    tell: Tell = unheard,
    timer: Callable[[], float] = time.perf_counter,
) -> Share:
    """Search for one share of the budget; a training that names the same study builds the best.

    Args:
        store: Holds the study.
        lake: Holds features and events.
        usecase: What to foresee.
        parameters: Of the training; its budget is that of all shares together.
        share: Which one of how many, ``(1, 2)``.
        now_us: The clock, UTC microseconds.
        progress: Told how much of the budget is used.
        tell: Told after each trial.
        timer: A monotonic clock in seconds.

    Raises:
        As `load` and `searched`.
    """
    began, name = timer(), f"{share[0]}-of-{share[1]}"
    usecase, data = load(store, lake, usecase, parameters, now_us)
    asked = _Search(store, usecase, parameters, data, now_us=now_us, progress=progress, tell=tell, timer=timer)
    budget = asked.budget_s * _TRYING / share[1]
    if asked.judge.parts and budget > 0:
        asked.take(name, budget)
    trials, measure = asked.study.trials(), asked.measure
    best = next(iter(ranked(trials, measure)), None)
    return Share(
        usecase=usecase.name,
        share=name,
        trials=len(trials),
        own=sum(trial.share == name for trial in trials),
        estimator=best.family if best else "",
        score=best.score if best else None,
        measure=measure.name,
        seconds=round(timer() - began, 3),
    )


def key_of(usecase: UseCase, parameters: Parameters, data: Dataset) -> str:
    """Name everything a training depends on, the budget of its search included."""
    parts = [usecase.name, parameters.estimator or usecase.estimator, _budget(parameters), dict(data.lineage)]
    return digest_of(canonical_json(parts)).removeprefix("sha256:")[:32]


class _Search:
    """A search as it was asked for: what may be tried, by what it is judged, where its trials lie, who is told."""

    def __init__(
        self,
        store: Store,
        usecase: UseCase,
        parameters: Parameters,
        data: Dataset,
        *,
        now_us: int,
        progress: Progress,
        tell: Tell,
        timer: Callable[[], float],
    ) -> None:
        self.measure = task_of(usecase.label).measures[0]
        self.families, self.judge = _plan(usecase, parameters, data)
        self.study = Study(store, usecase.name, key_of(usecase, parameters, data))
        self.budget_s = _budget(parameters)
        self._seed, self._now_us, self._timer = parameters.seed, now_us, timer
        self._progress, self._tell = progress, tell

    def take(self, share: str, budget_s: float) -> None:
        """Use up a share of the budget."""
        search(
            self.study,
            self.families,
            self.judge,
            share=share,
            budget_s=budget_s,
            seed=self._seed,
            now_us=self._now_us,
            watch=lambda trials, seconds: self._watch(trials, seconds, budget_s),
            timer=self._timer,
        )

    def _watch(self, trials: Sequence[Trial], seconds: float, budget_s: float) -> None:
        best = next(iter(ranked(trials, self.measure)), None)
        told = f", best {self.measure.name} {reached(best)}" if best else ""
        self._tell(f"{sum(trial.state != 'running' for trial in trials)} trials{told}")
        self._progress("search", min(int(seconds), int(budget_s)), max(int(budget_s), 1))


def _plan(usecase: UseCase, parameters: Parameters, data: Dataset) -> tuple[list[Family], Judge]:
    """What may be tried, a linear model first and then the use case's own, and what it is judged by."""
    task, name, seed = task_of(usecase.label), parameters.estimator or usecase.estimator, parameters.seed
    if name == AUTOMATIC and task.learns == "normality":
        raise UseCaseError(
            f"nothing can choose an estimator for {usecase.name}",
            why="what is learned from holds no anomalies, so no trial can be judged by it",
            fix=f"name one of {', '.join(able(task.learns)) or 'none'}",
        )
    names = [name]
    if name == AUTOMATIC:
        names = list(dict.fromkeys([*able(task.learns, data.names), usecase.estimator]))
        names.sort(key=lambda known: (known != Linear.name, known != usecase.estimator))
    recipes = [recipe_of(usecase, data, known, {}, seed) for known in names]
    spaces: dict[str, Space] = {known: create(known, task.learns).space for known in names}
    if usecase.search and usecase.estimator in spaces:
        spaces[usecase.estimator] = usecase.search
    families = [Family(recipe, spaces[recipe.estimator]) for recipe in recipes]
    gap = max(int(usecase.label.known_after.total_seconds() * 1e6), data.horizon_us)
    return families, Judge.of(task, families[0].recipe, data.train, span_of(data), gap)


def _budget(parameters: Parameters) -> float:
    return parameters.budget_s or (USUAL_BUDGET_S if parameters.estimator == AUTOMATIC else 0.0)


def _pinned(store: Store, key: str) -> dict[str, Any]:
    try:
        return dict(json.loads(store.get(key)))
    except MissingObjectError:
        return {}


def _pin(usecase: UseCase, parameters: Parameters) -> str:
    """Where a study keeps what it reads; who asks otherwise, of another seed or label, has a pin of its own."""
    rows = [parameters.since, parameters.until, parameters.seed, repr(usecase.label), repr(usecase.split)]
    digest = digest_of(canonical_json([parameters.study, usecase.features.digest, *rows]))
    return f"{FOLDER}/{usecase.name}/pins/{digest.removeprefix('sha256:')[:32]}.json"
