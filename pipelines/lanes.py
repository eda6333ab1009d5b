"""The picture of a split that is not a cut in time: a lane for each device, what was learned from and what was judged.

Windows stand side by side in the order of their ends, so that pauses between runs take no room.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset import Dataset
from pipelines.lines import WIDTH
from pipelines.windows import Windows

_LANES = 24
_HEIGHT, _ROOM = 96.0, 0.85
_TICKS = 6
_NEAR = 2  # columns: a device that is asked now and then is drawn as one stretch
_COLUMNS = 360
_THINNEST = 2.5  # pixels: a device that is judged once shows


@dataclass(frozen=True, slots=True)
class LanesPicture:
    """Lanes as path data: training and test; ``unlisted`` devices have none."""

    alt: str
    train: str
    test: str
    height: float
    lanes: list[tuple[float, str]]
    ticks: list[tuple[float, str]]
    unlisted: int


def lanes_picture(dataset: Dataset) -> LanesPicture:
    """Draw which windows of which device were learned from and which were judged.

    Args:
        dataset: Of more than ``_LANES`` devices, as many are drawn, evenly chosen from known ones and held-out ones.
    """
    train, test = dataset.train, dataset.test
    names = np.unique(np.concatenate([train.device, test.device])).tolist()
    ordered = sorted(names, key=lambda name: (name in dataset.held_out, name))
    places = np.linspace(0, len(ordered) - 1, min(len(ordered), _LANES)).round().astype(int).tolist()
    chosen = [ordered[place] for place in places]
    ends = np.unique(np.concatenate([train.end, test.end]))
    each = _HEIGHT / max(len(chosen), 1)
    learned, judged = ("".join(_lane(part, chosen, ends, each)) for part in (train, test))
    alt = (
        f"Windows by device and in the order of time, pauses left out: {len(train):,} of "
        f"{len(np.unique(train.device))} devices to learn from, {len(test):,} of {len(np.unique(test.device))} devices "
        f"to judge with."
    )
    stand = [(round((at + 0.5) / _TICKS * WIDTH, 1), (2 * at + 1) * len(ends) // (2 * _TICKS)) for at in range(_TICKS)]
    named: dict[str, float] = {}
    for x, at in stand:
        named.setdefault(f"{datetime.fromtimestamp(int(ends[at]) // 1_000_000, UTC):%b %d}", x)
    ticks = [(x, name) for name, x in named.items()]
    few = each >= 12  # noqa: PLR2004 - pixels that a name needs
    lanes = [(round(each * (row + 0.5) + 4, 1), name) for row, name in enumerate(chosen)] if few else []
    return LanesPicture(alt, learned, judged, _HEIGHT, lanes, ticks, len(ordered) - len(chosen))


def _lane(windows: Windows, chosen: list[str], ends: NDArray[np.int64], each: float) -> Iterator[str]:
    """Path data of the stretches of the chosen devices."""
    columns = min(_COLUMNS, max(len(ends), 1))
    wide = WIDTH / columns
    for row, name in enumerate(chosen):
        own = np.searchsorted(ends, windows.end[windows.device == name])
        taken = np.unique(own * columns // max(len(ends), 1))
        if not len(taken):
            continue
        breaks = np.flatnonzero(np.diff(taken) > _NEAR)
        firsts, lasts = taken[np.append(0, breaks + 1)], taken[np.append(breaks, len(taken) - 1)]
        tall = each * (_ROOM if len(chosen) > 1 else 1)
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            width = max((last - first + 1) * wide, _THINNEST)
            yield f"M{min(first * wide, WIDTH - width):.1f},{row * each:.1f}h{width:.1f}v{tall:.1f}h-{width:.1f}z"
