from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ReadingsShapeError
from features.kernel import reference
from features.pane import EMPTY, PANE_FIELDS, empty, merge, pane_starts, summarize
from tests.unit.features.readings import KERNELS, LIMIT, PANE_US, Readings, assert_same, merged, readings, summary

both_kernels = pytest.mark.parametrize("kernel", KERNELS)
SHIFTS = st.integers(-3, 3).map(lambda panes: panes * PANE_US)


@both_kernels
@given(given_readings=readings(), shift=SHIFTS)
def test_the_empty_pane_changes_nothing(kernel: ModuleType, given_readings: Readings, shift: float) -> None:
    state = summary(kernel, given_readings)
    np.testing.assert_array_equal(merged(kernel, state, EMPTY, shift), state)
    later = state.copy()
    later[[PANE_FIELDS.index("first_at"), PANE_FIELDS.index("last_at")]] += shift
    np.testing.assert_array_equal(merged(kernel, EMPTY, state, shift), later)


@both_kernels
@given(three=st.tuples(readings(), readings(), readings()), to_b=SHIFTS, to_c=SHIFTS)
def test_grouping_does_not_matter(kernel: ModuleType, three: tuple[Readings, ...], to_b: float, to_c: float) -> None:
    x, y, z = (summary(kernel, given) for given in three)
    left = merged(kernel, merged(kernel, x, y, to_b), z, to_c)
    right = merged(kernel, x, merged(kernel, y, z, to_c - to_b), to_b)
    assert_same(left, right, 8 * PANE_US, in_order=False)


@both_kernels
@given(a=readings(), b=readings())
def test_merging_commutes_to_the_last_bit(kernel: ModuleType, a: Readings, b: Readings) -> None:
    x, y = summary(kernel, a), summary(kernel, b)
    np.testing.assert_array_equal(merged(kernel, x, y, 0.0), merged(kernel, y, x, 0.0))


@both_kernels
@given(whole=readings(), data=st.data())
def test_order_of_arrival_does_not_matter(kernel: ModuleType, whole: Readings, data: st.DataObject) -> None:
    at, values = whole
    order = np.array(data.draw(st.permutations(range(len(at)))), np.intp)
    panes = empty((1, 1))
    for row in order:
        kernel.add(panes, np.zeros(1, np.int64), at[row : row + 1], values[row : row + 1, None], LIMIT)
    assert_same(panes[0, 0], summary(kernel, whole), in_order=False)


@both_kernels
@given(whole=readings(24), data=st.data())
def test_merging_the_parts_gives_the_whole(kernel: ModuleType, whole: Readings, data: st.DataObject) -> None:
    at, values = whole
    part = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(at), max_size=len(at))), np.int64)
    union = EMPTY.copy()
    for number in data.draw(st.permutations(range(4))):
        mine = summary(kernel, (at[part == number], values[part == number]))
        union = merged(kernel, union, mine, number * PANE_US)
    assert_same(union, summary(kernel, (at + part * PANE_US, values)), in_order=False)


@both_kernels
@given(whole=readings(24), cuts=st.lists(st.integers(0, 24), max_size=3), data=st.data())
def test_parts_that_follow_each_other_give_every_field_of_the_whole(
    kernel: ModuleType, whole: Readings, cuts: list[int], data: st.DataObject
) -> None:
    at, values = whole
    order = np.lexsort((values, at))
    parts = np.split(order, sorted(min(cut, len(at)) for cut in cuts))
    states = [summary(kernel, (at[part], values[part])) for part in parts]
    while len(states) > 1:  # merge neighbours, in any grouping and from either side
        here = data.draw(st.integers(0, len(states) - 2))
        left, right = states[here : here + 2]
        both = merged(kernel, left, right, 0.0) if data.draw(st.booleans()) else merged(kernel, right, left, 0.0)
        states[here : here + 2] = [both]
    assert_same(states[0], summary(kernel, (at[order], values[order])))
    present = values[order][~np.isnan(values[order])]
    assert states[0][PANE_FIELDS.index("above")] == (present > LIMIT[0]).sum()
    known = np.abs(np.diff(present)).sum()
    assert states[0][PANE_FIELDS.index("change")] == pytest.approx(known, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("kernel", KERNELS[:1])
@given(a=readings(), b=readings(), shift=SHIFTS)
def test_the_compiled_kernel_and_the_numpy_reference_agree(
    kernel: ModuleType, a: Readings, b: Readings, shift: float
) -> None:
    assert_same(summary(kernel, a), summary(reference, a))
    x, y = summary(reference, a), summary(reference, b)
    assert_same(merged(kernel, x, y, shift), merged(reference, x, y, shift))


@both_kernels
@given(parts=st.lists(readings(5), min_size=1, max_size=5))
def test_accumulated_panes_are_the_merges_of_all_before(kernel: ModuleType, parts: list[Readings]) -> None:
    states = np.stack([summary(kernel, part) for part in parts])
    shift = np.arange(len(parts)) * float(PANE_US)
    grown = states[:, None].copy()
    kernel.accumulate(grown, shift)
    union = EMPTY.copy()
    for state, later, found in zip(states, shift.tolist(), grown[:, 0], strict=True):
        union = merged(kernel, union, state, later)
        np.testing.assert_array_equal(found, union)


@both_kernels
def test_accumulating_refuses_what_does_not_fit(kernel: ModuleType) -> None:
    kernel.accumulate(empty((0, 2)), np.zeros(0))
    for states, shift in ((empty((2, 1)), np.zeros(1)), (np.zeros((2, 1, 14)), np.zeros(2)), (empty(2), np.zeros(2))):
        with pytest.raises(ValueError, match=r"must|has"):
            kernel.accumulate(states, shift)


@both_kernels
def test_ties_of_time_go_to_the_smaller_first_and_the_larger_last_value(kernel: ModuleType) -> None:
    for values in ([3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]):
        state = summary(kernel, (np.full(3, 7.0), np.array(values)))
        assert (state[PANE_FIELDS.index("first")], state[PANE_FIELDS.index("last")]) == (1.0, 3.0)


def test_a_counter_at_1e8_keeps_its_digits_through_a_thousand_merges() -> None:
    random = np.random.default_rng(1)
    parts = 1e8 + np.arange(6000).reshape(1000, 6) * 0.01 + random.normal(0, 0.1, (1000, 6))
    at = np.linspace(0, 500, 6)
    union = EMPTY
    for number, part in enumerate(parts):
        union = merge(union, summarize(at, part), number * PANE_US)
    exact = parts.ravel() - parts[0, 0]  # exact: neighbours in binary subtract without rounding
    count, total, square = (union[PANE_FIELDS.index(name)] for name in ("count", "sum", "square"))
    assert count == 6000
    assert total == pytest.approx(exact.sum(), rel=1e-12)
    assert square - total**2 / count == pytest.approx(((exact - exact.mean()) ** 2).sum(), rel=1e-11)


def test_summarize_takes_one_signal_or_many() -> None:
    one = summarize([0.0, 60.0], [20.0, 22.0])
    two = summarize([0.0, 60.0], [[20.0, np.nan], [22.0, np.nan]])
    np.testing.assert_array_equal(two[0], one)
    assert two[1, PANE_FIELDS.index("nulls")] == 2
    np.testing.assert_array_equal(summarize([], []), EMPTY)


def test_summarize_refuses_times_and_values_of_different_length() -> None:
    with pytest.raises(ReadingsShapeError, match="one row each"):
        summarize([0.0, 1.0], [1.0])


def test_merge_works_over_leading_axes_with_a_shift_each() -> None:
    state = summarize([0.0], [5.0])
    panes = np.broadcast_to(state, (2, 3, len(state)))
    union = merge(panes, panes, np.array([[10.0], [20.0]]))
    assert union[..., PANE_FIELDS.index("last_at")].tolist() == [[10.0] * 3, [20.0] * 3]
    assert union[..., PANE_FIELDS.index("count")].tolist() == [[2.0] * 3] * 2


def test_merge_refuses_panes_of_different_shapes() -> None:
    with pytest.raises(ReadingsShapeError, match="cannot be merged"):
        merge(empty(2), empty(3), 0.0)


def test_the_empty_pane_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        EMPTY[0] = 1.0


def test_panes_hold_their_start_and_not_their_end_before_1970_too() -> None:
    starts = pane_starts(np.array([-601, -600, -1, 0, 599, 600], np.int64), 600)
    assert starts.tolist() == [-1200, -600, -600, 0, 0, 600]
    assert all(late - early in (0, 600) for early, late in pairwise(starts.tolist()))
