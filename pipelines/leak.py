"""Whether a good figure is borrowed: from overlap between training and test, or from the future.

*Scrambled labels.* The labels of training and test together are cut into blocks of time, device by device, and the
blocks exchange their labels. Nothing can be learned about such labels, but by one way: a window of the test that
overlaps with windows of training carries the label they carry. So each window of the test is told the labels of its
nearest neighbours in training; where these know the scrambled truth, training and test overlap, as a random split of
rows makes them, and every figure of this training is by heart.

*Future shift.* The features of some windows are made again from what was there before the windows ended, and nothing
else. One that changes has looked ahead: a gap filled with a later value, a target computed with the features. It would
shine in the test and have nothing to look at when it is served.

Why so:

- *Neighbours instead of the candidate's own kind*: who knows by heart knows best by neighbours, they are found once for
  all scrambles, and so the bound comes from dozens of scrambles in a fraction of a second. A feature counts by how much
  it resembles that of the window before: what overlapping windows share. On a random split of a small fleet they find
  0.55, boosting fitted anew for each scramble finds 0.53 and takes a hundred times as long.
- *Blocks instead of one shift in time*: a label with a rhythm of its own, such as the hours a room is in use, can be
  told from its shifted self by any feature with the same rhythm. Blocks of which each went elsewhere have no rhythm.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.dataset import Dataset
from pipelines.tasks import Learns
from pipelines.windows import Windows

SCRAMBLES = 40
_DEVIATIONS = 3.0  # of the mean over scrambles: one honest training in a thousand would be refused at a limit of zero
_NEIGHBOURS = 3
_BLOCKS, _LEAST_BLOCK = 16, 4  # blocks of a device, and windows of a block
_LEARNED, _JUDGED = 12_000, 3_000  # rows: seconds where there are millions
_LEAST_MEMORY = 0.01  # of a feature: where none remembers, all count alike
_FURTHEST = 4.0  # deviations: one value that is far off must not decide who is near
_DEVICES, _EACH = 8, 12  # whose windows are made again, and how many of each: gaps that were filled are rare
_SAME = 1e-6  # training reads float32

Rebuild = Callable[[Windows], NDArray[np.float64]]
"""Gives the features of windows from what was there before the end of each, shape ``(n, F)``."""


@dataclass(frozen=True, slots=True)
class Scrambled:
    """What training knows about scrambled labels of the test.

    Attributes:
        skill: Correlation of what neighbours in training say with the scrambled label, mean over scrambles: 0 is
            chance, 1 is by heart.
        bound: What it is at least: the mean less three standard errors; NaN where no scramble can be judged.
        scrambles: Over how many.
        windows: Windows of the test that were asked.
    """

    skill: float
    bound: float
    scrambles: int
    windows: int


@dataclass(frozen=True, slots=True)
class Shifted:
    """What became of features when the future was taken away.

    Attributes:
        windows: Windows whose features were made again.
        values: Values compared.
        changed: Values that are other than those of training.
        names: Features they belong to, the most frequent first.
    """

    windows: int
    values: int
    changed: int
    names: tuple[str, ...]


def scrambled(learns: Learns, dataset: Dataset, *, seed: int) -> Scrambled | None:
    """Look for overlap between training and test.

    Args:
        learns: What is learned; nothing comes back for normality, which is learned without labels.
        dataset: Training and test.
        seed: Of devices, rows and scrambles.
    """
    if learns == "normality":
        return None
    random = np.random.default_rng(seed)
    train, test = _few(dataset.train, dataset.test, random)
    if not len(train) or not len(test):
        return Scrambled(math.nan, math.nan, 0, 0)
    near = _neighbours(train.values, test.values)
    labels = _Labels.of(train, test, dataset.test_from)
    found = []
    for _ in range(SCRAMBLES):
        learned, judged = labels.scrambled(random)
        skill = _correlation(learned[near].mean(axis=1), judged)
        if not math.isnan(skill):
            found.append(skill)
    if len(found) < SCRAMBLES // 4:
        return Scrambled(math.nan, math.nan, len(found), len(test))
    mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(len(found)))
    return Scrambled(mean, mean - _DEVIATIONS * error, len(found), len(test))


def shifted(names: Sequence[str], test: Windows, rebuild: Rebuild, *, seed: int) -> Shifted:
    """Look for features that know what comes after their window.

    Args:
        names: Feature names, the columns of the windows.
        test: Windows as training holds them.
        rebuild: Makes features again from what was there before each window ended.
        seed: Of the windows: half of them before failures or in the state, where there are such.
    """
    sample = test.select(_chosen(test, np.random.default_rng(seed)))
    again = rebuild(sample).astype(np.float32).astype(np.float64)
    other = ~np.isclose(again, sample.values, rtol=_SAME, atol=1e-9, equal_nan=True)
    often = other.sum(axis=0)
    order = np.argsort(-often, kind="stable")
    changed = tuple(names[place] for place in order[: int((often > 0).sum())].tolist())
    return Shifted(len(sample), other.size, int(other.sum()), changed)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels of training and test in the order of device and time, and the blocks they are cut into.

    Attributes:
        label: Of each window, shape ``(n,)``.
        learned: Where each window of training stands.
        judged: Where each window of the test stands.
        block: The block of each, shape ``(n,)``, rising.
        place: Where in its block each stands.
        first: Where each block begins.
        count: How many windows each holds.
    """

    label: NDArray[np.float64]
    learned: NDArray[np.intp]
    judged: NDArray[np.intp]
    block: NDArray[np.intp]
    place: NDArray[np.intp]
    first: NDArray[np.intp]
    count: NDArray[np.intp]

    @classmethod
    def of(cls, train: Windows, test: Windows, test_from: int) -> "_Labels":
        """Cut the labels of a training into blocks; no block reaches across the split."""
        device, end = np.concatenate([train.device, test.device]), np.concatenate([train.end, test.end])
        order = np.lexsort((end, device))
        _, code, sizes = np.unique(device[order], return_inverse=True, return_counts=True)
        side = np.column_stack([code, end[order] >= test_from])
        _, begins, part = np.unique(side, axis=0, return_index=True, return_inverse=True)
        part = part.reshape(-1)
        length = np.maximum(-(-sizes // _BLOCKS), _LEAST_BLOCK)[code]
        number = (np.arange(len(order)) - begins[part]) // length
        new = np.append(True, (np.diff(part) != 0) | (np.diff(number) != 0))
        first = np.flatnonzero(new)
        block = np.cumsum(new) - 1
        stands = np.empty(len(order), dtype=np.intp)
        stands[order] = np.arange(len(order))
        label = np.concatenate([train.label, test.label])[order]
        count = np.diff(np.append(first, len(order)))
        learned, judged = stands[: len(train)], stands[len(train) :]
        return cls(label, learned, judged, block, np.arange(len(order)) - first[block], first, count)

    def scrambled(self, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Let the blocks exchange their labels; those of training and of the test."""
        donor = random.permutation(len(self.first))[self.block]
        label = self.label[self.first[donor] + self.place % self.count[donor]]
        return label[self.learned], label[self.judged]


def _few(train: Windows, test: Windows, random: np.random.Generator) -> tuple[Windows, Windows]:
    """Windows of as many devices as there is room for: all windows of a device, or neighbours would be lost.

    Devices with either answer come first and take half of the room, as where one disk in a thousand fails.
    """
    names, sizes = np.unique(train.device, return_counts=True)
    kept = names
    if len(train) > _LEARNED:
        telling = np.isin(names, np.unique(np.concatenate([w.device[w.positive] for w in (train, test)])))
        shuffled = random.permutation(len(names))
        telling_first = np.argsort(~telling[shuffled], kind="stable")
        half = shuffled[telling_first][np.cumsum(sizes[shuffled][telling_first]) <= _LEARNED // 2]
        rest = np.setdiff1d(shuffled, half)[random.permutation(len(names) - len(half))]
        fits = rest[np.cumsum(sizes[rest]) <= _LEARNED - sizes[half].sum()]
        kept = names[np.concatenate([half, fits])] if len(half) + len(fits) else names[shuffled[:1]]
    others = np.setdiff1d(test.device, names)
    judged = np.flatnonzero(np.isin(test.device, np.concatenate([kept, others])))
    judged = np.sort(random.permutation(judged)[:_JUDGED])
    learned = train.select(np.isin(train.device, kept))
    if len(learned) > _LEARNED:  # one device alone: its latest windows, which the test is nearest to
        learned = learned.select(np.argsort(learned.end, kind="stable")[-_LEARNED:])
    return learned, test.select(judged)


def _neighbours(learned: NDArray[np.float64], judged: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of training, sorted by device and end, that are nearest to each row of the test, ``(n, neighbours)``."""
    known = ~np.isnan(learned)
    count = np.maximum(known.sum(axis=0), 1)
    middle = np.where(known, learned, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(known, learned - middle, 0.0) ** 2).sum(axis=0) / count)
    scale[scale == 0] = 1.0

    def placed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        near: NDArray[np.float64] = np.nan_to_num((values - middle) / scale, nan=0.0)
        return near.clip(-_FURTHEST, _FURTHEST)

    there = placed(learned)
    memory = np.clip((there[1:] * there[:-1]).sum(axis=0) / max(len(there) - 1, 1), _LEAST_MEMORY, 1.0)
    with threadpool_limits(limits=1):
        search = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(learned)), algorithm="brute").fit(there * memory)
        found: NDArray[np.intp] = search.kneighbors(placed(judged) * memory, return_distance=False)
    return found


def _correlation(said: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    if said.std() == 0 or true.std() == 0:
        return 0.0 if true.std() > 0 else math.nan
    return float(np.corrcoef(said, true)[0, 1])


def _chosen(test: Windows, random: np.random.Generator) -> NDArray[np.intp]:
    """Some windows of some devices; half of both where something is about to happen."""
    names = np.unique(test.device)
    telling = np.unique(test.device[test.positive])
    first = random.permutation(telling)[: _DEVICES // 2]
    devices = np.concatenate([first, random.permutation(np.setdiff1d(names, first))[: _DEVICES - len(first)]])
    rows = []
    for name in devices.tolist():
        own = np.flatnonzero(test.device == name)
        told = random.permutation(own[test.positive[own]])[: _EACH // 2]
        rows += [told, random.permutation(np.setdiff1d(own, told))[: _EACH - len(told)]]
    return np.sort(np.concatenate(rows))
