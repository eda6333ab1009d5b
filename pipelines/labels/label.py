"""What every label has."""

from datetime import timedelta
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.labels.events import Events
from pipelines.windows import Windows

Question = Literal["failure", "life", "state", "anomaly", "forecast"]
"""What is asked, and thereby how answers are judged: see ``pipelines.tasks``."""


class Label(Protocol):
    """What is foreseen.

    Attributes:
        question: What kind of question it is.
    """

    question: ClassVar[Question]

    @property
    def name(self) -> str:
        """A name for manifests and reports, such as ``failure_within_24h``."""

    @property
    def unit(self) -> str:
        """Unit of the label; ``"1"`` for probabilities and scores."""

    @property
    def horizon(self) -> timedelta:
        """How long after the end of a window the answer lies at most; zero for a question about now."""

    @property
    def known_after(self) -> timedelta:
        """How long after the end of a window its answer is known at the latest."""

    def known(self, events: Events, known_until: int) -> Events:
        """Return the events that decide labels and were known by ``known_until``, sorted by device and time."""

    def label(self, windows: Windows, names: tuple[str, ...], events: Events, known_until: int) -> NDArray[np.float64]:
        """Label windows.

        Args:
            windows: Feature rows, in any order.
            names: Names of their columns.
            events: All events; the fitting ones are picked here.
            known_until: The present, UTC microseconds: nothing learned later is used.

        Returns:
            The label of each window, shape ``(n,)``; NaN where it was not known by then.
        """
