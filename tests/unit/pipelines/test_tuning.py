"""The search: judged on devices left out, resumed where it was killed, shared by several."""

import threading
from dataclasses import replace
from datetime import timedelta
from itertools import count

import numpy as np
import pytest

from pipelines import searching, usecases
from pipelines.chosen import Searched
from pipelines.dataset import build as cut
from pipelines.errors import UseCaseError
from pipelines.estimators import ESTIMATORS
from pipelines.judging import judge_again
from pipelines.labels import Anomaly, FailureWithin
from pipelines.request import Parameters
from pipelines.study import Study, Trial, ranked
from pipelines.tasks.failure import Failure
from pipelines.tuning import MOST_TRIALS, propose, search
from tests.fakes.histories import NAMES, history
from tests.fakes.interrupted import Budget, InterruptedStore, PowerCut
from tests.fakes.stores import MemoryStore

NOW = 1_795_305_600_000_000
AUTOMATIC = Parameters(estimator="automatic", budget_s=8.0, seed=1)
USECASE = replace(
    usecases.load("machine_failure"),
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    parameters={},
)
FAST = {"n_estimators": 5, "max_iter": 5}


@pytest.fixture(scope="module")
def data():
    past = history(devices=8, days=30)
    return cut(NAMES, past.windows, USECASE.label, past.events, USECASE.split, known_until=past.until,
               every_us=past.every, lineage={"features.version": "1"})  # fmt: skip


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Five trees are enough to search among."""
    for name in ("hist_gradient_boosting", "random_forest"):
        kind = ESTIMATORS[name]
        fewer = {key: FAST.get(key, value) for key, value in kind.defaults.items()}
        monkeypatch.setattr(kind, "defaults", fewer)


def ticking(step=0.25):
    """A clock on which every look takes a quarter of a second."""
    ticks = count()
    return lambda: next(ticks) * step


def found_by(store, data, parameters, usecase=USECASE, **more):
    return searching.searched(store, usecase, parameters, data, now_us=NOW, timer=ticking(), **more)


def trials_in(store, data, parameters, usecase=USECASE):
    return Study(store, usecase.name, searching.key_of(usecase, parameters, data)).trials()


def test_without_a_budget_nothing_is_searched(data):
    found = found_by(MemoryStore(), data, Parameters())
    assert (found.estimator, found.parameters, found.trials) == (USECASE.estimator, {}, ())


def test_a_search_looks_where_it_is_told_and_only_there(data):
    usecase = replace(USECASE, estimator="linear", search={"C": (0.001, 0.002)})
    found = found_by(MemoryStore(), data, Parameters(budget_s=1.0), usecase)
    assert 0.001 <= found.parameters["C"] <= 0.002
    usecase = replace(USECASE, estimator="random_forest", search={"max_depth": (3, 5), "max_features": ["sqrt"]})
    found = found_by(MemoryStore(), data, Parameters(budget_s=0.1), usecase)
    assert found.parameters["max_features"] == "sqrt"
    assert found.parameters["max_depth"] in (3, 4, 5)


def test_an_automatic_search_tries_a_linear_model_first_and_keeps_best_and_runner_up(data):
    told: list[str] = []
    bar: list[tuple[str, int, int]] = []
    found = found_by(MemoryStore(), data, AUTOMATIC, tell=told.append, progress=lambda *step: bar.append(step))
    families = [trial.family for trial in found.trials]
    assert families[:3] == ["linear", "hist_gradient_boosting", "random_forest"]
    assert len(families) > 3
    assert found.best.score == max(found.again.values())
    assert (found.estimator, found.parameters) == (found.best.family, found.best.parameters)
    assert found.second.family != found.best.family
    assert 0 < found.constant < found.linear.score
    assert {"search.best", "search.runner_up", "search.linear", "search.constant"} <= set(found.tags())
    assert len(told) == len(found.trials)
    assert told[-1].startswith(f"{len(found.trials)} trials, best average_precision {found.best.family}")
    assert bar[-1] == ("search", 6, 6)
    assert "always the same guess" in found.sentence()


def test_the_best_of_each_family_are_judged_again_where_other_devices_are_left_out(data):
    found = found_by(MemoryStore(), data, AUTOMATIC)
    best = {trial.family: trial.number for trial in reversed(ranked(found.trials, found.measure))}
    assert set(found.again) <= set(best.values())
    assert len(found.again) == min(3, len(best))
    families, judge = searching._plan(USECASE, AUTOMATIC, data)
    parts = [judge.parts, *(judge.elsewhere(number).parts for number in (1, 2))]
    assert len({tuple(left.tolist()) for divided in parts for _, left in divided}) > len(parts[0])
    trials = [replace(trial, seconds=10.0) for trial in ranked(found.trials, found.measure)]
    assert judge_again(families, judge, trials, seconds=30.0) == {}
    assert len(judge_again(families, judge, trials, seconds=50.0)) == 2


def test_who_only_suited_one_division_does_not_win():
    reached = zip(("linear", "forest", "linear"), (0.84, 0.82, 0.83), strict=True)
    trials = [Trial(number, name, {}, "1-of-1").ended(score, 1.0) for number, (name, score) in enumerate(reached)]
    found = Searched("forest", {}, Failure().measures[0], tuple(trials), 0.02, again={0: 0.77, 1: 0.81})
    assert [trial.number for trial in found.order] == [1, 0, 2]
    assert [trial and trial.number for trial in (found.best, found.second, found.linear)] == [1, 0, 0]


def test_however_small_the_budget_the_use_cases_own_estimator_is_tried(data):
    found = found_by(MemoryStore(), data, replace(AUTOMATIC, budget_s=0.001))
    assert [trial.family for trial in found.trials] == ["linear", "hist_gradient_boosting"]


def test_a_repeated_search_takes_what_was_found(data):
    store = MemoryStore()
    one = found_by(store, data, AUTOMATIC)
    assert found_by(store, data, AUTOMATIC) == one


def test_a_killed_search_goes_on_and_repeats_nothing_that_has_ended(data):
    """Killed between and after the two writes of a trial."""
    whole = [(trial.family, trial.parameters) for trial in found_by(MemoryStore(), data, AUTOMATIC).trials]
    for writes in (1, 2):
        store = MemoryStore()
        with pytest.raises(PowerCut):
            found_by(InterruptedStore(store, Budget(writes)), data, AUTOMATIC)
        before = trials_in(store, data, AUTOMATIC)
        ended = [trial for trial in before if trial.state == "done"]
        found = found_by(store, data, AUTOMATIC)
        assert list(found.trials[: len(ended)]) == ended
        assert all(trial.state != "running" for trial in trials_in(store, data, AUTOMATIC))
        tried = [(trial.family, trial.parameters) for trial in found.trials]
        assert tried == whole[: len(tried)] or tried[: len(whole)] == whole


def test_several_share_one_study_without_trying_a_number_twice(data):
    store, families = MemoryStore(), searching._plan(USECASE, AUTOMATIC, data)
    study = Study(store, "machine_failure", "key")

    def take(share):
        search(
            Study(store, "machine_failure", "key"), *families, share=share, budget_s=2.0, seed=1, now_us=NOW,
            watch=lambda trials, seconds: None, timer=ticking(),
        )  # fmt: skip

    threads = [threading.Thread(target=take, args=(share,)) for share in ("1-of-2", "2-of-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.share for trial in trials} == {"1-of-2", "2-of-2"}
    assert {trial.state for trial in trials} == {"done"}
    assert [trial.family for trial in trials].count("linear") >= 1
    assert study.closed() == {"1-of-2": 2.0, "2-of-2": 2.0}
    take("1-of-2")
    assert study.trials() == trials


def test_a_share_that_was_lost_is_made_up_for_by_the_training(data):
    store = MemoryStore()
    study = Study(store, USECASE.name, searching.key_of(USECASE, AUTOMATIC, data))
    study.close("1-of-2", 3.0)
    found = found_by(store, data, AUTOMATIC)
    assert {trial.share for trial in found.trials} == {"rest"}
    assert sum(study.closed().values()) == 0.75 * AUTOMATIC.budget_s


def test_a_family_of_which_nothing_works_is_told_and_left_alone(data, monkeypatch):
    def broken(self, rows, parameters, seed):
        raise ValueError("it wants no missing values")

    monkeypatch.setattr(ESTIMATORS["random_forest"], "fit", broken)
    found = found_by(MemoryStore(), data, replace(AUTOMATIC, budget_s=12.0))
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert [(trial.family, trial.note) for trial in failed] == [("random_forest", "it wants no missing values")]
    assert found.best.family != "random_forest"


def test_the_same_trials_and_seed_give_the_same_proposal(data):
    families, _ = searching._plan(USECASE, AUTOMATIC, data)
    trials = [Trial(n, *propose(families, [], Failure(), 0), "1-of-1").ended(0.1 * n, 1.0) for n in range(5)]
    running = replace(trials[-1], number=5, state="running", score=None)
    asked = [propose(families, [*trials, running], Failure(), seed) for seed in (1, 1, 2, 3, 4)]
    assert asked[0] == asked[1]
    assert any(other != asked[0] for other in asked[2:])
    assert MOST_TRIALS > 50


def test_one_device_is_judged_by_walking_forward(data):
    alone = data.train.select(np.flatnonzero(data.train.device == data.train.device[0]))
    one = replace(data, train=replace(alone, label=(np.arange(len(alone)) % 12 < 3).astype(float)))
    _, judge = searching._plan(USECASE, AUTOMATIC, one)
    assert judge.parts
    gap = timedelta(hours=24) / timedelta(microseconds=1)
    for learned, judged in judge.parts:
        assert one.train.end[learned].max() + gap < one.train.end[judged].min()
    _, judge = searching._plan(USECASE, AUTOMATIC, data)
    for learned, judged in judge.parts:
        assert not set(data.train.device[learned]) & set(data.train.device[judged])


def test_where_nothing_can_be_left_out_the_use_cases_estimator_is_fitted_and_it_is_said(data):
    calm = min(set(data.train.device.tolist()) - set(data.train.device[data.train.positive].tolist()))
    only = replace(data, train=data.train.select(np.flatnonzero(data.train.device == calm)))
    found = found_by(MemoryStore(), only, AUTOMATIC)
    assert (found.estimator, found.trials) == (USECASE.estimator, ())
    assert "no training device can be left out" in found.sentence()


def test_nothing_chooses_between_detectors_that_learn_only_what_is_normal(data):
    usecase = replace(usecases.load("machine_failure"), label=Anomaly(normal=timedelta(hours=6)))
    with pytest.raises(UseCaseError, match="holds no anomalies"):
        found_by(MemoryStore(), data, AUTOMATIC, usecase)


def test_the_best_is_by_the_direction_of_the_measure():
    first = Failure().measures[0]
    trials = [Trial(n, "linear", {}, "1-of-1").ended(score, 1.0) for n, score in enumerate([0.2, float("nan"), 0.7])]
    assert [trial.number for trial in ranked(trials, first)] == [2, 0]
