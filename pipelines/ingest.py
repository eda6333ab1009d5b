"""Raw objects become rows of the lake, each exactly once.

    list raw objects -> plan a batch (ledger) -> read and judge -> quarantine -> one commit -> ledger: done

What makes it exactly once is the commit, which carries the number of its plan (see `pipelines.ledger`): a run that is
killed anywhere leaves either a plan, which the next run does again, or rows, which it finds. Two runs at once are safe:
on a local folder the second one says that the first is at work, on S3 it does until both want to commit one number.
What cannot be taken is quarantined before the commit, with the reason; nothing in a raw object stops the run.

Objects may change under their key. One that was read is read again when its etag is another; what it gave before goes,
unless it still gives it or the fleet says that every version counts (`Fleet.rewritten`). One that changes between
listing and reading is taken as it is, and once more by the next run.

Of every batch the ledger and the commit say: records = quarantined + accepted + duplicates + superseded, or + events.

Why so:
    * Listing, not notifications. Status: accepted. Notifications get lost and come twice; a listing is the truth, and
      they only say what to read first. Cost: a request for each thousand objects in each run.
    * Duplicates are found by content. Status: accepted. A redelivery is a new object with a new name. Cost: device and
      time of the stored rows of the touched dates are read back for each batch.
    * Batches are bounded by what comes out of them. Status: accepted. How much that is, packed bytes do not tell, so
      the first batch is small and the next ones are cut by what the last one gave. Cost: a few small commits more.
"""

import contextlib
import errno
import fcntl
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import pyarrow as pa

from features.schema import Fleet
from pipelines import quarantine
from pipelines.errors import CommitConflictError, IngestRunningError, NothingStoredError
from pipelines.former import Former
from pipelines.lake import CROWDED, Lake, Snapshot, compact
from pipelines.ledger import Intent, Ledger, Outcome, Past, Source, spans_of
from pipelines.listing import everything
from pipelines.quarantine import Rejected
from pipelines.reading import Reader
from pipelines.records import WHOLE
from pipelines.streams import EventStream, Intake, Stream, TelemetryStream
from serving.errors import DiskFullError, StoreDeniedError
from serving.store import FolderStore, Store

Progress = Callable[[str, int, int], None]
"""Told what is going on: the stage, how much of it is done, and how much there is."""

_BATCH_BYTES = 32 * 1024 * 1024
_FIRST_BYTES = 4 * 1024 * 1024
_BATCH_OBJECTS = 20_000
_BATCH_ROWS = 250_000
_RETRIES = 3
_LOOK_BACK = 100  # commits; others may have compacted since


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What a run did.

    Attributes:
        objects: Raw objects that were read.
        accepted: Readings that are rows of the table now, or gave one a value that it lacked.
        duplicates: Readings and events that were there already, or came twice.
        late: Accepted readings that arrived later than the fleet expects.
        quarantined: Records that were rejected.
        unreadable: Objects that were rejected as a whole.
        events: Events that are new in the table.
        batches: Commits.
        records: Records that were read: those that are quarantined, accepted, duplicates, superseded or events.
        superseded: Readings that say something else than the one that is believed.
        joined: Accepted readings that share a row with another one of their batch.
        replaced: Rows that went out of the table.
        excluded: Objects that the mapping passes over, as far as there was something new beside them.
        restored: Rows that came into it from objects of earlier batches, because what was believed before them is gone.
    """

    objects: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    quarantined: int = 0
    unreadable: int = 0
    events: int = 0
    batches: int = 0
    records: int = 0
    superseded: int = 0
    joined: int = 0
    excluded: int = 0
    replaced: int = 0
    restored: int = 0

    def __add__(self, other: "IngestSummary") -> "IngestSummary":
        names = [field.name for field in fields(self)]
        return IngestSummary(**{name: getattr(self, name) + getattr(other, name) for name in names})


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def ingest(
    store: Store,
    lake: Lake,
    fleet: Fleet,
    now_us: int,
    progress: Progress = silent,
    *,
    first: Collection[str] = (),
    witness: "Witness | None" = None,
) -> IngestSummary:
    """Take in all raw objects of a fleet that were not taken in yet.

    Args:
        store: Where the raw objects lie.
        lake: The tables of the same store.
        fleet: Whose telemetry and events.
        now_us: The clock, UTC microseconds.
        progress: Told after each part of a batch.
        first: Keys to take in before all others, where the listing shows them; see `pipelines.notices`.
        witness: Shown each batch that was committed.

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
            run = _Run(store, fleet.name, stream, now_us, progress, first=first, witness=witness)
            for batch in run.batches():
                summary += batch
            if run.crowded:
                compact(stream.table, now_us)
        if witness:
            witness.close()
    return summary


class Witness(Protocol):
    """Somebody who watches what comes in; see `pipelines.witness`."""

    def batch(
        self, stream: str, rows: Sequence[pa.Table], rejects: Sequence[Rejected], counts: Mapping[str, int]
    ) -> None:
        """A batch was committed: what was believed, what was not, and what became of it."""

    def close(self) -> None:
        """The run has ended."""


class _Run:
    """One stream of one run."""

    def __init__(
        self,
        store: Store,
        fleet: str,
        stream: Stream,
        now_us: int,
        progress: Progress,
        *,
        first: Collection[str],
        witness: Witness | None,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._stream = stream
        self._now_us = now_us
        self._progress = progress
        self._first = frozenset(first)
        self._witness = witness
        self._ledger = Ledger(store, stream.ledger, keep_places=stream.replaces)
        self._past = Past(keep_places=stream.replaces)
        self._snapshot: Snapshot | None = None
        self._most_bytes = _FIRST_BYTES
        self._done = 0
        self._total = 0
        self._excluded = 0
        self.crowded = False
        """Whether a date may have come to have so many files that compacting pays; opening the table to see costs."""

    def batches(self) -> Iterator[IngestSummary]:
        """Carry out the plans that a former run left, then plan and carry out what is new."""
        self._snapshot = self._stream.table.create()
        reached = self._snapshot.transaction(self._stream.writer)
        self._past = self._ledger.read(reached)
        self._finish_late(reached)
        left = [self._ledger.intent(seq) for seq in self._past.left]
        self._total = sum(len(intent.objects) for intent in left)
        with Reader(self._store, self._stream) as reader:
            for intent in left:
                yield self._carry_out(intent, reader)
            fresh = sorted(self._fresh(), key=lambda source: source.key not in self._first)
            self._total += len(fresh)
            seq = max([reached, *self._past.left])
            while fresh:
                objects = next(split(fresh, self._most_bytes, _BATCH_OBJECTS))
                del fresh[: len(objects)]
                seq += 1
                intent = Intent(seq, tuple(objects), self._now_us)
                if not self._ledger.plan(intent):
                    raise _running(self._fleet)
                yield self._carry_out(intent, reader)

    def _finish_late(self, reached: int) -> None:
        """A run that was killed right behind its commit did not write down what came of it; the commit says it."""
        if not self._past.undone:
            return
        for commit in self._stream.table.open().history(_LOOK_BACK):
            counts = commit.get("ingest", {})
            if counts.get("seq") == reached:
                self._ledger.finish_late(reached, counts)
                self._past.hide(spans_of(counts.get("moved")) or {})
                return

    def _fresh(self) -> Iterator[Source]:
        """The objects that were not ingested as they are now, each key once however often it is listed."""
        last = ""
        for entry in everything(self._store, self._stream.prefix):
            if entry.key == last:
                continue
            if not self._stream.selects(entry.key):
                self._excluded += 1
            elif self._past.is_new(entry.key, entry.etag):
                yield Source(entry.key, entry.etag, entry.size, entry.modified_us)
            last = entry.key

    def _carry_out(self, intent: Intent, reader: Reader) -> IngestSummary:
        snapshot = self._opened()
        if snapshot.transaction(self._stream.writer) >= intent.seq:
            raise _running(self._fleet)
        found = reader.read(intent, self._tell)
        quarantine.write(self._store, self._fleet, self._stream.batch_name(intent.seq), found.rejects)
        self._ledger.note_grown(intent.seq, found.grown)
        whole = sum(line.ordinal == WHOLE for line in found.rejects)
        quarantined = len(found.rejects) - whole
        counts = {
            "objects": len(intent.objects),
            "records": sum(map(len, found.rows)) + quarantined,
            "quarantined": quarantined,
            "unreadable": whole,
            "excluded": self._excluded,
        }
        self._excluded = 0  # told with the first batch behind the listing
        told = {
            "seq": intent.seq,
            **counts,
            "reasons": dict(Counter(line.reason for line in found.rejects)),
            "planned_at_us": intent.planned_at_us,
        }
        former = self._former(intent, found.refused)
        search = reader.search(self._past, {source.key for source in intent.objects}, self._now_us)
        outcome = self._commit(
            snapshot, Intake(intent.seq, found.rows, told, found.clocks, former, search, self._now_us)
        )
        self._past.add(intent, found.grown, outcome.hidden)
        self._ledger.finish(intent.seq, Outcome({**told, **outcome.counts}, outcome.hidden), self._past)
        if self._witness:
            self._witness.batch(self._stream.name, found.rows, found.rejects, {**counts, **outcome.counts})
        self._learn(intent, counts["records"])
        pa.default_memory_pool().release_unused()  # it would keep what the largest batch took
        return IngestSummary(batches=1, **counts, **outcome.counts)

    def _former(self, intent: Intent, refused: Collection[str]) -> Former:
        """What objects gave before they were written again.

        What an object gave that is gone now, or cannot be read any more, stays: it may be the only copy.
        """
        if not self._stream.replaces:
            return Former()
        read = [(at, source.key) for at, source in enumerate(intent.objects) if source.key not in refused]
        heirs = {place: position for position, key in read for place in self._past.places(key)}
        known = (self._past.objects.get(key) for _, key in read)
        spans = {each.hidden for each in known if each and each.hidden[0] <= each.hidden[1]}
        return Former(heirs, sorted(spans))

    def _opened(self) -> Snapshot:
        """The table; opening it takes as long as a small commit, so what was opened to look is used once."""
        snapshot, self._snapshot = self._snapshot, None
        return snapshot or self._stream.table.open()

    def _commit(self, snapshot: Snapshot, intake: Intake, retries: int = _RETRIES) -> Outcome:
        """Commit; again, when somebody else was faster with something else, such as a compaction."""
        try:
            outcome = self._stream.commit(snapshot, intake)
        except CommitConflictError as error:
            newer = self._stream.table.open()
            if newer.transaction(self._stream.writer) >= intake.seq:
                raise _running(self._fleet) from error
            if not retries:
                raise
            return self._commit(newer, intake, retries - 1)
        files = Counter(file.date for file in snapshot.files())  # those that this commit added included
        self.crowded = max(files.values(), default=0) > CROWDED
        return outcome

    def _tell(self, objects: int) -> None:
        self._done += objects
        self._progress(f"ingest {self._stream.name}", self._done, self._total)

    def _learn(self, intent: Intent, records: int) -> None:
        """Cut the next batch so that about as many records come out of it as fit."""
        size = sum(source.size for source in intent.objects)
        fitting = size * _BATCH_ROWS // max(records, 1)
        self._most_bytes = min(max(fitting, _FIRST_BYTES // 4), _BATCH_BYTES, self._most_bytes * 4)


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
    path = store.root / f".tidemill-ingest-{fleet}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            raise DiskFullError("no space left for a lock", where=str(path), why=why, fix="free some space") from error
        what = "the folder of the store cannot be written to"
        raise StoreDeniedError(what, where=str(path), why=why, fix="check owner, mode and mount") from error
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
