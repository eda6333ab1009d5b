"""What is gathered when devices are due."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.emission import Emission
from features.eventlog import EventLog
from features.feature import Feature, Since
from features.featureset import FeatureSet
from features.ring import Live, Rings
from features.schema import Fleet, Signal

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), MINUTE, MINUTE, MINUTE, timedelta(days=1))
WINDOWED = FeatureSet(FLEET, 2 * MINUTE, 4 * MINUTE, (Feature("speed", "mean", 8 * MINUTE),))
GROWING = replace(WINDOWED, features=(*WINDOWED.features, Feature("speed", "mean", Since("start"))))


class WatchedRings(Rings):
    """Rings that note whose panes were gathered."""

    def __init__(self, features: FeatureSet, kinds: int) -> None:
        super().__init__(features, 0, kinds)
        self.gathered: list[list[int]] = []
        self.make_room(2)

    def live(self, devices: NDArray[np.int32]) -> Iterator[Live]:
        self.gathered.append(devices.tolist())
        yield from super().live(devices)


def gathered(features: FeatureSet) -> tuple[list[list[int]], list[int]]:
    """Device 0 is heard each minute, device 1 four minutes later: whose panes were gathered, and where rows ended."""
    plan = features.plan()
    rings = WatchedRings(features, len(plan.kinds))
    emission = Emission(plan, rings, EventLog(features.longest_us))
    ends: list[int] = []
    for minute in range(13):
        for device in (0, 1) if minute > 3 else (0,):
            rings.stream.take_one(device, minute * MINUTE_US, (float(minute),))
        if rings.tally[-1]:
            ends += [end // MINUTE_US for rows in emission.rows() for end in rows.end.tolist()]
    assert not rings.tally[-1]
    return rings.gathered, ends


def test_panes_of_windows_that_are_not_filled_are_left_where_they_are() -> None:
    assert gathered(WINDOWED) == ([[], [0], [0, 1]], [8, 12, 12])


def test_windows_that_grow_take_in_panes_from_the_first_one_on() -> None:
    assert gathered(GROWING) == ([[0], [0, 1], [0, 1]], [8, 12, 12])
