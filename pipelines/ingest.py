"""Raw objects become rows of the lake, each exactly once.

    list raw objects -> plan a batch (ledger) -> read and judge -> quarantine -> one commit -> ledger: done

What makes it exactly once is the commit, which carries the number of its plan (see `pipelines.ledger`): a run that is
killed anywhere leaves either a plan, which the next run does again, or rows, which it finds. Two runs at once are safe:
on a local folder the second one says that the first is at work, on S3 it does until both want to commit one number.
What cannot be taken is quarantined before the commit, with the reason; nothing in a raw object stops the run.

Why so:
    * Listing, not notifications. Status: accepted. Notifications get lost and come twice; a listing is the truth. Cost:
      a request for each thousand objects in each run.
    * Duplicates are found by content. Status: accepted. A redelivery is a new object with a new name. Cost: device and
      time of the stored rows of the touched dates are read back for each batch.
"""

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

from features.schema import Fleet
from pipelines import quarantine
from pipelines.errors import CommitConflictError, IngestRunningError, NothingStoredError
from pipelines.lake import Lake, compact
from pipelines.ledger import Intent, Ledger, Source
from pipelines.quarantine import Rejected
from pipelines.records import WHOLE, RawObject
from pipelines.streams import EventStream, Part, Stream, TelemetryStream
from serving.errors import MissingObjectError
from serving.store import FolderStore, Store

Progress = Callable[[str, int, int], None]
"""Told what is going on: the stage, how much of it is done, and how much there is."""

_BATCH_BYTES = 32 * 1024 * 1024
_BATCH_OBJECTS = 20_000
_GROUP_BYTES = 32 * 1024  # only small objects gain from being read together, and a broken one costs its neighbours
_GROUP_OBJECTS = 200
_THREADS = 4  # reading waits for the store, unpacking and parsing do not hold the interpreter


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What a run did.

    Attributes:
        objects: Raw objects that were read.
        accepted: Readings that are new in the table.
        duplicates: Readings that were there already, or came twice.
        late: Accepted readings that arrived later than the fleet expects.
        quarantined: Records that were rejected.
        unreadable: Objects that were rejected as a whole.
        events: Events that are new in the table.
        batches: Commits.
    """

    objects: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    quarantined: int = 0
    unreadable: int = 0
    events: int = 0
    batches: int = 0

    def __add__(self, other: "IngestSummary") -> "IngestSummary":
        names = [field.name for field in fields(self)]
        return IngestSummary(**{name: getattr(self, name) + getattr(other, name) for name in names})


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def ingest(store: Store, lake: Lake, fleet: Fleet, now_us: int, progress: Progress = silent) -> IngestSummary:
    """Take in all raw objects of a fleet that were not taken in yet.

    Args:
        store: Where the raw objects lie.
        lake: The tables of the same store.
        fleet: Whose telemetry and events.
        now_us: The clock, UTC microseconds.
        progress: Told after each part of a batch.

    Raises:
        NothingStoredError: There is nothing under ``raw/<fleet>/``.
        IngestRunningError: Another run is at work.
        LedgerError: A plan that was not carried out cannot be read.
    """
    prefix = f"raw/{fleet.name}/"
    if next(iter(store.list(prefix)), None) is None:
        raise NothingStoredError(
            f"nothing under {prefix}", where=store.uri, fix=f"tidemill simulate {fleet.name}, or check the store"
        )
    summary = IngestSummary()
    with _alone(store, fleet.name):
        for stream in (TelemetryStream(lake, fleet), EventStream(lake, fleet)):
            for batch in _Run(store, fleet.name, stream, now_us, progress).batches():
                summary += batch
            compact(stream.table, now_us)
    return summary


class _Run:
    """One stream of one run."""

    def __init__(self, store: Store, fleet: str, stream: Stream, now_us: int, progress: Progress) -> None:
        self._store = store
        self._fleet = fleet
        self._stream = stream
        self._now_us = now_us
        self._progress = progress
        self._ledger = Ledger(store, stream.ledger)
        self._done = 0
        self._total = 0

    def batches(self) -> Iterator[IngestSummary]:
        """Carry out the plans that a former run left, then plan and carry out what is new."""
        reached = self._stream.table.create().transaction(self._stream.writer)
        planned = self._ledger.numbers()
        known = self._ledger.known(planned)
        fresh = [
            Source(entry.key, entry.etag, entry.size)
            for entry in self._store.list(self._stream.prefix)
            if (entry.key, entry.etag) not in known
        ]
        left = [self._ledger.intent(seq) for seq in planned if seq > reached]
        self._total = len(fresh) + sum(len(intent.objects) for intent in left)
        with ThreadPoolExecutor(_THREADS) as pool:
            for intent in left:
                yield self._carry_out(intent, pool)
            seq = max([reached, *planned[-1:]])
            for objects in split(fresh, _BATCH_BYTES, _BATCH_OBJECTS):
                seq += 1
                intent = Intent(seq, tuple(objects), self._now_us)
                if not self._ledger.plan(intent):
                    raise _running(self._fleet)
                yield self._carry_out(intent, pool)

    def _carry_out(self, intent: Intent, pool: ThreadPoolExecutor) -> IngestSummary:
        snapshot = self._stream.table.open()
        if snapshot.transaction(self._stream.writer) >= intent.seq:
            raise _running(self._fleet)
        parts: list[Part] = []
        groups = list(split(intent.objects, _GROUP_BYTES, _GROUP_OBJECTS))
        for group, part in zip(groups, pool.map(lambda g: self._read(g, intent.planned_at_us), groups), strict=True):
            parts.append(part)
            self._done += len(group)
            self._progress(f"ingest {self._stream.name}", self._done, self._total)
        rejects = [line for part in parts for line in part.rejects]
        quarantine.write(self._store, self._fleet, self._stream.batch_name(intent.seq), rejects)
        whole = sum(line.ordinal == WHOLE for line in rejects)
        counts = {"objects": len(intent.objects), "quarantined": len(rejects) - whole, "unreadable": whole}
        try:
            counts |= self._stream.commit(snapshot, [part.rows for part in parts], intent.seq, counts)
        except CommitConflictError as error:
            if self._stream.table.open().transaction(self._stream.writer) >= intent.seq:
                raise _running(self._fleet) from error
            raise
        reasons = dict(Counter(line.reason for line in rejects))
        self._ledger.finish(intent.seq, {**counts, "reasons": reasons, "planned_at_us": intent.planned_at_us})
        return IngestSummary(batches=1, **counts)

    def _read(self, group: Sequence[Source], clock_us: int) -> Part:
        found, lost = [], []
        for source in group:
            try:
                found.append(RawObject(source.key, self._store.get(source.key)))
            except MissingObjectError:
                sentence = "The object was gone before it was read."
                lost.append(Rejected(source.key, WHOLE, 0, b"", "unreadable", sentence))
        rows, rejects = self._stream.read(found, clock_us)
        return Part(rows, lost + [quarantine.rejected(found[reject.source].key, reject) for reject in rejects])


def split(objects: Iterable[Source], most_bytes: int, most_objects: int) -> Iterator[list[Source]]:
    """Cut a list of objects into runs that are neither too large nor too many; a larger object stands alone.

    Example:
        >>> objects = [Source(name, "", size) for name, size in [("a", 5), ("b", 5), ("c", 20), ("d", 1)]]
        >>> [[source.key for source in part] for part in split(objects, 10, 100)]
        [['a', 'b'], ['c'], ['d']]
    """
    part: list[Source] = []
    size = 0
    for source in objects:
        if part and (size + source.size > most_bytes or len(part) == most_objects):
            yield part
            part, size = [], 0
        part.append(source)
        size += source.size
    if part:
        yield part


def _running(fleet: str) -> IngestRunningError:
    return IngestRunningError(
        f"another ingest of {fleet} is at work", why="it took the batch this one was about to commit", fix="wait for it"
    )


@contextlib.contextmanager
def _alone(store: Store, fleet: str) -> Iterator[None]:
    """On a local folder one run at a time; elsewhere the numbers of the commits decide."""
    if not isinstance(store, FolderStore):
        yield
        return
    handle = os.open(store.root / f".tidemill-ingest-{fleet}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise IngestRunningError(
            f"another ingest of {fleet} is at work", where=store.uri, fix="wait for it to end"
        ) from error
    try:
        yield
    finally:
        os.close(handle)
