import tracemalloc
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import kernel as serving_kernel
from features import window
from features.pane import EMPTY, PANE_FIELDS, empty, merge, summarize
from features.plan import Bounds, Column, Plan
from features.window import Request, Span, slide
from tests.unit.features.readings import KERNELS, PANE_US, assert_same, readings

MINUTE = 60_000_000
YEAR = 365 * 24 * 60 * MINUTE
BOUNDS = (-(2**60), 2**60)


@pytest.mark.parametrize("kernel", KERNELS)
@given(data=st.data(), length=st.integers(1, 17), every=st.integers(1, 5))
def test_doubling_gives_what_merging_pane_by_pane_gives(kernel: ModuleType, data: Any, length: int, every: int) -> None:
    given_panes = data.draw(st.lists(readings(3), max_size=24))
    panes = np.stack([empty(1), *(summarize(at, values[:, None]) for at, values in given_panes)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_kernel, "merge", kernel.merge)
        (found,) = slide(panes.copy(), [Span(0, length, np.arange(1))], every, PANE_US)
    begins = range(0, len(panes) - length + 1, every)
    assert len(found) == len(begins)
    for begin, state in zip(begins, found, strict=True):
        union = EMPTY[None]
        for place, pane in enumerate(panes[begin : begin + length]):
            union = merge(union, pane, place * PANE_US)
        assert_same(state, union, length * PANE_US)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), every=st.integers(1, 4), offset=st.integers(0, 3))
def test_windows_of_several_lengths_are_those_of_each_alone(lengths: list[int], every: int, offset: int) -> None:
    random = np.random.default_rng(8)
    panes = np.stack([summarize([0.0, 1.0], random.normal(size=(2, 3))) for _ in range(20)])
    spans = [Span(offset, length, np.array([2, 0])) for length in lengths]
    together = slide(panes.copy(), spans, every, PANE_US)
    for span, found in zip(spans, together, strict=True):
        (alone,) = slide(panes[offset:].copy(), [Span(0, span.length, np.arange(3))], every, PANE_US)
        np.testing.assert_array_equal(found, alone[:, [2, 0]])
        wanted = np.arange(0, len(found), 3)
        (some,) = slide(panes.copy(), [replace(span, wanted=wanted)], every, PANE_US)
        np.testing.assert_array_equal(some, found[wanted])


def _panes(starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    states = [summarize([0.0], [[float(number)]]) for number in range(len(starts))]
    return np.array(starts, np.int64), np.stack(states)


def _plan(every_us: int, requests: list[Request]) -> Plan:
    reach = max(request.window_us + request.lag_us for request in requests)
    return Plan(MINUTE, every_us, reach, requests, [Column(number) for number in range(len(requests))])


def _rows(
    plan: Plan, start: np.ndarray, state: np.ndarray, first: int, between: tuple[int, int] = BOUNDS
) -> tuple[np.ndarray, np.ndarray]:
    bounds = Bounds(*(np.array([each]) for each in (first, *between)))
    rows = plan.rows(np.zeros(len(start), np.int32), start, state, bounds)
    return rows.end, rows.values


def test_a_gap_of_years_costs_no_memory_and_gives_no_rows() -> None:
    plan = _plan(MINUTE, [Request(0, "count", 10 * MINUTE)])
    start, state = _panes([0, 50 * YEAR])
    tracemalloc.start()
    end, values = _rows(plan, start, state, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # dense, the gap would take 2.7 GB
    expected = [10 * MINUTE, *(50 * YEAR + minute * MINUTE for minute in range(1, 11))]
    assert end.tolist() == expected
    assert values[:, 0].tolist() == [1.0] * 11


def test_a_gap_just_short_of_the_window_keeps_its_rows() -> None:
    plan = _plan(MINUTE, [Request(0, "count", 3 * MINUTE)])
    start, state = _panes([0, 2 * MINUTE, 5 * MINUTE])
    end, values = _rows(plan, start, state, 0)
    assert (end // MINUTE).tolist() == [3, 4, 5, 6, 7, 8]
    assert values[:, 0].tolist() == [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_blocks_of_any_size_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    minutes = np.flatnonzero(random.random(500) < 0.4)
    state = np.stack([summarize([0.0, 1.0], random.normal(size=(2, 2))) for _ in minutes])
    requests = [Request(0, "mean", 6 * MINUTE), Request(1, "slope", 9 * MINUTE), Request(1, "count", 3 * MINUTE)]
    plan = _plan(3 * MINUTE, requests)
    whole = _rows(plan, minutes * MINUTE, state, 0)
    monkeypatch.setattr(window, "_BLOCK_BYTES", 1)
    parts = _rows(plan, minutes * MINUTE, state, 0)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-12)
    assert len(whole[0]) > 100


def test_panes_that_start_between_the_steps_wait_for_their_first_whole_window() -> None:
    plan = _plan(2 * MINUTE, [Request(0, "first", 4 * MINUTE)])
    start, state = _panes([minute * MINUTE for minute in range(1, 10)])
    end, values = _rows(plan, start, state, MINUTE)
    assert (end // MINUTE).tolist() == [6, 8, 10, 12]  # 4 would reach back to minute 0, before the first pane
    assert values[:, 0].tolist() == [1.0, 3.0, 5.0, 7.0]  # pane number k started in minute k + 1


def test_rows_end_after_the_lower_and_not_after_the_upper_bound() -> None:
    plan = _plan(MINUTE, [Request(0, "count", MINUTE)])
    start, state = _panes([minute * MINUTE for minute in range(10)])
    end, _ = _rows(plan, start, state, 0, (3 * MINUTE, 6 * MINUTE))
    assert (end // MINUTE).tolist() == [4, 5, 6]


def test_no_panes_give_no_rows() -> None:
    plan = _plan(MINUTE, [Request(0, "count", MINUTE), Request(0, "mean", MINUTE)])
    end, values = _rows(plan, np.zeros(0, np.int64), np.zeros((0, 1, len(PANE_FIELDS))), 0)
    assert (end.shape, values.shape) == ((0,), (0, 2))
