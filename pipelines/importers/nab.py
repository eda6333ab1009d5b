"""Series of the Numenta Anomaly Benchmark as a hub would have written them: each series is a device.

Files are ``realKnownCause/*.csv``, plain or gzipped, and ``labels/combined_windows.json``. The windows in which an
anomaly lies are told by events ``anomaly_begin`` and ``anomaly_end``, known a day after the window ends. Times carry no
zone and count as UTC. Two series have times twice, one where its clock was set back an hour, one without a reason that
is known: the hub sends what the files hold, and the second reading of a time is a duplicate to the ingest.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import Table, blamed, files, missing, moment, number

FLEET: Final = "nab"
OBJECT: Final = "nab"
FOLDER: Final = "realKnownCause"
LABELS: Final = "labels/combined_windows.json"
KNOWN_AFTER_US: Final = 24 * HOUR_US


def items(folder: Path) -> Iterator[Reading | Report]:
    """Read the data set, series by series.

    Raises:
        ImportFolderError: There is no series, or no file of labels.
        ImportFileError: A file cannot be read.
    """
    series, labels = files(folder / FOLDER, "*.csv"), folder / LABELS
    if not series or not labels.is_file():
        raise missing(folder, [*([] if series else [f"{FOLDER}/*.csv"]), *([] if labels.is_file() else [LABELS])])
    with blamed(labels, lambda: 1):
        windows = json.loads(labels.read_text(encoding="utf-8"))
    for path in series:
        device = path.name.partition(".")[0]
        for time_us, value in _rows(path):
            yield Reading(device, time_us, {"value": value}, OBJECT)
        with blamed(labels, lambda: 1):
            spans = [(moment(begin), moment(end)) for begin, end in windows[f"{FOLDER}/{device}.csv"]]
        for begin_us, end_us in spans:
            for kind, time_us in (("anomaly_begin", begin_us), ("anomaly_end", end_us)):
                yield Report(device, time_us, kind, "labels/combined_windows", end_us + KNOWN_AFTER_US, OBJECT)


def _rows(path: Path) -> Iterator[tuple[int, float | int]]:
    table = Table(path)
    when, value = table.places(("timestamp", "value"))
    return table.rows(lambda row: (moment(row[when]), number(row[value])))
