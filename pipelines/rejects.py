"""What is not taken of objects: each reject with its object, its place, its bytes and the reason.

Of records that are rejected one by one only place and reason are held; their bytes are found in the object again while
the rejects are walked through. An object of half a million records may be refused record by record: that many values of
Python would take ten times as much memory as the object.
"""

import itertools
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from features.schema import Reason

WHOLE: Final = -1
"""The ordinal of a reject that is a whole object."""
_REASONS = list(Reason)


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that was not taken, and why.

    Attributes:
        source: Position of its object among those that were decoded.
        ordinal: Position of the record in its object, or `WHOLE`.
        offset: Where it begins in the unpacked object, bytes.
        data: Its bytes; of a whole object the bytes as stored. A record of a file of columns (CSV, Parquet, Avro) is
            written as JSON, which the fleet's mapping reads alike: without its file it would say nothing. Empty for
            further rows of a record that is among the rejects already.
        reason: The kind of fault.
        sentence: The fault in words.
    """

    source: int
    ordinal: int
    offset: int
    data: bytes
    reason: Reason
    sentence: str


class Container(Protocol):
    """An unpacked object, in which records can be found again."""

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:
        """Where records begin, and their bytes, one after the other.

        Args:
            records: Positions of the records, increasing.
            count: How many records the object holds, where it is known to hold nothing else; else -1.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Which records rows were made of, where rows and records are not the same.

    Attributes:
        rows: Source and ordinal of a row as one number (`row_number`), increasing, shape ``(links,)``.
        records: Position of the record in its object, shape ``(links,)``.
    """

    rows: NDArray[np.int64]
    records: NDArray[np.int64]


@overload
def row_number(source: int, ordinal: int) -> int: ...
@overload
def row_number(source: int | NDArray[np.int64], ordinal: NDArray[np.int64]) -> NDArray[np.int64]: ...
def row_number(source: Any, ordinal: Any) -> Any:
    """A number for a row of an object that grows with both."""
    return source * 2**32 + ordinal


class Originals:
    """Hands out the bytes of what is rejected.

    Args:
        containers: The objects; None where one could not be read.
        counts: Records in each object, -1 where it holds other things too.
        links: See `Links`; None where each row is a record.
    """

    def __init__(
        self, containers: Sequence[Container | None], counts: NDArray[np.int64], links: Links | None = None
    ) -> None:
        self._containers = containers
        self._counts = counts
        self._links = links

    def places(
        self, source: int, ordinals: NDArray[np.int64], given: dict[int, bytearray]
    ) -> Iterator[tuple[int, bytes]]:
        """Where rows of an object begin, and their bytes.

        Of several rejected rows of one record, only the first gets its bytes: a message of a thousand readings must not
        be kept a thousand times.

        Args:
            source: Position of the object.
            ordinals: Positions of rows in it, increasing.
            given: Whether the bytes of a record were given before, by object; what is given now is marked.
        """
        container = self._containers[source]
        if container is None:
            return itertools.repeat((0, b""), len(ordinals))
        count = int(self._counts[source])
        if self._links is None:
            return container.locate(ordinals.tolist(), count)
        numbers = row_number(source, ordinals)
        wanted = np.unique(self._links.records[np.isin(self._links.rows, numbers)])
        flags = given.setdefault(source, bytearray(int(self._links.records.max(initial=0)) + 1))
        return _shared(self._links, numbers, wanted, container.locate(wanted.tolist(), count), flags)


def _shared(
    links: Links,
    numbers: NDArray[np.int64],
    wanted: NDArray[np.int64],
    arriving: Iterator[tuple[int, bytes]],
    given: bytearray,
) -> Iterator[tuple[int, bytes]]:
    """The places of rows of which several may share a record; records that were found wait until a row takes them."""
    offsets = np.zeros(len(wanted), np.int64)
    waiting: dict[int, bytes] = {}
    reached = 0
    bounds = zip(
        np.searchsorted(links.rows, numbers).tolist(), np.searchsorted(links.rows, numbers + 1).tolist(), strict=True
    )
    for begin, end in bounds:
        records = sorted(set(links.records[begin:end].tolist()))
        while records and reached < len(wanted) and wanted[reached] <= records[-1]:
            offsets[reached], data = next(arriving)
            if not given[wanted[reached]]:
                waiting[int(wanted[reached])] = data
            reached += 1
        parts = [waiting.pop(record) for record in records if not given[record]]
        for record in records:
            given[record] = 1
        yield int(offsets[np.searchsorted(wanted, records[0])]) if records else 0, b"\n".join(parts)


class Faults:
    """Rows that cannot be used, of one object; packed, because they may be all that there is.

    Attributes:
        ordinals: Positions of the rows.
        records: The positions of their records.
        reasons: What is wrong, by `Reason.number`.
    """

    def __init__(self) -> None:
        self.ordinals, self.records, self.reasons = array("q"), array("q"), bytearray()
        self._texts, self._ends = bytearray(), array("q", [0])

    def __len__(self) -> int:
        return len(self.ordinals)

    def add(self, ordinal: int, record: int, reason: Reason, sentence: str) -> None:
        """Add a row that is at fault."""
        self.ordinals.append(ordinal)
        self.records.append(record)
        self.reasons.append(reason.number)
        self._texts += sentence.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._texts))

    def sentence(self, position: int) -> str:
        """What is wrong, in words."""
        return self._texts[self._ends[position] : self._ends[position + 1]].decode("utf-8", "surrogatepass")

    def begin_at(self, ordinal: int) -> None:
        """Number the rows anew, from an ordinal on."""
        self.ordinals = array("q", range(ordinal, ordinal + len(self.ordinals)))


@dataclass(frozen=True, slots=True, eq=False)
class RefusedRows:
    """Rows of one object that were rejected.

    Attributes:
        source: The object.
        ordinals: Their positions in it, increasing.
        reasons: Why each, by `Reason.number`.
        faults: What was found in each; None where the reason says all.
        originals: Where their bytes are found.
    """

    source: int
    ordinals: NDArray[np.int64]
    reasons: NDArray[np.uint8]
    faults: Faults | None
    originals: Originals

    def rejects(self, given: dict[int, bytearray]) -> Iterator[Reject]:
        """Each with its bytes; see `Originals.places`."""
        places = self.originals.places(self.source, self.ordinals, given)
        for position, (offset, data) in enumerate(places):
            reason = _REASONS[self.reasons[position] - 1]
            sentence = self.faults.sentence(position) if self.faults else reason.sentence
            yield Reject(self.source, int(self.ordinals[position]), offset, data, reason, sentence)


class Rejects:
    """Rejects in the order in which they were found; walking through them looks up the bytes of each.

    Args:
        parts: Single ones, and rows of objects.
    """

    def __init__(self, parts: Sequence[Reject | RefusedRows] = ()) -> None:
        self._parts = tuple(parts)

    def __len__(self) -> int:
        return sum(1 if isinstance(part, Reject) else len(part.ordinals) for part in self._parts)

    def __iter__(self) -> Iterator[Reject]:
        given: dict[int, bytearray] = {}
        for part in self._parts:
            if isinstance(part, Reject):
                yield part
            else:
                yield from part.rejects(given)

    def also(self, parts: Sequence[Reject | RefusedRows]) -> "Rejects":
        """These and further ones."""
        return Rejects([*self._parts, *parts])

    @property
    def sources(self) -> set[int]:
        """The objects of which something was rejected."""
        return {part.source for part in self._parts}

    @property
    def whole(self) -> set[int]:
        """The objects that were rejected as a whole."""
        return {part.source for part in self._parts if isinstance(part, Reject) and part.ordinal == WHOLE}

    @property
    def reasons(self) -> Counter[Reason]:
        """How many there are by reason."""
        found: Counter[Reason] = Counter()
        for part in self._parts:
            if isinstance(part, Reject):
                found[part.reason] += 1
            else:
                numbers = np.bincount(part.reasons, minlength=1)
                found.update({_REASONS[n - 1]: int(numbers[n]) for n in np.flatnonzero(numbers).tolist()})
        return found
