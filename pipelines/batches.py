"""One stream of an ingest, batch by batch: planned, read, quarantined, committed and entered in the ledger."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Protocol

import pyarrow as pa

from pipelines.arrivals import Arrivals
from pipelines.errors import CommitConflictError, IngestRunningError
from pipelines.fetching import fetched, split
from pipelines.former import Former
from pipelines.lake import CROWDED, Snapshot
from pipelines.ledger import Ledger
from pipelines.past import Intent, Outcome, Past, Source, spans_of
from pipelines.quarantine import Keeper, Kept
from pipelines.reading import Reader, Reading
from pipelines.streams import Intake, Stream
from serving.errors import DamagedObjectError
from serving.store import Fetched, Store

Progress = Callable[[str, int, int], None]
"""Told what is going on: the stage, how much of it is done, and how much there is."""

_BATCH_BYTES = 32 * 1024 * 1024
_FIRST_BYTES = 4 * 1024 * 1024
_KEPT_BYTES = 4 * 1024 * 1024  # of objects that are looked at before they are planned
_BATCH_OBJECTS = 20_000
_BATCH_ROWS = 250_000
_RETRIES = 3
_LOOK_BACK = 100  # commits; others may have compacted since


class Witness(Protocol):
    """Somebody who watches what comes in; see `pipelines.witness`."""

    def batch(self, stream: str, found: Reading, kept: Kept, counts: Mapping[str, int]) -> None:
        """A batch was committed: what was believed, what was not, and what became of it."""

    def close(self, damaged: int) -> None:
        """The run has ended; so many objects came damaged."""


class Run:
    """One stream of one run.

    Args:
        store: Where the raw objects lie.
        fleet: The name of the fleet.
        stream: Telemetry or events.
        now_us: The clock, UTC microseconds.
        progress: Told after each part of a batch.
        witness: Shown each batch that was committed.
        warn: Told, in a sentence, of objects that could not be read and will be tried again.
    """

    def __init__(
        self,
        store: Store,
        fleet: str,
        stream: Stream,
        now_us: int,
        progress: Progress,
        *,
        witness: Witness | None,
        warn: Callable[[str], None],
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._stream = stream
        self._now_us = now_us
        self._progress = progress
        self._witness = witness
        self._warn = warn
        self._ledger = Ledger(store, stream.ledger, keep_places=stream.replaces)
        self._past = Past(keep_places=stream.replaces)
        self._at_hand: dict[str, Fetched] = {}
        self._snapshot: Snapshot | None = None
        self._most_bytes = _FIRST_BYTES
        self._done = 0
        self._total = 0
        self._excluded = 0
        self.damaged = 0
        """Objects that came damaged in an earlier run, and did again: they are in no batch."""
        self.crowded = False
        """Whether a date may have come to have so many files that compacting pays; opening the table to see costs."""

    def batches(self, arrivals: Arrivals) -> Iterator[dict[str, int]]:
        """Carry out the plans that a former run left, then plan and carry out what is new.

        Returns:
            What came of each batch, once it is committed; see `pipelines.ingest.IngestSummary`.
        """
        self._snapshot = self._stream.table.create()
        reached = self._snapshot.transaction(self._stream.writer)
        self._past = self._ledger.read(reached)
        self._finish_late(reached)
        left = [self._ledger.intent(seq) for seq in self._past.left]
        self._total = sum(len(intent.objects) for intent in left)
        with Reader(self._store, self._stream, self._at_hand) as reader:
            for intent in left:
                yield self._carry_out(intent, reader)
            fresh = self._sound(arrivals.sources(self._past))
            self._excluded = arrivals.excluded
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
        arrivals.done()

    def _sound(self, fresh: list[Source]) -> list[Source]:
        """Leave out what came damaged before and still does: to plan it would cost a commit in each run.

        What comes whole is kept until its batch is read, as much of it as there is room for.
        """
        again = [source for source in fresh if self._past.is_unsettled(source.key)]
        still: set[str] = set()
        room = _KEPT_BYTES
        with closing(fetched(self._store, again)) as arriving:
            for source, found in arriving:
                if isinstance(found, DamagedObjectError):
                    self._warn(f"{found}")
                    still.add(source.key)
                elif isinstance(found, Fetched) and len(found.data) <= room:
                    self._at_hand[source.key] = found
                    room -= len(found.data)
        self.damaged = len(still)
        return [source for source in fresh if source.key not in still]

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

    def _carry_out(self, intent: Intent, reader: Reader) -> dict[str, int]:
        snapshot = self._opened()
        if snapshot.transaction(self._stream.writer) >= intent.seq:
            raise _running(self._fleet)
        keeper = Keeper(self._store, self._fleet, self._stream.batch_name(intent.seq))
        found = reader.read(intent, self._tell, keeper.keep)
        kept = keeper.close()
        self._ledger.note_grown(intent.seq, found.grown)
        for error in found.damaged.values():
            self._warn(f"{error}")
        lost: set[str] = set()
        quarantined = kept.reasons.total() - kept.whole
        counts = {
            "objects": len(intent.objects),
            "records": sum(map(len, found.rows)) + quarantined,
            "quarantined": quarantined,
            "unreadable": kept.whole,
            "damaged": len(found.damaged),
        }
        told = {
            "seq": intent.seq,
            **counts,
            "reasons": dict(kept.reasons),
            "planned_at_us": intent.planned_at_us,
        }
        former = self._former(intent, kept.refused | {intent.objects[position].key for position in found.damaged})
        search = reader.search(
            self._past, {source.key for source in intent.objects}, self._now_us, self._noting(intent.seq, lost)
        )
        outcome = self._commit(
            snapshot, Intake(intent.seq, found.rows, told, found.clocks, former, search, self._now_us)
        )
        counts["damaged"] = told["damaged"] = len(found.damaged) + len(lost)
        self._past.add(intent, [*found.grown, *lost], outcome.hidden)
        self._ledger.finish(intent.seq, Outcome({**told, **outcome.counts}, outcome.hidden), self._past)
        if self._witness:
            passed, self._excluded = self._excluded, 0  # told with the first batch behind the listing
            seen = {**counts, **outcome.counts, "excluded": passed}
            self._witness.batch(self._stream.name, found, kept, seen)
        self._learn(intent, counts["records"])
        pa.default_memory_pool().release_unused()  # it would keep what the largest batch took
        return {**counts, **outcome.counts}

    def _noting(self, seq: int, lost: set[str]) -> Callable[[str, DamagedObjectError], None]:
        """What a search tells of objects that it could not read; they are noted and named in ``lost``."""

        def note(key: str, error: DamagedObjectError) -> None:
            if key not in lost:
                self._ledger.note_grown(seq, [key])
                self._warn(f"{error}")
                lost.add(key)

        return note

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
        files = Counter(file.date for file in snapshot.files())  # as they were before this commit
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


def _running(fleet: str) -> IngestRunningError:
    return IngestRunningError(
        f"another ingest of {fleet} is at work", why="it took the batch this one was about to commit", fix="wait for it"
    )
