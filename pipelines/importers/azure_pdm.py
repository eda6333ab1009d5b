"""Microsoft's Azure Predictive Maintenance data set as an IoT hub would have written it.

The files are CSV, plain or gzipped: ``PdM_telemetry*``, ``PdM_errors*``, ``PdM_failures*``, ``PdM_maint*``. They become

- one telemetry object an hour; an error code is a reading of value 1 in the record of its machine and hour:
  ``{"device":"machine-01","ts":1420092000000,"received":1420092002000,"values":{"volt":176.2,…,"error1":1}}``
- one events object an hour with failures and maintenance of the machines that have telemetry.

What the files leave open, and how it is read here: times carry no zone and count as UTC; the hub received a record two
seconds after its time; a failure or maintenance was known at once. On 2015-01-02 03:00 the files let components of 18
machines fail without a replacement: they stay failures, since nothing here infers one from the other.

Everything ends with the last telemetry: the published files tell of errors and failures of the whole year, also where a
slice of the telemetry ends in spring.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import Table, files, missing, moment

FLEET: Final = "azure_pdm"
MEASURED: Final = ("volt", "rotate", "pressure", "vibration")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "telemetry": ("datetime", "machineID", *MEASURED),
    "errors": ("datetime", "machineID", "errorID"),
    "failures": ("datetime", "machineID", "failure"),
    "maint": ("datetime", "machineID", "comp"),
}
OBJECT: Final = "azure-pdm"

_Span = tuple[int, int]
_Value = TypeVar("_Value", str, float)
_Row = tuple[int, int, list[_Value]]  # time, machine, the other columns


def items(folder: Path) -> Iterator[Reading | Report]:
    """Read the data set.

    Raises:
        ImportFolderError: Files are missing.
        ImportFileError: A file cannot be read.
    """
    found = find_files(folder)
    errors = defaultdict[tuple[int, int], set[str]](set)
    for time_us, machine, (code,) in _rows(found["errors"], "errors", str):
        errors[time_us, machine].add(code)
    watched: dict[int, _Span] = {}
    for time_us, machine, values in _rows(found["telemetry"], "telemetry", float):
        first, last = watched.get(machine, (time_us, time_us))
        watched[machine] = (min(first, time_us), max(last, time_us))
        measured = dict(zip(MEASURED, values, strict=True))
        yield _reading(time_us, machine, measured, errors.pop((time_us, machine), ()))
    # Error codes between two readings are records of their own; those before the first hour or after the last hour that
    # a machine has readings of are left out, because nothing else is known of it then.
    for (time_us, machine), codes in errors.items():
        first, last = watched.get(machine, (0, -HOUR_US))
        if first // HOUR_US <= time_us // HOUR_US <= last // HOUR_US:
            yield _reading(time_us, machine, {}, codes)
    end = max((last for _, last in watched.values()), default=0) // HOUR_US * HOUR_US + HOUR_US
    for name, kind in (("failures", "failure"), ("maint", "maintenance")):
        for time_us, machine, (detail,) in _rows(found[name], name, str):
            if machine in watched and time_us < end:
                yield Report(device_name(machine), time_us, kind, detail, time_us, OBJECT)


def find_files(folder: Path) -> dict[str, Path]:
    """Find the files of the data set: ``PdM_<name>*.csv`` or the same with ``.gz``.

    Raises:
        ImportFolderError: Some are missing; all of them in one sentence, with what was found.
    """
    found = {name: next(iter(files(folder, f"PdM_{name}*.csv")), None) for name in COLUMNS}
    absent = [f"PdM_{name}.csv" for name, path in found.items() if path is None]
    if absent:
        raise missing(folder, absent)
    return {name: path for name, path in found.items() if path is not None}


def _rows(path: Path, name: str, read: Callable[[str], _Value]) -> Iterator[_Row[_Value]]:
    """Rows of a file: UTC microseconds, machine, and its other columns in the order of ``COLUMNS``."""
    table = Table(path)
    places = table.places(COLUMNS[name])

    def convert(row: list[str]) -> _Row[_Value]:
        when, machine, *rest = [row[place] for place in places]
        return moment(when), int(machine), [read(text) for text in rest]

    return table.rows(convert)


def _reading(time_us: int, machine: int, measured: Mapping[str, float], codes: Collection[str]) -> Reading:
    values = {**measured, **dict.fromkeys(sorted(codes), 1)}
    return Reading(device_name(machine), time_us, values, OBJECT, tags=("error",) * len(codes))


def device_name(machine: int) -> str:
    """Name of a machine.

    Example:
        >>> device_name(7)
        'machine-07'
    """
    return f"machine-{machine:02d}"
