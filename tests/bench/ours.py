"""Our own jobs, each measured in a process of its own: ``python -m tests.bench.ours JOB ARGUMENT...``."""

import os
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

if os.environ.get("BENCH_KERNEL") == "numpy":  # the fallback, as on a machine without a compiler
    sys.modules["features.kernel._pane"] = None  # type: ignore[assignment]

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import kernel
from features.batch import feature_rows
from features.feature import grid
from features.featureset import FeatureSet
from features.online import OnlineFeatures
from features.panetable import PaneTable, merge_tables, panes_of
from features.statistic import STATISTICS
from pipelines.devices import Devices
from pipelines.panestage import panes_of_files
from tests.bench import fleet
from tests.bench.stopwatch import Stopwatch, report

COMPARED = ("count", "mean", "std", "min", "max", "first", "last", "slope", "rms", "above_share", "missing_share")


SETS = {"base": fleet.FEATURES, "quantiles": fleet.QUANTILES}


def panes(asked: str, threads: str, output: str, *files: str) -> None:
    """The pane stage: complete panes are handed on and let go, as when they are written to a table."""
    devices, kept, count = Devices(), [], 0
    pa.array([0])  # pyarrow imports pandas with the first array it makes, and imports are not measured
    watch = Stopwatch()
    for table in panes_of_files(files, SETS[asked], devices, int(threads)):
        count += len(table.start)
        if output != "-":
            kept.append(table)
    measured = watch.stop(panes=count)
    if output != "-":
        _write_statistics(merge_tables(fleet.FEATURES, kept), devices, output)
    report(measured)


def _write_statistics(table: PaneTable, devices: Devices, output: str) -> None:
    names = devices.names.take(pa.array(table.device))
    columns = {"device": names, "start": table.start}
    for number, signal in enumerate(fleet.SIGNALS):
        state = table.state[:, number]
        for name in COMPARED:
            columns[f"{signal}.{name}"] = STATISTICS[name].function(state, fleet.FEATURES.pane_us)
    pq.write_table(pa.table(columns), output)


def windows(devices: str) -> None:
    """The feature rows of one day of a fleet, whose longest window reaches back a day: panes of two days are given."""
    codes = np.arange(int(devices), dtype=np.int32)
    ticks = fleet.FIRST_DAY_US + np.arange(2 * fleet.DAY_US // 120_000_000) * 120_000_000
    random = np.random.default_rng(7)
    parts = []
    for code in codes:
        values = random.standard_normal((len(ticks), len(fleet.SIGNALS))) * 5 + 50
        parts.append(panes_of(fleet.FEATURES, np.full(len(ticks), code, np.int32), ticks, values))
    table = merge_tables(fleet.FEATURES, parts)
    del parts
    watch = Stopwatch()
    rows = feature_rows(fleet.FEATURES, table, after_us=fleet.FIRST_DAY_US + fleet.DAY_US)
    report(watch.stop(rows=len(rows.end), features=rows.values.shape[1]))


def late_hour(source: str, work: str, devices: str, *days: str) -> None:
    """A full build of a long history, and then late hours one by one: of the whole fleet, and of a single device."""
    # Imported here: the table engine would weigh in the memory of jobs that do without it.
    from pipelines.lake import Lake
    from pipelines.materialize import materialize
    from tests.bench.telemetry import noon

    root = Path(work)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(source, root, copy_function=os.link)  # table files are never changed, only added
    lake = Lake(str(root))
    telemetry = lake.telemetry(fleet.FLEET)
    watch = Stopwatch()
    summary = materialize(lake, fleet.YEAR_FEATURES)
    measured = watch.stop(panes=summary.panes, rows=summary.rows)
    for number, day in enumerate(days):
        # The last two of the days are those of a single device.
        who, kept = ("fleet", slice(None)) if number < len(days) - 2 else ("device", slice(0, 1))
        rows = noon(int(day), int(devices), kept)
        snapshot = telemetry.open()
        batch = snapshot.transaction("ingest:bench") + 1
        rows = rows.set_column(rows.column_names.index("batch"), "batch", pa.array(np.full(len(rows), batch)))
        snapshot.append(rows, transaction=("ingest:bench", batch))
        watch = Stopwatch()
        late = materialize(lake, fleet.YEAR_FEATURES)
        measured[f"{who}_cpu_{number}"] = watch.stop()["cpu"]
        measured[f"{who}_panes"] = late.panes
    shutil.rmtree(root)
    report(measured)


def online(size: str, messages: str, devices: str) -> None:
    """A stream through one process in batches of some size, after each device has been heard."""
    stream = OnlineFeatures(fleet.FEATURES, lateness=timedelta(minutes=1))
    names = [f"device-{number:04d}" for number in range(int(devices))]
    codes = stream.register(names)
    batches = list(fleet.micro_batches(int(messages) // int(size), int(size), len(names)))
    heard = -(-2 * len(names) // int(size))
    if size == "1":
        single = [(names[code[0]], int(time[0]), tuple(values[0].tolist())) for code, time, values in batches]
        for reading in single[:heard]:
            stream.update_one(*reading)
        watch = Stopwatch()
        for reading in single[heard:]:
            stream.update_one(*reading)
    else:
        several = [(codes[device], times, values) for device, times, values in batches]
        for batch in several[:heard]:
            stream.update(*batch)
        watch = Stopwatch()
        for batch in several[heard:]:
            stream.update(*batch)
    measured = watch.stop(messages=(len(batches) - heard) * int(size), compiled=float(kernel.BACKEND == "c"))
    if stream.duplicates + stream.late:
        sys.exit(f"{stream.duplicates} duplicates, {stream.late} late: this is not the stream that was meant")
    report(measured)


def state_bytes(devices: str) -> None:
    """What a stream holds of devices whose windows of 24 panes are full: as it says, and as the process grows."""
    day = FeatureSet(fleet.FLEET, fleet.HOUR, fleet.HOUR, grid(fleet.SIGNALS, ["mean", "slope"], [24 * fleet.HOUR]))
    stream = OnlineFeatures(day, lateness=timedelta(minutes=1))
    codes = np.arange(int(devices), dtype=np.int32)
    values = np.full((len(codes), len(fleet.SIGNALS)), 5.0)
    before = _resident_bytes()
    stream.register([f"device-{number:05d}" for number in codes.tolist()])
    for hour in range(26):
        for minute in (5, 35):
            times = np.full(len(codes), fleet.FIRST_DAY_US + hour * fleet.HOUR_US + minute * 60_000_000)
            stream.update(codes, times, values)
    watch = Stopwatch()
    grown = (_resident_bytes() - before) / len(codes) / len(fleet.SIGNALS)
    report(watch.stop(held=stream.bytes_per_device / len(fleet.SIGNALS), grown=grown))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


JOBS: dict[str, Callable[..., None]] = {job.__name__: job for job in (panes, windows, late_hour, online, state_bytes)}

if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
