"""Decoded records, column by column, and the rejects that leave them."""

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.rejects import Originals, RefusedRows, Rejects
from pipelines.salvage import pieces

UNSTAMPED: Final = -(2**63)
"""In ``received``: no hub stamped the record."""
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
        unknown: How many records have which field that the mapping names nowhere, where they are counted.
    """

    device: pa.Array
    times: NDArray[np.int64]
    received: NDArray[np.int64]
    sequence: NDArray[np.int64]
    values: NDArray[np.float64]
    sources: NDArray[np.int32]
    ordinals: NDArray[np.int32]
    rejects: Rejects
    originals: Originals
    unknown: Mapping[str, int] = field(default_factory=dict)

    def reject(self, codes: NDArray[np.uint8]) -> "Decoded":
        """Turn rows into rejects.

        Args:
            codes: For each row 0 to keep it, or the number of the reason, shape ``(n,)``.
        """
        out = np.flatnonzero(codes)
        if not len(out):
            return self
        sources, ordinals = self.sources[out], self.ordinals[out].astype(np.int64)
        starts = np.flatnonzero(np.diff(sources, prepend=-1)).tolist()
        rejects = [
            RefusedRows(int(sources[begin]), ordinals[begin:end], codes[out[begin:end]], None, self.originals)
            for begin, end in itertools.pairwise([*starts, len(out)])
        ]
        return replace(self.keep(codes == 0), rejects=self.rejects.also(rejects))

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


def locate(body: bytes, ordinals: Sequence[int], count: int = -1) -> Iterator[tuple[int, bytes]]:
    r"""Find records in an unpacked object: where each begins, and its bytes, one after the other.

    Args:
        body: The object.
        ordinals: Positions of the records, increasing.
        count: How many records the object holds, where it is known to hold nothing else.

    Example:
        >>> list(locate(b'{"a":1}\n{"a":2}{"a":3}', [0, 2]))
        [(0, b'{"a":1}'), (15, b'{"a":3}')]
    """
    found = _lines(body) if count >= 0 and _are_lines(body, count) else ((p.offset, p.data) for p in pieces(body))
    return chosen(found, ordinals)


_Item = TypeVar("_Item")


def chosen(items: Iterable[_Item], positions: Sequence[int]) -> Iterator[_Item]:
    """The items at some positions, which must increase; those behind the last are not asked for.

    Example:
        >>> list(chosen("abcdef", [1, 4]))
        ['b', 'e']
    """
    arriving = enumerate(items)
    for wanted in positions:
        yield next(item for position, item in arriving if position == wanted)


def _are_lines(body: bytes, count: int) -> bool:
    """Whether each line is one record.

    Between a "}" that ends a line and a "{" that begins one, JSON allows no line break but the one between records.
    Lines that all look like that hold one record or more each; as many lines as records hold one each.
    """
    lines = 0
    for line in io.BytesIO(body):
        if _LINE.fullmatch(line):
            lines += 1
        elif line.strip():
            return False
    return lines == count


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    begin = 0
    for line in io.BytesIO(body):
        if text := line.strip():
            yield begin + len(line) - len(line.lstrip()), text
        begin += len(line)
