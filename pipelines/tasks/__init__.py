"""Tasks: how the answers to each kind of question are judged, chosen between and told.

    measures.py    figures with their direction, in one place
    thresholds.py  where a threshold may lie
    span.py        what is known about the labels that are judged
    failure.py     failures caught, false alarms, hours of warning
    quantity.py    remaining life and forecasts: errors in the unit of the label
    state.py       states and anomalies: windows told right, spells found

    >>> from datetime import timedelta
    >>> from pipelines.labels import RemainingLife
    >>> task_of(RemainingLife(cap=timedelta(hours=125))).measures[0].better
    'lower'

To judge a new kind of question, write a class with the members of ``Task`` and register it in ``TASKS``; the gate, the
report, the registry and the leak detector ask nothing else.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Label, Question
from pipelines.rules import Alerting
from pipelines.tasks.failure import Failure
from pipelines.tasks.measures import Measure
from pipelines.tasks.quantity import Forecast, Life
from pipelines.tasks.span import Learns, Span
from pipelines.tasks.state import Anomaly, State
from pipelines.windows import Windows

__all__ = ["TASKS", "Learns", "Measure", "Metrics", "Span", "Task", "evidence_of", "task_of"]


class Metrics(Protocol):
    """What one model reaches on one set of windows."""

    @property
    def figures(self) -> dict[str, float]:
        """All figures by name; NaN where there is nothing to tell."""


class Task(Protocol):
    """How the answers to one kind of question are judged.

    Attributes:
        question: Of the labels it judges.
        learns: What an estimator learns.
        measures: What is told, the one that models are compared by first.
        limits: Floors and ceilings that every use case of this kind has to keep.
    """

    question: ClassVar[Question]
    learns: ClassVar[Learns]
    measures: ClassVar[tuple[Measure, ...]]
    limits: ClassVar[Mapping[str, float]]

    def evidence(self, windows: Windows, span: Span) -> tuple[int, str]:
        """Count what can be learned from these windows, or judged with them, and say what was counted."""

    def measure(self, windows: Windows, score: NDArray[np.float64], alert: NDArray[np.bool_], span: Span) -> Any:
        """Return the metrics of a model on labelled windows, sorted by device and end."""

    def threshold(self, windows: Windows, score: NDArray[np.float64], span: Span, alerting: Alerting) -> float:
        """Choose from which score on to alert, by windows and scores of models that had not seen them."""

    def severity(self, metrics: Any) -> tuple[float, ...]:
        """Return what devices are sorted by, the worst first."""

    def headline(self, metrics: Any) -> str:
        """Say in at most twenty characters what it reaches."""

    def sentence(self, metrics: Any, unit: str) -> str:
        """Say in one sentence what it does, with the unit of the label."""


_KINDS: tuple[Task, ...] = (Failure(), Life(), State(), Anomaly(), Forecast())
TASKS: Mapping[Question, Task] = {task.question: task for task in _KINDS}


def evidence_of(task: Task, part: Windows, whole: Windows, span: Span) -> int:
    """Return how much a part of the windows has of what is counted of the whole.

    What a task counts in place of it, such as windows of normal operation where there is no anomaly, is none of it.
    """
    count, counted = task.evidence(part, span)
    return count if counted == task.evidence(whole, span)[1] else 0


def task_of(label: Label) -> Task:
    """Return how answers to the question of a label are judged."""
    return TASKS[label.question]
