import math
from dataclasses import replace

import numpy as np
import pytest

from pipelines.fitting import Recipe
from pipelines.split import Split
from pipelines.stability import FOLDS, by_fold, by_period
from pipelines.tasks import TASKS, Span
from tests.fakes.overlapping import HOUR, START, dataset_of, overlapping

ROWS = overlapping(devices=9, hours=300)
DATA = dataset_of(ROWS, ROWS.end < START + 200 * HOUR)
SPAN = Span(DATA.events, 0, HOUR)
RECIPE = Recipe("linear", "probability", DATA.names)


def test_folds_walk_forward_and_keep_the_gap_in_which_labels_become_known():
    found = by_fold(TASKS["state"], RECIPE, DATA.train, SPAN, Split(), gap_us=24 * HOUR)
    assert len(found) == FOLDS
    assert [fold.since for fold in found] == sorted(fold.since for fold in found)
    assert all(fold.value > 0.8 for fold in found)
    before = int(np.sum(DATA.train.end < found[-1].since - 24 * HOUR))
    assert found[-1].learned == before


def test_where_the_test_is_not_later_devices_are_left_out():
    found = by_fold(TASKS["state"], RECIPE, DATA.train, SPAN, Split(test_time=0), gap_us=0)
    assert len(found) == FOLDS
    assert sum(fold.judged for fold in found) == len(DATA.train)


def test_a_quantity_is_judged_within_its_bounds():
    rows = replace(DATA.train, label=np.clip(np.nan_to_num(DATA.train.values[:, 0]), -1, 1))
    recipe = Recipe("linear", "quantity", DATA.names, bounds=(-1.0, 1.0))
    free = by_fold(TASKS["forecast"], replace(recipe, bounds=None), rows, SPAN, Split(), gap_us=0)
    kept = by_fold(TASKS["forecast"], recipe, rows, SPAN, Split(), gap_us=0)
    assert all(a.value < b.value for a, b in zip(kept, free, strict=True))


def test_a_fold_without_both_answers_cannot_be_told():
    early = replace(DATA.train, label=np.where(DATA.train.end < START + 120 * HOUR, 0.0, DATA.train.label))
    found = by_fold(TASKS["state"], RECIPE, early, SPAN, Split(), gap_us=0)
    assert [math.isnan(fold.value) for fold in found] == [True, True, False]


def test_normality_has_no_folds():
    assert by_fold(TASKS["anomaly"], replace(RECIPE, learns="normality"), DATA.train, SPAN, Split(), gap_us=0) == []


@pytest.mark.parametrize(("step", "count"), [(1, 5), (4, 3), (32, 5)])
def test_the_test_is_told_by_days_weeks_or_months(step, count):
    test = replace(DATA.test, end=START + (DATA.test.end - START) * step)
    found = by_period(
        TASKS["state"],
        test,
        SPAN,
        lambda rows: TASKS["state"].measure(test.select(rows), np.full(int(rows.sum()), 0.5), rows[rows], SPAN),
    )
    assert len(found) == count
    assert sum(period.windows for period in found) == len(test)


def test_a_single_day_has_no_periods():
    test = DATA.test.select(DATA.test.end < START + 204 * HOUR)
    whole = TASKS["state"].measure(test, np.zeros(len(test)), np.zeros(len(test), dtype=bool), SPAN)
    assert by_period(TASKS["state"], test, SPAN, lambda rows: whole) == []
