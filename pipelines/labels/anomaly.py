"""Does this device behave otherwise than it usually does?

Learned from normal operation alone: the first ``normal`` of each run of a device, which a plant watches anyway when it
takes a machine into service, and all of what people declared ``usual``, such as an acceptance run. Labels, where people
told of anomalies, serve to judge, never to learn.

A run begins wherever an event ``begin`` says so; where none has, with the first window of its device.
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
        usual: State in which people declared operation normal, of the events ``<usual>_begin`` and ``<usual>_end``,
            told as those of anomalies are: learned from throughout. Empty where nobody declares it.
        reported_within: How long an anomaly may take to become known, as of any state.
    """

    question: ClassVar[Question] = "anomaly"

    normal: timedelta
    state: str = "anomaly"
    begin: str = ""
    usual: str = ""

    def begun(self, windows: Windows, events: Events, known_until: int) -> NDArray[np.int64]:
        """Return when the run of each window began, as far as was known; ``-NEVER`` where no event says."""
        if not self.begin:
            return np.full(len(windows), -NEVER)
        return last_event(windows.device, windows.end - 1, events.known([self.begin], known_until))

    def learned_from(self, windows: Windows, events: Events, known_until: int) -> NDArray[np.bool_]:
        """Return which windows are normal operation: declared, or not later than ``normal`` after their run began.

        Example:
            >>> second = 1_000_000
            >>> runs = {"device": ["a"], "time": [100 * second], "kind": ["run"], "known_at": [100 * second]}
            >>> ends = np.array([10, 30, 110, 130]) * second
            >>> windows = Windows.unlabelled(np.array([*"aaaa"]), ends, np.empty((4, 0)))
            >>> anomaly = Anomaly(normal=timedelta(seconds=15), begin="run")
            >>> anomaly.learned_from(windows, Events.of(runs), 200 * second).tolist()
            [True, False, True, False]
        """
        names, codes = np.unique(windows.device, return_inverse=True)
        first = np.full(len(names), NEVER)
        np.minimum.at(first, codes, windows.end)
        begun = self.begun(windows, events, known_until)
        since = np.where(begun > -NEVER, begun, first[codes])
        early = windows.end <= since + self.normal // timedelta(microseconds=1)
        if not self.usual:
            return np.asarray(early)
        declared = State(self.usual, self.reported_within).label(windows, (), events, known_until)
        return np.asarray(early | (declared == 1))
