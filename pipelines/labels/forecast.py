"""What will a feature of this device be, a while from now?

The answer is the value of the same feature in the window that ends ``ahead`` later: what was foreseen is computed as
what is seen. Where that window is missing, or had no data, there is no answer.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UseCaseError
from pipelines.labels.events import Events
from pipelines.labels.label import Question
from pipelines.windows import Windows


@dataclass(frozen=True, slots=True)
class Forecast:
    """The label "this feature, ``ahead`` later", in the unit of the feature; NaN where it is not known.

    Attributes:
        feature: Name of a feature of the set, such as ``flow_mean_1h``.
        ahead: How far ahead.
        unit: Unit of the feature.

    Example:
        >>> hour = 3_600_000_000
        >>> values = np.array([[5.0], [6.0], [8.0]])
        >>> windows = Windows.unlabelled(np.array([*"aaa"]), np.array([1, 2, 4]) * hour, values)
        >>> nothing = Events.of({"device": [], "time": [], "kind": [], "known_at": []})
        >>> Forecast("flow", timedelta(hours=1)).label(windows, ("flow",), nothing, known_until=9 * hour).tolist()
        [6.0, nan, nan]
    """

    question: ClassVar[Question] = "forecast"

    feature: str
    ahead: timedelta
    unit: str = "1"

    @property
    def name(self) -> str:
        """A name for manifests and reports, such as ``flow_mean_1h_in_6h``."""
        return f"{self.feature}_in_{self.ahead / timedelta(hours=1):g}h"

    @property
    def horizon(self) -> timedelta:
        """How far ahead."""
        return self.ahead

    @property
    def known_after(self) -> timedelta:
        """Once that time has come."""
        return self.ahead

    def known(self, events: Events, known_until: int) -> Events:
        """Return nothing: no event decides what a signal does."""
        return events.known([], known_until)

    def label(self, windows: Windows, names: tuple[str, ...], events: Events, known_until: int) -> NDArray[np.float64]:
        """Label windows: see ``pipelines.labels.Label``.

        Raises:
            UseCaseError: The feature is none of the set.
        """
        del events
        if self.feature not in names:
            raise UseCaseError(
                f"label forecasts {self.feature!r}, which is no feature of the set",
                where="use case",
                fix=f"use one of {', '.join(names)}",
            )
        ahead_us = self.ahead // timedelta(microseconds=1)
        column = windows.values[:, names.index(self.feature)]
        answer = np.full(len(windows), np.nan)
        for device in np.unique(windows.device):
            rows = np.flatnonzero(windows.device == device)
            rows = rows[np.argsort(windows.end[rows], kind="stable")]
            end = windows.end[rows]
            later = np.searchsorted(end, end + ahead_us).clip(max=len(rows) - 1)
            there = (end[later] == end + ahead_us) & (end + ahead_us <= known_until)
            answer[rows[there]] = column[rows[later[there]]]
        return answer
