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
from dataclasses import dataclass

from features.schema import Reason
from pipelines.errors import QuarantineError
from pipelines.records import WHOLE, Reject
from serving.store import Entry, Store

PLAN = "replay.json"
"""Name of the object that a replay leaves in a batch until it is done."""
_MOST_LINES = 5000
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


def write(store: Store, fleet: str, batch: str, lines: Iterable[Rejected]) -> None:
    """Keep the rejects of a batch, in place of whatever an earlier attempt at it kept."""
    written = {plan_key(fleet, batch)}
    for number, (reasons, chunk) in enumerate(_chunks(lines)):
        key = f"{folder(fleet, batch)}{number:04d}{_counts(reasons)}.jsonl.gz"
        store.put(key, gzip.compress(b"".join(chunk), mtime=0))
        written.add(key)
    for entry in list(store.list(folder(fleet, batch))):
        if entry.key not in written:
            store.delete(entry.key)


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


def _chunks(lines: Iterable[Rejected]) -> Iterator[tuple[Counter[str], list[bytes]]]:
    chunk: list[bytes] = []
    reasons: Counter[str] = Counter()
    size = 0
    for line in lines:
        document = {
            "key": line.key,
            "etag": line.etag,
            "ordinal": line.ordinal,
            "offset": line.offset,
            "reason": line.reason,
            "sentence": line.sentence,
            "bytes": base64.b64encode(line.data).decode(),
        }
        chunk.append(json.dumps(document).encode() + b"\n")
        reasons[line.reason] += 1
        size += len(chunk[-1])
        if len(chunk) >= _MOST_LINES or size >= _MOST_BYTES:
            yield reasons, chunk
            chunk, size, reasons = [], 0, Counter()
    if chunk:
        yield reasons, chunk
