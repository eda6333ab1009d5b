"""Spans of touched rows against sets of single rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.devices import Devices
from pipelines.reach import NEVER, Codes, Reach, Sight, Spans, Times
from pipelines.tables import DAY_US

PANE, EVERY, REACH = 10, 30, 90
SIGHT = Sight(PANE, EVERY, REACH)

some_spans = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(-2, 20)), max_size=12)
some_panes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=12, unique=True)


def spans(triples):
    device, first, length = (
        (np.array(column, np.int64) for column in zip(*triples, strict=True)) if triples else [[]] * 3
    )
    first = np.asarray(first, np.int64)
    return Spans(np.asarray(device, np.int32), first, first + np.asarray(length, np.int64))


def rows(found):
    columns = zip(found.device.tolist(), found.first.tolist(), found.last.tolist(), strict=True)
    return {(device, end) for device, first, last in columns for end in range(first, last + 1)}


def multiples(found):
    return {(device, end) for device, end in rows(found) if end % EVERY == 0}


def panes(pairs) -> tuple[Codes, Times]:
    pairs = sorted(pairs)
    return (
        np.array([device for device, _ in pairs], np.int32),
        np.array([number * PANE for _, number in pairs], np.int64),
    )


@given(some_spans)
def test_a_union_holds_the_same_rows_in_spans_that_do_not_overlap(triples):
    both = Spans.union([spans(triples[::2]), spans(triples[1::2])])
    assert rows(both) == rows(spans(triples))
    assert len(rows(both)) == int((both.last - both.first + 1).sum())
    assert list(zip(both.device, both.first, strict=True)) == sorted(zip(both.device, both.first, strict=True))


@given(some_spans, st.integers(0, 50), st.integers(0, 40))
def test_within_and_hold_agree_with_sets(triples, first, length):
    found = Spans.union([spans(triples)])
    inside = found.within(first, first + length)
    assert rows(inside) == {(d, end) for d, end in rows(found) if first <= end <= first + length}
    device, end = np.repeat(np.arange(4, dtype=np.int32), 90), np.tile(np.arange(-3, 87), 4)
    held = found.hold(device, end)
    assert set(zip(device[held].tolist(), end[held].tolist(), strict=True)) == rows(found)


@given(some_panes)
def test_panes_touch_the_rows_that_look_at_them(pairs):
    touched = SIGHT.of_panes(*panes(pairs))
    looking = {
        (device, end)
        for device, number in pairs
        for end in range(0, 100 * PANE, EVERY)
        if end - REACH <= number * PANE < end
    }
    assert multiples(touched) == looking


def existing(pairs):
    """Rows as `features.plan.Plan.rows` defines them."""
    found = set()
    for device in {device for device, _ in pairs}:
        starts = [number * PANE for d, number in pairs if d == device]
        for end in range(0, 100 * PANE, EVERY):
            filled, past = end >= min(starts) + REACH, end <= max(starts) + PANE
            if filled and past and any(end - REACH <= start < end for start in starts):
                found.add((device, end))
    return found


@given(some_panes, some_panes)
def test_what_is_touched_is_what_looks_at_new_panes_or_was_not_there_before(old, new):
    new = [pane for pane in new if pane not in old]
    before = Reach.nowhere(0).over(*panes(old), 3)
    after = before.over(*panes(new), 3)
    changed = SIGHT.of_panes(*panes(new))
    touched = SIGHT.of_existing(Spans.union([changed, SIGHT.of_growth(before, after)]), after)
    rows_now = existing(old + new)
    expected = (rows_now - existing(old)) | (multiples(changed) & rows_now)
    assert multiples(touched) & rows_now == expected
    assert SIGHT.count(touched, *panes(old + new)) == len(expected)


def test_a_growing_window_never_lets_go_of_a_pane():
    device, start = np.array([0], np.int32), np.array([40])
    touched = Sight(PANE, EVERY, REACH, forever=True).of_panes(device, start)
    assert (touched.first.tolist(), touched.last.tolist()) == ([60], [NEVER])


def test_an_earlier_first_pane_makes_a_device_older_in_every_row():
    before = Reach(np.array([300]), np.array([600]))
    later = before.over(np.array([0]), np.array([900]), 1)
    earlier = before.over(np.array([0]), np.array([0]), 1)
    sight = Sight(PANE, EVERY, REACH, aged=True)
    assert sight.of_growth(before, earlier).last.tolist() == [NEVER]
    assert sight.of_growth(before, later).last.max() <= 910


def test_dates_are_those_of_the_ends():
    found = Spans(np.zeros(2, np.int32), np.array([0, 3 * DAY_US]), np.array([DAY_US, 3 * DAY_US]))
    assert found.dates() == ["1970-01-01", "1970-01-02", "1970-01-04"]
    assert Spans.none().dates() == []


@pytest.mark.parametrize("coded", [False, True])
def test_codes_stay_the_same_from_column_to_column(coded):
    devices = Devices()
    columns = [pa.chunked_array([["b"], ["a", "b"]]), pa.chunked_array([["c", "a"]]), pa.chunked_array([], pa.string())]
    found = [devices.codes(column.dictionary_encode() if coded else column).tolist() for column in columns]
    assert found == [[0, 1, 0], [2, 1], []]
    assert devices.names.to_pylist() == ["b", "a", "c"]
