"""Tables of one's own, CSV or Parquet, as a hub would have written them; a mapping file says what their columns are.

A mapping file is TOML::

    fleet = "boilers"             # raw objects go to raw/boilers/
    device = "boiler"             # column; or device_name = "b-07" where the file is of one device
    time = "measured at"          # column
    time_unit = "iso"             # iso, s, ms, us or ns; a format such as "%d.%m.%Y %H:%M" reads any other text
    zone = "Europe/Berlin"        # of times that carry none; UTC when left out
    delimiter = ";"               # of CSV; a comma when left out
    missing = ["", "NA"]          # texts that stand for no value
    sampling_s = 300              # how often a device reports; only faults ask for it

    [signals]                     # signal = "column"
    water = "T water [C]"
    flue = "T flue [C]"

Rows without a value of any signal are left out. An hour that a zone has twice counts as its first.
"""

import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, Self

import pyarrow.parquet as pq

from pipelines.errors import ImportOptionError
from pipelines.importers.arrivals import Reading, Target
from pipelines.importers.faults import Pace
from pipelines.importers.rows import Table, blamed, number

_PER_UNIT: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US: Final = 253_402_300_799_000_000
_ROWS: Final = 8_192  # of a Parquet file, read at once


@dataclass(frozen=True, slots=True)
class Columns:
    """What a mapping file says; see above.

    Raises:
        ImportOptionError: A key is missing, or its value cannot be used.
    """

    fleet: str
    time: str
    signals: Mapping[str, str]
    device: str = ""
    device_name: str = ""
    time_unit: str = "iso"
    zone: str = "UTC"
    delimiter: str = ","
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null", "None")
    sampling_s: float = 60.0

    def __post_init__(self) -> None:
        for name in (self.fleet, *self.signals):
            _demand(bool(_NAME.fullmatch(str(name))), f"'{name}' is no word", "use letters, digits and _")
        _demand(bool(self.signals), "there are no signals", 'add a table [signals] with lines such as water = "column"')
        _demand(bool(self.device) != bool(self.device_name), "device or device_name is needed, and not both", "")
        known = self.time_unit in (*_PER_UNIT, "ns", "iso") or "%" in self.time_unit
        _demand(known, f"time_unit = '{self.time_unit}' is unknown", "use iso, s, ms, us, ns or a format with %")
        _demand(len(self.delimiter) == 1, "delimiter must be one character", 'a tab is "\\t"')
        _demand(self.sampling_s > 0, "sampling_s must be above zero", "")
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise ImportOptionError(
                f"zone = '{self.zone}' is unknown", fix="use a name such as Europe/Paris"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a mapping file.

        Raises:
            ImportOptionError: It cannot be read, or a key is unknown, missing or of the wrong kind.
        """
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ImportOptionError("the mapping file cannot be read", where=str(path), why=str(error)) from error
        known = [field.name for field in fields(cls)]
        for key in said:
            close = difflib.get_close_matches(key, known, 1)
            _demand(
                key in known, f"there is no key '{key}'", f"did you mean {close[0]}?" if close else ", ".join(known)
            )
        for key in ("fleet", "time", "signals"):
            _demand(key in said, f"the key '{key}' is missing", f"see tidemill import csv --help ({path})")
        _demand(isinstance(said["signals"], dict), "signals is no table", "write it as [signals]")
        if "missing" in said:
            said["missing"] = tuple(map(str, said["missing"]))
        return cls(**said)

    @property
    def target(self) -> Target:
        """The fleet, and its pace."""
        sampling_ms = round(self.sampling_s * 1000)
        return Target(self.fleet, Pace(sampling_ms, 10 * sampling_ms))


def _demand(holds: bool, what: str, fix: str) -> None:  # noqa: FBT001 - the condition is what is demanded
    if not holds:
        raise ImportOptionError(what, where="mapping file", fix=fix)


def items(path: Path, columns: Columns, name: str) -> Iterator[Reading]:
    """Read a table.

    Args:
        path: The file: CSV, plain or with the ending ``.gz``, or Parquet with the ending ``.parquet``.
        columns: What its columns are.
        name: What the objects are called that its rows go into.

    Raises:
        ImportFileError: The file cannot be read.
    """
    wanted = [columns.time, *columns.signals.values(), *([columns.device] if columns.device else [])]
    moment_of = _moments(columns)

    def convert(row: list[Any]) -> Reading:
        when, *values, device = row if columns.device else [*row, columns.device_name]
        if _absent(device, columns):
            raise ValueError(f"there is no device in {columns.device}")
        found = {
            signal: _measured(value)
            for signal, value in zip(columns.signals, values, strict=True)
            if not _absent(value, columns)
        }
        return Reading(str(device), moment_of(when), found, name)

    rows = _parquet(path, wanted, convert) if path.suffix == ".parquet" else _csv(path, columns, wanted, convert)
    return (reading for reading in rows if reading.values)


def _measured(value: object) -> float | int:
    """A number as JSON has it; Parquet also has true, false, decimals and infinity."""
    return value if isinstance(value, int) else number(str(value))


def _absent(value: object, columns: Columns) -> bool:
    text = isinstance(value, str) and value.strip() in columns.missing
    return value is None or text or value != value  # noqa: PLR0124 - only NaN differs from itself


def _csv(path: Path, columns: Columns, wanted: list[str], convert: Callable[[list[Any]], Reading]) -> Iterator[Reading]:
    table = Table(path, delimiter=columns.delimiter)
    places = table.places(wanted)
    return table.rows(lambda row: convert([row[place] for place in places]))


def _parquet(path: Path, wanted: list[str], convert: Callable[[list[Any]], Reading]) -> Iterator[Reading]:
    done = 0
    with blamed(path, lambda: done + 1), pq.ParquetFile(path) as file:
        absent = sorted(set(wanted) - set(file.schema_arrow.names))
        if absent:
            raise ValueError(f"columns are missing: {', '.join(absent)}; found: {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(_ROWS, columns=sorted(set(wanted))):
            for row in zip(*(batch[name].to_pylist() for name in wanted), strict=True):
                yield convert(list(row))
                done += 1


def _moments(columns: Columns) -> Callable[[Any], int]:
    """How a field becomes UTC microseconds."""
    zone, unit = zoneinfo.ZoneInfo(columns.zone), columns.time_unit

    def of_text(text: str) -> int:
        found = datetime.fromisoformat(text) if unit == "iso" else datetime.strptime(text, unit)  # noqa: DTZ007 - the zone follows
        return _utc(found, zone)

    def of(value: Any) -> int:
        if isinstance(value, datetime):  # Parquet has times of its own
            return _utc(value, zone)
        if unit in (*_PER_UNIT, "ns"):
            exact = value if isinstance(value, int | float) else number(value)
            return int(exact) // 1000 if unit == "ns" else round(exact * _PER_UNIT[unit])
        return of_text(str(value).strip())

    def believable(value: Any) -> int:
        time_us = of(value)
        if not 0 <= time_us <= _LATEST_US:
            raise ValueError(f"{value} is no time between 1970 and 9999; is the time_unit '{unit}' right?")
        return time_us

    return believable


def _utc(found: datetime, zone: tzinfo) -> int:
    return (found.replace(tzinfo=found.tzinfo or zone) - _EPOCH) // timedelta(microseconds=1)
