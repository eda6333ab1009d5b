"""Microsoft's Azure Predictive Maintenance data set as an IoT hub would have written it.

The files are CSV, plain or gzipped: ``PdM_telemetry*``, ``PdM_errors*``, ``PdM_failures*``, ``PdM_maint*``. They become

- one telemetry object an hour; an error code is a reading of value 1 in the record of its machine and hour:
  ``{"device":"machine-01","ts":1420092000000,"received":1420092002010,"values":{"volt":176.2,…,"error1":1}}``
- one events object an hour with failures and maintenance of the machines that have telemetry.

What the files leave open, and how it is read here: times carry no zone and count as UTC; the hub received a record two
seconds after its time; a failure or maintenance was known at once. On 2015-01-02 03:00 the files let components of 18
machines fail without a replacement: they stay failures, since nothing here infers one from the other.

Everything ends with the last telemetry: the published files tell of errors and failures of the whole year, also where a
slice of the telemetry ends in spring. An hour that lies in the store is left as it is, so an import can be repeated, or
continued with a later ``until``.
"""

import csv
import gzip
import itertools
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

from pipelines.errors import ImportFileError, ImportFolderError
from pipelines.importers.hub import RawWriter
from serving.store import Store

FLEET = "azure_pdm"
MEASURED = ("volt", "rotate", "pressure", "vibration")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "telemetry": ("datetime", "machineID", *MEASURED),
    "errors": ("datetime", "machineID", "errorID"),
    "failures": ("datetime", "machineID", "failure"),
    "maint": ("datetime", "machineID", "comp"),
}
OBJECT = "azure-pdm"
HOUR_US = 3_600_000_000
ON_THE_WAY_MS = 2000  # from a machine to the hub

Progress = Callable[[str, int, int], None]
_Errors = Mapping[tuple[int, int], Collection[str]]  # by time and machine


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import wrote. Counts of messages and events are those of the objects written by this run.

    Attributes:
        objects: Objects written.
        unchanged: Objects that were there already.
        messages: Telemetry messages.
        errors: Error codes among them.
        failures: Failure events.
        maintenances: Maintenance events.
        machines: Machines with telemetry.
        first_us: First event time of telemetry in the files, UTC microseconds.
        last_us: Last event time of telemetry imported, UTC microseconds.
    """

    objects: int
    unchanged: int
    messages: int
    errors: int
    failures: int
    maintenances: int
    machines: int
    first_us: int
    last_us: int


def import_azure_pdm(
    store: Store, folder: Path, *, until_us: int | None = None, progress: Progress | None = None
) -> ImportSummary:
    """Write the data set below ``raw/azure_pdm/`` of a store.

    Args:
        store: Where to.
        folder: Folder with the CSV files.
        until_us: Import what happened before this time only (UTC microseconds, rounded down to the hour); None for all.
        progress: Called with (stage, objects done, objects in all).

    Raises:
        ImportFolderError: Files are missing.
        ImportFileError: A file cannot be read.
    """
    files = find_files(folder)
    limit = until_us // HOUR_US * HOUR_US if until_us is not None else None
    errors = defaultdict(set)
    for time_us, machine, (code,) in _rows(files["errors"], "errors", limit, str):
        errors[time_us, machine].add(code)
    telemetry = _by_hour(_readings(_rows(files["telemetry"], "telemetry", limit, float), errors))
    if not telemetry:
        where = f"before {datetime.fromtimestamp((limit or 0) // 1_000_000, UTC)}" if limit else "at all"
        raise ImportFileError(f"there is no telemetry {where}", where=str(files["telemetry"]), fix="a later --until")
    machines = {record.machine for records in telemetry.values() for record in records}
    end = (max(telemetry) + 1) * HOUR_US
    failures = _reports(_rows(files["failures"], "failures", end, str), "failure", machines)
    maintenances = _reports(_rows(files["maint"], "maint", end, str), "maintenance", machines)
    events = _by_hour(itertools.chain(failures, maintenances))
    stored = {entry.key.rpartition("/")[0] for entry in store.list(f"raw/{FLEET}/")}
    written = Counter[str]()
    for stream, hours in (("telemetry", telemetry), ("events", events)):
        written += _write(RawWriter(store, FLEET), stream, hours, stored, progress)
    return ImportSummary(
        objects=written["objects"],
        unchanged=len(telemetry) + len(events) - written["objects"],
        messages=written["message"],
        errors=written["error"],
        failures=written["failure"],
        maintenances=written["maintenance"],
        machines=len(machines),
        first_us=min(telemetry) * HOUR_US,
        last_us=max(record.time_us for record in telemetry[max(telemetry)]),
    )


def find_files(folder: Path) -> dict[str, Path]:
    """Find the files of the data set: ``PdM_<name>*.csv`` or the same with ``.gz``.

    Raises:
        ImportFolderError: Some are missing; all of them in one sentence, with what was found.
    """
    found = {
        name: next(iter(sorted([*folder.glob(f"PdM_{name}*.csv"), *folder.glob(f"PdM_{name}*.csv.gz")])), None)
        for name in COLUMNS
    }
    missing = [f"PdM_{name}.csv" for name, path in found.items() if path is None]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) if folder.is_dir() else "no such folder"
        raise ImportFolderError(
            f"the data set is not complete: {', '.join(missing)} missing",
            where=str(folder),
            why=f"found: {there or 'nothing'}",
            fix="put the files there, as .csv or .csv.gz, or name the folder that has them",
        )
    return {name: path for name, path in found.items() if path is not None}


@dataclass(frozen=True, slots=True)
class _Record:
    """One line of an object: what is counted of it, whose it is, when it was, and its text."""

    counts: tuple[str, ...]
    machine: int
    time_us: int
    text: str


_Value = TypeVar("_Value", str, float)
_Row = tuple[int, int, list[_Value]]  # time, machine, the other columns


def _rows(path: Path, name: str, limit: int | None, read: Callable[[str], _Value]) -> Iterator[_Row[_Value]]:
    """Rows of a file before ``limit``: UTC microseconds, machine, and its other columns in the order of ``COLUMNS``."""
    line = 1
    try:
        with _open(path) as file:
            reader = csv.reader(file)
            header = next(reader, [])
            absent = [column for column in COLUMNS[name] if column not in header]
            if absent:
                raise ImportFileError(
                    f"columns are missing: {', '.join(absent)}", where=f"{path}:1", why=f"found: {', '.join(header)}"
                )
            places = [header.index(column) for column in COLUMNS[name]]
            for row in reader:
                line = reader.line_num
                when, machine, *rest = [row[place] for place in places]
                time_us = int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 1_000_000
                if limit is None or time_us < limit:
                    yield time_us, int(machine), [read(text) for text in rest]
    except (ValueError, IndexError, EOFError, OSError, zlib.error) as error:
        raise ImportFileError("a row cannot be read", where=f"{path}:{line}", why=str(error)) from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _readings(rows: Iterable[_Row[float]], errors: _Errors) -> Iterator[_Record]:
    """Telemetry with the error codes of its machine and hour.

    Error codes between two readings are records of their own; those before the first hour or after the last hour that a
    machine has readings of are left out, because nothing else is known of it then.
    """
    left, watched = dict(errors), dict[int, tuple[int, int]]()
    for time_us, machine, values in rows:
        first, last = watched.get(machine, (time_us, time_us))
        watched[machine] = (min(first, time_us), max(last, time_us))
        measured = dict(zip(MEASURED, values, strict=True))
        yield _reading(time_us, machine, measured, left.pop((time_us, machine), ()))
    for (time_us, machine), codes in left.items():
        first, last = watched.get(machine, (0, -HOUR_US))
        if first // HOUR_US <= time_us // HOUR_US <= last // HOUR_US:
            yield _reading(time_us, machine, {}, codes)


def _reading(time_us: int, machine: int, measured: Mapping[str, float], codes: Collection[str]) -> _Record:
    stamp = time_us // 1000
    message = {
        "device": device_name(machine),
        "ts": stamp,
        "received": stamp + ON_THE_WAY_MS,
        "values": {**measured, **dict.fromkeys(sorted(codes), 1)},
    }
    counts = ("message", *["error"] * len(codes))
    return _Record(counts, machine, time_us, json.dumps(message, separators=(",", ":")))


def _reports(rows: Iterable[_Row[str]], kind: str, machines: Collection[int]) -> Iterator[_Record]:
    for time_us, machine, (detail,) in rows:
        if machine in machines:
            stamp = time_us // 1000
            event = {"device": device_name(machine), "ts": stamp, "kind": kind, "detail": detail, "known_at": stamp}
            yield _Record((kind,), machine, time_us, json.dumps(event, separators=(",", ":")))


def device_name(machine: int) -> str:
    """Name of a machine.

    Example:
        >>> device_name(7)
        'machine-07'
    """
    return f"machine-{machine:02d}"


def _by_hour(records: Iterable[_Record]) -> dict[int, list[_Record]]:
    hours: dict[int, list[_Record]] = defaultdict(list)
    for record in records:
        hours[record.time_us // HOUR_US].append(record)
    return hours


def _write(
    writer: RawWriter,
    stream: str,
    hours: Mapping[int, list[_Record]],
    stored: Collection[str],
    progress: Progress | None,
) -> Counter[str]:
    """Write the hours that are not stored yet; return what was written, counted."""
    write = writer.write_telemetry if stream == "telemetry" else writer.write_events
    counts = Counter[str]()
    for done, hour in enumerate(sorted(hours), start=1):
        moment = datetime.fromtimestamp(hour * 3600, UTC)
        if f"raw/{FLEET}/{stream}/{moment:%Y/%m/%d/%H}" not in stored:
            records = sorted(hours[hour], key=lambda record: (record.time_us, record.machine, record.text))
            write(OBJECT, hour * HOUR_US, "".join(f"{record.text}\n" for record in records).encode())
            counts["objects"] += 1
            counts.update(name for record in records for name in record.counts)
        if progress:
            progress(f"write {stream}", done, len(hours))
    return counts
