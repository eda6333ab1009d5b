"""Backblaze's daily files as a hub would have written them: a message for each drive and day.

Files are ``YYYY-MM-DD.csv``, plain or gzipped. A message holds the attributes that a drive reported, ``smart_5`` for
``smart_5_raw`` and ``smart_5_normalized`` as it is; empty fields are left out, so the columns that nobody fills (most,
in 2013) never arrive, and a drive that is not in a day's file sends nothing that day.

What the files leave open, and how it is read here: a day's attributes are those of 00:00 UTC. ``failure`` = 1 marks the
last day on which a drive worked; it failed in the middle of the day after, and that was known when this day was over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import Table, files, missing, moment, number

FLEET: Final = "backblaze"
OBJECT: Final = "backblaze"
PATTERN: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].csv"
DAY_US: Final = 24 * HOUR_US
REQUIRED: Final = ("date", "serial_number", "model", "capacity_bytes", "failure")


def items(folder: Path) -> Iterator[Reading | Report]:
    """Read the data set.

    Raises:
        ImportFolderError: There is no daily file.
        ImportFileError: A file cannot be read.
    """
    days = files(folder, PATTERN)
    if not days:
        raise missing(folder, ["2013-04-10.csv or another day"])
    for path in days:
        for reading, failed in _day(path):
            yield reading
            if failed:
                begin, model = reading.time_us + DAY_US, str(reading.more["model"])
                yield Report(reading.device, begin + DAY_US // 2, "failure", model, begin + DAY_US, OBJECT)


def _day(path: Path) -> Iterator[tuple[Reading, bool]]:
    table = Table(path)
    date, serial, model, capacity, failure = table.places(REQUIRED)
    attributes = [
        (place, name.removesuffix("_raw")) for place, name in enumerate(table.header) if name.startswith("smart_")
    ]

    def convert(row: list[str]) -> tuple[Reading, bool]:
        values = {name: number(row[place]) for place, name in attributes if row[place]}
        more = {"model": row[model], "capacity_bytes": int(row[capacity])}
        return Reading(row[serial], moment(row[date]), values, OBJECT, more=more), row[failure] == "1"

    return table.rows(convert)
