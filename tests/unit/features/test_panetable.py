from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.errors import ReadingsShapeError
from features.feature import Feature
from features.featureset import FeatureSet
from features.kernel import reference
from features.pane import PANE_FIELDS
from features.panetable import Column, PaneTable, merge_tables, panes_of, unresolved
from features.schema import Fleet, Signal
from tests.parity.paths import numpy_kernel
from tests.unit.features.readings import MINUTE_US, NO_COMPILER, PANE_US, assert_same

MINUTE = timedelta(minutes=1)
SIGNALS = (Signal("speed", "km/h", -1e9, 1e9, limit=20.0), Signal("fuel", "l", -1e9, 1e9))
FLEET = Fleet("vans", "", SIGNALS, MINUTE, MINUTE, MINUTE, MINUTE)
FEATURES = FeatureSet(FLEET, 10 * MINUTE, 10 * MINUTE, (Feature("speed", "count", 10 * MINUTE),))
CHANGE = PANE_FIELDS.index("change")
NULLS = PANE_FIELDS.index("nulls")

Rows = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]


@st.composite
def rows(draw: Any, most: int = 40) -> Rows:
    """Rows of a few devices over a few panes, before and after 1970, with values far from zero, gaps and ties."""
    count = draw(st.integers(0, most))
    device = draw(st.lists(st.sampled_from([0, 1, 2, 900]), min_size=count, max_size=count))
    minute = draw(st.lists(st.integers(-25, 25), min_size=count, max_size=count))
    jitter = draw(st.sampled_from([1, MINUTE_US // 3]))
    times = np.array([value * MINUTE_US + place % 3 * jitter for place, value in enumerate(minute)], np.int64)
    offset = draw(st.sampled_from([0.0, 1e8]))
    numbers = st.one_of(st.just(np.nan), st.floats(-100, 100), st.sampled_from([0.0, 1.0]))
    values = np.array(draw(st.lists(numbers, min_size=2 * count, max_size=2 * count)), np.float64) + offset
    return np.array(device, np.int32), times, values.reshape(count, 2)


def arranged(given_rows: Rows, order: NDArray[np.intp]) -> Rows:
    device, times, values = given_rows
    return device[order], times[order], values[order]


def by_hand(given_rows: Rows) -> PaneTable:
    """The panes of rows, each summed up on its own by the numpy reference from its readings in order."""
    device, times, values = given_rows
    start = times - times % PANE_US
    keys = sorted(set(zip(device.tolist(), start.tolist(), strict=True)))
    state = np.zeros((len(keys), 2, len(PANE_FIELDS)))
    for place, key in enumerate(keys):
        mine = np.flatnonzero((device == key[0]) & (start == key[1]))
        for signal, signal_of_fleet in enumerate(SIGNALS):
            order = mine[np.lexsort((values[mine, signal], times[mine]))]
            panes = np.array([[[0.0] * PANE_FIELDS.index("low") + [np.nan] * 6]])
            limit = np.array([np.nan if signal_of_fleet.limit is None else signal_of_fleet.limit])
            at = (times[order] - key[1]).astype(np.float64)
            column = np.ascontiguousarray(values[order, signal : signal + 1])
            reference.add(panes, np.zeros(len(order), np.int64), at, column, limit)
            state[place, signal] = panes[0, 0]
    return PaneTable(np.array([d for d, _ in keys], np.int32), np.array([s for _, s in keys], np.int64), state)


def assert_same_tables(found: PaneTable, expected: PaneTable, *, in_order: bool = True) -> None:
    assert found.device.tolist() == expected.device.tolist()
    assert found.start.tolist() == expected.start.tolist()
    assert found.device.dtype == np.int32
    for mine, theirs in zip(found.state, expected.state, strict=True):
        assert_same(mine, theirs, PANE_US, in_order=in_order)


def _bitmap(present: NDArray[np.bool_], offset: int, filler: int) -> NDArray[np.uint8]:
    bits = np.concatenate([np.full(offset, filler), present, np.full(-(len(present) + offset) % 8, filler)])
    return np.packbits(bits.astype(np.uint8), bitorder="little")


ARRANGEMENTS: dict[str, Callable[[Rows], NDArray[np.intp]]] = {
    "as they came": lambda given_rows: np.arange(len(given_rows[1])),
    "by device and time": lambda given_rows: np.lexsort((given_rows[1], given_rows[0])),
    "by time": lambda given_rows: np.lexsort((given_rows[0], given_rows[1])),
    "by device, backwards in time": lambda given_rows: np.lexsort((-given_rows[1], given_rows[0])),
    "by pane, then device": lambda given_rows: np.lexsort((given_rows[1], given_rows[0], given_rows[1] // PANE_US)),
}


@pytest.mark.parametrize("backend", [pytest.param("c", marks=NO_COMPILER), "numpy"])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@given(given_rows=rows())
def test_every_field_of_a_pane_is_right_in_whatever_order_rows_come(
    backend: str, arrangement: str, given_rows: Rows
) -> None:
    came = arranged(given_rows, ARRANGEMENTS[arrangement](given_rows))
    with numpy_kernel() if backend == "numpy" else nullcontext():
        found = panes_of(FEATURES, *came)
    assert_same_tables(found, by_hand(given_rows))


@pytest.mark.parametrize("backend", [pytest.param("c", marks=NO_COMPILER), "numpy"])
@given(given_rows=rows(), offset=st.integers(0, 17), filler=st.integers(0, 1), rubbish=st.sampled_from([np.nan, 7e300]))
def test_a_bitmap_says_which_readings_exist(
    backend: str, given_rows: Rows, offset: int, filler: int, rubbish: float
) -> None:
    device, times, values = given_rows
    columns = []
    for signal in range(2):
        present = ~np.isnan(values[:, signal])
        bitmap = _bitmap(present, offset, filler)
        columns.append(Column(np.where(present, values[:, signal], rubbish), bitmap, offset))
    with numpy_kernel() if backend == "numpy" else nullcontext():
        found = panes_of(FEATURES, device, times, columns)
    assert_same_tables(found, by_hand(given_rows))


@NO_COMPILER
@pytest.mark.parametrize("offset", [0, 1, 5, 7, 8, 11])
@pytest.mark.parametrize("missing", [[], [0], [63], [64], [130], [199], [3, 4, 77, 128, 191]], ids=str)
def test_one_missing_reading_in_a_long_run_is_not_taken_for_what_stands_in_its_place(
    offset: int, missing: list[int]
) -> None:
    times = np.arange(200, dtype=np.int64) * (PANE_US // 256)
    present = np.ones(200, np.bool_)
    present[missing] = False
    plain = np.linspace(40.0, 60.0, 200)
    columns = [Column(np.where(present, plain, 7e300), _bitmap(present, offset, 0), offset) for _ in range(2)]
    found = panes_of(FEATURES, np.zeros(200, np.int32), times, columns)
    values = np.where(present, plain, np.nan)
    assert_same_tables(found, by_hand((np.zeros(200, np.int32), times, np.stack([values, values], axis=1))))


def _long(seed: int, count: int = 200_000, devices: int = 30) -> Rows:
    """Rows by time with devices interleaved, as a hub writes them; more than one block of them."""
    random = np.random.default_rng(seed)
    times = np.sort(random.choice(40 * count, count, replace=False)).astype(np.int64) * 1_000
    values = np.where(random.random((count, 2)) < 0.05, np.nan, random.normal(50, 5, (count, 2)))
    return random.integers(0, devices, count).astype(np.int32), times, values


@pytest.mark.parametrize("kernel", [pytest.param("c", marks=NO_COMPILER)])
def test_many_rows_give_the_panes_of_the_numpy_reference_in_each_order(kernel: str) -> None:
    given_rows = _long(0)
    with numpy_kernel():
        expected = panes_of(FEATURES, *given_rows)
    random = np.random.default_rng(1)
    orders = [np.arange(len(given_rows[1])), np.lexsort((given_rows[1], given_rows[0]))]
    for order in [*orders, random.permutation(len(given_rows[1]))]:
        assert_same_tables(panes_of(FEATURES, *arranged(given_rows, order)), expected)
    assert not unresolved(expected).any()


def test_devices_and_panes_that_lie_far_apart_need_no_memory_in_between() -> None:
    device = np.array([2**31 - 1, 0, 2**31 - 1], np.int32)
    times = np.array([2**61, -(2**61), 5], np.int64)
    table = panes_of(FEATURES, device, times, np.ones((3, 2)))
    assert table.device.tolist() == [0, 2**31 - 1, 2**31 - 1]
    assert table.start.tolist() == [-(2**61) // PANE_US * PANE_US, 0, 2**61 // PANE_US * PANE_US]


@given(given_rows=rows(), cuts=st.lists(st.integers(0, 60), max_size=4), data=st.data())
def test_partial_tables_that_follow_each_other_merge_to_the_whole(
    given_rows: Rows, cuts: list[int], data: st.DataObject
) -> None:
    order = np.lexsort((given_rows[0], given_rows[1]))
    pieces = np.split(order, sorted(min(cut, len(order)) for cut in cuts))
    tables = [panes_of(FEATURES, *arranged(given_rows, piece)) for piece in pieces]
    merged = merge_tables(FEATURES, data.draw(st.permutations(tables)))
    # Two rows of one device and time in two tables are a tie that no table can know of.
    pairs = len(set(zip(given_rows[0].tolist(), given_rows[1].tolist(), strict=True)))
    assert_same_tables(merged, by_hand(given_rows), in_order=pairs == len(order))


def test_parts_that_interleave_in_time_are_right_but_for_their_changes_and_are_found() -> None:
    device, times, values = _long(3, 2000, 3)
    odd = np.arange(2000) % 2 == 1
    tables = [panes_of(FEATURES, device[part], times[part], values[part]) for part in (odd, ~odd)]
    alone = panes_of(FEATURES, np.array([7], np.int32), np.array([3]), np.ones((1, 2)))
    merged, whole = merge_tables(FEATURES, [*tables, alone]), panes_of(FEATURES, device, times, values)
    lacking = unresolved(merged)
    assert lacking[:-1].any()
    assert not lacking[-1]
    np.testing.assert_array_equal(lacking, np.isnan(merged.state[..., CHANGE]).any(axis=1))
    for mine, theirs in zip(merged.state[:-1], whole.state, strict=True):
        assert_same(mine, theirs, PANE_US, in_order=False)


def test_no_tables_and_one_table_merge_to_what_they_are() -> None:
    nothing = merge_tables(FEATURES, [])
    assert (nothing.state.shape, len(unresolved(nothing))) == ((0, 2, len(PANE_FIELDS)), 0)
    table = panes_of(FEATURES, *_long(1, 50))
    assert merge_tables(FEATURES, [table]) is table
    assert_same_tables(merge_tables(FEATURES, [nothing, table, nothing]), table)


def test_records_without_any_reading_are_counted_as_nulls() -> None:
    table = panes_of(FEATURES, np.zeros(3, np.int32), np.arange(3), np.full((3, 2), np.nan))
    assert table.state[0, :, NULLS].tolist() == [3, 3]


def test_threads_sum_up_parts_of_their_own_at_once() -> None:
    given_rows = _long(5, 20_000)
    found: list[PaneTable] = []
    threads = [Thread(target=lambda: found.append(panes_of(FEATURES, *given_rows))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for table in found:
        np.testing.assert_array_equal(table.state, found[0].state)
    assert len(found) == 4


def test_columns_that_do_not_fit_are_refused() -> None:
    device, times, values = _long(2, 20)
    good = [Column(values[:, 0].copy()), Column(values[:, 1].copy())]
    for bad in (good[:1], [*good, good[0]], [good[0], Column(values[1:, 1].copy())], [], values.ravel()):
        with pytest.raises(ReadingsShapeError, match="do not fit together"):
            panes_of(FEATURES, device, times, bad)
    for bitmap, offset in ((np.zeros(2, np.uint8), 0), (np.zeros(3, np.uint8), 5), (np.zeros(3, np.uint8), -1)):
        with pytest.raises(ReadingsShapeError, match="does not say which of 20 values exist"):
            panes_of(FEATURES, device, times, [good[0], Column(values[:, 1].copy(), bitmap, offset)])
