"""Remaining life, states, anomalies and forecasts as of a moment."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipelines.errors import UseCaseError
from pipelines.labels import Anomaly, Events, Forecast, RemainingLife, State
from pipelines.windows import Windows

HOUR = 3_600_000_000
LIFE = RemainingLife(cap=timedelta(hours=20))


def events_of(*rows):
    device, time, kind, known_at = zip(*rows, strict=True)
    return Events.of(
        {"device": device, "time": np.array(time) * HOUR, "kind": kind, "known_at": np.array(known_at) * HOUR}
    )


def labels(label, ends, events, until, *, values=None, names=()):
    values = np.empty((len(ends), 0)) if values is None else values
    windows = Windows.unlabelled(np.array(["a"] * len(ends)), np.array(ends) * HOUR, values)
    return label.label(windows, names, events, until * HOUR).tolist()


FAILED = events_of(("a", 100, "failure", 130))


def test_a_life_is_capped_and_counted_in_its_own_unit():
    assert labels(LIFE, [50, 90, 99], FAILED, 130) == [20.0, 10.0, 1.0]
    flights = RemainingLife(cap=timedelta(hours=20), step=timedelta(hours=2), unit="flights")
    assert labels(flights, [50, 90], FAILED, 130) == [10.0, 5.0]
    assert (flights.longest, LIFE.unit) == (10.0, "h")


def test_until_its_end_is_known_a_life_is_at_least_what_was_outlived():
    """The device has failed at 100, but nobody knows before 130: at 105 a window of 85 has lived 20 hours more."""
    assert labels(LIFE, [84, 85], FAILED, 105)[0] == 20.0
    assert np.isnan(labels(LIFE, [86, 99], FAILED, 105)).all()


def test_an_end_that_may_not_have_been_reported_yet_is_not_taken_for_life():
    careful = replace(LIFE, reported_within=timedelta(hours=30))
    assert np.isnan(labels(careful, [84], FAILED, 105)).all()


def test_a_second_life_begins_after_a_failure():
    twice = events_of(("a", 100, "failure", 100), ("a", 115, "failure", 115))
    assert labels(LIFE, [99, 100, 101, 115], twice, 116)[:3] == [1.0, 15.0, 14.0]
    assert np.isnan(labels(LIFE, [115], twice, 116)).all()
    assert np.isnan(labels(LIFE, [115, 116], twice, 1000)).all()  # silence after the end is no long life


OPEN = events_of(("a", 10, "open_begin", 50), ("a", 20, "open_end", 50))


@pytest.mark.parametrize(("end", "expected"), [(9, 0.0), (10, 0.0), (11, 1.0), (20, 1.0), (21, 0.0)])
def test_a_state_is_that_of_the_last_reading_of_a_window(end, expected):
    assert labels(State("open"), [end], OPEN, 60) == [expected]


def test_a_state_is_not_known_before_it_was_told():
    assert np.isnan(labels(State("open"), [11], OPEN, 49)).all()
    late = State("open", reported_within=timedelta(hours=30))
    assert np.isnan(labels(late, [31], OPEN, 60)).all()
    assert labels(late, [30], OPEN, 60) == [0.0]


def test_normal_operation_begins_anew_with_each_run():
    runs = events_of(("a", 100, "run", 100), ("a", 200, "run", 200), ("b", 150, "run", 150))
    windows = Windows.unlabelled(
        np.array([*"aaaaaab"]), np.array([5, 50, 101, 120, 201, 230, 60]) * HOUR, np.empty((7, 0))
    )
    anomaly = Anomaly(normal=timedelta(hours=10), begin="run")
    assert anomaly.learned_from(windows, runs, 300 * HOUR).tolist() == [True, False, True, False, True, False, True]
    single = replace(anomaly, begin="")
    assert single.learned_from(windows, runs, 300 * HOUR).tolist() == [True, *[False] * 5, True]


def test_a_forecast_is_the_same_feature_later_and_waits_for_it():
    nothing = Events.of({"device": [], "time": [], "kind": [], "known_at": []})
    forecast = Forecast("flow", timedelta(hours=2), "l/min")
    values = np.array([[1.0, 9.0], [2.0, 9.0], [3.0, 9.0], [np.nan, 9.0]])
    found = labels(forecast, [1, 2, 3, 4], nothing, 3, values=values, names=("flow", "heat"))
    assert found[0] == 3.0
    assert np.isnan(found[1:]).all()
    with pytest.raises(UseCaseError, match="no feature of the set"):
        labels(forecast, [1], nothing, 3, values=values[:1, :1], names=("heat",))
