"""NASA's C-MAPSS engines as a hub would have written them: a message a flight.

Files are ``train_FD00x``, ``test_FD00x`` and ``RUL_FD00x``, ``.txt`` or ``.csv``, plain or gzipped, separated by spaces
or commas, with a header or without. Without one a file has the published 26 columns, or `Columns` says which it has;
columns that are not there are signals that are not sent. Devices are ``fd001-train-001``, ``fd001-test-001`` and so on.

What the files leave open, and how it is read here:

- There is no clock. A cycle becomes ``step`` (an hour), stamped with the beginning of its flight.
- Engines start one ``stagger`` (a day) after the other from ``start`` on, so that failures spread over the months and a
  split by time has some on either side. Test engines start when all training engines have failed.
- A training engine fails before its next flight would end: half a step after the end of its last one. That was known at
  once. A test engine fails as many flights later as ``RUL`` says, and nobody knows before ``truth_after`` (30 days) has
  passed since: the answer to the exercise comes as late as labels do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from features.catalog.cmapss import FLEET as DECLARED
from pipelines.errors import ImportFileError, ImportOptionError
from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.cmapss_columns import columns_of
from pipelines.importers.rows import converted, files, missing, number

FLEET: Final = DECLARED.name
PARTS: Final = ("train", "test")
START_US: Final = 1_577_836_800_000_000  # 2020-01-01
DAY_US: Final = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Clock:
    """How cycles become times; microseconds.

    Attributes:
        start_us: First flight of the first engine, UTC.
        step_us: From a flight to the next.
        stagger_us: From an engine's first flight to the next engine's; 0 starts all at once.
        truth_after_us: How long after a test engine's failure it becomes known.
    """

    start_us: int = START_US
    step_us: int = HOUR_US
    stagger_us: int = DAY_US
    truth_after_us: int = 30 * DAY_US

    def __post_init__(self) -> None:
        if self.step_us <= 0 or self.stagger_us < 0 or self.truth_after_us < 0:
            raise ImportOptionError("a step must be longer than nothing, a delay not shorter", where="cmapss")


@dataclass(slots=True)
class _Part:
    """One file of engines, while it is read: which cycle each engine flew last, and when the next would begin."""

    name: str
    path: Path
    start_us: int
    engines: dict[int, int] = field(default_factory=dict)  # number -> last cycle, in the order of the file

    def device(self, unit: int) -> str:
        return f"{self.name}-{unit:03d}"


def items(
    folder: Path, *, subsets: tuple[str, ...] = (), columns: tuple[str, ...] = (), clock: Clock | None = None
) -> Iterator[Reading | Report]:
    """Read one or more of the four sets.

    Args:
        folder: Where the files are.
        subsets: ``FD001`` and so on; all that are there when not given.
        columns: Names of the columns of files without a header, ``-`` for one to pass over; see `cmapss_columns`.
        clock: How cycles become times.

    Raises:
        ImportFolderError: A set is not there.
        ImportFileError: A file cannot be read, or has other columns than said.
    """
    clock = clock or Clock()
    there = sorted({path.name.split(".")[0].split("_")[1] for path in files_of(folder, "t*_FD00[1-4]")})
    wanted = tuple(subset.upper() for subset in subsets) or tuple(there)
    absent = [f"train_{subset}.txt" for subset in wanted or ("FD001",) if subset not in there]
    if absent:
        raise missing(folder, absent)
    for subset in wanted:
        start_us = clock.start_us
        for part in PARTS:
            for path in files_of(folder, f"{part}_{subset}")[:1]:
                read = _Part(f"{subset.lower()}-{part}", path, start_us)
                yield from _flights(read, clock, columns)
                left = _cycles_left(folder, subset, read) if part == "test" else dict.fromkeys(read.engines, 0)
                for report in _failures(read, clock, left):
                    # The test fleet takes off on the day after the last engine to learn from has failed.
                    start_us = max(start_us, report.time_us // DAY_US * DAY_US + DAY_US)
                    yield report


def files_of(folder: Path, stem: str) -> list[Path]:
    """Files called ``stem`` with any of the endings in use."""
    return [path for ending in ("txt", "csv") for path in files(folder, f"{stem}.{ending}")]


def _flights(part: _Part, clock: Clock, given: tuple[str, ...]) -> Iterator[Reading]:
    first = next(converted(part.path, str), "")
    delimiter = "," if "," in first else None
    columns, headed = columns_of(_fields(first, delimiter), given, str(part.path))
    unit_at, cycle_at = columns.index("unit"), columns.index("cycle")
    signals = [(place, name) for place, name in enumerate(columns) if name in DECLARED.signal_names]

    def convert(text: str) -> Reading:
        fields = _fields(text, delimiter)
        if len(fields) != len(columns):
            raise ValueError(f"{len(fields)} fields, expected {len(columns)}")
        unit, cycle = (int(float(fields[place])) for place in (unit_at, cycle_at))
        part.engines[unit] = max(cycle, part.engines.get(unit, 0))
        values = {name: number(fields[place]) for place, name in signals if fields[place]}
        return Reading(part.device(unit), _begin(part, clock, unit) + (cycle - 1) * clock.step_us, values, part.name)

    yield from converted(part.path, convert, skip=int(headed))


def _fields(text: str, delimiter: str | None) -> list[str]:
    fields = text.strip().split(delimiter)
    return [field.strip().strip('"') for field in fields]


def _begin(part: _Part, clock: Clock, unit: int) -> int:
    return part.start_us + (unit - 1) * clock.stagger_us


def _failures(part: _Part, clock: Clock, left: dict[int, int]) -> Iterator[Report]:
    known_after_us = clock.truth_after_us if part.name.endswith("test") else 0
    for unit, flights in left.items():
        # One flight is the last one itself; the half is what lies between it and the end of the next.
        time_us = _begin(part, clock, unit) + (part.engines[unit] + flights) * clock.step_us + clock.step_us // 2
        detail = f"after cycle {part.engines[unit] + flights}"
        yield Report(part.device(unit), time_us, "failure", detail, time_us + known_after_us, part.name)


def _cycles_left(folder: Path, subset: str, part: _Part) -> dict[int, int]:
    """Cycles that each test engine still flies after its last row; none where there is no file of them."""
    for path in files_of(folder, f"RUL_{subset}")[:1]:
        left = list(converted(path, lambda text: int(float(text.strip().strip(",")))))
        if len(left) != len(part.engines):
            raise ImportFileError(f"{len(left)} lines for {len(part.engines)} engines", where=str(path))
        return dict(zip(part.engines, left, strict=True))
    return {}
