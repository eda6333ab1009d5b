"""Does this device behave otherwise than it usually does?

Learned from normal operation alone: the first ``normal`` of each run of a device, which a plant watches anyway when it
takes a machine into service. Labels, where people told of anomalies, serve to judge, never to learn.

A run begins with the first window of a device and wherever an event ``begin`` says so.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels.events import NEVER, Events, last_event
from pipelines.labels.label import Question
from pipelines.labels.state import State
from pipelines.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly(State):
    """The label "something is wrong now": 1, 0, or NaN.

    Attributes:
        normal: How long after the beginning of a run operation counts as normal: what is learned from.
        state: Of the events ``<state>_begin`` and ``<state>_end`` that told of anomalies.
        begin: Kind of the event that begins a run; empty where a device has one run.
        reported_within: How long an anomaly may take to become known, as of any state.
    """

    question: ClassVar[Question] = "anomaly"

    normal: timedelta
    state: str = "anomaly"
    begin: str = ""

    def learned_from(self, windows: Windows, events: Events, known_until: int) -> NDArray[np.bool_]:
        """Return which windows are normal operation: they end within ``normal`` after their run began, shape ``(n,)``.

        Example:
            >>> second = 1_000_000
            >>> runs = {"device": ["a"], "time": [100 * second], "kind": ["run"], "known_at": [100 * second]}
            >>> ends = np.array([10, 30, 110, 130]) * second
            >>> windows = Windows.unlabelled(np.array([*"aaaa"]), ends, np.empty((4, 0)))
            >>> anomaly = Anomaly(normal=timedelta(seconds=15), begin="run")
            >>> anomaly.learned_from(windows, Events.of(runs), 200 * second).tolist()
            [True, False, True, False]
        """
        begun = np.full(len(windows), -NEVER)
        if self.begin:
            begun = last_event(windows.device, windows.end - 1, events.known([self.begin], known_until))
        names, codes = np.unique(windows.device, return_inverse=True)
        first = np.full(len(names), NEVER)
        np.minimum.at(first, codes, windows.end)
        since = np.maximum(begun, first[codes])
        return np.asarray(windows.end <= since + self.normal // timedelta(microseconds=1))
