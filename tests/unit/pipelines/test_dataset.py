from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.candidate import span_of
from pipelines.dataset import build
from pipelines.errors import TooLittleDataError
from pipelines.labels import FailureWithin
from pipelines.split import Split, hold_out
from pipelines.tasks.failure import Failure
from pipelines.windows import Windows
from tests.fakes.histories import HOUR, NAMES, history

START = 1_000 * 24 * HOUR

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
    assert Failure().evidence(data.test, span_of(data))[0] == int(np.sum(in_reach))


def test_windows_whose_labels_are_not_known_yet_are_no_history(past):
    with pytest.raises(TooLittleDataError, match="not one of"):
        built(past, known_until=int(past.windows.end.min()))


def test_training_labels_are_those_that_were_known_at_the_split(past):
    """A failure that was reported late is no training label, though the test knows it by now."""
    hour = 3_600_000_000
    late = replace(past.events, known_at=past.events.known_at + 10 * 24 * hour)
    data, before = built(replace(past, events=late)), built(past)
    assert data.test_from == before.test_from
    assert data.train.positive.sum() < before.train.positive.sum()


@pytest.mark.parametrize(
    ("split", "devices", "times"),
    [
        (Split(test_time=0), "apart", "same"),
        (Split(test_devices=0), "same", "apart"),
        (Split(test_devices=("pump-0[0-3]",), test_time=0), "apart", "same"),
    ],
)
def test_a_split_by_devices_or_by_time_alone(past, split, devices, times):
    data = built(past, split)
    shared = set(data.train.device) & set(data.test.device)
    assert bool(shared) == (devices == "same")
    assert (data.train.end.max() < data.test.end.min()) == (times == "apart")


def test_a_published_test_may_lie_on_both_sides_of_what_is_learned_from(past):
    first, last = (datetime.fromtimestamp((START + day * 24 * HOUR) // 1_000_000, UTC) for day in (10, 25))
    data = built(past, Split(test_devices=0, purge=timedelta(days=2), learned=(first, last)))
    days = (data.train.end - START) / (24 * HOUR)
    assert days.min() == 10
    assert 24.9 < days.max() <= 25
    judged = (data.test.end - START) / (24 * HOUR)
    assert judged[judged < 27].max() < 10
    assert judged.min() < 1
    assert judged.max() > 30
    assert data.train_until == START + 25 * 24 * HOUR


def test_the_last_window_of_each_device_can_be_all_that_is_judged(past):
    data = built(past, Split(test_time=0, judged="last"))
    assert len(data.test) == len(data.held_out)
    assert set(data.test.end) == {built(past, Split(test_time=0)).test.end.max()}
    first, last = (datetime.fromtimestamp(int(past.windows.end.min()) / 1e6, UTC) + timedelta(days=n) for n in (10, 20))
    within = built(past, Split(learned=(first, last), judged="last"))
    assert len(within.test) == len(np.unique(past.windows.device))


def test_a_test_without_failures_is_left_to_the_gate(past):
    early = past.events.select(past.events.time < past.windows.end.min() + 15 * 24 * HOUR)
    data = built(replace(past, events=early))
    assert data.train.positive.any()
    assert not data.test.positive.any()


def test_without_failures_before_the_split_there_is_nothing_to_learn(past):
    late = past.events.select(past.events.time > past.windows.end.min() + 30 * 24 * HOUR)
    with pytest.raises(TooLittleDataError, match="same answer"):
        built(replace(past, events=late))


@pytest.mark.parametrize("share", [0.25, 0.3, 0.5])
def test_two_failing_devices_are_divided_between_the_sides(share):
    label = np.array([1.0, 0, 0, 0, 1, 0, 0, 0])
    names = np.array([f"d{i}" for i in range(8)])
    rows = Windows(names, np.arange(8), np.zeros((8, 1)), label)
    for seed in range(20):
        held = hold_out(rows, share, 0, seed)
        assert len({"d0", "d4"} & set(held)) == 1
        assert len(held) == int(8 * share + 0.5)
