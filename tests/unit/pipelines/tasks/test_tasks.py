"""What every task has to do, and what quantities and states count."""

import math

import numpy as np
import pytest

from pipelines.labels import Events
from pipelines.rules import Alerting
from pipelines.tasks import TASKS, Span
from pipelines.tasks.quantity import measure as measured_quantity
from pipelines.tasks.state import measure as measured_state
from pipelines.windows import Windows

HOUR = 3_600_000_000


def some(question, count=200, seed=0):
    """Windows of four devices with labels that fit the question, and a score that knows something of them."""
    random = np.random.default_rng(seed)
    label = random.uniform(0, 125, count) if question in ("life", "forecast") else (random.random(count) < 0.3) * 1.0
    device, end = np.repeat(["a", "b", "c", "d"], count // 4), np.tile(np.arange(count // 4) * HOUR, 4)
    failures = Events.of({"device": ["a"], "time": [60 * HOUR], "kind": ["failure"], "known_at": [60 * HOUR]})
    score = (
        np.clip(label + random.normal(size=count) * 5, 0, 125)
        if question in ("life", "forecast")
        else (0.2 + 0.5 * label + random.random(count) * 0.2)
    )
    return Windows(device, end, np.zeros((count, 1)), label), score, Span(failures, 24 * HOUR, HOUR)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_task_tells_every_measure_and_every_limit_by_name(task):
    windows, score, span = some(task.question)
    found = task.measure(windows, score, score > 0.5, span)
    names = [measure.name for measure in task.measures]
    assert set(names) <= set(found.figures)
    assert set(task.limits) <= set(names)
    assert len(task.headline(found)) <= 20
    assert task.sentence(found, "h").endswith(".")
    nothing = task.measure(windows.select(np.zeros(len(windows), bool)), score[:0], np.zeros(0, bool), span)
    assert math.isnan(nothing.figures[names[0]])


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_better_model_gains_and_a_worse_one_loses(task):
    windows, score, span = some(task.question)
    first, noise = task.measures[0], np.random.default_rng(9).permutation(score)
    good, bad = (task.measure(windows, each, each > 0.5, span).figures[first.name] for each in (score, noise))
    assert first.gain(good, bad) > 0.2
    assert first.gain(bad, good) < 0


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_no_row_lies_at_the_threshold_that_a_task_chooses(task):
    windows, score, span = some(task.question)
    threshold = task.threshold(windows, score, span, Alerting())
    assert np.abs(score - threshold).min() > 1e-6


def test_a_declared_threshold_is_kept_as_near_as_scores_allow():
    windows, score, span = some("life")
    found = TASKS["life"].threshold(windows, score, span, Alerting(at=20.0))
    assert abs(found - 20.0) < 3


def test_a_life_foreseen_too_long_costs_more_than_one_too_short():
    windows = Windows(np.array(["a"]), np.array([0]), np.zeros((1, 1)), np.array([50.0]))
    late, early = measured_quantity(windows, np.array([60.0])), measured_quantity(windows, np.array([40.0]))
    assert late.rmse == early.rmse == 10
    assert late.score == pytest.approx(math.e - 1)
    assert early.score == pytest.approx(math.exp(10 / 13) - 1)


def test_spells_of_two_devices_stay_apart_and_are_found_by_any_window():
    label = np.array([1.0, 1, 0, 1, 1, 1])
    windows = Windows(np.array([*"aaabbb"]), np.arange(6), np.zeros((6, 1)), label)
    found = measured_state(windows, label / 2, np.array([False, True, False, False, False, False]))
    assert (found.spells, found.spells_found, found.recall) == (2, 1, 0.2)
