"""Measures by name: what a figure is called for people, in which unit it is, and which direction is better.

The direction stands here once. Whatever compares two models asks ``gain``, so none of them can promote the worst one
because it took an error for a score.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that a model is judged by.

    Attributes:
        name: Its name in figures, limits and MLflow.
        title: What people read.
        better: Which direction is better.
        unit: Its unit; empty for a share or a pure number, ``"label"`` for that of the label.
        digits: Digits that people read after the point.
    """

    name: str
    title: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    digits: int = 2

    def gain(self, found: float, other: float) -> float:
        """Return by how much ``found`` is better than ``other``; negative where it is worse, NaN where one is NaN.

        Where higher is better, measures are shares and the gain is their difference. Where lower is better, they are
        errors and the gain is the share of the error that is gone.

        Example:
            >>> Measure("recall", "recall").gain(0.75, 0.5), Measure("rmse", "error", "lower").gain(10.0, 40.0)
            (0.25, 0.75)
        """
        if self.better == "higher":
            return found - other
        if other == 0:
            return 0.0 if found == 0 else -math.inf
        return 1 - found / other

    def reaches(self, value: float, limit: float) -> bool:
        """Whether a value keeps a limit; NaN does not.

        Example:
            >>> Measure("rmse", "error", "lower").reaches(9.0, 10.0), Measure("f1", "F1").reaches(math.nan, 0.0)
            (True, False)
        """
        return value >= limit if self.better == "higher" else value <= limit
