"""A small fleet with a past: devices that warm up before they fail, in the shape that training reads."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipelines.labels import Events
from pipelines.materialize import materialize
from pipelines.windows import Windows

HOUR = 3_600_000_000
_A_STEP = 3  # readings
NAMES = ("vibration_mean_6h", "vibration_std_6h", "pressure_mean_6h", "flow_mean_6h", "speed_mean_24h")


@dataclass(frozen=True)
class History:
    """Windows every three hours and the failures between them.

    The first feature rises in the 24 hours before a failure, the others know nothing; 4 % of the values are missing.
    """

    windows: Windows
    events: Events
    until: int
    every: int = 3 * HOUR


def history(devices=12, days=40, seed=0, start=1_000 * 24 * HOUR):
    """Make the past of a fleet; every device fails about once in nine days, except every fourth, which never does."""
    random = np.random.default_rng(seed)
    ends = start + np.arange(1, days * 8 + 1) * 3 * HOUR
    names, rows, failures = [], [], []
    for number in range(devices):
        name = f"pump-{number:02d}"
        gaps = random.uniform(5, 13, size=days) * 24 * HOUR
        times = (start + np.cumsum(gaps)).astype(np.int64)
        times = times[(times < ends[-1])] if number % 4 != 3 else times[:0]
        values = random.normal(size=(len(ends), len(NAMES)))
        for time in times:
            ahead = (time - ends) / (24 * HOUR)
            values[:, 0] += np.where((ahead > 0) & (ahead < 1), 6.0 - 3.0 * ahead, 0.0)
            failures.append((name, time))
        values[random.random(values.shape) < 0.04] = np.nan
        names.append(np.full(len(ends), name))
        rows.append(values)
    table = Windows.unlabelled(np.concatenate(names), np.tile(ends, devices), np.concatenate(rows))
    time = np.array([time for _, time in failures])
    events = Events(np.array([name for name, _ in failures]), time, np.full(len(time), "failure"), time + HOUR)
    return History(table, events, int(ends[-1]))


def fill_lake(lake, usecase, past, seed=0):
    """Write a history into the tables a training reads: readings every hour, the rows made of them, and events.

    The first signal of the fleet carries what the history's first feature knows; the rest is noise. Readings begin so
    early that the first windows are filled.
    """
    random = np.random.default_rng(seed)
    features, windows, events = usecase.features, past.windows, past.events
    lead = -(-features.longest_us // past.every)
    times, known = [], []
    names = np.unique(windows.device)
    for name in names.tolist():
        own = windows.device == name
        ends = windows.end[own]
        ends = np.append(ends[0] - np.arange(lead, 0, -1) * past.every, ends)
        times.append(np.add.outer(ends, -np.arange(_A_STEP, 0, -1) * HOUR).ravel())
        known.append(np.repeat(np.append(random.normal(size=lead), windows.values[own, 0]), _A_STEP))
    device = np.repeat(names, [len(each) for each in times])
    time, first = np.concatenate(times), features.fleet.signal_names[0]
    signals = {name: random.normal(size=len(time)) for name in features.fleet.signal_names}
    signals[first] = np.concatenate(known) + signals[first] * 0.3
    dates = [datetime.fromtimestamp(moment // 1_000_000, UTC).date().isoformat() for moment in time.tolist()]
    table, writer = lake.telemetry(features.fleet), f"ingest:{features.fleet.name}"
    stamps = {"date": dates, "device": device, "time": time, "received": time + HOUR // 60}
    batch = np.full(len(time), table.create().transaction(writer) + 1)
    append(table, {**stamps, "batch": batch, **signals}, writer)
    told = {"device": events.device, "time": events.time, "kind": events.kind, "known_at": events.known_at}
    append(lake.events(features.fleet), {**told, "detail": np.full(len(events.time), "bearing")})
    materialize(lake, features)


def append(table, columns, writer="history"):
    """Write rows as the next commit of a table."""
    snapshot = table.create()
    schema = table.layout.schema
    rows = pa.table(
        {
            name: pa.array(columns[name], schema.field(name).type, from_pandas=True)
            for name in schema.names
            if name in columns
        }
    )
    snapshot.append(rows, transaction=(writer, snapshot.transaction(writer) + 1))
