"""How long until this device fails? Remaining useful life, capped.

Far from its end a device shows nothing of it, so lives beyond ``cap`` count as ``cap`` (Heimes 2008; 125 flights for
the C-MAPSS engines). The cap also settles what is known of a device that has not failed yet: once it has outlived a
window by the cap, the label of that window is the cap; until then it is NaN. To count such a device as failed at its
last reading, as is often done, would teach that healthy devices are about to fail.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.labels.events import NEVER, Events, last_event, next_event
from pipelines.labels.label import Question
from pipelines.windows import Windows

_SPOKEN = {timedelta(seconds=1): "s", timedelta(minutes=1): "min", timedelta(hours=1): "h", timedelta(days=1): "d"}


@dataclass(frozen=True, slots=True)
class RemainingLife:
    """The label "so long until it fails", in units of ``step``, at most ``cap``; NaN where it is not known.

    Attributes:
        cap: The longest life that is told apart.
        step: What one unit of the label is.
        kind: Which kind of event ends a life.
        reported_within: How long a failure may take to become known.
        unit: What a step is called, where it has a name of its own.

    Example:
        >>> hour = 3_600_000_000
        >>> events = Events.of({"device": ["a"], "time": [30 * hour], "kind": ["failure"], "known_at": [30 * hour]})
        >>> ends = np.array([6, 25, 30, 6, 16]) * hour
        >>> windows = Windows.unlabelled(np.array([*"aaabb"]), ends, np.empty((5, 0)))
        >>> life = RemainingLife(cap=timedelta(hours=20))
        >>> life.label(windows, (), events, known_until=31 * hour).tolist()
        [20.0, 5.0, nan, 20.0, nan]
    """

    question: ClassVar[Question] = "life"

    cap: timedelta
    step: timedelta = timedelta(hours=1)
    kind: str = "failure"
    reported_within: timedelta = timedelta(0)
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.unit:
            object.__setattr__(self, "unit", _SPOKEN.get(self.step, f"{self.step / timedelta(seconds=1):g} s"))

    @property
    def name(self) -> str:
        """A name for manifests and reports, such as ``remaining_life_until_failure``."""
        return f"remaining_life_until_{self.kind}"

    @property
    def longest(self) -> float:
        """The cap in units of the label."""
        return self.cap / self.step

    @property
    def horizon(self) -> timedelta:
        """The cap: beyond it nothing is told."""
        return self.cap

    @property
    def known_after(self) -> timedelta:
        """Once the cap is over and failures have been reported."""
        return self.cap + self.reported_within

    def known(self, events: Events, known_until: int) -> Events:
        """Return the ends of life that were known by ``known_until``, sorted by device and time."""
        return events.known([self.kind], known_until)

    def label(self, windows: Windows, names: tuple[str, ...], events: Events, known_until: int) -> NDArray[np.float64]:
        """Label windows: see ``pipelines.labels.Label``. After its last known failure a device is unlabelled."""
        del names
        known = self.known(events, known_until)
        failing = next_event(windows.device, windows.end, known)
        step_us = self.step / timedelta(microseconds=1)
        left = np.minimum((failing - windows.end) / step_us, self.longest)
        ended = last_event(windows.device, windows.end, known) > -NEVER
        outlived = ~ended & (windows.end + self.known_after // timedelta(microseconds=1) <= known_until)
        return np.where(failing < NEVER, left, np.where(outlived, self.longest, np.nan))
