"""Telemetry of fans, a few rows a file, written without an ingest."""

import time

import pyarrow as pa

from pipelines import tables
from pipelines.lake import Table
from tests.fakes.fleets import FANS

DATE, NEXT = "2025-11-24", "2025-11-25"
WRITER = "ingest:fans"


def rows(devices: list[str], time: int, date: str = DATE) -> pa.Table:
    columns = {"date": date, "time": time, "received": time, "batch": 1, "speed": float(time), "current": None}
    columns |= {"sequence": None, "object": 0, "ordinal": 0}
    table = pa.table({"device": devices} | {name: [value] * len(devices) for name, value in columns.items()})
    return table.select(tables.telemetry(FANS).schema.names).cast(tables.telemetry(FANS).schema)


def append(table: Table, part: pa.Table) -> None:
    snapshot = table.create()
    snapshot.append(part, transaction=(WRITER, snapshot.transaction(WRITER) + 1))


def contents(table: Table) -> list[tuple[str, int]]:
    read = table.open().read(["device", "time"])
    return sorted(zip(read["device"].to_pylist(), read["time"].to_pylist(), strict=True))


def now_us() -> int:
    """The engine reads the clock of the machine, so tests of upkeep do."""
    return time.time_ns() // 1000
