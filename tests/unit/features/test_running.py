from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.event import Events, History
from features.pane import PANE_FIELDS, summarize
from features.plan import FROM_START, Beginning, Bounds, Column, Counted, Elapsed, Growing, Plan, Source
from features.running import Carried, advance
from tests.unit.features.readings import assert_same

MINUTE = 60_000_000
COUNT = PANE_FIELDS.index("count")


def _panes(minutes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(len(minutes))
    states = [summarize([1.0, 2.0], random.normal(size=(2, 2))) for _ in minutes]
    return np.array(minutes, np.int64) * MINUTE, np.array(states).reshape(len(minutes), 2, len(PANE_FIELDS))


@given(
    minutes=st.lists(st.integers(0, 60), unique=True, min_size=1).map(sorted),
    begins=st.lists(st.integers(0, 60), unique=True, max_size=4).map(sorted),
    cuts=st.lists(st.integers(0, 70), max_size=4).map(sorted),
)
def test_carrying_a_growing_window_forward_in_any_steps_ends_in_one_state(
    minutes: list[int], begins: list[int], cuts: list[int]
) -> None:
    start, state = _panes(minutes)
    beginnings = [start[:1], np.array(begins, np.int64) * MINUTE]
    whole = advance(Carried.nothing(2, 2), start, state, beginnings, 70 * MINUTE)
    carried, seen = Carried.nothing(2, 2), 0
    for cut in [*cuts, 70]:
        new = int(np.searchsorted(start, cut * MINUTE))
        carried = advance(carried, start[seen:new], state[seen:new], beginnings, cut * MINUTE)
        seen = new
    np.testing.assert_array_equal(carried.origin, whole.origin)
    assert_same(carried.state, whole.state, 70 * MINUTE)


@given(data=st.data(), minutes=st.lists(st.integers(0, 40), unique=True, min_size=8).map(sorted))
def test_rows_from_what_is_carried_are_the_rows_from_everything(data: Any, minutes: list[int]) -> None:
    start, state = _panes(minutes)
    time = np.array(data.draw(st.lists(st.integers(0, 45 * MINUTE), max_size=5)), np.int64)
    known = time + np.array([data.draw(st.integers(0, 10 * MINUTE)) for _ in time], np.int64)
    events = Events(np.zeros(len(time), np.int32), np.zeros(len(time), np.int32), time, known)
    sources: list[Source] = [
        Growing(0, "mean", Beginning(FROM_START)),
        Growing(1, "slope", Beginning(0)),
        Counted(0, 9 * MINUTE),
        Elapsed(0),
    ]
    plan = Plan(MINUTE, 2 * MINUTE, 4 * MINUTE, sources, [Column(number) for number in range(4)])
    cut = data.draw(st.integers(start[0] // MINUTE, 45)) * MINUTE
    limits = (np.array([int(start[0])]), np.array([cut]), np.array([60 * MINUTE]))
    device = np.zeros(len(start), np.int32)
    whole = plan.rows(device, start, state, Bounds(*limits), events=events)
    beginnings = plan.beginnings(0, int(start[0]), events.histories())
    carried = advance(Carried.nothing(2, 2), start, state, beginnings, cut)
    kept = start >= cut - 4 * MINUTE
    found = plan.rows(device[kept], start[kept], state[kept], Bounds(*limits), events=events, carried={0: carried})
    np.testing.assert_array_equal(found.end, whole.end)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-9, atol=1e-9)


def test_an_event_counts_from_when_it_was_known() -> None:
    history = History(np.array([30, 50]) * MINUTE, np.array([10, 50]) * MINUTE)
    ends = np.array([20, 30, 31, 50, 51]) * MINUTE
    np.testing.assert_array_equal(history.hours_since(ends) * 60, [np.nan, np.nan, 21, 40, 1])
    assert history.count(ends, 100 * MINUTE).tolist() == [0, 0, 1, 1, 2]
    assert history.count(ends, 21 * MINUTE).tolist() == [0, 0, 1, 0, 1]


def test_a_window_begins_with_the_first_whole_pane_after_the_event_was_known() -> None:
    history = History(np.array([25, 29, 30, 31]) * MINUTE, np.array([25, 29, 30, 31]) * MINUTE)
    assert (history.beginnings(10 * MINUTE) // MINUTE).tolist() == [30, 40]
    assert history.beginnings(10 * MINUTE).dtype == np.int64


def test_a_device_without_an_event_has_no_growing_window() -> None:
    start, state = _panes([0, 1, 2, 3])
    plan = Plan(MINUTE, MINUTE, MINUTE, [Growing(0, "count", Beginning(0))], [Column(0)])
    bounds = Bounds(*(np.array([each]) for each in (0, 0, 10 * MINUTE)))
    rows = plan.rows(np.zeros(4, np.int32), start, state, bounds)
    assert np.isnan(rows.values).all()
    assert len(rows.end) == 4


def test_an_event_that_was_told_twice_is_one() -> None:
    time = np.array([5, 5, 6]) * MINUTE
    events = Events(np.zeros(3, np.int32), np.zeros(3, np.int32), time, time)
    assert events.histories()[0, 0].count(np.array([9 * MINUTE]), 9 * MINUTE).tolist() == [2.0]
