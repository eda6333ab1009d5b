from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from pipelines.labels import Events, FailureWithin
from pipelines.labels.events import NEVER, next_event
from pipelines.windows import Windows

HOUR = 3_600_000_000
LABEL = FailureWithin(timedelta(hours=24))


def events_of(*rows):
    device, time, kind, known_at = zip(*rows, strict=True)
    return Events.of({"device": device, "time": time, "kind": kind, "known_at": known_at})


def label_of(end_h, events, until_h=1000, device="a"):
    return given(LABEL, end_h, events, until_h, device)


def given(label, end_h, events, until_h, device="a"):
    window = Windows.unlabelled(np.array([device]), np.array([end_h * HOUR]), np.empty((1, 0)))
    found = label.label(window, (), events, until_h * HOUR)[0]
    return -1 if np.isnan(found) else found


FAILURE = ("a", 100 * HOUR, "failure", 101 * HOUR)


@pytest.mark.parametrize(
    ("end_h", "expected"),
    [(75, 0), (76, 0), (77, 1), (99, 1), (100, 0), (101, 0)],
    ids=["too early", "a whole horizon before", "just within", "an hour before", "at its end", "after"],
)
def test_a_window_is_positive_while_the_failure_lies_ahead_within_the_horizon(end_h, expected):
    assert label_of(end_h, events_of(FAILURE)) == expected


def test_a_failure_of_another_device_counts_for_nothing():
    assert label_of(90, events_of(FAILURE), device="b") == 0


def test_maintenance_is_no_failure():
    assert label_of(90, events_of(("a", 100 * HOUR, "maintenance", 100 * HOUR))) == 0


def test_a_failure_that_became_known_too_late_is_not_used():
    late = ("a", 100 * HOUR, "failure", 300 * HOUR)
    assert label_of(90, events_of(late), until_h=299) == 0
    assert label_of(90, events_of(late), until_h=300) == 1


def test_a_window_whose_horizon_passes_the_known_is_unlabelled_even_if_it_fails():
    assert label_of(90, events_of(FAILURE), until_h=113) == -1
    assert label_of(90, events_of(FAILURE), until_h=114) == 1


@pytest.mark.parametrize(("end_h", "expected"), [(99, 1), (100, -1), (111, -1), (112, 0)])
def test_while_a_device_recovers_its_windows_say_nothing_about_calm(end_h, expected):
    label = replace(LABEL, recovery=timedelta(hours=12))
    assert given(label, end_h, events_of(FAILURE), 1000) == expected


def test_a_failure_soon_after_a_failure_is_still_foreseen():
    label = replace(LABEL, recovery=timedelta(hours=12))
    soon = events_of(FAILURE, ("a", 120 * HOUR, "failure", 0))
    assert given(label, 105, soon, 1000) == 1


def test_two_failures_at_one_moment_are_one():
    known = LABEL.known(events_of(FAILURE, ("b", *FAILURE[1:]), FAILURE), 200 * HOUR)
    assert known.device.tolist() == ["a", "b"]


def test_a_window_is_unlabelled_until_its_failure_would_have_been_reported():
    label = replace(LABEL, reported_within=timedelta(hours=12))
    for until_h, expected in ((125, -1), (126, 1)):
        assert given(label, 90, events_of(FAILURE), until_h) == expected


def test_without_events_every_window_is_negative():
    nothing = Events.of({"device": [], "time": [], "kind": [], "known_at": []})
    assert label_of(90, nothing) == 0


@drawn(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), max_size=8),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), min_size=1, max_size=12),
)
def test_the_next_event_is_the_smallest_later_one_of_the_device(events, windows):
    known = LABEL.known(
        Events.of(
            {
                "device": [d for d, _ in events],
                "time": [t for _, t in events],
                "kind": ["failure"] * len(events),
                "known_at": [0] * len(events),
            }
        ),
        100,
    )
    found = next_event(np.array([d for d, _ in windows]), np.array([t for _, t in windows]), known)
    expected = [min((t for d, t in events if d == device and t > end), default=NEVER) for device, end in windows]
    assert found.tolist() == expected


def test_the_name_says_what_is_foreseen():
    assert LABEL.name == "failure_within_24h"


def test_where_silence_counts_an_open_window_is_calm_until_a_failure_is_known():
    label = replace(LABEL, open_ended="calm")
    assert given(label, 90, events_of(FAILURE), 100) == 0
    assert given(label, 90, events_of(FAILURE), 101) == 1
