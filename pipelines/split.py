"""How history is cut into what is learned from and what is judged with.

::

                         before the split    gap        after the split
    devices in training  TRAIN               (unused)   TEST: known devices, weeks never seen
    held-out devices     (unused)            (unused)   TEST: devices never seen, weeks never seen

A share of 0 for one of the two leaves that cut out: ``test_time=0`` judges on other devices in the same weeks,
``test_devices=0`` on the same devices in later weeks. Training labels are those that were known at the split, less a
purge; a label that needs time to become known therefore leaves the gap by itself, and no training label looks across.

A random split of rows is not offered: windows of one device overlap in time, and it would examine a model on what it
has learned by heart.
"""

import fnmatch
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.windows import Windows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Split:
    """How history is cut.

    Attributes:
        test_devices: Share of the devices that is held out, or patterns of their names, such as ``("*-test-*",)``.
        test_time: Share of the labelled time that lies after the split, or how long that time is.
        purge: Gap between training and test, on top of what labels need to become known.
        judged: Whether every window of the test is judged, or the last one of each device, as in challenges where a
            device has one answer.
        learned: The first moment to learn from and the last, UTC, where a published set is judged on days before and
            after them. Labels are then those known a purge after the last; windows until then are not judged.
            ``test_time`` counts for nothing.
    """

    test_devices: float | tuple[str, ...] = 0.25
    test_time: float | timedelta = 0.35
    purge: timedelta = timedelta(hours=24)
    judged: Literal["every", "last"] = "every"
    learned: tuple[datetime, datetime] | None = None

    @property
    def learned_us(self) -> tuple[int, int] | None:
        """The moments to learn between, UTC microseconds."""
        if self.learned is None:
            return None
        first, last = ((at - _EPOCH) // timedelta(microseconds=1) for at in self.learned)
        return first, last

    @property
    def purge_us(self) -> int:
        """The purge in microseconds."""
        return self.purge // timedelta(microseconds=1)

    def begins(self, since: int, until: int) -> int:
        """Return where the test begins, between the first and the last labelled window end.

        Example:
            >>> Split(test_time=0.25).begins(0, 100), Split(test_time=timedelta(microseconds=10)).begins(0, 100)
            (75, 90)
            >>> Split(test_time=0).begins(0, 100)  # no cut in time: the test reaches over all of it
            0
        """
        if isinstance(self.test_time, timedelta):
            return until - self.test_time // timedelta(microseconds=1)
        return until - int(self.test_time * (until - since)) if self.test_time and self.learned is None else since

    @property
    def in_time(self) -> bool:
        """Whether there is a cut in time."""
        return bool(self.test_time) and self.learned is None


def hold_out(rows: Windows, chosen: float | tuple[str, ...], test_from: int, seed: int) -> tuple[str, ...]:
    """Choose the held-out devices.

    A share is drawn by a stable hash, evenly over devices that fail early, late, or never: those with failures after
    the split come first, so that from two of them on, one is held out and one is not.

    Args:
        rows: Labelled windows.
        chosen: Share of the devices, or patterns of their names.
        test_from: Where the test begins.
        seed: Decides the draw; the same seed keeps the same devices held out from training to training.

    Example:
        >>> names = np.array([f"pump-{i}" for i in range(10)])
        >>> rows = Windows(names, np.arange(10), np.zeros((10, 1)), np.array([1.0, 1.0] + [0.0] * 8))
        >>> hold_out(rows, 0.3, 0, seed=0)
        ('pump-0', 'pump-2', 'pump-6')
        >>> hold_out(rows, ("pump-[01]",), 0, seed=0)
        ('pump-0', 'pump-1')
    """
    names = np.unique(rows.device).tolist()
    if isinstance(chosen, tuple):
        return tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in chosen))
    late = set(rows.device[rows.positive & (rows.end >= test_from)].tolist())
    early = set(rows.device[rows.positive & (rows.end < test_from)].tolist())

    def place(name: str) -> tuple[bool, bool, str]:
        return name not in late, name not in early, hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()

    ranked = sorted(names, key=place)
    return tuple(sorted(n for i, n in enumerate(ranked) if int((i + 1) * chosen + 0.5) > int(i * chosen + 0.5)))


def last_of_each(windows: Windows) -> NDArray[np.bool_]:
    """Return which windows are the last of their device, shape ``(n,)``, for windows sorted by device and end."""
    return np.append(windows.device[1:] != windows.device[:-1], np.ones(min(len(windows), 1), dtype=np.bool_))


def walk_forward(
    end: NDArray[np.int64], folds: int, gap_us: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Cut windows into stretches of equal length in time and walk through them: learn from all before, judge the next.

    Args:
        end: Ends of the windows, shape ``(n,)``, UTC microseconds.
        folds: How many stretches are judged; the first of ``folds + 1`` is only learned from.
        gap_us: What training windows end before the stretch that is judged: as long as labels need to become known.

    Yields:
        Rows to learn from and rows to judge with; a stretch without one of them is left out.

    Example:
        >>> for learned, judged in walk_forward(np.arange(8), folds=3, gap_us=1):
        ...     learned.tolist(), judged.tolist()
        ([0], [2, 3])
        ([0, 1, 2], [4, 5])
        ([0, 1, 2, 3, 4], [6, 7])
    """
    if not len(end):
        return
    edges = np.linspace(int(end.min()), int(end.max()) + 1, folds + 2).astype(np.int64)
    for begin, stop in zip(edges[1:-1].tolist(), edges[2:].tolist(), strict=True):
        learned, judged = np.flatnonzero(end < begin - gap_us), np.flatnonzero((end >= begin) & (end < stop))
        if len(learned) and len(judged):
            yield learned, judged
