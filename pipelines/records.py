"""Decoded records, and the rejects that leave them: each with its object, its place and its bytes."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.schema import Reason
from pipelines.salvage import pieces

UNSTAMPED: Final = -(2**63)
"""In ``received``: no hub stamped the record."""
WHOLE: Final = -1
"""The ordinal of a reject that is a whole object."""

_LINE = re.compile(rb"\s*\{.*\}\s*", re.DOTALL)


UNSEQUENCED: Final = -(2**63)
"""In ``sequence``: the record has none."""


@dataclass(frozen=True, slots=True)
class RawObject:
    """An object as it is stored.

    Attributes:
        key: Its key in the store.
        data: Its bytes.
        metadata: What was stored beside them, names in lower case.
        written_us: When it was written, UTC microseconds: its records were received then, where no hub stamped them;
            None where nobody knows.
    """

    key: str
    data: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    written_us: int | None = None

    def received_us(self, clock_us: int) -> int:
        """When records without a stamp count as received; never later than the clock says it is.

        Example:
            >>> RawObject("a", b"", written_us=5).received_us(7), RawObject("a", b"").received_us(7)
            (5, 7)
        """
        return clock_us if self.written_us is None else min(self.written_us, clock_us)


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

    def locate(self, records: Sequence[int], count: int) -> list[tuple[int, bytes]]:
        """Where records begin, and their bytes.

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

    def of(self, source: int, ordinal: int) -> list[int]:
        """The records of a row, increasing."""
        number = row_number(source, ordinal)
        begin, end = np.searchsorted(self.rows, [number, number + 1])
        return sorted(set(self.records[begin:end].tolist()))


@overload
def row_number(source: int, ordinal: int) -> int: ...
@overload
def row_number(source: NDArray[np.int64], ordinal: NDArray[np.int64]) -> NDArray[np.int64]: ...
def row_number(source: Any, ordinal: Any) -> Any:
    """A number for a row of an object that grows with both."""
    return source * 2**32 + ordinal


class Originals:
    """Hands out the bytes of what is rejected.

    Of several rejected rows of one record, only the first gets its bytes: a message of a thousand readings must not be
    kept a thousand times.

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
        self._given: set[tuple[int, int]] = set()

    def places(self, source: int, ordinals: Sequence[int]) -> list[tuple[int, bytes]]:
        """Where rows of an object begin, and their bytes.

        Args:
            source: Position of the object.
            ordinals: Positions of rows in it, increasing.
        """
        container = self._containers[source]
        if container is None:
            return [(0, b"")] * len(ordinals)
        count = int(self._counts[source])
        if self._links is None:
            return container.locate(ordinals, count)
        rows = [self._links.of(source, ordinal) for ordinal in ordinals]
        wanted = sorted({record for records in rows for record in records})
        found = dict(zip(wanted, container.locate(wanted, count), strict=True))
        return [self._once(source, records, found) for records in rows]

    def _once(self, source: int, records: list[int], found: dict[int, tuple[int, bytes]]) -> tuple[int, bytes]:
        parts = [found[record][1] for record in records if (source, record) not in self._given]
        self._given.update((source, record) for record in records)
        return (found[records[0]][0] if records else 0), b"\n".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Rows that name a device and a time, column by column; ``n`` of them, in the order of the objects.

    A row is a record, unless the mapping takes records apart or puts the entries of the long form together.

    Attributes:
        device: Names, a string array without nulls.
        times: Event times, shape ``(n,)``, UTC microseconds.
        received: The hub's stamps, shape ``(n,)``, UTC microseconds; `UNSTAMPED` where there is none.
        sequence: What counts the messages of a device, shape ``(n,)``; `UNSEQUENCED` where there is none.
        values: Readings, shape ``(n, signals)``; NaN where missing.
        sources: Position of the object of each row, shape ``(n,)``.
        ordinals: Position of each row in its object, shape ``(n,)``.
        rejects: What was not taken.
        originals: What the rows were read from.
    """

    device: pa.Array
    times: NDArray[np.int64]
    received: NDArray[np.int64]
    sequence: NDArray[np.int64]
    values: NDArray[np.float64]
    sources: NDArray[np.int32]
    ordinals: NDArray[np.int32]
    rejects: tuple[Reject, ...]
    originals: Originals

    def reject(self, codes: NDArray[np.uint8]) -> "Decoded":
        """Turn rows into rejects.

        Args:
            codes: For each row 0 to keep it, or the number of the reason, shape ``(n,)``.
        """
        out = np.flatnonzero(codes)
        if not len(out):
            return self
        reasons = list(Reason)
        rejects = list(self.rejects)
        for source in np.unique(self.sources[out]).tolist():
            rows = out[self.sources[out] == source]
            places = self.originals.places(source, self.ordinals[rows].tolist())
            for row, (offset, data) in zip(rows.tolist(), places, strict=True):
                reason = reasons[codes[row] - 1]
                rejects.append(Reject(source, int(self.ordinals[row]), offset, data, reason, reason.sentence))
        return replace(self.keep(codes == 0), rejects=tuple(rejects))

    def keep(self, kept: NDArray[np.bool_]) -> "Decoded":
        """Drop rows where ``kept`` is false, without making them rejects."""
        if kept.all():
            return self
        return replace(
            self,
            device=self.device.filter(pa.array(kept)),
            times=self.times[kept],
            received=self.received[kept],
            sequence=self.sequence[kept],
            values=self.values[kept],
            sources=self.sources[kept],
            ordinals=self.ordinals[kept],
        )


def locate(body: bytes, ordinals: Sequence[int], count: int = -1) -> list[tuple[int, bytes]]:
    r"""Find records in an unpacked object: where each begins, and its bytes.

    Args:
        body: The object.
        ordinals: Positions of the records, increasing.
        count: How many records the object holds, where it is known to hold nothing else.

    Example:
        >>> locate(b'{"a":1}\n{"a":2}{"a":3}', [0, 2])
        [(0, b'{"a":1}'), (15, b'{"a":3}')]
    """
    lines = body.split(b"\n")
    records = [number for number, line in enumerate(lines) if line.strip()]
    # Between a "}" that ends a line and a "{" that begins one, JSON allows no line break but the one between records.
    # Lines that all look like that hold one record or more each; as many lines as records hold one each.
    if len(records) == count and all(_LINE.fullmatch(lines[number]) for number in records):
        starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
        chosen = [(starts[records[ordinal]], lines[records[ordinal]]) for ordinal in ordinals]
        return [(start + len(line) - len(line.lstrip()), line.strip()) for start, line in chosen]
    wanted = set(ordinals)
    return [(piece.offset, piece.data) for ordinal, piece in enumerate(pieces(body)) if ordinal in wanted]
