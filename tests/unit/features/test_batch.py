from datetime import timedelta

import numpy as np
import pytest

from features.batch import feature_rows
from features.errors import ReadingsShapeError
from features.feature import Feature
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from features.panetable import PaneTable, panes_of
from features.schema import Fleet, Signal

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("fuel", "l", 0, 90)), MINUTE, MINUTE, MINUTE, MINUTE)
FEATURES = FeatureSet(
    FLEET,
    pane=2 * MINUTE,
    every=4 * MINUTE,
    features=(
        Feature("speed", "count", 8 * MINUTE),
        Feature("speed", "mean", 4 * MINUTE),
        Feature("fuel", "missing_share", 8 * MINUTE),
    ),
)


def _readings(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    device = np.repeat(np.array([3, 7], np.int32), 60)
    times = np.tile(np.arange(60) * MINUTE_US, 2)
    return device, times, random.uniform(0, 90, (120, 2))


def test_the_order_of_the_readings_does_not_matter() -> None:
    device, times, values = _readings()
    order = np.random.default_rng(1).permutation(len(times))
    ordered = panes_of(FEATURES, device, times, values)
    shuffled = panes_of(FEATURES, device[order], times[order], values[order])
    np.testing.assert_array_equal(shuffled.device, ordered.device)
    np.testing.assert_array_equal(shuffled.start, ordered.start)
    np.testing.assert_allclose(shuffled.state, ordered.state, rtol=1e-12, atol=1e-9)


def test_panes_are_sorted_by_device_and_start_and_exist_only_where_records_are() -> None:
    times = np.array([11, 0, 1, 11], np.int64) * MINUTE_US
    panes = panes_of(FEATURES, np.array([2, 2, 2, 0], np.int32), times, np.ones((4, 2)))
    assert panes.device.tolist() == [0, 2, 2]
    assert (panes.start // MINUTE_US).tolist() == [10, 0, 10]
    assert panes.state[:, 0, PANE_FIELDS.index("count")].tolist() == [1, 2, 1]


def test_devices_do_not_mix_where_one_ends_in_the_pane_the_next_begins_in() -> None:
    panes = panes_of(FEATURES, np.array([0, 1], np.int32), np.array([0, 0], np.int64), np.ones((2, 2)))
    assert panes.device.tolist() == [0, 1]


def test_rows_end_on_steps_with_whole_windows_behind_them() -> None:
    table = feature_rows(FEATURES, panes_of(FEATURES, *_readings()))
    assert table.device.tolist() == [3] * 14 + [7] * 14
    assert (table.end[:14] // MINUTE_US).tolist() == list(range(8, 61, 4))
    assert (table.values[:, 0] == 8).all()


def test_a_reading_at_the_end_of_a_window_belongs_to_the_next() -> None:
    device, times = np.zeros(2, np.int32), np.array([0, 8], np.int64) * MINUTE_US
    table = feature_rows(FEATURES, panes_of(FEATURES, device, times, np.array([[1.0, 1.0], [9.0, 9.0]])))
    assert (table.end // MINUTE_US).tolist() == [8]
    assert table.values[0, 0] == 1


def test_a_slice_with_first_starts_gives_the_rows_of_the_whole() -> None:
    panes = panes_of(FEATURES, *_readings())
    whole = feature_rows(FEATURES, panes)
    cut = 32 * MINUTE_US
    inside = panes.start >= cut - FEATURES.longest_us + FEATURES.every_us
    part = PaneTable(panes.device[inside], panes.start[inside], panes.state[inside])
    first_start = np.zeros(8, np.int64)
    table = feature_rows(FEATURES, part, first_start, after_us=cut)
    late = whole.end > cut
    np.testing.assert_array_equal(table.end, whole.end[late])
    np.testing.assert_array_equal(table.device, whole.device[late])
    np.testing.assert_allclose(table.values, whole.values[late], rtol=1e-12)


def test_a_slice_without_first_starts_has_to_warm_up_again() -> None:
    panes = panes_of(FEATURES, *_readings())
    inside = panes.start >= 32 * MINUTE_US
    table = feature_rows(FEATURES, PaneTable(panes.device[inside], panes.start[inside], panes.state[inside]))
    assert table.end.min() == 40 * MINUTE_US


def test_a_device_that_is_too_young_has_no_rows() -> None:
    device, times, values = _readings()
    young = times < 6 * MINUTE_US
    table = feature_rows(FEATURES, panes_of(FEATURES, device[young], times[young], values[young]))
    assert table.values.shape == (0, 3)


def test_no_readings_give_no_panes_and_no_rows() -> None:
    panes = panes_of(FEATURES, np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros((0, 2)))
    table = feature_rows(FEATURES, panes)
    assert (panes.state.shape, table.values.shape) == ((0, 2, len(PANE_FIELDS)), (0, 3))
    assert table.end.dtype == np.int64


def test_values_of_any_memory_layout_are_taken() -> None:
    device, times, values = _readings()
    expected = panes_of(FEATURES, device, times, values).state
    unaligned = np.frombuffer(b"x" + values.tobytes(), np.float64, offset=1).reshape(values.shape)
    for other in (np.asfortranarray(values), unaligned, np.repeat(values, 2, axis=0)[::2], values.astype(">f8")):
        np.testing.assert_array_equal(panes_of(FEATURES, device, times, other).state, expected)


def test_arrays_that_do_not_fit_are_refused() -> None:
    device, times, values = _readings()
    with pytest.raises(ReadingsShapeError, match="do not fit together"):
        panes_of(FEATURES, device[1:], times, values)
    with pytest.raises(ReadingsShapeError, match=r"expected \(n,\), \(n,\) and \(n, 2\)"):
        panes_of(FEATURES, device, times, values[:, :1])
    panes = panes_of(FEATURES, device, times, values)
    with pytest.raises(ReadingsShapeError, match="do not belong to fleet vans"):
        feature_rows(FEATURES, PaneTable(panes.device, panes.start, panes.state[:, :1]))
