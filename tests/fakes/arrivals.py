"""Batches of readings of fans, summed up."""

import pyarrow as pa

from pipelines.datareport import Arrivals, of_batch
from pipelines.quarantine import Kept, Rejected
from tests.fakes.fleets import FANS, MINUTE_US, NOON_US

SECOND_US = 1_000_000
Row = tuple[str, int, int]


def batch(rows: list[Row], rejects: tuple[Rejected, ...] = (), **counts: int) -> Arrivals:
    """Rows of device, minute after noon, and seconds of delay."""
    times = [NOON_US + minute * MINUTE_US for _, minute, _ in rows]
    columns = {
        "device": pa.array([device for device, _, _ in rows], pa.string()),
        "time": pa.array(times, pa.int64()),
        "received": pa.array([time + row[2] * SECOND_US for time, row in zip(times, rows, strict=True)], pa.int64()),
        "speed": pa.array([1.0] * len(rows), pa.float64()),
        "current": pa.array([None] * len(rows), pa.float64()),
    }
    kept = Kept()
    for line in rejects:
        kept.add(line)
    return of_batch(FANS, [pa.table(columns)], kept, counts)
