import math

import numpy as np
import pytest

from pipelines.intervals import by_devices, rate_interval, share_interval
from pipelines.labels import Events
from pipelines.windows import Windows


def test_intervals_shrink_with_evidence_and_hold_the_value():
    for share in (share_interval(3, 4), share_interval(300, 400)):
        assert share[0] < 0.75 < share[1]
    assert np.diff(share_interval(300, 400)) < np.diff(share_interval(3, 4)) / 5
    assert share_interval(0, 0) == (0.0, 1.0)
    # Exact Poisson limits for 10 events are 4.795 and 18.39.
    assert rate_interval(10, 1.0) == pytest.approx((4.795, 18.39), abs=0.05)


def windows_of(shares):
    """Devices of twenty windows each, of which so many carry the label."""
    label = np.concatenate([np.arange(20) < share * 20 for share in shares]).astype(float)
    device = np.repeat([f"d{i}" for i in range(len(shares))], 20)
    return Windows(device, np.arange(len(label)), np.zeros((len(label), 1)), label)


NOTHING = Events.of({"device": [], "time": [], "kind": [], "known_at": []})


def mean_of(windows):
    return lambda draw: {"mean": float(windows.label[draw.rows].mean())}


def test_devices_that_differ_make_an_interval_wide_and_those_alike_make_it_narrow():
    alike, mixed = windows_of([0.5] * 12), windows_of([0.0, 1.0] * 6)
    low, high = by_devices(alike, NOTHING, mean_of(alike))["mean"]
    assert (low, high) == (0.5, 0.5)
    low, high = by_devices(mixed, NOTHING, mean_of(mixed))["mean"]
    assert 0.1 < low < 0.35
    assert 0.65 < high < 0.9


def test_a_device_that_is_drawn_twice_stands_there_twice_with_its_events():
    windows = windows_of([0.5, 0.5])
    events = Events.of({"device": ["d1"], "time": [5], "kind": ["failure"], "known_at": [5]})
    seen = set()

    def counted(draw):
        own = [len(np.unique(draw.device)), len(draw.events)]
        seen.add(tuple(own))
        assert len(draw.rows) == len(draw.device) == 40
        assert set(draw.events.device) <= set(draw.device)
        return {"events": float(len(draw.events))}

    by_devices(windows, events, counted)
    assert seen == {(2, 0), (2, 1), (2, 2)}


def test_from_one_device_nothing_can_be_drawn_and_a_figure_that_is_seldom_there_has_no_interval():
    assert by_devices(windows_of([0.5]), NOTHING, mean_of(windows_of([0.5]))) == {}
    low, high = by_devices(windows_of([0.5] * 3), NOTHING, lambda _: {"never": math.nan})["never"]
    assert math.isnan(low)
    assert math.isnan(high)
