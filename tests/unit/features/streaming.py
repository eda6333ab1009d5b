"""A process that streams a fixed story and saves its memory now and then: to be killed at any moment.

``python -m tests.unit.features.streaming <folder>`` goes on from the latest snapshot in the folder, appends the rows
that become due to ``rows.jsonl``, and ends when the story does.
"""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.feature import Feature, Since, TimeSince
from features.featureset import FeatureSet
from features.online import OnlineFeatures, OnlineRows
from features.schema import Fleet, Signal

SECOND = timedelta(seconds=1)
LATENESS = 90 * SECOND
FEATURES = FeatureSet(
    Fleet(
        "vans",
        "",
        (Signal("speed", "km/h", 0, 130), Signal("fuel", "l", 0, 80)),
        sampling=10 * SECOND,
        late_after=LATENESS,
        max_future=SECOND,
        max_age=timedelta(days=1),
        event_kinds=("service",),
    ),
    pane=60 * SECOND,
    every=120 * SECOND,
    features=(
        Feature("speed", "mean", 240 * SECOND),
        Feature("fuel", "mean_absolute_change", 120 * SECOND),
        Feature("speed", "p95", 240 * SECOND),
        Feature("fuel", "max", Since("service")),
        TimeSince("service"),
    ),
)
PIECES, SAVED_EVERY = 600, 7


def piece(number: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Readings number ``number``: of ten devices, somewhat out of order, some of them told before."""
    random = np.random.default_rng(number)
    devices = [f"van-{code}" for code in random.integers(0, 10, 40)]
    times = 1_767_225_600_000_000 + number * 10_000_000 + random.integers(-80, 10, 40) * 1_000_000
    return devices, times, random.uniform(0, 80, (40, 2))


def stream(online: OnlineFeatures, begin: int) -> Iterator[tuple[int, OnlineRows]]:
    """Tell the story from one piece on."""
    for number in range(begin, PIECES):
        devices, times, values = piece(number)
        online.events(devices[:1], ["service"], times[:1])
        yield number, online.update(devices, times, values)


def lines(rows: OnlineRows) -> list[str]:
    """Rows as JSON; floats come back bit by bit."""
    found = zip(rows.device, rows.end.tolist(), rows.values.tolist(), strict=True)
    return [json.dumps(row) for row in found]


def main(folder: Path) -> None:
    """Go on until the story ends."""
    saved = sorted(folder.glob("*.snapshot"))
    begin = int(saved[-1].stem) if saved else 0
    online = OnlineFeatures.restore(FEATURES, LATENESS, saved[-1].read_bytes()) if saved else None
    online = online or OnlineFeatures(FEATURES, LATENESS)
    with (folder / "rows.jsonl").open("a") as file:
        for number, rows in stream(online, begin):
            file.writelines(line + "\n" for line in lines(rows))
            file.flush()
            if number % SAVED_EVERY == 0:
                new = folder / "new"
                new.write_bytes(online.snapshot())
                new.rename(folder / f"{number + 1:06d}.snapshot")
    (folder / "done").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
