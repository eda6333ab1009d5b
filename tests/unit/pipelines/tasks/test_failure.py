import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.labels import Events
from pipelines.rules import Alerting, Cost
from pipelines.tasks.failure import Failure, alarms, choose_threshold, dial, failures, measure
from pipelines.tasks.span import Span
from pipelines.tasks.thresholds import NOISE, cuts_between
from pipelines.windows import Windows

HOUR = 3_600_000_000
FAILURE_H = 50


def windows_of(hours, device="a", failure_h=FAILURE_H, horizon_h=24):
    """Hourly windows of one device that fails at ``failure_h``."""
    hours = np.array(list(hours))
    label = ((hours < failure_h) & (hours >= failure_h - horizon_h)).astype(float)
    return Windows(np.full(len(hours), device), hours * HOUR, np.zeros((len(hours), 1)), label)


def span_of(*failures_at):
    device, hour = zip(*failures_at, strict=True)
    kind = np.full(len(device), "failure")
    time = np.array(hour) * HOUR
    return Span(Events(np.array(device), time, kind, time), 24 * HOUR, HOUR)


WINDOWS, SPAN = windows_of(range(100)), span_of(("a", FAILURE_H))


def alert_at(*hours):
    alert = np.zeros(100, dtype=bool)
    alert[list(hours)] = True
    return alert


def measured(alert):
    return measure(WINDOWS, alert.astype(float), alert, SPAN)


def test_one_alert_within_the_horizon_catches_the_failure():
    found = measured(alert_at(30))
    assert (found.failures, found.caught, found.false_alarms) == (1, 1, 0)


@pytest.mark.parametrize("hour", [25, 50, 51])
def test_an_alert_outside_the_horizon_is_a_false_alarm(hour):
    found = measured(alert_at(hour))
    assert (found.caught, found.false_alarms) == (0, 1)


def test_lead_time_runs_from_the_first_alert_within_the_horizon():
    assert measured(alert_at(20, 40, 45)).lead_time_hours_median == 10


def test_neighbouring_alerts_are_one_alarm_and_one_missed_window_does_not_break_it():
    found = alarms(WINDOWS, alert_at(5, 6, 8, 11), SPAN)
    assert [(alarm.start // HOUR, alarm.end // HOUR, alarm.hit) for alarm in found] == [(5, 8, False), (11, 11, False)]


def test_always_alerting_is_a_false_alarm_a_day():
    found = measured(np.ones(100, dtype=bool))
    assert (found.caught, found.false_alarms) == (1, 3)  # of five days, the failure explains two


def test_an_alarm_that_lasts_into_the_horizon_is_not_false():
    assert measured(alert_at(24, 25, 26)).false_alarms == 0


def test_alarms_of_two_devices_stay_apart():
    both = Windows(np.repeat(["a", "b"], 2), np.array([98, 99, 99, 100]) * HOUR, np.zeros((4, 1)), np.zeros(4))
    assert len(alarms(both, np.ones(4, dtype=bool), SPAN)) == 2


def test_a_failure_nobody_could_see_coming_is_not_counted():
    span = span_of(("a", FAILURE_H), ("a", 400), ("b", 50))
    assert [(f.device, f.time // HOUR) for f in failures(WINDOWS, alert_at(), span)] == [("a", FAILURE_H)]


def test_rates_count_watched_time():
    found = measured(alert_at(1, 90))
    assert found.device_weeks == pytest.approx(100 / 168)
    assert found.false_alarms_per_device_week == pytest.approx(2 * 168 / 100)


def test_window_metrics_are_those_of_the_books():
    found = measured(alert_at(30, 31, 32, 60))
    assert (found.precision, found.recall) == (0.75, 3 / 24)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.125 / (0.75 + 0.125))
    assert found.brier == pytest.approx(22 / 100)


def test_nothing_to_measure_gives_no_numbers_instead_of_good_ones():
    calm = windows_of(range(10), failure_h=-1)
    found = measure(calm, np.zeros(10), np.zeros(10, dtype=bool), span_of(("b", 5)))
    assert math.isnan(found.caught_share)
    assert math.isnan(found.average_precision)
    assert math.isnan(found.lead_time_hours_median)


SHORT = windows_of(range(20, 60, 2))
scores = st.lists(st.integers(0, 30).map(lambda n: n / 32), min_size=len(SHORT), max_size=len(SHORT))


@settings(deadline=None)
@given(scores)
def test_no_other_cut_between_scores_has_a_better_f1(drawn):
    score = np.array(drawn)
    threshold = choose_threshold(SHORT, score, SPAN, Alerting())

    def f1(cut):
        alert = score >= cut
        return 2 * np.sum(alert & SHORT.positive) / (alert.sum() + SHORT.positive.sum())

    assert f1(threshold) >= max(f1(cut) for cut in [*np.unique(score)[1:], 1.0]) - 1e-12
    assert np.abs(score - threshold).min() > NOISE


def test_no_cut_lies_between_scores_that_only_noise_separates():
    score = np.array([0.2, 0.2 + NOISE, 0.6])
    cuts, room = cuts_between(score)
    assert cuts == pytest.approx([0.4, 0.8], abs=1e-5)
    assert room == pytest.approx([0.4, 0.4], abs=1e-5)


def test_of_equally_good_thresholds_the_one_with_most_room_wins():
    score = np.where(WINDOWS.positive, 0.9, 0.1)
    score[0] = 0.15
    assert choose_threshold(WINDOWS, score, SPAN, Alerting()) == pytest.approx((0.15 + 0.9) / 2)


def test_a_declared_cost_decides_between_alarms_and_misses():
    score = np.full(100, 0.1)
    score[[30, 5, 15, 70, 90]] = [0.5, 0.6, 0.7, 0.8, 0.9]  # to catch the failure means four false alarms
    careful = choose_threshold(WINDOWS, score, SPAN, Alerting(Cost(missed_failure=10_000, false_alarm=1)))
    frugal = choose_threshold(WINDOWS, score, SPAN, Alerting(Cost(missed_failure=10, false_alarm=1_000)))
    assert measure(WINDOWS, score, score >= careful, SPAN).caught == 1
    assert not (score >= frugal).any()


def test_scores_that_are_all_alike_never_alert():
    score = np.full(100, 0.24)
    assert not (score >= choose_threshold(WINDOWS, score, SPAN, Alerting())).any()


def test_without_a_failure_to_choose_by_nothing_alerts():
    calm = windows_of(range(10), failure_h=-1)
    score = np.linspace(0.1, 0.3, 10)
    assert choose_threshold(calm, score, SPAN, Alerting()) > 0.3


def test_the_dial_holds_the_chosen_threshold_and_trades_misses_for_alarms():
    score = np.random.default_rng(4).random(100) * 0.5 + WINDOWS.positive * 0.3
    points = dial(WINDOWS, score, SPAN, 0.42)
    assert 0.42 in [point.threshold for point in points]
    recalls = [point.metrics.recall for point in points]
    assert recalls == sorted(recalls, reverse=True)
    assert len(points) <= 25


def test_missed_failures_are_worse_than_false_alarms():
    missed, alarming = measured(alert_at()), measured(alert_at(30, 1, 90))
    assert Failure().severity(missed) < Failure().severity(alarming)


def test_within_a_budget_of_false_alarms_most_failures_are_caught():
    score = np.full(100, 0.1)
    score[[30, 5, 15, 70, 90]] = [0.5, 0.6, 0.7, 0.8, 0.9]
    weeks = 100 / 168
    roomy = choose_threshold(WINDOWS, score, SPAN, Alerting(false_alarms_per_device_week=4.1 / weeks))
    tight = choose_threshold(WINDOWS, score, SPAN, Alerting(false_alarms_per_device_week=2.1 / weeks))
    assert measure(WINDOWS, score, score >= roomy, SPAN).caught == 1
    found = measure(WINDOWS, score, score >= tight, SPAN)
    assert (found.caught, found.false_alarms <= 2) == (0, True)


def test_a_warning_that_comes_too_late_for_the_crew_counts_as_missed():
    score = np.where(WINDOWS.end == 49 * HOUR, 0.9, 0.1)
    late = Alerting(Cost(missed_failure=100, false_alarm=1, lead_hours=6))
    assert not (score >= choose_threshold(WINDOWS, score, SPAN, late)).all()
