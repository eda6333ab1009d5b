"""Raw objects of the generated fleet, as a hub writes them: what ingest is measured on.

Values have three digits behind the point, as sensors send them: random numbers with all their digits would be a test of
gzip and of printing numbers.
"""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.fleet import FIRST_DAY_US, FLEET, NULL_SHARE, SIGNALS

DEVICES = 1000
STEP_US = 10_000_000


def messages(begin: int, count: int) -> pa.Table:
    """Messages ``begin`` to ``begin + count`` of the fleet in the order of arrival: device, ts, received, signals.

    Each device reports once in ten seconds; the hub stamps a second later. Times are milliseconds.
    """
    random = np.random.default_rng([20261126, begin])
    number = np.arange(begin, begin + count)
    times = (FIRST_DAY_US + number // DEVICES * STEP_US) // 1000 + number % DEVICES
    names = [f"device-{code:04d}" for code in (number % DEVICES).tolist()]
    columns = {"device": pa.array(names), "ts": pa.array(times), "received": pa.array(times + 1000)}
    for signal in SIGNALS:
        values = np.round(random.standard_normal(count) * 5 + 50, 3)
        columns[signal] = pa.array(values, mask=random.random(count) < NULL_SHARE)
    return pa.table(columns)


def json_lines(table: pa.Table) -> bytes:
    """The messages as a device's library prints them."""
    values = table.select(SIGNALS).to_pylist()
    keys = table.select(["device", "ts", "received"]).to_pylist()
    lines = (
        json.dumps({**key, "values": value}, separators=(",", ":")) for key, value in zip(keys, values, strict=True)
    )
    return ("\n".join(lines) + "\n").encode()


def store_of(root: Path, objects: int, each: int, kind: str = "json") -> Path:
    """A store with raw objects of the fleet, written once and kept.

    Args:
        root: Where stores are kept.
        objects: How many objects.
        each: Messages in each.
        kind: ``json`` (gzipped lines) or ``parquet``.
    """
    store = root / f"raw-{kind}-{objects}x{each}"
    if (store / "complete").exists():
        return store
    print(f"  writing {objects} objects of {each} messages, {kind}", flush=True)
    shutil.rmtree(store, ignore_errors=True)
    folder = store / "raw" / FLEET.name / "telemetry"
    folder.mkdir(parents=True)
    together = max(50_000 // each, 1)
    for first in range(0, objects, together):
        table = messages(first * each, min(together, objects - first) * each)
        for number in range(first, min(first + together, objects)):
            part = table.slice((number - first) * each, each)
            if kind == "parquet":
                pq.write_table(part, folder / f"{number:06d}.parquet", compression="zstd")
            else:
                (folder / f"{number:06d}.json.gz").write_bytes(gzip.compress(json_lines(part), 6, mtime=0))
    (store / "complete").touch()
    return store
