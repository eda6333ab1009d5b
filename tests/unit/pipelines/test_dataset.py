from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipelines.dataset import Split, Windows, build, hold_out
from pipelines.errors import TooLittleDataError
from pipelines.label import Events, FailureWithin
from tests.fakes.histories import HOUR, NAMES, history

LABEL = FailureWithin(timedelta(hours=24))


@pytest.fixture(scope="module")
def past():
    return history()


def built(past, split=None, **changes):
    given = {"known_until": past.until, "every_us": past.every, **changes}
    return build(NAMES, past.windows, LABEL, past.events, split or Split(), **given)


def test_nothing_of_a_held_out_device_is_learned_from(past):
    data = built(past)
    assert not set(data.held_out) & set(data.train.device)
    assert set(data.test.device[data.new]) == set(data.held_out)
    assert set(data.test.device[~data.new]) == set(data.train.device)


def test_no_training_label_looks_across_the_split_minus_the_purge(past):
    data = built(past, Split(purge=timedelta(hours=48)))
    assert data.train.end.max() + (24 + 48) * HOUR <= data.test.end.min()


def test_every_slice_knows_failures_and_calm(past):
    data = built(past)
    for windows in (data.train, data.test.select(data.new), data.test.select(~data.new)):
        assert 0 < windows.positive.sum() < len(windows)
        assert set(np.unique(windows.label)) == {0, 1}


def test_windows_without_a_label_are_in_no_slice(past):
    data = built(past)
    assert data.test.end.max() + 24 * HOUR <= past.until


def test_the_seed_decides_who_is_held_out_and_nothing_else_does(past):
    shuffled = past.windows.select(np.random.default_rng(1).permutation(len(past.windows)))
    assert built(past).held_out == built(replace(past, windows=shuffled)).held_out
    assert built(past).held_out != built(past, seed=3).held_out


def test_values_are_what_float32_can_hold(past):
    data = built(past)
    values = data.train.values
    assert values.dtype == np.float64
    assert np.array_equal(values, values.astype(np.float32), equal_nan=True)


def test_order_of_the_rows_does_not_matter(past):
    shuffled = past.windows.select(np.random.default_rng(2).permutation(len(past.windows)))
    one, other = built(past), built(replace(past, windows=shuffled))
    assert np.array_equal(one.train.values, other.train.values, equal_nan=True)
    assert np.array_equal(one.test.label, other.test.label)


def test_gaps_and_missing_values_are_counted(past):
    keep = np.ones(len(past.windows), dtype=bool)
    keep[100:150] = False
    data = built(replace(past, windows=past.windows.select(keep)))
    assert data.quality.gaps == pytest.approx(50 / len(past.windows), rel=0.05)
    assert built(past).quality.gaps == 0
    assert data.quality.missing == pytest.approx(0.04, abs=0.005)


def test_failures_of_a_slice_are_counted_once(past):
    data = built(past)
    in_reach = (past.events.time > data.test_from) & (past.events.time <= data.until + 24 * HOUR)
    assert data.events_in(data.test) == int(np.sum(in_reach))


def test_without_any_failure_training_says_so(past):
    calm = Events(*(getattr(past.events, name)[:0] for name in ("device", "time", "kind", "known_at")))
    with pytest.raises(TooLittleDataError, match="hold no failure"):
        built(replace(past, events=calm))


def test_a_test_without_failures_is_left_to_the_gate(past):
    early = past.events.select(past.events.time < past.windows.end.min() + 15 * 24 * HOUR)
    data = built(replace(past, events=early))
    assert data.train.positive.any()
    assert not data.test.positive.any()


def test_without_failures_before_the_split_there_is_nothing_to_learn(past):
    late = past.events.select(past.events.time > past.windows.end.min() + 30 * 24 * HOUR)
    with pytest.raises(TooLittleDataError, match="train slice holds"):
        built(replace(past, events=late))


@pytest.mark.parametrize("share", [0.25, 0.3, 0.5])
def test_two_failing_devices_are_divided_between_the_sides(share):
    label = np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=np.int8)
    names = np.array([f"d{i}" for i in range(8)])
    rows = Windows(names, np.arange(8), np.zeros((8, 1)), label)
    for seed in range(20):
        held = hold_out(rows, share, 0, seed)
        assert len({"d0", "d4"} & set(held)) == 1
        assert len(held) == int(8 * share + 0.5)
