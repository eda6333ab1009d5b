"""What a training learns from and what it is judged on: feature rows with their labels, cut by ``pipelines.split``.

Values are rounded to float32 here, before anything is fitted: the served model takes float32, so the splits a tree
learns and the splits the served model applies are between the same numbers.

Training labels are given as of the split, test labels as of ``known_until``: what a training at that time would have
known, and what became of it.

Why so:

- *Probabilities and threshold come from training devices left out in turn* (``pipelines.fitting``), not from a slice
  of their own: with the dozens of failures a fleet has, a slice for them costs training and test a third of theirs.
  Measured on the Azure machines, 90 days: 11 failures in the test instead of 4, and the spread over seeds halves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from pipelines import runs
from pipelines.errors import TooLittleDataError
from pipelines.labels import Anomaly, Events, Label
from pipelines.split import Split, hold_out, last_of_each
from pipelines.windows import Windows

_TWO_ANSWERS = ("failure", "state")


@dataclass(frozen=True, slots=True)
class Quality:
    """What the data behind a training look like: shares are 0..1.

    Attributes:
        missing: Share of feature values that are missing.
        gaps: Share of the expected windows that are absent, between the first and last window of each run of a device.
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


def build(
    names: Sequence[str],
    windows: Windows,
    label: Label,
    events: Events,
    split: Split,
    *,
    known_until: int,
    every_us: int,
    reach_us: int = 0,
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
        reach_us: How far before its end a window looks; one that reaches over the beginning of its run is left out.
        seed: Decides which devices are held out. The same seed keeps them held out from training to training.
        lineage: Where the rows came from.
        rejected: Shares of quarantined and late readings in the period.

    Raises:
        TooLittleDataError: Nothing to learn from, or no windows on one side of the split.
    """
    columns = tuple(names)
    every, begun = _arranged(windows, label, columns, events, known_until=known_until, reach_us=reach_us)
    rows = every.select(every.labelled)
    since, until = int(rows.end.min()), int(rows.end.max())
    test_from = split.begins(since, until)
    held_out = hold_out(rows, split.test_devices, test_from, seed)
    at_split = test_from - split.purge_us if split.in_time else known_until
    train, train_until = _learned(every, label, columns, events, split, held_out=held_out, at_split=at_split)
    dataset = Dataset(
        names=columns,
        train=train,
        test=_judged(rows, train, split, test_from, held_out),
        events=label.known(events, known_until),
        horizon_us=label.horizon // timedelta(microseconds=1),
        every_us=every_us,
        since=since,
        train_until=train_until,
        test_from=test_from,
        until=until,
        held_out=held_out,
        quality=Quality(float(np.isnan(every.values).mean()), runs.gaps(every, begun, every_us), *rejected),
        lineage={**(lineage or {}), "seed": str(seed)},
    )
    _require_rows(dataset, label)
    return dataset


def _arranged(
    windows: Windows, label: Label, names: tuple[str, ...], events: Events, *, known_until: int, reach_us: int
) -> tuple[Windows, NDArray[np.int64]]:
    """All windows of one run each by device and end, as the served model sees them, and when the run of each began.

    Labels are those of the present.
    """
    order = np.lexsort((windows.end, windows.device))
    values = windows.values[order].astype(np.float32).astype(np.float64)
    every = Windows.unlabelled(windows.device[order], windows.end[order], values)
    begun = runs.begun(label, every, events, known_until)
    in_one = runs.whole(every, begun, reach_us)
    every, begun = every.select(in_one), begun[in_one]
    every = replace(every, label=label.label(every, names, events, known_until))
    if not every.labelled.any():
        raise TooLittleDataError(
            f"not one of {len(every)} windows has a label",
            why=f"{label.name} is known {label.known_after} after the end of a window",
            fix="train on a longer period, or check that events were ingested",
        )
    return every, begun


def _learned(
    every: Windows,
    label: Label,
    names: tuple[str, ...],
    events: Events,
    split: Split,
    *,
    held_out: tuple[str, ...],
    at_split: int,
) -> tuple[Windows, int]:
    """What is learned from, and the last window end that may be: before the split, or in the stretch that it names."""
    if split.learned_us is None:
        return _before(every, label, names, events, held_out=held_out, at_split=at_split)
    begin, end = split.learned_us
    train, _ = _before(every, label, names, events, held_out=held_out, at_split=end + split.purge_us)
    return train.select((train.end >= begin) & (train.end <= end)), end


def _before(
    every: Windows, label: Label, names: tuple[str, ...], events: Events, *, held_out: tuple[str, ...], at_split: int
) -> tuple[Windows, int]:
    """The windows to learn from with their labels as of the split, and the last window end that may be learned from."""
    own = every.select(~np.isin(every.device, held_out) & (every.end <= at_split))
    if isinstance(label, Anomaly):
        calm = own.select(label.learned_from(own, events, at_split))
        return replace(calm, label=np.zeros(len(calm))), at_split
    known = replace(own, label=label.label(own, names, events, at_split))
    return known.select(known.labelled), at_split - label.known_after // timedelta(microseconds=1)


def _judged(rows: Windows, train: Windows, split: Split, test_from: int, held_out: tuple[str, ...]) -> Windows:
    """The windows to judge with: nothing that was learned from."""
    test = rows.select(rows.end >= test_from)
    if split.learned_us is not None:
        begin, end = split.learned_us
        test = test.select((test.end < begin) | (test.end > end + split.purge_us))
    elif not split.in_time and held_out:
        test = test.select(np.isin(test.device, held_out))
    elif not split.in_time:
        learned = set(zip(train.device.tolist(), train.end.tolist(), strict=True))
        pairs = zip(test.device.tolist(), test.end.tolist(), strict=True)
        test = test.select(np.array([pair not in learned for pair in pairs], dtype=np.bool_))
    return test.select(last_of_each(test)) if split.judged == "last" else test


def _require_rows(dataset: Dataset, label: Label) -> None:
    """Windows on both sides, and both answers to learn; whether there is enough of them, the gate says."""
    for name, windows in (("train", dataset.train), ("test", dataset.test)):
        if not len(windows):
            raise TooLittleDataError(
                f"the {name} slice holds no window with a label",
                why="training needs windows on every side of the split",
                fix="train on a longer period, or change the shares of the use case's split",
            )
    if label.question in _TWO_ANSWERS and len(np.unique(dataset.train.label)) < 2:  # noqa: PLR2004 - see its name
        raise TooLittleDataError(
            f"all {len(dataset.train)} windows of the train slice have the same answer",
            why=f"a model cannot learn {label.name} from one side of it",
            fix="train on a longer period, or check that events were ingested",
        )
