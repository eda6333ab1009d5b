"""What a bundle says of the windows of a test, measured on all of them, on some, and device by device."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.intervals import Draw
from pipelines.tasks import Metrics, Span, Task
from pipelines.windows import Windows

_MOST_DEVICES = 1_000  # that are told of one by one


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle says of the windows of the test.

    Attributes:
        task: How they are judged.
        test: The windows, sorted by device and end.
        span: What is known about their labels.
        score: Score of each, shape ``(n,)``.
        alert: Whether each alerts, shape ``(n,)``.
    """

    task: Task
    test: Windows
    span: Span
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]

    def on(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Metrics:
        """Metrics on some of them."""
        found: Metrics = self.task.measure(self.test.select(rows), self.score[rows], self.alert[rows], self.span)
        return found

    def drawn(self, draw: Draw) -> dict[str, float]:
        """Figures of devices drawn anew."""
        rows, span = draw.rows, replace(self.span, events=draw.events)
        windows = replace(self.test.select(rows), device=draw.device)
        found: Metrics = self.task.measure(windows, self.score[rows], self.alert[rows], span)
        return found.figures

    def by_device(self) -> list[tuple[str, Metrics]]:
        """Metrics of each device for itself, worst first; of very many, those with most alerts and labels of 1."""
        names, first, count = np.unique(self.test.device, return_index=True, return_counts=True)
        if len(names) > _MOST_DEVICES:
            told = np.add.reduceat((self.alert | self.test.positive).astype(np.int64), first)
            chosen = np.sort(np.argsort(-told, kind="stable")[:_MOST_DEVICES])
            names, first, count = names[chosen], first[chosen], count[chosen]
        rows = zip(names.tolist(), first.tolist(), count.tolist(), strict=True)
        found = [(name, self.on(np.arange(begin, begin + size))) for name, begin, size in rows]
        return sorted(found, key=lambda row: (self.task.severity(row[1]), row[0]))
