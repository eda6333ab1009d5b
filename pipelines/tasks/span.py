"""What is known about the labels of the windows that are judged, and what an estimator learns from them."""

from dataclasses import dataclass
from typing import Literal

from pipelines.labels.events import Events

Learns = Literal["probability", "quantity", "normality"]
"""What is learned: which of two answers is right, how much, or what is usual."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is known about the label of the windows that are measured.

    Attributes:
        events: The events behind the labels, sorted by device and time.
        horizon_us: How far ahead the label looks.
        every_us: Step between two windows of a device.
    """

    events: Events
    horizon_us: int
    every_us: int
