"""What ingest did not take: kept with its bytes and the reason, readable, and replayable.

A batch's rejects lie under ``quarantine/<fleet>/<batch>/<nnnn>.jsonl.gz``, a JSON object a line: ``key``, ``ordinal``
(-1 is a whole object), ``offset``, ``bytes`` (base64), ``reason``, ``sentence``. Names and bytes follow from the batch,
so a batch that is done again after a kill writes the same objects.

Replaying writes the rejected bytes back as raw objects, for the next ingest to judge anew: after a range in the catalog
was corrected, for example. What was taken before is not doubled, because readings are unique by device and time.
"""

import base64
import binascii
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.errors import QuarantineError
from pipelines.records import WHOLE, Reject
from serving.store import Store

_MOST_LINES = 5000
_MOST_BYTES = 8 * 1024 * 1024
_MOST_WHOLE = 16 * 1024 * 1024


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
    """

    key: str
    ordinal: int
    offset: int
    data: bytes
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The rejects of one ingest batch, counted by reason."""

    name: str
    reasons: dict[str, int]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay wrote back: records, whole objects, and the keys of the new raw objects."""

    records: int
    objects: int
    keys: tuple[str, ...]


def rejected(key: str, reject: Reject) -> Rejected:
    """The line for a reject of the object ``key``."""
    data = b"" if reject.ordinal == WHOLE and len(reject.data) > _MOST_WHOLE else reject.data
    return Rejected(key, reject.ordinal, reject.offset, data, reject.reason.value, reject.sentence)


def write(store: Store, fleet: str, batch: str, lines: Iterable[Rejected]) -> None:
    """Keep the rejects of a batch, in place of whatever an earlier attempt at it kept."""
    written = set()
    for number, chunk in enumerate(_chunks(lines)):
        key = f"{_folder(fleet, batch)}{number:04d}.jsonl.gz"
        store.put(key, gzip.compress(b"".join(chunk), mtime=0))
        written.add(key)
    for entry in list(store.list(_folder(fleet, batch))):
        if entry.key not in written:
            store.delete(entry.key)


def batches(store: Store, fleet: str) -> list[Batch]:
    """The batches that have rejects, in order of their names."""
    prefix = f"quarantine/{fleet}/"
    names = sorted({entry.key.removeprefix(prefix).partition("/")[0] for entry in store.list(prefix)})
    return [Batch(name, dict(Counter(line.reason for line in read(store, fleet, name)))) for name in names]


def read(store: Store, fleet: str, batch: str) -> Iterator[Rejected]:
    """The rejects of a batch, in the order they were found.

    Raises:
        QuarantineError: There is no such batch, or it cannot be read.
    """
    empty = True
    for entry in store.list(_folder(fleet, batch)):
        empty = False
        try:
            for line in gzip.decompress(store.get(entry.key)).splitlines():
                document = json.loads(line)
                document["data"] = base64.b64decode(document.pop("bytes"), validate=True)
                yield Rejected(**document)
        except (ValueError, KeyError, TypeError, OSError, EOFError, binascii.Error) as error:
            raise QuarantineError("a quarantined batch cannot be read", where=entry.key, why=str(error)) from error
    if empty:
        raise QuarantineError(
            f"nothing is quarantined as batch {batch}",
            where=_folder(fleet, batch),
            fix="look at the batches there are: tidemill quarantine list " + fleet,
        )


def replay(store: Store, fleet: str, batch: str, now_us: int) -> Replay:
    """Write the rejects of a batch back as raw objects and take them out of the quarantine.

    Args:
        store: The store.
        fleet: Name of the fleet.
        batch: Name of the batch, see `batches`.
        now_us: The clock, UTC microseconds; it names the new objects.

    Raises:
        QuarantineError: There is no such batch, or it cannot be read.
    """
    hour = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    records: dict[str, list[bytes]] = {}
    keys, whole = [], 0
    for line in read(store, fleet, batch):
        stream = "events" if line.key.startswith(f"raw/{fleet}/events/") else "telemetry"
        folder = f"raw/{fleet}/{stream}/{hour:%Y/%m/%d/%H}"
        if line.ordinal != WHOLE:
            records.setdefault(folder, []).append(line.data)
        elif line.data:
            keys.append(f"{folder}/replay-{batch}-{now_us}-{whole:05d}")
            store.put(keys[-1], line.data)
            whole += 1
    for folder, parts in records.items():
        keys.append(f"{folder}/replay-{batch}-{now_us}.json.gz")
        store.put(keys[-1], gzip.compress(b"\n".join(parts), mtime=0))
    for entry in list(store.list(_folder(fleet, batch))):
        store.delete(entry.key)
    return Replay(sum(map(len, records.values())), whole, tuple(keys))


def _folder(fleet: str, batch: str) -> str:
    return f"quarantine/{fleet}/{batch}/"


def _chunks(lines: Iterable[Rejected]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        document = {
            "key": line.key,
            "ordinal": line.ordinal,
            "offset": line.offset,
            "reason": line.reason,
            "sentence": line.sentence,
            "bytes": base64.b64encode(line.data).decode(),
        }
        chunk.append(json.dumps(document).encode() + b"\n")
        size += len(chunk[-1])
        if len(chunk) >= _MOST_LINES or size >= _MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
