"""The Skoltech Anomaly Benchmark as a hub would have written it: one testbed, a message about every second.

Files are ``anomaly-free/*.csv`` and ``valve1/*.csv`` (``valve2`` and ``other`` too, where they are), separated by
semicolons. All runs are of one testbed, so they are one device: the sixteen runs of valve 1 follow each other within a
second, and to call them sixteen devices would let a test on "new devices" meet the testbed it was trained on. Where a
run begins is told by an event ``run``.

Labels are events, known a day later: ``anomaly_begin`` and ``anomaly_end`` where the column ``anomaly`` rises and
falls, ``changepoint`` where that column is 1. The run of ``anomaly-free`` lies between ``normal_begin`` and
``normal_end``: its makers declare it normal throughout. Times carry no zone and count as UTC.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from features.catalog.skab import FLEET as DECLARED
from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import Table, files, missing, moment, number
from pipelines.importers.spells import Spells

FLEET: Final = DECLARED.name
OBJECT: Final = "skab"
DEVICE: Final = "testbed"
KNOWN_AFTER_US: Final = 24 * HOUR_US
NORMAL: Final = "anomaly-free"
FOLDERS: Final = (NORMAL, "valve1", "valve2", "other")
MEASURED: Final = (
    "Voltage",
    "Current",
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Volume Flow RateRMS",
)
"""In the order of the fleet's signals."""

_Row = tuple[int, list[float | int], bool, bool]  # time, readings, anomaly, changepoint


def items(folder: Path) -> Iterator[Reading | Report]:
    """Read the data set, run by run.

    Raises:
        ImportFolderError: There is no run.
        ImportFileError: A file cannot be read.
    """
    runs = [path for name in FOLDERS for path in files(folder / name, "*.csv")]
    if not runs:
        raise missing(folder, ["valve1/*.csv"])
    for path in runs:
        run = f"{path.parent.name}/{path.name.partition('.')[0]}"
        anomaly = Spells(DEVICE, "anomaly", run, OBJECT, KNOWN_AFTER_US)
        normal = Spells(DEVICE, "normal", run, OBJECT, KNOWN_AFTER_US)
        for place, (time_us, values, abnormal, changed) in enumerate(_rows(path)):
            if place == 0:
                yield Report(DEVICE, time_us, "run", run, time_us, OBJECT)
            yield Reading(DEVICE, time_us, dict(zip(DECLARED.signal_names, values, strict=True)), OBJECT)
            yield from anomaly.add(time_us, lasting=abnormal)
            yield from normal.add(time_us, lasting=path.parent.name == NORMAL)
            if changed:
                yield Report(DEVICE, time_us, "changepoint", run, time_us + KNOWN_AFTER_US, OBJECT)
        yield from anomaly.end()
        yield from normal.end()


def _rows(path: Path) -> Iterator[_Row]:
    table = Table(path, delimiter=";")
    when, *places = table.places(("datetime", *MEASURED))
    labels = [table.header.index(name) if name in table.header else None for name in ("anomaly", "changepoint")]

    def convert(row: list[str]) -> _Row:
        abnormal, changed = (place is not None and float(row[place]) > 0 for place in labels)
        return moment(row[when]), [number(row[place]) for place in places], abnormal, changed

    return table.rows(convert)
