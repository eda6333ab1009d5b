"""Runs of a device: a row that reaches over the beginning of one says something of two, and between two none is due.

Which runs there are, a label declares (``Anomaly.begin``). Where it declares none, all that a device ever sent is one.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.labels import Anomaly, Events, Label
from pipelines.labels.events import NEVER
from pipelines.windows import Windows


def begun(label: Label, windows: Windows, events: Events, known_until: int) -> NDArray[np.int64]:
    """Return when the run of each window began, shape ``(n,)``, UTC microseconds; long ago where nobody said.

    Args:
        label: Declares what begins a run.
        windows: Feature rows, in any order.
        events: All events.
        known_until: The present: of what was told later, nothing is known.
    """
    if isinstance(label, Anomaly):
        return label.begun(windows, events, known_until)
    return np.full(len(windows), -NEVER)


def whole(windows: Windows, begun: NDArray[np.int64], reach_us: int) -> NDArray[np.bool_]:
    """Return which windows lie in one run, shape ``(n,)``.

    Args:
        windows: Feature rows.
        begun: When the run of each began.
        reach_us: How far before its end a window looks, microseconds.

    Example:
        >>> rows = Windows.unlabelled(np.array(["a", "a"]), np.array([105, 110]), np.empty((2, 0)))
        >>> whole(rows, np.array([100, 100]), reach_us=10).tolist()
        [False, True]
    """
    return np.asarray(windows.end - reach_us >= begun)


def gaps(windows: Windows, begun: NDArray[np.int64], every_us: int) -> float:
    """Return the share of the windows due that are absent: due is one each step from the first of a run to its last.

    Args:
        windows: Feature rows, sorted by device and end.
        begun: When the run of each began.
        every_us: Step between two windows, microseconds.

    Example:
        >>> rows = Windows.unlabelled(np.array([*"aaaa"]), np.array([1, 2, 901, 904]), np.empty((4, 0)))
        >>> gaps(rows, np.array([0, 0, 900, 900]), every_us=1)  # two of six
        0.33333333333333337
    """
    if not len(windows):
        return 0.0
    other = (windows.device[1:] != windows.device[:-1]) | (begun[1:] != begun[:-1])
    first = np.flatnonzero(np.append(True, other))
    last = np.append(first[1:], len(windows)) - 1
    due = int(np.sum((windows.end[last] - windows.end[first]) // every_us + 1))
    return 1.0 - len(windows) / due
