from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipelines.calibration import calibration
from pipelines.cautions import card, cautions
from pipelines.slices import Slice
from pipelines.split import Split
from pipelines.stability import Fold, Period
from tests.fakes.examined import LABELS, usual


def said(it, **changes):
    return " ".join(cautions(replace(it, **changes)))


def part(it, value, *, small=False):
    first = it.task.measures[0].name
    return Slice("line", "3", 500, 5, 20, small, replace(it.metrics, **{first: value}))


@pytest.mark.parametrize("question", LABELS)
def test_the_sensor_it_can_spare_least_is_always_named(question):
    it = usual(question)
    assert f"The sensor it can spare least is {it.leanings[0].signal}" in said(it)
    assert "nan" not in said(it)


@pytest.mark.parametrize(("question", "worse", "better"), [("failure", 0.1, 1.0), ("life", 90.0, 1.0)])
def test_the_worst_part_is_named_by_the_direction_of_the_measure(question, worse, better):
    it = usual(question)
    parts = [part(it, better), replace(part(it, worse), name="4")]
    assert "worst where the line is 4" in said(it, slices=parts)
    assert "worst where" not in said(it, slices=[part(it, better)])
    assert "worst where" not in said(it, slices=[part(it, worse, small=True)])


def test_a_model_that_wears_out_is_told_of():
    it = usual("failure")
    good, bad = (replace(it.metrics, average_precision=value) for value in (0.9, 0.5))
    periods = [Period("2026-01", 900, 9, good), Period("2026-02", 900, 9, bad)]
    assert "In the last stretch of the test (2026-02) it was worse" in said(it, periods=periods)
    assert "last stretch" not in said(it, periods=periods[::-1])
    assert "last stretch" not in said(it, periods=[periods[0], replace(periods[1], evidence=0)])


@pytest.mark.parametrize("question", ["failure", "life"])
def test_luck_shows_in_the_folds(question):
    it = usual(question)
    values = (0.9, 0.4, float("nan"))
    folds = [Fold(0, 1, 100, 100, value) for value in values]
    assert "the same recipe reached 0.40 to 0.90" in said(it, folds=folds)
    assert "one good test may be luck" not in said(it, folds=folds[:1])


def test_probabilities_that_do_not_come_true_are_ranks():
    it = usual("state")
    assert "as ranks" not in said(it)
    assert "off by 40 % on average" in said(it, calibration=calibration(np.full(100, 0.9), np.arange(100) < 50))


def test_what_the_split_cannot_show_is_said():
    it = usual("failure")
    assert "whether it wears out is not known" in said(it, usecase=replace(it.usecase, split=Split(test_time=0)))
    assert "No device was held out" in said(it, dataset=replace(it.dataset, held_out=()))
    assert "nobody knows how it does on another" in said(it, intervals={})


@pytest.mark.parametrize("question", LABELS)
def test_the_card_says_what_for_what_of_whose_and_how_to_end_it(question):
    it = usual(question)
    found = card(it)
    assert list(found) == ["Intended use", "Not for", "Data", "Limits", "Owner", "To watch it", "To retire it"]
    assert found["Owner"] == "Line 3, maintenance"
    assert "set owner=" in card(replace(it, usecase=replace(it.usecase, owner="")))["Owner"]
    assert "a person decides" in found["Intended use"]


def test_what_was_judged_beside_training_says_in_which_weeks_and_on_what():
    it = usual("failure")
    devices = replace(it.usecase, split=Split(test_devices=0.3, test_time=0))
    assert "in the same weeks as it learned from, on other devices" in said(it, usecase=devices)
    alone = replace(it.dataset, held_out=())
    assert "in the same weeks as it learned from:" in said(it, usecase=devices, dataset=alone)
    learned = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 9, tzinfo=UTC))
    published = replace(it.usecase, split=Split(test_devices=0, learned=learned))
    assert "in the days around those it learned from:" in said(it, usecase=published, dataset=alone)


def test_a_sensor_that_can_be_spared_is_not_named():
    it = usual("failure")
    spared = [replace(leaning, dead=it.metrics) for leaning in it.leanings]
    assert "can spare least" not in said(it, leanings=spared)
