"""Rings: how long they are, where they lie, and that they stay there."""

from datetime import timedelta

import numpy as np
import pytest

from features.feature import Feature
from features.featureset import FeatureSet
from features.kernel.stream_reference import MARK_DUE, TALLY_DUE
from features.ring import Rings
from features.schema import MICROSECOND, Fleet, Signal

MINUTE = timedelta(minutes=1)
MINUTE_US = MINUTE // MICROSECOND
HOUR = timedelta(hours=1)


def features(sampling: timedelta) -> FeatureSet:
    signal = Signal("speed", "km/h", 0, 130)
    fleet = Fleet("vans", "", (signal,), sampling, MINUTE, MINUTE, timedelta(days=1))
    return FeatureSet(fleet, HOUR, HOUR, (Feature("speed", "mean_absolute_change", 24 * HOUR),))


@pytest.mark.parametrize(
    ("lateness", "sampling", "panes"),
    [
        (timedelta(0), MINUTE, 25),
        (MINUTE, MINUTE, 25),
        (59 * MINUTE, MINUTE, 25),
        (60 * MINUTE, MINUTE, 26),
        (59 * MINUTE, 2 * MINUTE, 26),
        (MINUTE, 24 * HOUR, 26),
    ],
)
def test_a_ring_has_room_for_the_reading_that_makes_its_device_due(
    lateness: timedelta, sampling: timedelta, panes: int
) -> None:
    rings = Rings(features(sampling), lateness // MICROSECOND, 0)
    rings.make_room(2)
    for _ in range(4):
        rings.deepen()  # so that no reading waits for that
    assert rings.panes == panes
    step_us = min(sampling, HOUR) // MICROSECOND
    times = np.repeat(np.arange(0, 2 * HOUR // MICROSECOND, step_us), 2)
    devices, values = np.tile(np.arange(2, dtype=np.int32), len(times) // 2), np.zeros((len(times), 1))
    row = 0
    while rings.tally[TALLY_DUE] == 0 and row < len(times):
        begin, row = row, row + 2
        assert rings.stream.take(devices[begin:row], times[begin:row], values[begin:row], 0) == 2
    assert rings.marks[:, MARK_DUE].tolist() == [1, 1]  # both were taken, none waits for the other


def test_panes_stay_where_they_are_when_more_readings_stand_open() -> None:
    rings = Rings(features(MINUTE), MINUTE_US, 0)
    rings.make_room(3)
    assert rings.stream.take_one(1, 7 * MINUTE_US, (5.0,)) == 1
    state, held = rings._arrays["state"], rings._arrays["held"]
    before = rings.bytes_per_device
    rings.deepen()
    assert rings._arrays["state"] is state
    assert rings.bytes_per_device == before + held[0].nbytes + 8 * held.shape[1]
    assert rings._arrays["held"][1, 0, 0] == 5.0


def test_what_a_reading_touches_begins_at_a_line_of_the_cache() -> None:
    rings = Rings(features(MINUTE), MINUTE_US, 0)
    rings.make_room(3)
    for name in ("state", "marks", "seen", "held"):
        assert rings._arrays[name].ctypes.data % 64 == 0
