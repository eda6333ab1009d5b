"""The rows that have become due in a stream: from the panes its rings hold and the events its log holds.

A device is due when its watermark has passed the end of a window. Most of what that costs is gathering its panes, so a
device whose windows are not filled yet is passed over; unless windows grow, which take in panes from the first one on.
"""

import numpy as np

from features.eventlog import EventLog
from features.kernel.stream_reference import MARK_EMITTED, MARK_FIRST
from features.plan import Bounds, Plan, Rows
from features.ring import Codes, Live, Rings, Times
from features.running import advance


class Emission:
    """What makes feature rows of a stream.

    Args:
        plan: How panes become rows.
        rings: The panes; windows that were emitted are noted in their marks, growing ones carried on.
        log: The events; those that no row to come needs are forgotten.
    """

    def __init__(self, plan: Plan, rings: Rings, log: EventLog) -> None:
        self._plan, self._rings, self._log = plan, rings, log
        self._carry_us = max((source.lag_us for _, source in plan.growing), default=0)

    def hear(self, device: Codes, kind: Codes, time: Times, visible: Times) -> None:
        """Take in events.

        Args:
            device: Codes of the devices, shape ``(n,)``.
            kind: Positions in ``Fleet.event_kinds``, shape ``(n,)``.
            time: When they happened, shape ``(n,)``, UTC microseconds.
            visible: From when on rows may speak of them, shape ``(n,)``.
        """
        grows_from = np.full(len(device), np.iinfo(np.int64).max)
        for place, beginning in enumerate(self._plan.kinds):
            here = kind == beginning.kind
            grows_from[here] = self._rings.origin(device[here], place)
        self._log.add(device, kind, time, visible, self._rings.marks[device, MARK_EMITTED], grows_from)

    def rows(self) -> list[Rows]:
        """The rows of all devices that are due, some devices at a time; those devices are due no longer."""
        rings, marks = self._rings, self._rings.marks
        due = rings.due()
        until = marks[:, MARK_EMITTED].copy()
        until[due] = rings.passed(due)
        filled = until[due] - marks[due, MARK_FIRST] >= self._plan.reach_us
        ready = due if self._plan.kinds else due[filled]
        bounds = Bounds(marks[:, MARK_FIRST], marks[:, MARK_EMITTED], until)
        made = [self._made(live, bounds) for live in rings.live(ready)]
        marks[due, MARK_EMITTED] = until[due]
        if len(self._log.events().time):
            self._log.forget_before(until)
        return made

    def _made(self, live: Live, bounds: Bounds) -> Rows:
        codes = np.unique(live.device).tolist() if self._plan.kinds else []
        events = self._log.of(live.device)
        carried = {code: self._rings.carried(code) for code in codes}
        rows = self._plan.rows(
            live.device, live.start, live.state, bounds, counts=live.counts, events=events, carried=carried
        )
        histories = events.histories() if codes else {}
        for code in codes:
            panes = slice(*np.searchsorted(live.device, [code, code + 1]))
            beginnings = self._plan.beginnings(code, int(bounds.first_start[code]), histories)
            # Rows that lag look at the growing windows as they were some steps ago.
            until = int(bounds.until[code]) - self._carry_us
            limits = [beginning.most_us for beginning in self._plan.kinds]
            grown = advance(carried[code], live.start[panes], live.state[panes], beginnings, until, most_us=limits)
            self._rings.carry(code, grown)
        return rows
