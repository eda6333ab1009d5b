"""One row of several records that each carry a part of it.

Some devices tell what they measure at one moment in several records: one measurement a line, one series a file, one
attribute a message. These are copies of one reading that say different things, and all of them is believed: of each
signal the first copy that has it, in the order of `pipelines.unique`. Where one copy says all that, it is the row, and
the row names its record. Else the row is put together: its ``object`` is `TOGETHER`, its ``ordinal`` null, and it was
received with the part that is believed least, so that any part of it outranks the row itself where both are asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.unique import Rows, Rule

TOGETHER: Final = -1
"""In ``object``: the row was put together."""

_MOST_CELLS = 2_000_000
_LEAST = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Readings, some of which have the same key.

    Attributes:
        rows: All columns of the table.
        place: A number for each key, from 0; shape ``(rows,)``.
        live: Positions of those that count.
        together: Which were put together before.
        unstamped: Which nobody stamped, so that the time of their receipt says little.
    """

    rows: pa.Table
    place: NDArray[np.intp]
    live: Rows
    together: NDArray[np.bool_]
    unstamped: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """Keys of which the believed copy lacks what another one has.

    Attributes:
        alone: Positions of copies that say everything, for their key.
        rows: Rows that were put together, for the other keys.
        places: Numbers of their keys.
        sources: The position of the copy that gave each value, -1 where nobody has one, shape ``(rows, signals)``.
        bounds: The rank of the stamped part that is believed least, shape ``(rows,)``.
    """

    alone: Rows
    rows: pa.Table
    places: Rows
    sources: NDArray[np.intp]
    bounds: NDArray[np.int64]


def compose(rule: Rule, copies: Copies, believed: Rows, batch: int) -> Composed:
    """Put together what the copies of a key say, where one of them alone does not say it.

    Args:
        rule: The order of copies.
        copies: The readings.
        believed: The position of the copy that comes first, for each key; -1 where none counts.
        batch: The number that rows get that are put together.
    """
    parts = [_Part(rule, copies, some) for some in _runs(copies, _odd(rule, copies, believed), len(rule.signals))]
    none = np.zeros(0, np.intp)
    return Composed(
        np.concatenate([none, *(part.alone for part in parts)]),
        pa.concat_tables([copies.rows.schema.empty_table(), *(part.rows(batch) for part in parts)]),
        np.concatenate([none, *(part.places for part in parts)]),
        np.concatenate([np.zeros((0, len(rule.signals)), np.intp), *(part.sources for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.bounds for part in parts)]),
    )


def _odd(rule: Rule, copies: Copies, believed: Rows) -> Rows:
    """The copies of the keys that one copy may not be enough for, sorted by key."""
    place, live = copies.place, copies.live
    if len(live) == np.count_nonzero(believed >= 0):
        return live[:0]
    shared = live[np.bincount(place[live], minlength=len(believed))[place[live]] > 1]
    odd = np.zeros(len(believed), bool)
    odd[place[shared[copies.together[shared]]]] = True
    at = place[shared]
    for name in rule.signals:
        missing = np.isnan(_numbers(copies.rows[name]))
        if missing.any():
            odd[at[~missing[shared] & missing[believed[at]]]] = True
    chosen = shared[odd[at]]
    return chosen[np.argsort(place[chosen], kind="stable")]


def _runs(copies: Copies, odd: Rows, signals: int) -> Iterator[Rows]:
    """Cut copies into runs that fit into memory; those of one key stay in one."""
    begins = np.flatnonzero(np.diff(copies.place[odd], prepend=-1))
    most = max(_MOST_CELLS // max(signals, 1), 1)
    start = 0
    while start < len(odd):
        end = int(np.searchsorted(begins, start + most))
        stop = int(begins[end]) if end < len(begins) else len(odd)
        yield odd[start:stop]
        start = stop


class _Part:
    """Some copies in their order, and what comes of them."""

    def __init__(self, rule: Rule, copies: Copies, some: Rows) -> None:
        self._rule, self._rows = rule, copies.rows
        said = copies.rows.select(["received", *rule.signals]).take(pa.array(some))
        values = np.column_stack([_numbers(said[name]) for name in rule.signals])
        stamps = rule.stamps(said)
        order = _order(copies.place[some], stamps, copies.together[some], values)
        some, values, stamps = some[order], values[order], stamps[order]
        begins = np.diff(copies.place[some], prepend=-1) != 0
        key = np.cumsum(begins) - 1
        first = _firsts(key, values)
        self._first = some[begins]
        self._values = np.where(first >= 0, np.take_along_axis(values, np.maximum(first, 0), axis=0), np.nan)
        told = self._values[key]
        whole = np.flatnonzero(((values == told) | (np.isnan(values) & np.isnan(told))).all(axis=1))
        whole = whole[np.diff(key[whole], prepend=-1) != 0]
        self.alone = some[whole]
        self._open = np.ones(len(self._first), bool)
        self._open[key[whole]] = False
        first = first[self._open]
        self.places = copies.place[self._first[self._open]]
        self.sources = np.where(first >= 0, some[first], -1)
        ranks = np.where(first >= 0, stamps[first], _LEAST)
        self._worst = ranks.max(axis=1)
        self.bounds = np.where(copies.unstamped[self.sources], _LEAST, ranks).max(axis=1)

    def rows(self, batch: int) -> pa.Table:
        """The rows that are put together."""
        rows = self._rows.take(pa.array(self._first[self._open]))
        count, schema = len(rows), rows.schema
        changed = {
            "received": pa.array(~self._worst if self._rule.last else self._worst),
            "batch": pa.array(np.full(count, batch)),
            "object": pa.array(np.full(count, TOGETHER, np.int32)),
            "ordinal": pa.nulls(count, pa.int32()),
        }
        values = self._values[self._open]
        changed |= {name: pa.array(values[:, n]) for n, name in enumerate(self._rule.signals)}
        return pa.table([changed.get(name, rows[name]) for name in schema.names], schema=schema)


def _firsts(key: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The first row of each key that has a value, signal by signal; -1 where none has."""
    found = np.full((int(key[-1]) + 1, values.shape[1]), -1)
    for signal in range(values.shape[1]):
        having = np.flatnonzero(~np.isnan(values[:, signal]))
        having = having[np.diff(key[having], prepend=-1) != 0]
        found[key[having], signal] = having
    return found


def _order(
    place: NDArray[np.intp], stamps: NDArray[np.int64], together: NDArray[np.bool_], values: NDArray[np.float64]
) -> Rows:
    """By key, stamp, and what is said; rows that were put together behind all others with their stamp.

    What is said decides only between copies with one stamp that contradict each other, so only these are sorted by it.
    """
    order = np.lexsort((together, stamps, place))
    sorts = np.column_stack([place, stamps, together])[order]
    begins = np.flatnonzero(np.append(True, (sorts[1:] != sorts[:-1]).any(axis=1)))
    low, high = np.fmin.reduceat(values[order], begins), np.fmax.reduceat(values[order], begins)
    sizes = np.diff(begins, append=len(order))
    contrary = order[np.repeat((low < high).any(axis=1), sizes)]
    if not len(contrary):
        return order
    said = np.where(np.isnan(values[contrary]), -np.inf, values[contrary])
    rank = np.zeros(len(order), np.intp)
    rank[contrary[np.lexsort(said.T[::-1])]] = np.arange(len(contrary))
    return np.lexsort((rank, together, stamps, place))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Values, NaN where there is none."""
    return np.asarray((pc.fill_null(column, float("nan")) if column.null_count else column).to_numpy())
