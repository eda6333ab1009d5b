"""What a training learns from and what it is judged on.

::

                         before the split    gap        after the split
    devices in training  TRAIN               (unused)   TEST: known devices, weeks never seen
    held-out devices     (unused)            (unused)   TEST: devices never seen, weeks never seen

The gap is the label's horizon, so that no training label looks across the split, plus a purge. Nothing of a held-out
device is ever learned from. Numbers are published for the test and for both of its parts. A random split of rows is not
offered: windows of one device overlap in time, and it would examine the model on what it has learned by heart.

Values are rounded to float32 here, before anything is fitted: the served model takes float32, so the splits a tree
learns and the splits the served model applies are between the same numbers.

Why so:

- *Probabilities and threshold come from training devices left out in turn* (``pipelines.estimator``), not from a slice
  of their own: with the dozens of failures a fleet has, a slice for them costs training and test a third of theirs.
  Measured on the Azure machines, 90 days: 11 failures in the test instead of 4, and the spread over seeds halves.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TooLittleDataError
from pipelines.label import POSITIVE, UNLABELLED, Events, FailureWithin


@dataclass(frozen=True, slots=True)
class Windows:
    """Feature rows in columns: shape ``(n,)`` each, ``values`` ``(n, features)``; NaN where a statistic had no data.

    Attributes:
        device: Device names, text.
        end: Ends of the windows, UTC microseconds.
        values: Feature values.
        label: 1, 0 or -1 (unlabelled) for each window.
    """

    device: NDArray[np.str_]
    end: NDArray[np.int64]
    values: NDArray[np.float64]
    label: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.end)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Windows":
        """Return the windows that ``keep`` picks."""
        return Windows(self.device[keep], self.end[keep], self.values[keep], self.label[keep])

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which windows precede a failure within the horizon."""
        return np.equal(self.label, POSITIVE)


@dataclass(frozen=True, slots=True)
class Split:
    """How history is cut.

    Attributes:
        test_devices: Share of the devices that is held out.
        test_time: Share of the labelled time that lies after the split.
        purge: Gap between training and test, on top of the label's horizon.
    """

    test_devices: float = 0.25
    test_time: float = 0.35
    purge: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Quality:
    """What the data behind a training look like: shares are 0..1.

    Attributes:
        missing: Share of feature values that are missing.
        gaps: Share of the expected windows that are absent, between the first and last window of each device.
        quarantined: Share of the readings of the period that were rejected.
        late: Share of the readings of the period that came late.
    """

    missing: float
    gaps: float
    quarantined: float = 0.0
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set with its judge.

    Attributes:
        names: Feature names, in the order of the columns.
        train: Windows to fit on.
        test: Windows of all devices after the split.
        events: The known events behind the labels, sorted by device and time.
        horizon_us: The label's horizon.
        every_us: Step between two windows of a device.
        since: First window end.
        train_until: Last window end that may be trained on.
        test_from: First window end of the test.
        until: Last labelled window end.
        held_out: The held-out devices.
        quality: Missing values, gaps, rejected and late readings.
        lineage: Where the rows came from: table names and versions, seed.
    """

    names: tuple[str, ...]
    train: Windows
    test: Windows
    events: Events
    horizon_us: int
    every_us: int
    since: int
    train_until: int
    test_from: int
    until: int
    held_out: tuple[str, ...]
    quality: Quality
    lineage: Mapping[str, str]

    @property
    def new(self) -> NDArray[np.bool_]:
        """Which windows of the test belong to held-out devices."""
        return np.isin(self.test.device, self.held_out)

    def events_in(self, windows: Windows) -> int:
        """Count the failures that at least one of these windows precedes."""
        from_device, when = self.events.device, self.events.time
        return sum(
            bool(np.any((windows.device == d) & (windows.end < t) & (windows.end > t - self.horizon_us)))
            for d, t in zip(from_device, when, strict=True)
        )


def build(
    names: Sequence[str],
    windows: Windows,
    label: FailureWithin,
    events: Events,
    split: Split,
    *,
    known_until: int,
    every_us: int,
    seed: int = 0,
    lineage: Mapping[str, str] | None = None,
    rejected: tuple[float, float] = (0.0, 0.0),
) -> Dataset:
    """Label windows and cut them into train and test.

    Args:
        names: Feature names.
        windows: Feature rows, in any order; their labels are ignored.
        label: What to foresee.
        events: Everything that happened; what became known after ``known_until`` is not used.
        split: How to cut.
        known_until: The present of this training, UTC microseconds.
        every_us: Step between two windows.
        seed: Decides which devices are held out. The same seed keeps them held out from training to training.
        lineage: Where the rows came from.
        rejected: Shares of quarantined and late readings in the period.

    Raises:
        TooLittleDataError: No failure to learn from, or no windows on one side of the split.
    """
    labels = label.label(windows.device, windows.end, events, known_until)
    order = np.lexsort((windows.end, windows.device))
    values = windows.values[order].astype(np.float32).astype(np.float64)
    every = Windows(windows.device[order], windows.end[order], values, labels[order])
    rows = every.select(every.label != UNLABELLED)
    if not rows.positive.any():
        raise TooLittleDataError(
            f"{len(rows)} labelled windows hold no failure",
            why="a model cannot learn what never happened",
            fix="train on a longer period, or check that events were ingested",
        )
    since, until = int(rows.end.min()), int(rows.end.max())
    test_from = until - int(split.test_time * (until - since))
    train_until = test_from - label.horizon_us - split.purge // timedelta(microseconds=1)
    held_out = hold_out(rows, split.test_devices, test_from, seed)
    learned = ~np.isin(rows.device, held_out) & (rows.end <= train_until)
    dataset = Dataset(
        names=tuple(names),
        train=rows.select(learned),
        test=rows.select(rows.end >= test_from),
        events=label.known(events, known_until),
        horizon_us=label.horizon_us,
        every_us=every_us,
        since=since,
        train_until=train_until,
        test_from=test_from,
        until=until,
        held_out=held_out,
        quality=Quality(float(np.isnan(every.values).mean()), _gaps(every, every_us), *rejected),
        lineage={**(lineage or {}), "seed": str(seed)},
    )
    _require_rows(dataset)
    return dataset


def hold_out(rows: Windows, share: float, test_from: int, seed: int) -> tuple[str, ...]:
    """Choose the held-out devices: by a stable hash, evenly over devices that fail early, late, or never.

    Devices with failures after the split come first, so that from two of them on, one is held out and one is not.

    Example:
        >>> names = np.array([f"pump-{i}" for i in range(10)])
        >>> rows = Windows(names, np.arange(10), np.zeros((10, 1)), np.array([1, 1] + [0] * 8, dtype=np.int8))
        >>> hold_out(rows, 0.3, 0, seed=0)
        ('pump-0', 'pump-2', 'pump-6')
    """
    names = np.unique(rows.device)
    late = set(rows.device[rows.positive & (rows.end >= test_from)].tolist())
    early = set(rows.device[rows.positive & (rows.end < test_from)].tolist())

    def place(name: str) -> tuple[bool, bool, str]:
        return name not in late, name not in early, hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()

    ranked = sorted(names.tolist(), key=place)
    chosen = [n for i, n in enumerate(ranked) if int((i + 1) * share + 0.5) > int(i * share + 0.5)]
    return tuple(sorted(chosen))


def _require_rows(dataset: Dataset) -> None:
    """Without a failure there is nothing to fit; a test without one is fitted all the same, for the gate to refuse."""
    for name, windows in (("train", dataset.train), ("test", dataset.test)):
        if len(windows) and (name != "train" or (windows.positive.any() and not windows.positive.all())):
            continue
        raise TooLittleDataError(
            f"the {name} slice holds {len(windows)} windows, {int(windows.positive.sum())} of them before a failure",
            why="training needs windows on every side of the split, and failures before it",
            fix="train on a longer period, or change the shares of the use case's split",
        )


def _gaps(rows: Windows, every_us: int) -> float:
    devices, first, count = np.unique(rows.device, return_index=True, return_counts=True)
    last = first + count - 1
    expected = int(np.sum((rows.end[last] - rows.end[first]) // every_us + 1))
    return 1.0 - len(rows) / expected if len(devices) else 0.0
