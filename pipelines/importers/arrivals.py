"""Messages and reports are sorted by the hour in which they arrive, and written where nothing lies yet.

Data sets come device by device, run by run; a hub writes hour by hour. In between, messages wait in a temporary SQLite
table on disk, so that memory does not grow with the data set. An object's content depends on the data set, the shares
and the seed alone: an import can be repeated, and continued with a later ``until``, which cuts by time of arrival.
"""

import contextlib
import functools
import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from features.schema import Fleet
from pipelines.errors import ImportFileError
from pipelines.importers.faults import Faults, Pace, deliveries
from pipelines.importers.hub import RawWriter, json_lines
from serving.store import Store

Progress = Callable[[str, int, int], None]

ON_THE_WAY_US: Final = 2_000_000
"""From a device to the hub, where a data set does not say."""
HOUR_US: Final = 3_600_000_000
MOST_CHARACTERS: Final = 8 * 1024 * 1024  # of an object; what comes in an hour beyond it goes to further ones
_TOLD_EVERY = 2_000
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """A message of a device.

    Attributes:
        device: Its name.
        time_us: Event time, UTC microseconds; the hub's text has milliseconds.
        values: Signals, or samples of a burst.
        name: What the objects are called that it goes into.
        more: Further fields of the message.
        tags: What the summary counts of it.
    """

    device: str
    time_us: int
    values: Mapping[str, Any]
    name: str
    more: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """An event of a device, and when it became known; times are UTC microseconds."""

    device: str
    time_us: int
    kind: str
    detail: str
    known_us: int
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """The fleet whose messages are written, and its pace."""

    fleet: str
    pace: Pace

    @classmethod
    def of(cls, fleet: Fleet) -> "Target":
        """The target for a fleet of the catalog."""
        return cls(fleet.name, Pace(fleet.sampling // _MILLISECOND, fleet.late_after // _MILLISECOND))


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote. Messages and events are those of the objects written by this run.

    Attributes:
        objects: Objects written.
        unchanged: Objects that were there already.
        messages: Telemetry messages, the repeated and the spoilt ones included.
        faults: How many of them are ``late``, ``duplicate``, ``overtaken`` and ``spoilt``.
        events: Events by kind.
        tags: What else was counted.
        devices: Devices with telemetry.
        first_us: First event time of telemetry, UTC microseconds.
        last_us: Last event time of telemetry that arrived before ``until``, UTC microseconds.
    """

    objects: int
    unchanged: int
    messages: int
    faults: dict[str, int]
    events: dict[str, int]
    tags: dict[str, int]
    devices: int
    first_us: int
    last_us: int


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def write(
    store: Store,
    target: Target,
    items: Iterable[Reading | Report],
    *,
    faults: Faults | None = None,
    until_us: int | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Write a data set below ``raw/<fleet>/`` of a store, an object an hour and name.

    Args:
        store: Where to.
        target: For which fleet.
        items: Messages and reports in any order.
        faults: What the network does to messages; nothing when not given. Reports are left alone.
        until_us: Write what arrived before this time only (UTC microseconds, rounded down to the hour); None for all.
        progress: Called with (stage, items done, items in all; 0 where nobody knows).

    Raises:
        ImportFileError: There is no telemetry, or none before ``until_us``.
    """
    tell = progress or silent
    limit = None if until_us is None else until_us // HOUR_US
    with contextlib.closing(_waiting_room()) as waiting:
        seen = _Seen()
        texts = functools.partial(_texts, pace=target.pace, faults=faults or Faults())
        rows = _arrivals(_told(items, f"read {target.fleet}", tell), texts, limit, seen)
        waiting.executemany("INSERT INTO arrival VALUES (?, ?, ?, ?, ?, ?)", rows)
        if seen.first_us is None:
            before = f"before {datetime.fromtimestamp(limit * 3600, UTC)}" if limit is not None else "at all"
            raise ImportFileError(f"there is no telemetry {before}", where=f"raw/{target.fleet}", fix="a later --until")
        written = _write(waiting, RawWriter(store, target.fleet), _stored(store, target.fleet), tell)
    return replace(written, devices=len(seen.devices), first_us=seen.first_us, last_us=seen.last_us)


@dataclass(slots=True)
class _Seen:
    """What was read of the data set: devices and the span of their telemetry."""

    devices: set[str] = field(default_factory=set)
    first_us: int | None = None
    last_us: int = 0

    def add(self, reading: Reading) -> None:
        self.devices.add(reading.device)
        self.first_us = reading.time_us if self.first_us is None else min(self.first_us, reading.time_us)
        self.last_us = max(self.last_us, reading.time_us)


_Text = tuple[str, int, str, str]  # stream, arrival in ms, text, what is counted of it
_Row = tuple[str, int, str, int, str, str]  # stream, hour, name, arrival in ms, text, what is counted of it


def _told(items: Iterable[Reading | Report], stage: str, tell: Progress) -> Iterator[Reading | Report]:
    done = 0
    tell(stage, done, 0)
    for item in items:
        yield item
        done += 1
        if not done % _TOLD_EVERY:
            tell(stage, done, 0)
    tell(stage, done, done)


def _arrivals(
    items: Iterable[Reading | Report],
    texts: Callable[[Reading | Report], Iterable[_Text]],
    limit: int | None,
    seen: _Seen,
) -> Iterator[_Row]:
    for item in items:
        for stream, arrived_ms, text, counted in texts(item):
            hour = arrived_ms * 1000 // HOUR_US
            if limit is None or hour < limit:
                if isinstance(item, Reading):
                    seen.add(item)
                yield stream, hour, item.name, arrived_ms, text, counted


def _texts(item: Reading | Report, pace: Pace, faults: Faults) -> Iterator[_Text]:
    if isinstance(item, Report):
        times = {"ts": item.time_us // 1000, "known_at": item.known_us // 1000}
        event = {"device": item.device, "ts": times["ts"], "kind": item.kind, "detail": item.detail, **times}
        yield "events", times["known_at"], json_lines([event]).decode(), f"event:{item.kind}"
        return
    stamp = item.time_us // 1000
    message = {"device": item.device, "ts": stamp, **item.more, "values": item.values}
    tags = " ".join(f"tag:{tag}" for tag in item.tags)
    for delivery in deliveries(message, stamp + ON_THE_WAY_US // 1000, pace, faults):
        fault = f" fault:{delivery.fault}" if delivery.fault else ""
        yield "telemetry", delivery.received_ms, delivery.line, f"{tags}{fault}"


def _waiting_room() -> sqlite3.Connection:
    """A temporary database on disk that goes with its connection."""
    waiting = sqlite3.connect("", isolation_level="IMMEDIATE")
    waiting.executescript(
        "PRAGMA temp_store = FILE; PRAGMA journal_mode = OFF; PRAGMA cache_size = -32768;"
        "CREATE TABLE arrival (stream TEXT, hour INTEGER, name TEXT, arrived INTEGER, line TEXT, counted TEXT)"
    )
    return waiting


def _stored(store: Store, fleet: str) -> set[str]:
    return {entry.key for entry in store.list(f"raw/{fleet}/")}


def _write(waiting: sqlite3.Connection, writer: RawWriter, stored: set[str], tell: Progress) -> Imported:
    """Write the objects that are not stored yet; messages are counted of those alone."""
    whole = waiting.execute("SELECT count(*) FROM (SELECT DISTINCT stream, hour, name FROM arrival)").fetchone()[0]
    rows = waiting.execute("SELECT * FROM arrival ORDER BY stream DESC, hour, name, arrived, rowid")
    counts = Counter[str]()
    for done, ((stream, hour, name), group) in enumerate(itertools.groupby(rows, lambda row: row[:3]), start=1):
        for part, lines in enumerate(_parts(group)):
            key = writer.key(stream, f"{name}-{part:04d}" if part else name, hour * HOUR_US)
            if key in stored:
                counts["unchanged"] += 1
                continue
            writer.put(key, "".join(row[4] for row in lines).encode())
            counts["objects"] += 1
            counts[stream] += len(lines)
            counts.update(word for row in lines for word in row[5].split())
        tell("write objects", done, whole)
    return Imported(
        objects=counts["objects"],
        unchanged=counts["unchanged"],
        messages=counts["telemetry"],
        faults=_of("fault:", counts),
        events=_of("event:", counts),
        tags=_of("tag:", counts),
        devices=0,
        first_us=0,
        last_us=0,
    )


def _parts(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    part: list[_Row] = []
    size = 0
    for row in rows:
        if part and size + len(row[4]) > MOST_CHARACTERS:
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row[4])
    yield part


def _of(prefix: str, counts: Counter[str]) -> dict[str, int]:
    found = {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    return dict(sorted(found.items()))
