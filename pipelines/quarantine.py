"""What ingest did not take: kept with its bytes and the reason, readable, replayable (`pipelines.replay`).

A batch's rejects lie under ``quarantine/<fleet>/<batch>/<nnnn>.<counts>.jsonl.gz``, a JSON object a line: ``key``,
``etag``, ``ordinal`` (-1 is a whole object), ``offset``, ``bytes`` (base64), ``reason``, ``sentence``. The counts say
how many lines have which reason, by its number (``5x12.8x1``), so that thousands of batches are listed without reading
them; objects without counts are older and are read. Names and bytes follow from the batch, so a batch that is done
again after a kill writes the same objects.
"""

import base64
import binascii
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from features.schema import Reason
from pipelines.errors import QuarantineError
from pipelines.rejects import WHOLE, Reject
from serving.store import Entry, Store

PLAN = "replay.json"
"""Name of the object that a replay leaves in a batch until it is done."""
_MOST_LINES = 5000
_MOST_OUTSIDE = 10_000  # rejects of one batch whose values are read once more for the data report
_MOST_BYTES = 8 * 1024 * 1024
_MOST_WHOLE = 16 * 1024 * 1024
_COUNT = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line of the quarantine.

    Attributes:
        key: The raw object it came from.
        ordinal: Position of the record in the object, or `records.WHOLE`.
        offset: Where it began in the unpacked object, bytes.
        data: Its bytes; empty for a whole object that was gone or is larger than 16 MiB (it still lies under its key).
        reason: The kind of fault.
        sentence: The fault in words.
        etag: Of the raw object, as the ledger has it; empty in lines that are older.
    """

    key: str
    ordinal: int
    offset: int
    data: bytes
    reason: str
    sentence: str
    etag: str = ""

    @property
    def place(self) -> tuple[str, str, int, int]:
        """Where it was found; no two rejects share it."""
        return self.key, self.etag, self.ordinal, self.offset


@dataclass(frozen=True, slots=True)
class Batch:
    """The rejects of one ingest batch.

    Attributes:
        name: Its name.
        reasons: How many have which reason.
        written_us: When the newest of its objects was written, by the clock of the store, UTC microseconds.
        unfinished: Whether a replay was begun and not ended; repeating it ends it.
    """

    name: str
    reasons: dict[str, int]
    written_us: int = 0
    unfinished: bool = False

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


def rejected(key: str, reject: Reject, etag: str = "") -> Rejected:
    """The line for a reject of the object ``key``."""
    data = b"" if reject.ordinal == WHOLE and len(reject.data) > _MOST_WHOLE else reject.data
    return Rejected(key, reject.ordinal, reject.offset, data, reject.reason.value, reject.sentence, etag)


@dataclass(slots=True)
class Kept:
    """What is known of the rejects of a batch when they are in the quarantine.

    Attributes:
        reasons: How many have which reason.
        whole: How many are whole objects.
        refused: The keys of these.
        outside: The first of those with a value out of range, as many as are looked at once more.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    whole: int = 0
    refused: set[str] = field(default_factory=set)
    outside: list[Rejected] = field(default_factory=list)
    _room: int = _MOST_WHOLE

    def add(self, line: Rejected) -> None:
        """Take note of one."""
        self.reasons[line.reason] += 1
        if line.ordinal == WHOLE:
            self.whole += 1
            self.refused.add(line.key)
        elif line.reason == Reason.OUT_OF_RANGE.value and len(self.outside) < _MOST_OUTSIDE and self._room > 0:
            self.outside.append(line)
            self._room -= len(line.data)


class Keeper:
    """Writes the rejects of a batch while they come, so that never more than one object of them is in memory.

    Args:
        store: Where the quarantine lies.
        fleet: The name of the fleet.
        batch: The name of the batch; what an earlier attempt at it kept is replaced.
    """

    def __init__(self, store: Store, fleet: str, batch: str) -> None:
        self._store = store
        self._folder = folder(fleet, batch)
        self._written = {plan_key(fleet, batch)}
        self._number = 0
        self._reasons: Counter[str] = Counter()
        self._lines: list[bytes] = []
        self._size = 0
        self._kept = Kept()

    def keep(self, line: Rejected) -> None:
        """Keep one more."""
        written = _written(line)
        self._lines.append(written)
        self._reasons[line.reason] += 1
        self._size += len(written)
        self._kept.add(line)
        if len(self._lines) >= _MOST_LINES or self._size >= _MOST_BYTES:
            self._put()

    def close(self) -> Kept:
        """Write what is left, and remove what an earlier attempt kept and this one did not."""
        if self._lines:
            self._put()
        for entry in list(self._store.list(self._folder)):
            if entry.key not in self._written:
                self._store.delete(entry.key)
        return self._kept

    def _put(self) -> None:
        key = f"{self._folder}{self._number:04d}{_counts(self._reasons)}.jsonl.gz"
        self._store.put(key, gzip.compress(b"".join(self._lines), mtime=0))
        self._written.add(key)
        self._number += 1
        self._lines, self._size, self._reasons = [], 0, Counter()


def write(store: Store, fleet: str, batch: str, lines: Iterable[Rejected]) -> None:
    """Keep the rejects of a batch, in place of whatever an earlier attempt at it kept."""
    keeper = Keeper(store, fleet, batch)
    for line in lines:
        keeper.keep(line)
    keeper.close()


def batches(store: Store, fleet: str) -> list[Batch]:
    """The batches that have rejects, in order of their names."""
    prefix = f"quarantine/{fleet}/"
    found: dict[str, list[Entry]] = {}
    for entry in store.list(prefix):
        found.setdefault(entry.key.removeprefix(prefix).partition("/")[0], []).append(entry)
    return [_batch(store, name, entries) for name, entries in sorted(found.items())]


def read(store: Store, fleet: str, batch: str) -> Iterator[Rejected]:
    """The rejects of a batch, in the order they were found, each once.

    Raises:
        QuarantineError: There is no such batch, or it cannot be read.
    """
    empty = True
    seen: set[tuple[str, str, int, int]] = set()
    for entry in store.list(folder(fleet, batch)):
        empty = False
        if entry.key.endswith(f"/{PLAN}"):
            continue
        for line in _read_object(store, entry.key):
            # Somebody who was killed while a batch was written anew has left lines in the old and in the new object.
            if line.place not in seen:
                seen.add(line.place)
                yield line
    if empty:
        raise QuarantineError(
            f"nothing is quarantined as batch {batch}",
            where=folder(fleet, batch),
            fix="look at the batches there are: tidemill quarantine list " + fleet,
        )


def purge(store: Store, fleet: str, batch: str, reason: str | None = None) -> dict[str, int]:
    """Remove the rejects of a batch for good, all or those with one reason; return how many by reason."""
    lines = list(read(store, fleet, batch))
    write(store, fleet, batch, [line for line in lines if reason not in (None, line.reason)])
    return dict(Counter(line.reason for line in lines if reason in (None, line.reason)))


def folder(fleet: str, batch: str) -> str:
    """Where a batch lies."""
    return f"quarantine/{fleet}/{batch}/"


def plan_key(fleet: str, batch: str) -> str:
    """Where a replay of a batch writes down what it is about to do."""
    return f"{folder(fleet, batch)}{PLAN}"


def _batch(store: Store, name: str, entries: list[Entry]) -> Batch:
    reasons: Counter[str] = Counter()
    unfinished = False
    for entry in entries:
        if entry.key.endswith(f"/{PLAN}"):
            unfinished = True
            continue
        counted = _counted(entry.key)
        reasons.update(Counter(line.reason for line in _read_object(store, entry.key)) if counted is None else counted)
    order = {reason.value: reason.number for reason in Reason}
    in_order = sorted(reasons.items(), key=lambda item: order.get(item[0], 0))
    return Batch(name, dict(in_order), max(entry.modified_us for entry in entries), unfinished)


def _counts(reasons: Counter[str]) -> str:
    """The part of an object's name that counts its lines; empty when a reason has no number."""
    numbers = {reason.value: reason.number for reason in Reason}
    if not reasons.keys() <= numbers.keys():
        return ""
    return "".join(f".{number}x{count}" for number, count in sorted((numbers[r], c) for r, c in reasons.items()))


def _counted(key: str) -> dict[str, int] | None:
    """What an object's name says of its lines; None when it says nothing that this version understands."""
    reasons = list(Reason)
    found: dict[str, int] = {}
    for part in key.rpartition("/")[2].removesuffix(".jsonl.gz").split(".")[1:]:
        match = _COUNT.fullmatch(part)
        if match is None or not 1 <= int(match[1]) <= len(reasons):
            return None
        found[reasons[int(match[1]) - 1].value] = int(match[2])
    return found or None


def _read_object(store: Store, key: str) -> Iterator[Rejected]:
    try:
        for line in gzip.decompress(store.get(key)).splitlines():
            document = json.loads(line)
            document["data"] = base64.b64decode(document.pop("bytes"), validate=True)
            yield Rejected(**document)
    except (ValueError, KeyError, TypeError, OSError, EOFError, binascii.Error) as error:
        raise QuarantineError("a quarantined batch cannot be read", where=key, why=str(error)) from error


def _written(line: Rejected) -> bytes:
    document = {
        "key": line.key,
        "etag": line.etag,
        "ordinal": line.ordinal,
        "offset": line.offset,
        "reason": line.reason,
        "sentence": line.sentence,
        "bytes": base64.b64encode(line.data).decode(),
    }
    return json.dumps(document).encode() + b"\n"
