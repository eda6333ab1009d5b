"""Features by way of the tables of a lake, computed by Spark: two threads of this machine stand for a cluster."""

import contextlib
import logging
import re
import shutil
import subprocess
import tempfile
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from features.featureset import FeatureSet
from pipelines.lake import Lake
from pipelines.materialize import load_features
from pipelines.partitions import Crew, materialize_by
from pipelines.unique import date_names
from tests.parity.telemetry import Telemetry

Rows = dict[tuple[int, int], NDArray[np.float64]]

STARTED = contextlib.ExitStack()
"""What the tests must close when they end."""
LEAST_JAVA = 17


def missing() -> str:
    """Why Spark cannot run here; empty where it can."""
    program = shutil.which("java")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr if program else ""
    found = re.search(r'version "(\d+)', said)
    if not found or int(found[1]) < LEAST_JAVA:
        return f"the Spark engine needs a Java {LEAST_JAVA} or newer"
    try:
        import pyspark  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return "the Spark engine is not installed: make spark"
    return ""


@cache
def crew() -> Crew:
    """One Spark for all cases."""
    if reason := missing():
        pytest.skip(reason)
    from pipelines.spark import SparkCrew  # noqa: PLC0415 - only where it can run

    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of its end when nobody can hear it any more

    return STARTED.enter_context(SparkCrew.started("local[2]"))


def rows(features: FeatureSet, readings: Telemetry) -> Rows:
    """Every feature row of readings that came in two batches, the second between the first: late data."""
    with tempfile.TemporaryDirectory(prefix="tidemill-parity-") as folder:
        lake = Lake(folder)
        late = np.arange(len(readings.times)) % 7 == 3
        for number, chosen in enumerate((~late, late), start=1):
            _append(lake, features, readings[np.flatnonzero(chosen)], number)
        _tell(lake, features, readings)
        materialize_by(lake, features, crew())
        table = load_features(lake, features)
    codes = [int(name.removeprefix("device-")) for name in table["device"].to_pylist()]
    values = np.stack([table[name].to_numpy() for name in features.names], axis=1)
    return dict(zip(zip(codes, table["end"].to_pylist(), strict=True), values, strict=True))


def _names(codes: NDArray[np.int32]) -> pa.Array:
    return pa.array([f"device-{code}" for code in codes.tolist()])


def _append(lake: Lake, features: FeatureSet, readings: Telemetry, number: int) -> None:
    fleet = features.fleet
    table = lake.telemetry(fleet)
    known = {
        "date": date_names(readings.times),
        "device": _names(readings.device),
        "time": pa.array(readings.times),
        "received": pa.array(readings.times),
        "batch": pa.array(np.full(len(readings.times), number)),
    }
    known |= {
        name: pa.array(values, from_pandas=True)
        for name, values in zip(fleet.signal_names, readings.values.T, strict=True)
    }
    columns = [known.get(each.name, pa.nulls(len(readings.times), each.type)) for each in table.layout.schema]
    rows = pa.table(columns, schema=table.layout.schema)
    table.create().append(rows, transaction=(f"ingest:{fleet.name}", number))


def _tell(lake: Lake, features: FeatureSet, readings: Telemetry) -> None:
    events, table = readings.events, lake.events(features.fleet)
    if not len(events.time):
        return
    kinds = [features.fleet.event_kinds[kind] for kind in events.kind.tolist()]
    columns = [_names(events.device), events.time, kinds, [""] * len(kinds), events.known]
    rows = pa.table(columns, schema=table.layout.schema)
    table.create().append(rows, transaction=(f"ingest-events:{features.fleet.name}", 1))
