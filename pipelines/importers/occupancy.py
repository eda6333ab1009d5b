"""The UCI Occupancy Detection files as a hub would have written them: one room, a message a minute.

Files are ``datatest``, ``datatraining`` and ``datatest2`` as ``.txt``, plain or gzipped. Their header is one name
short: the first field of a row is its number. Times carry no zone and count as UTC.

Whether the room is in use, the label, is told by events ``occupied_begin`` and ``occupied_end``, known a day later
(people looked at pictures of a camera): as a signal, a feature set could make the model see its own answer. Between two
files nobody looked, so a state ends with its file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from features.catalog.occupancy import FLEET as DECLARED
from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import Table, files, missing, moment, number
from pipelines.importers.spells import Spells

FLEET: Final = DECLARED.name
OBJECT: Final = "occupancy"
DEVICE: Final = "room"
KNOWN_AFTER_US: Final = 24 * HOUR_US
MEASURED: Final = ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")
"""In the order of the fleet's signals."""

_Row = tuple[int, list[float | int], bool]


def items(folder: Path) -> Iterator[Reading | Report]:
    """Read the data set.

    Raises:
        ImportFolderError: There is no file of it.
        ImportFileError: A file cannot be read.
    """
    found = files(folder, "data*.txt")
    if not found:
        raise missing(folder, ["datatraining.txt"])
    for path in found:
        used = Spells(DEVICE, "occupied", path.name.partition(".")[0], OBJECT, KNOWN_AFTER_US)
        for time_us, values, occupied in _rows(path):
            yield Reading(DEVICE, time_us, dict(zip(DECLARED.signal_names, values, strict=True)), OBJECT)
            yield from used.add(time_us, lasting=occupied)
        yield from used.end()


def _rows(path: Path) -> Iterator[_Row]:
    table = Table(path)
    when, *places, label = table.places(("date", *MEASURED, "Occupancy"))

    def convert(row: list[str]) -> _Row:
        extra = len(row) - len(table.header)  # the row's number
        values = [number(row[place + extra]) for place in places]
        return moment(row[when + extra]), values, row[label + extra] == "1"

    return table.rows(convert)
