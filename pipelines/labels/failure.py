"""Does this device fail within a horizon?

A window that ends at ``end`` is *positive* when a failure of its device lies in ``(end, end + horizon)``. A failure at
the very end of a window is past, not future, and does not count. One exactly a horizon ahead does not count either: a
window excludes the reading at its end, so nothing that shows at that very moment could be in it.

A calm window that ends within ``recovery`` after a failure is *unlabelled*: the device stands still or is being mended,
its window still holds what came before the failure, and whether an alarm there is right is a question nobody asks.

Two rules keep the future out:

* An event is used only when it became known (``known_at``) by the training's ``known_until``, whenever it happened.
* A window whose horizon, plus the time in which failures are reported, reaches beyond ``known_until`` is *unlabelled*,
  even if a failure is already known for it: to keep the known failures and drop the not-yet-known silences would make
  the last day look dangerous.

Where failures are so rare that silence is nearly always right (one disk in a thousand), ``open_ended="calm"`` keeps
those windows: positive if a failure is known, else calm as far as anybody knows.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.labels.events import Events, next_event
from pipelines.labels.label import Question
from pipelines.windows import Windows


@dataclass(frozen=True, slots=True)
class FailureWithin:
    """The label "this device fails within ``horizon``": 1, 0, or NaN.

    Attributes:
        horizon: How far ahead the model looks.
        kind: Which kind of event counts.
        recovery: How long after a failure a device says nothing about calm.
        reported_within: How long a failure may take to become known.
        open_ended: What a window is whose horizon is not over yet: ``"unlabelled"``, or ``"calm"`` unless a failure is
            known.

    Example:
        >>> hour = 3_600_000_000
        >>> events = Events.of({"device": ["a"], "time": [30 * hour], "kind": ["failure"], "known_at": [31 * hour]})
        >>> windows = Windows.unlabelled(np.array(["a"] * 5), np.array([6, 7, 29, 30, 60]) * hour, np.empty((5, 0)))
        >>> FailureWithin(timedelta(hours=24)).label(windows, (), events, known_until=80 * hour).tolist()
        [0.0, 1.0, 1.0, 0.0, nan]
    """

    question: ClassVar[Question] = "failure"

    horizon: timedelta
    kind: str = "failure"
    recovery: timedelta = timedelta(0)
    reported_within: timedelta = timedelta(0)
    open_ended: Literal["unlabelled", "calm"] = "unlabelled"

    @property
    def name(self) -> str:
        """A name for manifests and reports, such as ``failure_within_24h``."""
        return f"{self.kind}_within_{self.horizon / timedelta(hours=1):g}h"

    @property
    def unit(self) -> str:
        """Probabilities have none."""
        return "1"

    @property
    def known_after(self) -> timedelta:
        """Once the horizon is over and failures have been reported; at once where silence counts."""
        return timedelta(0) if self.open_ended == "calm" else self.horizon + self.reported_within

    def known(self, events: Events, known_until: int) -> Events:
        """Return the failures that were known by ``known_until``, sorted by device and time."""
        return events.known([self.kind], known_until)

    def label(self, windows: Windows, names: tuple[str, ...], events: Events, known_until: int) -> NDArray[np.float64]:
        """Label windows: see ``pipelines.labels.Label``."""
        del names
        end, known = windows.end, self.known(events, known_until)
        horizon_us, recovery_us, after_us = (
            time // timedelta(microseconds=1) for time in (self.horizon, self.recovery, self.known_after)
        )
        due = next_event(windows.device, end, known) < end + horizon_us
        # The next event after a moment `recovery` ago is the last failure itself, when it lies at or before the end.
        mending = next_event(windows.device, end - recovery_us, known) <= end
        unknown = (end + after_us > known_until) | (mending & ~due)
        return np.where(unknown, np.nan, due)
