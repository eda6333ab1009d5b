"""Feature rows as training and monitoring hold them: one window of one device a row, in columns.

A label is a number for each window: 1 or 0 for a question with two answers, a quantity where one is foreseen, and NaN
where nothing is known, or not yet.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows in columns: shape ``(n,)`` each, ``values`` ``(n, features)``; NaN where a statistic had no data.

    Attributes:
        device: Device names, text; or any other number or name of a device.
        end: Ends of the windows, UTC microseconds.
        values: Feature values.
        label: What is foreseen, in the unit of the label; NaN where it is not known.

    Example:
        >>> windows = Windows(np.array(["a", "a"]), np.array([1, 2]), np.zeros((2, 3)), np.array([1.0, np.nan]))
        >>> windows.labelled.tolist(), windows.positive.tolist()
        ([True, False], [True, False])
    """

    device: NDArray[Any]
    end: NDArray[np.int64]
    values: NDArray[np.float64]
    label: NDArray[np.float64]

    @classmethod
    def unlabelled(cls, device: NDArray[np.str_], end: NDArray[np.int64], values: NDArray[np.float64]) -> "Windows":
        """Return windows of which no label is known."""
        return cls(device, end, values, np.full(len(end), np.nan))

    def __len__(self) -> int:
        return len(self.end)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Windows":
        """Return the windows that ``keep`` picks."""
        return Windows(self.device[keep], self.end[keep], self.values[keep], self.label[keep])

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which windows have a label."""
        return ~np.isnan(self.label)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which windows have label 1: before a failure, in a state, within an anomaly."""
        return np.equal(self.label, 1.0)
