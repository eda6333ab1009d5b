import math
from dataclasses import replace

import numpy as np
import pytest

from pipelines import leak
from pipelines.leak import scrambled, shifted
from tests.fakes.overlapping import HOUR as HOUR_US
from tests.fakes.overlapping import START, dataset_of, overlapping

LIMIT = 0.1


def found_in(learns, data, seed=0):
    found = scrambled(learns, data, seed=seed)
    assert found is not None
    return found


def at_random(windows, seed=0):
    return np.random.default_rng(seed).random(len(windows)) < 0.7


def in_time(windows):
    return windows.end < START + 280 * HOUR_US


def by_device(windows):
    return windows.device < "device-07"


@pytest.mark.parametrize("learns", ["probability", "quantity"])
def test_a_random_split_of_overlapping_windows_knows_scrambled_labels(learns):
    rows = overlapping(answer=lambda level, hour: level if learns == "quantity" else level > 1.0)
    found = found_in(learns, dataset_of(rows, at_random(rows)), seed=0)
    assert found.bound > 0.4


@pytest.mark.parametrize("split", [in_time, by_device])
@pytest.mark.parametrize("seed", range(5))
def test_an_honest_split_does_not(split, seed):
    rows = overlapping(seed=seed)
    found = found_in("probability", dataset_of(rows, split(rows)), seed=seed)
    assert found.bound < LIMIT / 2
    assert found.windows > 1000


@pytest.mark.parametrize("split", [in_time, by_device])
def test_a_life_that_runs_down_on_every_device_at_once_is_no_leak(split):
    """Device and label know the hour: labels shifted on one clock could be told from each other's age."""
    rows = overlapping(answer=lambda level, hour: np.minimum(400 - hour, 125))
    rows = replace(rows, values=np.column_stack([rows.values, (rows.end - START) / HOUR_US]))
    assert found_in("quantity", dataset_of(rows, split(rows)), seed=0).bound < LIMIT


def test_a_label_with_the_rhythm_of_a_feature_is_no_leak():
    """One room, in use by day: a label shifted in time would keep the rhythm, and light would tell it."""
    rows = overlapping(devices=1, hours=1200, answer=lambda level, hour: (hour % 24 > 8) & (hour % 24 < 18))
    light = np.sin(np.arange(1200) / 24 * 2 * np.pi)
    rows = replace(rows, values=np.column_stack([rows.values, light]))
    data = dataset_of(rows, rows.end < START + 800 * HOUR_US)
    assert found_in("probability", data, seed=0).bound < LIMIT
    assert found_in("probability", dataset_of(rows, at_random(rows)), seed=0).bound > 0.3


def test_rows_that_are_both_learned_from_and_judged_with_are_found():
    rows = overlapping()
    data = dataset_of(rows, by_device(rows))
    assert found_in("probability", replace(data, test=data.train), seed=0).bound > 0.5


def test_large_fleets_are_sampled_device_by_device(monkeypatch):
    rows = overlapping(devices=30)
    data = dataset_of(rows, at_random(rows))
    monkeypatch.setattr(leak, "_LEARNED", 2_000)
    monkeypatch.setattr(leak, "_JUDGED", 500)
    found = found_in("probability", data, seed=0)
    assert found.windows == 500
    assert found.bound > 0.3
    monkeypatch.setattr(leak, "_LEARNED", 100)  # less than one device has
    assert found_in("probability", data, seed=0).scrambles > 0


def test_where_all_labels_are_the_same_nothing_can_be_told():
    rows = overlapping(answer=lambda level, hour: np.zeros(len(hour)))
    assert math.isnan(found_in("probability", dataset_of(rows, in_time(rows)), seed=0).bound)


def test_normality_is_learned_without_labels():
    rows = overlapping()
    assert scrambled("normality", dataset_of(rows, in_time(rows)), seed=0) is None


def test_features_that_stay_the_same_without_the_future_are_no_leak():
    rows = overlapping()
    names = dataset_of(rows, in_time(rows)).names
    values = dict(zip(zip(rows.device.tolist(), rows.end.tolist(), strict=True), rows.values, strict=True))
    held = replace(rows, values=rows.values.astype(np.float32).astype(np.float64))

    def rebuild(sample):
        return np.array([values[key] for key in zip(sample.device.tolist(), sample.end.tolist(), strict=True)])

    found = shifted(names, held, rebuild, seed=0)
    assert (found.windows, found.changed, found.names) == (96, 0, ())
    ahead = replace(held, values=held.values + np.eye(8)[3] * 1e-3)
    found = shifted(names, ahead, rebuild, seed=0)
    assert found.names == ("feature_3",)
    assert 90 < found.changed <= 96


def test_a_value_that_was_there_only_with_the_future_is_a_leak():
    rows = overlapping()
    filled = replace(rows, values=np.nan_to_num(rows.values))
    found = shifted(dataset_of(rows, in_time(rows)).names, filled, lambda sample: sample.values * np.nan, seed=0)
    assert found.changed == found.values
