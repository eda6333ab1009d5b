"""What the number is that a model answers with: its bounds, its unit, and on which side of the threshold it alerts."""

from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["probability", "quantity", "anomaly"]
Side = Literal["above", "below"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a score says.

    Attributes:
        kind: ``"probability"`` of the label; a ``"quantity"`` in ``unit``; or an ``"anomaly"`` score, a half at the
            limit of what is normal.
        low: The lowest score there can be.
        high: The highest.
        unit: Unit of the score; ``"1"`` for a probability or an anomaly score.
        alert: Whether a score alerts ``"above"`` the threshold, at or beyond it, or ``"below"``.

    Example:
        >>> life = Output("quantity", 0.0, 125.0, "h", "below")
        >>> life.alerts(np.array([10.0, 20.0, 30.0]), threshold=20.0).tolist()
        [True, True, False]
    """

    kind: Kind = "probability"
    low: float = 0.0
    high: float = 1.0
    unit: str = "1"
    alert: Side = "above"

    @property
    def range(self) -> float:
        """From the lowest score to the highest."""
        return self.high - self.low

    @property
    def words(self) -> str:
        """What the score is, for people: ``probability``, ``in h``, ``anomaly score``."""
        return {"probability": "probability", "anomaly": "anomaly score"}.get(self.kind, f"in {self.unit}")

    def alerts(self, score: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
        """Say which scores alert."""
        return score >= threshold if self.alert == "above" else score <= threshold


PROBABILITY: Final = Output()


def is_kind(word: str) -> TypeGuard[Kind]:
    """Whether a word is a kind of output."""
    return word in get_args(Kind)


def is_side(word: str) -> TypeGuard[Side]:
    """Whether a word is a side of a threshold."""
    return word in get_args(Side)
