"""What lies beside a prediction log in a store: a bundle with a memory, panes, rows of features, events."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from features.panetable import panes_of
from pipelines import tables
from pipelines.panerows import rows_of
from serving.approval import GateRecord, write_gate
from serving.baseline import Baseline
from serving.bundle import pack, unpack
from tests.fakes.bundles import golden_of, logistic_model, manifest_of, weights_of
from tests.fakes.predictions import DAY, HOUR, NOW, START, USECASE

TRAINED = (START - 30 * DAY, START - DAY)
NAMES = USECASE.features.names
SIGNALS = USECASE.features.fleet.signal_names


def remembering(*, bias=0.0, features=USECASE.features, missing=0.02, until=TRAINED[1], weights=None, threshold=0.5):
    """A bundle that knows how much was missing in its training, and when that was."""
    baseline = Baseline(5000, dict.fromkeys(features.names, missing))
    lineage = {"since": str(TRAINED[0]), "until": str(until)}
    manifest = dataclasses.replace(manifest_of(features, "pump_failure", threshold), baseline=baseline, lineage=lineage)
    weights = weights_of(features) if weights is None else weights
    return pack(manifest, logistic_model(weights, bias), golden_of(weights, bias))


def publish(store, data):
    """Put a bundle where a release puts it, judged on a test with scores evenly from 0 to 1; return its digest."""
    digest = unpack(data).digest
    evidence = {"scores": [edge / 10 for edge in range(11)]}
    write_gate(store, GateRecord("pump_failure", digest, passed=True, reasons=(), decided_at_us=1, evidence=evidence))
    number = digest.removeprefix("sha256:")
    store.put(f"updates/targets/bundles/{number}.{number}.tmb", data)
    return digest


def leaning(**other):
    """A bundle that alerts where the first feature is above 5, and sees nothing else."""
    return remembering(weights=np.eye(len(NAMES))[0], bias=-5.0, **other)


def append(table, rows):
    snapshot = table.create()
    snapshot.append(rows, transaction=("test", snapshot.transaction("test") + 1))


def hear_of(lake, events, until_us=NOW, late_us=HOUR):
    """Failures, as pairs of device and time, and a reading that says up to when the fleet was heard."""
    rows = [{"device": d, "time": t, "kind": "failure", "detail": "", "known_at": t + late_us} for d, t in events]
    append(lake.events("pumps"), pa.Table.from_pylist(rows, tables.events(USECASE.features.fleet).schema))
    reading = {"date": date_of(until_us), "device": "pump-0", "time": until_us, "received": until_us, "batch": 1}
    append(lake.telemetry("pumps"), pa.Table.from_pylist([reading], lake.telemetry("pumps").layout.schema))


def keep_panes(lake, readings):
    """Panes of readings by device: times, and values of shape ``(n, signals)``."""
    devices = sorted(readings)
    codes = np.repeat(np.arange(len(devices), dtype=np.int32), [len(readings[device][0]) for device in devices])
    times = np.concatenate([readings[device][0] for device in devices])
    values = np.concatenate([readings[device][1] for device in devices])
    found = panes_of(USECASE.features, codes, times, values)
    append(lake.panes(USECASE.features), rows_of(USECASE.features, pa.array(devices), found))


def keep_rows(lake, device, end, values):
    """Rows of features, as materialize leaves them."""
    columns = {"date": [date_of(time) for time in end], "device": device, "end": end}
    columns |= {name: values[:, at] for at, name in enumerate(NAMES)}
    append(lake.features(USECASE.features), pa.table(columns, schema=lake.features(USECASE.features).layout.schema))


def date_of(time_us):
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d}"
