"""The entries of the long form become rows: one for each device and time of an object.

An entry that says the same signal of the same device and time again begins a row of its own: it is the ingest that
decides which of two readings of one key is believed, and counts the other.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.formats.frame import Frame
from pipelines.rejects import Links, row_number


@dataclass(frozen=True, slots=True, eq=False)
class Long:
    """Entries, in order; shape ``(n,)`` each.

    Attributes:
        device, times, timed, clocked, received, sequence, sources: As in `Frame`.
        columns: The column of each entry's signal.
        values: Its value.
        records: Position of its record in the object.
    """

    device: pa.Array
    times: NDArray[np.int64]
    timed: NDArray[np.bool_]
    clocked: NDArray[np.bool_]
    received: NDArray[np.int64]
    sequence: NDArray[np.int64]
    sources: NDArray[np.int32]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]
    records: NDArray[np.int64]


def pivot(long: Long, signals: int, counts: NDArray[np.int64]) -> Frame:
    """Put entries together.

    Args:
        long: The entries of one or more objects, in the order of the objects.
        signals: How many columns there are.
        counts: See `Frame`.
    """
    names = long.device.dictionary_encode()
    device = names.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    keys = [long.sources.astype(np.int64), device, long.times, long.timed.astype(np.int64), long.sequence]
    group = _numbered(keys)
    again = _occurrence(_numbered([group, long.columns]))
    row, first = _by_appearance(_numbered([group, again]))
    values = np.full((len(first), signals), np.nan)
    values[row, long.columns] = long.values
    received = np.full(len(first), np.iinfo(np.int64).min)
    np.maximum.at(received, row, long.received)
    sources = long.sources[first]
    starts = np.flatnonzero(np.diff(sources, prepend=-1))
    ordinals = np.arange(len(sources)) - np.repeat(starts, np.diff(starts, append=len(sources)))
    numbers = row_number(long.sources.astype(np.int64), ordinals[row])
    order = np.argsort(numbers, kind="stable")
    return Frame(
        device=long.device.take(pa.array(first)),
        times=long.times[first],
        timed=long.timed[first],
        clocked=long.clocked[first],
        received=received,
        sequence=long.sequence[first],
        values=values,
        sources=sources,
        ordinals=ordinals.astype(np.int32),
        links=Links(numbers[order], long.records[order]),
        counts=counts,
    )


def _numbered(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """A number for each different combination."""
    number = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, part = np.unique(column, return_inverse=True)
        number = number * (int(part.max(initial=0)) + 1) + part
        _, number = np.unique(number, return_inverse=True)
    return number


def _occurrence(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each number was there before."""
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    result = np.empty(len(number), np.int64)
    result[order] = np.arange(len(number)) - np.repeat(starts, np.diff(starts, append=len(number)))
    return result


def _by_appearance(number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number anew in the order of first appearance: the new number of each, and where each new one first appears."""
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], first[order]
