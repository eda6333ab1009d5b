"""Objects of a batch are fetched and decoded, several at a time, into rows and rejects that know their origin.

As many are fetched at a time as suits the store (`pipelines.fetching`); decoding is bounded by what it takes of memory.
"""

import itertools
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.schema import Reason
from features.unknown import add
from pipelines import quarantine
from pipelines.fetching import Found, fetched, split
from pipelines.formats.unpacking import MOST_BYTES
from pipelines.merge import Search
from pipelines.past import Intent, Past, Place, Source
from pipelines.quarantine import Rejected
from pipelines.records import RawObject
from pipelines.rejects import WHOLE, Rejects
from pipelines.streams import Stream
from pipelines.unique import date_names
from serving.errors import DamagedObjectError, MissingObjectError
from serving.store import Fetched, Store

_GROUP_BYTES = 32 * 1024  # only small objects gain from being read together, and a broken one costs its neighbours
_GROUP_OBJECTS = 200
# Unpacking and parsing do not hold the interpreter, but what lies between them does: threads that outnumber the cores
# hand it to and fro, which on two cores took twice the CPU time of one thread for small objects, and longer for large.
# One core is left to who merges and writes.
_THREADS = max(1, min(4, len(os.sched_getaffinity(0)) - 1))
_AT_ONCE_BYTES = 2 * 1024 * 1024  # packed; of larger objects one is unpacked at a time


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What came of the objects of an intent.

    Attributes:
        rows: As the stream gives them; ``object`` is the position in the intent.
        grown: Positions of objects to read once more: they were not as planned when they were read, or came damaged.
        damaged: Those of which the store gave bytes that were not theirs, by position; nothing was taken of them.
        clocks: When records without a stamp were received, for each object, UTC microseconds.
        unknown: How many records have which field that the mapping names nowhere, where they are counted.
    """

    rows: list[pa.Table]
    grown: list[int]
    damaged: dict[int, DamagedObjectError]
    clocks: NDArray[np.int64]
    unknown: Counter[str]


class _Member(NamedTuple):
    """An object to read, and the position to call it by."""

    position: int
    source: Source

    @property
    def key(self) -> str:
        return self.source.key

    @property
    def size(self) -> int:
        return self.source.size


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What came of some objects that were decoded together; see `Reading`."""

    rows: pa.Table
    rejects: Iterable[Rejected]
    grown: list[int]
    damaged: dict[int, DamagedObjectError]
    clocks: NDArray[np.int64]
    unknown: Mapping[str, int]


class Reader:
    """Reads the objects of one stream; threads of its own live as long as it does.

    Args:
        store: Where the objects lie.
        stream: Knows how they are read.
        at_hand: Objects that were read before and are not fetched again; each is taken out when it is decoded.
    """

    def __init__(self, store: Store, stream: Stream, at_hand: MutableMapping[str, Fetched]) -> None:
        self._store, self._stream, self._at_hand = store, stream, at_hand
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        self._room = _Room(_AT_ONCE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, intent: Intent, told: Callable[[int], None], keep: Callable[[Rejected], None]) -> Reading:
        """Read the objects of an intent; one that cannot be unpacked for its size alone is not fetched.

        Args:
            intent: Which.
            told: Called with the number of objects that were read since the last call.
            keep: Called with each reject, in the order of the objects.
        """
        clocks = np.full(len(intent.objects), intent.planned_at_us)
        members = [_Member(position, source) for position, source in enumerate(intent.objects)]
        large = [member.source for member in members if member.size > MOST_BYTES]
        for source in large:
            keep(_too_large(source))
        none = self._stream.read([], intent.planned_at_us).rows
        found = Reading([none], [], {}, clocks, Counter())
        told(len(large))
        for group, part in self._parts([each for each in members if each.size <= MOST_BYTES], intent.planned_at_us):
            found.rows.append(part.rows)
            for line in part.rejects:
                keep(line)
            add(found.unknown, part.unknown)
            found.grown.extend(part.grown)
            found.damaged.update(part.damaged)
            clocks[[member.position for member in group]] = part.clocks
            told(len(group))
        return found

    def search(
        self, past: Past, excluded: Collection[str], clock_us: int, lost: Callable[[str, DamagedObjectError], None]
    ) -> Search:
        """A search for copies of readings in the objects that were ingested, except some.

        Only objects are read again of which the ledger says that they gave readings at these times which are not in the
        table. They are taken as they are now: what is newer than the table, the next run finds to be there.

        Args:
            past: What was ingested.
            excluded: Keys of objects that are not searched.
            clock_us: Stands in for missing times of receipt, UTC microseconds.
            lost: Told of an object that came damaged, before the search returns. It must be read again as a whole:
                copies that are in it are missing from what was found.
        """

        def search(asked: pa.Table) -> pa.Table:
            times = np.sort(asked["time"].to_numpy())
            chosen = [
                _Member(position, Source(key, known.etag, 0))
                for position, (key, known) in enumerate(past.objects.items())
                if key not in excluded and _any_within(times, *known.hidden)
            ]
            places = dict(enumerate(known.places[-1] for known in past.objects.values())) if chosen else {}
            names = pc.unique(asked["device"].cast(pa.string()))
            copies = [self._stream.table.layout.schema.empty_table()]
            for group, part in self._parts(chosen, clock_us):
                keys = {member.position: member.key for member in group}
                for position, error in part.damaged.items():
                    lost(keys[position], error)
                copies.append(self._copies(part.rows, names, times, places))
            return pa.concat_tables(copies)

        return search

    def _copies(
        self, rows: pa.Table, names: pa.Array, times: NDArray[np.int64], places: Mapping[int, Place]
    ) -> pa.Table:
        rows = rows.filter(pc.and_(pc.is_in(rows["device"], names), pc.is_in(rows["time"], pa.array(times))))
        where = [places[position] for position in rows["object"].to_pylist()]
        rows = rows.append_column("date", date_names(rows["time"].to_numpy()))
        rows = rows.append_column("batch", pa.array([batch for batch, _ in where], pa.int64()))
        at = pa.array([position for _, position in where], pa.int32())
        rows = rows.set_column(rows.column_names.index("object"), "object", at)
        schema = self._stream.table.layout.schema
        return rows.select(schema.names).cast(schema)

    def _parts(self, members: Sequence[_Member], clock_us: int) -> Iterator[tuple[list[_Member], _Part]]:
        """Objects in groups that are decoded together, in order; waits to fetch where decoding cannot keep up."""
        waiting: deque[tuple[list[_Member], Future[_Part]]] = deque()
        with closing(fetched(self._store, members, at_hand=self._at_hand)) as arriving:
            for group in split(members, _GROUP_BYTES, _GROUP_OBJECTS):
                found = [each for _, each in itertools.islice(arriving, len(group))]
                size = self._room.take(sum(len(each.data) for each in found if isinstance(each, Fetched)))
                waiting.append((group, self._pool.submit(self._decoded, group, found, clock_us, size)))
                while waiting and waiting[0][1].done():
                    first, part = waiting.popleft()
                    yield first, part.result()
        for first, part in waiting:
            yield first, part.result()

    def _decoded(self, group: list[_Member], found: list[Found], clock_us: int, size: int) -> _Part:
        try:
            return self._part(group, found, clock_us)
        finally:
            self._room.give_back(size)

    def _part(self, group: list[_Member], found: list[Found], clock_us: int) -> _Part:
        clocks = np.full(len(group), clock_us)
        read: list[RawObject] = []
        etags: list[str] = []
        positions: list[int] = []
        lost, grown, damaged = [], [], {}
        for number, ((position, source), each) in enumerate(zip(group, found, strict=True)):
            if isinstance(each, MissingObjectError):
                lost.append(_refused(source, "The object was gone before it was read."))
                continue
            if isinstance(each, DamagedObjectError) or each.entry.etag != source.etag:
                grown.append(position)
            if isinstance(each, DamagedObjectError):
                damaged[position] = each
                continue
            raw = RawObject(source.key, each.data, each.metadata, each.entry.modified_us)
            clocks[number] = raw.received_us(clock_us)
            read.append(raw)
            etags.append(each.entry.etag)
            positions.append(position)
        rows, rejects, unknown = self._stream.read(read, clock_us)
        if "object" in rows.column_names:
            places = np.array(positions, np.int32)[rows["object"].to_numpy()]
            rows = rows.set_column(rows.column_names.index("object"), "object", pa.array(places))
        lines = itertools.chain(lost, _lines([raw.key for raw in read], etags, rejects))
        return _Part(rows, lines, grown, damaged, clocks, unknown)


class _Room:
    """Room for so many bytes; who asks for more than there is gets all of it."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until there is so much; return what was taken."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        return size

    def give_back(self, size: int) -> None:
        """Let others have what was taken."""
        with self._changed:
            self._left += size
            self._changed.notify_all()


def _lines(keys: Sequence[str], etags: Sequence[str], rejects: Rejects) -> Iterator[Rejected]:
    for reject in rejects:
        yield quarantine.rejected(keys[reject.source], reject, etags[reject.source])


def _refused(source: Source, sentence: str) -> Rejected:
    return Rejected(source.key, WHOLE, 0, b"", Reason.UNREADABLE.value, sentence, source.etag)


def _too_large(source: Source) -> Rejected:
    return _refused(source, f"The object is larger than {MOST_BYTES >> 20} MiB: {source.size} bytes.")


def _any_within(times: NDArray[np.int64], low: int, high: int) -> bool:
    return low <= high and bool(np.searchsorted(times, low) < np.searchsorted(times, high, side="right"))
