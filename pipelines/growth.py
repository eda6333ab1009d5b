"""Windows that grow since the start or since an event: what they held before the panes at hand.

Late data may change any pane of the past, so nothing is kept from run to run: the panes before the first touched row
are read once, of the devices that are touched, in runs of days. That is the price of such a feature: the history of
these devices, once a run. Sets without one pay nothing.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.event import Events
from features.featureset import FeatureSet
from features.panetable import PaneTable
from features.plan import Plan
from features.running import Carried, advance
from pipelines.reach import Codes, Times
from pipelines.tables import DAY_US

Read = Callable[[int, int, Codes], PaneTable]
"""Reads the panes of some devices that start within a time, sorted by device and start."""

_DAYS = 8


class Growth:
    """Carries growing windows forward in time.

    Args:
        features: The features.
        plan: Their plan.
        read: Reads panes.
        first: Start of the first pane of each device, by code.
    """

    def __init__(self, features: FeatureSet, plan: Plan, read: Read, first: Times) -> None:
        self._features, self._read, self._first = features, read, first
        self._plan = plan
        self._carried: dict[int, Carried] = {}

    def up_to(self, until: int, codes: Codes, events: Events) -> dict[int, Carried]:
        """What the growing windows of some devices hold of the panes that start before a time, by device code."""
        if not self._features.growing or not len(codes):
            return {}
        histories = events.histories()
        kinds, signals = len(self._plan.kinds), len(self._features.fleet.signals)
        limits = [beginning.most_us for beginning in self._plan.kinds]
        beginnings = {c: self._plan.beginnings(c, int(self._first[c]), histories) for c in codes.tolist()}
        begin = min(self._done(code) for code in codes.tolist())
        step = -(-_DAYS * DAY_US // self._features.pane_us) * self._features.pane_us
        for low in range(begin, until, step):
            high = min(low + step, until)
            panes = self._read(low, high, codes)
            for code in codes.tolist():
                rows = slice(*np.searchsorted(panes.device, [code, code + 1]))
                carried = self._carried.get(code) or Carried.nothing(kinds, signals)
                if carried.until < high:
                    mine = _of(panes, rows)
                    self._carried[code] = advance(carried, *mine, beginnings[code], high, most_us=limits)
        return {code: self._carried[code] for code in codes.tolist() if code in self._carried}

    def _done(self, code: int) -> int:
        """The first pane that was not carried yet."""
        return self._carried[code].until if code in self._carried else int(self._first[code])


def _of(panes: PaneTable, rows: slice) -> tuple[Times, NDArray[np.float64]]:
    return panes.start[rows], panes.state[rows]
