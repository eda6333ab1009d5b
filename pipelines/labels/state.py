"""In which state is this device now? A room in use, a valve open, a line running.

People, or a system that the model is to replace, told when the state began and ended: ``<state>_begin`` and
``<state>_end``, often much later. The label of a window is the state just before its end, when its last reading was
taken. Before the first report of a device nothing is known of it, and after the last one only until
``reported_within`` has to pass.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels.events import NEVER, Events, last_event
from pipelines.labels.label import Question
from pipelines.windows import Windows


@dataclass(frozen=True, slots=True)
class State:
    """The label "this device is in this state now": 1, 0, or NaN.

    Attributes:
        state: The state; events are ``<state>_begin`` and ``<state>_end``.
        reported_within: How long a change may take to become known.

    Example:
        >>> hour = 3_600_000_000
        >>> told = {"device": ["a", "a"], "time": [2 * hour, 4 * hour], "kind": ["open_begin", "open_end"]}
        >>> events = Events.of({**told, "known_at": [5 * hour] * 2})
        >>> windows = Windows.unlabelled(np.array([*"aaaab"]), np.array([2, 3, 4, 5, 3]) * hour, np.empty((5, 0)))
        >>> State("open").label(windows, (), events, known_until=6 * hour).tolist()
        [0.0, 1.0, 1.0, 0.0, nan]
    """

    question: ClassVar[Question] = "state"

    state: str
    reported_within: timedelta = timedelta(0)

    @property
    def name(self) -> str:
        """A name for manifests and reports: the state."""
        return self.state

    @property
    def unit(self) -> str:
        """Probabilities have none."""
        return "1"

    @property
    def horizon(self) -> timedelta:
        """The question is about now."""
        return timedelta(0)

    @property
    def known_after(self) -> timedelta:
        """Once a change would have been reported."""
        return self.reported_within

    def known(self, events: Events, known_until: int) -> Events:
        """Return the changes that were known by ``known_until``, sorted by device and time."""
        return events.known([f"{self.state}_begin", f"{self.state}_end"], known_until)

    def label(self, windows: Windows, names: tuple[str, ...], events: Events, known_until: int) -> NDArray[np.float64]:
        """Label windows: see ``pipelines.labels.Label``. A device of which nothing was ever told is unlabelled."""
        del names
        known = self.known(events, known_until)
        before = windows.end - 1  # a window excludes the reading at its end
        begun = last_event(windows.device, before, known.of_kind(f"{self.state}_begin"))
        ended = last_event(windows.device, before, known.of_kind(f"{self.state}_end"))
        told = np.isin(windows.device, known.device)
        late = windows.end + self.reported_within // timedelta(microseconds=1) > known_until
        return np.where(~told | late, np.nan, (begun > ended) & (begun > -NEVER))
