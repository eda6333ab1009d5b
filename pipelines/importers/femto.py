"""Vibration of the PRONOSTIA bearings as a hub would have written it: a message holds a tenth of a second of samples.

Files are ``Bearing<condition>_<number>.parquet`` with the columns ``snapshot`` (number, 10 s apart), ``tod_s`` (time of
day), ``sample``, ``acc_h_g`` and ``acc_v_g`` (g, 25.6 kHz). A message is
``{"device":"bearing-1-1","ts":…,"received":…,"snapshot":1,"values":{"acc_h":[0.552,…],"acc_v":[…]}}``.

What the files leave open, and how it is read here: they name no day. There is one rig, so bearings run one after the
other, each on a day of its own from ``start`` on, at the time of day of its first snapshot. Times follow from the
numbers of the snapshots, because the clock of Bearing1_1 stepped back for one snapshot. The last snapshot is the end of
life: the failure lies ten seconds after it and was known at once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import blamed, missing

FLEET: Final = "femto"
OBJECT: Final = "femto"
AXES: Final = {"acc_h": "acc_h_g", "acc_v": "acc_v_g"}
START_US: Final = 1_291_161_600_000_000  # 2010-12-01; the challenge was held in 2012
DAY_US: Final = 24 * HOUR_US
APART_US: Final = 10_000_000  # from a snapshot to the next
SAMPLES: Final = 2_560
_ROWS = 64 * SAMPLES  # read at once


def items(folder: Path, *, start_us: int = START_US) -> Iterator[Reading | Report]:
    """Read the data set, bearing by bearing.

    Args:
        folder: Where the files are.
        start_us: The day on which the first bearing runs, UTC microseconds.

    Raises:
        ImportFolderError: There is no bearing.
        ImportFileError: A file cannot be read.
    """
    bearings = sorted(folder.glob("Bearing*_*.parquet"))
    if not bearings:
        raise missing(folder, ["Bearing1_1.parquet or another bearing"])
    for day, path in enumerate(bearings):
        device = path.stem.lower().replace("bearing", "bearing-").replace("_", "-")
        begin_us = start_us + day * DAY_US
        number = time_us = None
        for number, seconds, samples in _snapshots(path):
            if time_us is None:
                first, origin_us = number, begin_us + round(seconds * 1e6)
            time_us = origin_us + (number - first) * APART_US
            yield Reading(device, time_us, samples, OBJECT, more={"snapshot": number})
        if time_us is not None:
            failed_us = time_us + APART_US
            yield Report(device, failed_us, "failure", f"end of life after snapshot {number}", failed_us, OBJECT)


def _snapshots(path: Path) -> Iterator[tuple[int, float, dict[str, list[Any]]]]:
    """Number, time of day in seconds, and samples by axis of each snapshot."""
    done = 0
    with blamed(path, lambda: done * SAMPLES), pq.ParquetFile(path) as file:
        columns = ["snapshot", "tod_s", *AXES.values()]
        for batch in file.iter_batches(_ROWS, columns=columns):
            if len(batch) % SAMPLES:
                raise ValueError(f"{len(batch)} rows are no whole number of snapshots of {SAMPLES} samples")
            samples = {axis: _shortest(batch[column]) for axis, column in AXES.items()}
            numbers = batch["snapshot"].to_numpy().reshape(-1, SAMPLES)
            if (numbers != numbers[:, :1]).any():
                raise ValueError("samples of two snapshots are mixed")
            seconds = batch["tod_s"].to_numpy()[::SAMPLES].tolist()
            for row, (number, second) in enumerate(zip(numbers[:, 0].tolist(), seconds, strict=True)):
                part = slice(row * SAMPLES, (row + 1) * SAMPLES)
                yield number, second, {axis: found[part] for axis, found in samples.items()}
                done += 1


def _shortest(column: pa.Array) -> list[float]:
    """Single-precision samples as the shortest decimals that mean them: 0.552, not 0.5519999861717224."""
    if column.null_count or not np.isfinite(column.to_numpy(zero_copy_only=False)).all():
        raise ValueError("samples are missing or infinite")
    return [float(text) for text in pc.cast(column, pa.string()).to_pylist()]
