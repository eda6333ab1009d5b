"""Telemetry of the generated fleet, written by the lake itself: what is measured is what `tidemill ingest` leaves.

Values are random numbers with all their digits: nothing compresses, decoding is nearly a copy, and the plain scan that
the pane stage is measured against is as fast as a scan can be. The variant ``coarse`` rounds them to 0.01, as sensors
do; such a file decodes twice as fast. The variant ``arrival`` has the rows in the order in which they were sent.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.lake import Lake
from pipelines.unique import date_names
from tests.bench.fleet import DAY_US, FIRST_DAY_US, FLEET, HOUR_US, NULL_SHARE, SIGNALS


def readings(day: int, devices: int, every_us: int, variant: str = "lake") -> pa.Table:
    """One day of a fleet with the columns of the table of telemetry, number ``day + 1`` as its ingest batch.

    Args:
        day: Days after the first.
        devices: How many devices.
        every_us: Each reports once in each interval of this length, somewhere in its first fifth.
        variant: ``lake`` (by device and time), ``arrival`` (by time, devices interleaved) or ``coarse``.
    """
    random = np.random.default_rng([20261122, day, devices])
    ticks = FIRST_DAY_US + day * DAY_US + np.arange(DAY_US // every_us) * every_us
    if variant == "arrival":
        times, codes = np.repeat(ticks, devices), np.tile(np.arange(devices, dtype=np.int32), len(ticks))
    else:
        times, codes = np.tile(ticks, devices), np.repeat(np.arange(devices, dtype=np.int32), len(ticks))
    times = times + random.integers(0, every_us // 5_000, len(times)) * 1_000
    names = pa.array([f"device-{number:04d}" for number in range(devices)])
    columns = {
        "date": date_names(times),
        "device": pa.DictionaryArray.from_arrays(pa.array(codes), names).cast(pa.string()),
        "time": times,
        "received": times + 1_000,
        "batch": np.full(len(times), day + 1),
    }
    cycle = 10 * np.sin((times % DAY_US) * (2 * np.pi / DAY_US))
    for number, signal in enumerate(SIGNALS):
        values = random.standard_normal(len(times)) * 5 + cycle + (40 + 5 * number)
        if variant == "coarse":
            values = np.round(values, 2)
        columns[signal] = pa.array(values, mask=random.random(len(times)) < NULL_SHARE)
    return pa.table(columns)


def days_of(folder: Path, days: int, devices: int = 1000, variant: str = "lake") -> list[list[str]]:
    """The files of each day, one reading per device and 10 s; days that are not there yet are written first."""
    root = folder / f"{variant}-{devices}"
    table = Lake(str(root)).telemetry(FLEET)
    done = table.create().transaction("ingest:bench")
    for day in range(done, days):
        print(f"  writing day {day + 1} of {days}, {variant}", flush=True)
        table.open().append(readings(day, devices, 10_000_000, variant), transaction=("ingest:bench", day + 1))
    dates = sorted((root / "lake" / "bench" / "telemetry").glob("date=*"))[:days]
    return [sorted(str(file) for file in date.glob("*.parquet")) for date in dates]


def year_of(folder: Path, days: int, devices: int, held_back: list[int]) -> Path:
    """A lake with a long history, one reading per device and 10 s, that lacks one hour (the 13th) of some days.

    Values are rounded as sensors round: with all their digits a year would take five gigabytes.
    """
    root = folder / f"history-{days}-{devices}"
    if (root / "complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    table = Lake(str(root)).telemetry(FLEET)
    table.create()
    for number, first in enumerate(range(0, days, 15), start=1):
        print(f"  writing day {first + 1} of {days}", flush=True)
        parts = [_without_noon(day, devices, held_back) for day in range(first, min(first + 15, days))]
        rows = pa.concat_tables(parts).drop_columns(["batch"])
        rows = rows.append_column("batch", pa.array(np.full(len(rows), number)))
        table.open().append(rows, transaction=("ingest:bench", number))
    (root / "complete").touch()
    return root


def noon(day: int, devices: int, kept: slice) -> pa.Table:
    """The readings of the 13th hour of a day, of some of the devices."""
    rows = readings(day, devices, 10_000_000, "coarse")
    names = rows["device"].unique().to_pylist()[kept]
    return rows.filter(pa.array(_is_noon(rows) & np.isin(rows["device"].to_numpy(), names)))


def _without_noon(day: int, devices: int, held_back: list[int]) -> pa.Table:
    rows = readings(day, devices, 10_000_000, "coarse")
    return rows.filter(pa.array(~_is_noon(rows))) if day in held_back else rows


def _is_noon(rows: pa.Table) -> NDArray[np.bool_]:
    return np.asarray(rows["time"].to_numpy() % DAY_US // HOUR_US == 12)
