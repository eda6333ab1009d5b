"""Objects of a batch are read from the store, several at a time, into rows and rejects that know their origin."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines import quarantine
from pipelines.ledger import Intent, Past, Place, Source
from pipelines.merge import Search
from pipelines.quarantine import Rejected
from pipelines.records import WHOLE, RawObject
from pipelines.streams import Stream
from pipelines.unique import date_names
from serving.errors import MissingObjectError
from serving.store import Store

_GROUP_BYTES = 32 * 1024  # only small objects gain from being read together, and a broken one costs its neighbours
_GROUP_OBJECTS = 200
_THREADS = 4  # reading waits for the store, unpacking and parsing do not hold the interpreter
_AT_ONCE_BYTES = 2 * 1024 * 1024  # packed; of larger objects one is unpacked at a time


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What came of the objects of an intent.

    Attributes:
        rows: As the stream gives them; ``object`` is the position in the intent.
        rejects: What was not taken.
        grown: Positions of objects that were not as planned when they were read.
        clocks: When records without a stamp were received, for each object, UTC microseconds.
    """

    rows: list[pa.Table]
    rejects: list[Rejected]
    grown: list[int]
    clocks: NDArray[np.int64]

    @property
    def refused(self) -> set[str]:
        """Keys of objects of which nothing could be read."""
        return {line.key for line in self.rejects if line.ordinal == WHOLE}


Member = tuple[int, Source]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What came of some objects that were read together; see `Reading`."""

    rows: pa.Table
    rejects: list[Rejected]
    grown: list[int]
    clocks: NDArray[np.int64]


class Reader:
    """Reads the objects of one stream; threads of its own live as long as it does.

    Args:
        store: Where the objects lie.
        stream: Knows how they are read.
    """

    def __init__(self, store: Store, stream: Stream) -> None:
        self._store, self._stream = store, stream
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest")
        self._room = _Room(_AT_ONCE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, intent: Intent, told: Callable[[int], None]) -> Reading:
        """Read the objects of an intent.

        Args:
            intent: Which.
            told: Called with the number of objects that were read since the last call.
        """
        clocks = np.full(len(intent.objects), intent.planned_at_us)
        found = Reading([], [], [], clocks)
        groups = list(_grouped(list(enumerate(intent.objects))))
        for group, part in zip(
            groups, self._pool.map(lambda each: self._group(each, intent.planned_at_us), groups), strict=True
        ):
            found.rows.append(part.rows)
            found.rejects.extend(part.rejects)
            found.grown.extend(part.grown)
            clocks[[position for position, _ in group]] = part.clocks
            told(len(group))
        return found

    def search(self, past: Past, excluded: Collection[str], clock_us: int) -> Search:
        """A search for copies of readings in the objects that were ingested, except some.

        Only objects are read again of which the ledger says that they gave readings at these times which are not in the
        table. They are taken as they are now: what is newer than the table, the next run finds to be there.
        """

        def search(asked: pa.Table) -> pa.Table:
            times = np.sort(asked["time"].to_numpy())
            chosen = [
                (position, Source(key, known.etag, 0))
                for position, (key, known) in enumerate(past.objects.items())
                if key not in excluded and _any_within(times, *known.hidden)
            ]
            places = dict(enumerate(known.places[-1] for known in past.objects.values())) if chosen else {}
            names = pc.unique(asked["device"].cast(pa.string()))
            parts = [self._copies(group, names, times, places, clock_us) for group in _grouped(chosen)]
            return pa.concat_tables([self._stream.table.layout.schema.empty_table(), *parts])

        return search

    def _copies(
        self, group: list[Member], names: pa.Array, times: NDArray[np.int64], places: Mapping[int, Place], clock_us: int
    ) -> pa.Table:
        rows = self._group(group, clock_us).rows
        rows = rows.filter(pc.and_(pc.is_in(rows["device"], names), pc.is_in(rows["time"], pa.array(times))))
        where = [places[position] for position in rows["object"].to_pylist()]
        rows = rows.append_column("date", date_names(rows["time"].to_numpy()))
        rows = rows.append_column("batch", pa.array([batch for batch, _ in where], pa.int64()))
        at = pa.array([position for _, position in where], pa.int32())
        rows = rows.set_column(rows.column_names.index("object"), "object", at)
        schema = self._stream.table.layout.schema
        return rows.select(schema.names).cast(schema)

    def _group(self, group: list[Member], clock_us: int) -> _Part:
        with self._room.taken(sum(source.size for _, source in group)):
            found: list[RawObject] = []
            etags: list[str] = []
            positions: list[int] = []
            lost, grown = [], []
            clocks = np.full(len(group), clock_us)
            for number, (position, source) in enumerate(group):
                try:
                    fetched = self._store.fetch(source.key)
                except MissingObjectError:
                    sentence = "The object was gone before it was read."
                    lost.append(Rejected(source.key, WHOLE, 0, b"", "unreadable", sentence, source.etag))
                    continue
                if fetched.entry.etag != source.etag:
                    grown.append(position)
                raw = RawObject(source.key, fetched.data, fetched.metadata, fetched.entry.modified_us)
                clocks[number] = raw.received_us(clock_us)
                found.append(raw)
                etags.append(fetched.entry.etag)
                positions.append(position)
            rows, rejects = self._stream.read(found, clock_us) if found else (self._no_rows(), [])
        if "object" in rows.column_names:
            places = np.array(positions, np.int32)[rows["object"].to_numpy()]
            rows = rows.set_column(rows.column_names.index("object"), "object", pa.array(places))
        named = ((found[reject.source].key, etags[reject.source], reject) for reject in rejects)
        kept = [quarantine.rejected(key, reject, etag) for key, etag, reject in named]
        return _Part(rows, lost + kept, grown, clocks)

    def _no_rows(self) -> pa.Table:
        schema = self._stream.table.layout.schema
        return schema.empty_table().select([name for name in schema.names if name not in ("date", "batch")])


class _Room:
    """Room for so many bytes; who asks for more than there is gets all of it."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


def _grouped(members: Sequence[Member]) -> Iterator[list[Member]]:
    """Cut objects into groups that are read together."""
    group: list[Member] = []
    size = 0
    for member in members:
        if group and (size + member[1].size > _GROUP_BYTES or len(group) == _GROUP_OBJECTS):
            yield group
            group, size = [], 0
        group.append(member)
        size += member[1].size
    if group:
        yield group


def _any_within(times: NDArray[np.int64], low: int, high: int) -> bool:
    return low <= high and bool(np.searchsorted(times, low) < np.searchsorted(times, high, side="right"))
