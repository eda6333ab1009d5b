"""Fleets whose windows overlap: neighbours share most of what they hold, as windows of 24 hours that end hourly do."""

from dataclasses import replace

import numpy as np

from pipelines.dataset import Dataset, Quality
from pipelines.labels import Events
from pipelines.windows import Windows

HOUR = 3_600_000_000
START = 1_000 * 24 * HOUR


def overlapping(devices=10, hours=400, seed=0, answer=lambda level, hour: level > 1.0):
    """Windows of which eight features are moving averages, each of noise of its own; the first decides the label."""
    random = np.random.default_rng(seed)
    rows = []
    kernel = np.ones(24) / 24**0.5
    for number in range(devices):
        noise = random.normal(size=(hours + 23, 8))
        values = np.column_stack([np.convolve(noise[:, column], kernel, "valid") for column in range(8)])
        values[random.random(values.shape) < 0.02] = np.nan
        hour = np.arange(hours)
        label = np.asarray(answer(np.nan_to_num(values[:, 0]), hour), dtype=np.float64)
        rows.append((np.full(hours, f"device-{number:02d}"), START + (hour + 1) * HOUR, values, label))
    return Windows(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def dataset_of(windows, learned, **changes):
    """A data set with these windows to learn from and the others to judge with."""
    none = Events.of({"device": [], "time": [], "kind": [], "known_at": []})
    train, test = windows.select(learned), windows.select(~learned)
    names = tuple(f"feature_{number}" for number in range(windows.values.shape[1]))
    data = Dataset(
        names=names,
        train=train,
        test=test,
        events=none,
        horizon_us=24 * HOUR,
        every_us=HOUR,
        since=int(windows.end.min()),
        train_until=int(train.end.max()),
        test_from=int(test.end.min()),
        until=int(windows.end.max()),
        held_out=(),
        quality=Quality(0.0, 0.0),
        lineage={"seed": "0"},
    )
    return replace(data, **changes)
