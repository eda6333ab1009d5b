"""Of all copies of a reading the one that is believed, whatever the order in which they came.

Telemetry arrives at least once, and sometimes corrected. Copies have the same key: device and time, and the sequence
number where the fleet says so. Of copies that say different things, the one that was received first is believed, or the
last where the fleet says that corrections supersede; of copies received in the same microsecond, the one with the
smaller values, signal by signal, a missing value before all others. What that copy lacks the next one says that has it
(`pipelines.compose`). So copies are believed for what they say and when they were received, never for when or with
which others they were read. Of copies that say the same, any will do.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.schema import Fleet
from pipelines.records import UNSEQUENCED
from pipelines.tables import DAY_US

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Rule:
    """When two readings are copies, and which of them is believed.

    Attributes:
        key: The columns that copies share: device, time and perhaps sequence.
        last: Whether the one received last is believed, not the one received first.
        signals: The columns of what a reading says.
    """

    key: tuple[str, ...] = ("device", "time")
    last: bool = False
    signals: tuple[str, ...] = ()

    @classmethod
    def of(cls, fleet: Fleet) -> Self:
        """The rule of a fleet."""
        return cls(fleet.key, fleet.believe == "last", fleet.signal_names)

    def keys(self, *parts: pa.Table) -> list[NDArray[np.int64]]:
        """Number the keys of rows: equal exactly where the keys are, also across parts; they sort as device and time.

        Example:
            >>> rows = pa.table({"device": ["a", "a", "b"], "time": [5, 5, 5], "sequence": [1, None, 1]})
            >>> [len(np.unique(rule.keys(rows)[0])) for rule in (Rule(), Rule(("device", "time", "sequence")))]
            [2, 3]
        """
        pairs = pair_keys(*((rows["device"], rows["time"].to_numpy()) for rows in parts))
        if "sequence" not in self.key:
            return pairs
        sequences = np.concatenate([rows["sequence"].fill_null(UNSEQUENCED).to_numpy() for rows in parts])
        _, pair = np.unique(np.concatenate(pairs), return_inverse=True)
        numbers, number = np.unique(sequences, return_inverse=True)
        return np.split(pair * len(numbers) + number, np.cumsum([len(rows) for rows in parts])[:-1])

    def believed(self, rows: pa.Table, keys: NDArray[np.int64]) -> Rows:
        """Positions of the believed row of each key, sorted by key.

        Args:
            rows: Columns ``received`` and the signals.
            keys: The numbers of their keys, shape ``(rows,)``.

        Example:
            >>> rows = pa.table({"received": [7, 5, 5], "flow": [1.0, 3.0, 2.0]})
            >>> key = np.zeros(3, np.int64)
            >>> Rule(signals=("flow",)).believed(rows, key), Rule(last=True, signals=("flow",)).believed(rows, key)
            (array([2]), array([0]))
        """
        order: Rows = np.argsort(keys, kind="stable")
        if not (np.diff(keys[order]) == 0).any():
            return order
        stamps = self.stamps(rows)
        order = np.lexsort((stamps, keys))
        begins = np.flatnonzero(np.diff(keys[order], prepend=keys[order[0]] - 1))
        first = order[begins]
        even = stamps[order] == np.repeat(stamps[first], np.diff(begins, append=len(order)))
        even[begins] = False
        if not even.any():
            return first
        tied = np.flatnonzero(np.isin(keys, keys[order[even]]))
        tied = tied[stamps[tied] == stamps[first[np.searchsorted(keys[first], keys[tied])]]]
        said = rows.select(self.signals).take(pa.array(tied))
        values = [_comparable(said[name]) for name in reversed(self.signals)]
        ranked = tied[np.lexsort((*values, keys[tied]))]
        leads = ranked[np.diff(keys[ranked], prepend=keys[ranked[0]] - 1) != 0]
        first[np.searchsorted(keys[first], keys[leads])] = leads
        return first

    def stamps(self, rows: pa.Table) -> NDArray[np.int64]:
        """The rank of rows by their time of receipt: of copies that with the lowest is believed."""
        stamps: NDArray[np.int64] = rows["received"].to_numpy()
        return ~stamps if self.last else stamps  # unlike minus, this has no number it cannot turn around

    def agree(self, left: pa.Table, right: pa.Table, *, partly: bool = False) -> NDArray[np.bool_]:
        """Tell which rows of two tables of one length say the same.

        Args:
            left: One table.
            right: The other.
            partly: Whether the left row may say less.

        Example:
            >>> one, other = pa.table({"flow": [1.0, None, 2.0, None]}), pa.table({"flow": [1.0, None, None, 3.0]})
            >>> Rule(signals=("flow",)).agree(one, other), Rule(signals=("flow",)).agree(one, other, partly=True)
            (array([ True,  True, False, False]), array([ True,  True, False,  True]))
        """
        same = np.ones(len(left), bool)
        for name in self.signals:
            ours = _comparable(left[name])
            alike = ours == _comparable(right[name])
            same &= alike | np.isneginf(ours) if partly else alike
        return same


def date_names(times: NDArray[np.int64]) -> pa.Array:
    """The UTC days of times in microseconds, as ``yyyy-mm-dd``.

    Example:
        >>> date_names(np.array([0, 86_400_000_000])).to_pylist()
        ['1970-01-01', '1970-01-02']
    """
    days = times // DAY_US
    changes = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))  # times mostly come in runs of one day
    distinct, inverse = np.unique(days[changes], return_inverse=True)
    names = np.datetime_as_string(distinct.astype("datetime64[D]"))
    codes = np.repeat(inverse, np.diff(changes, append=len(days)))
    return pa.array(names.tolist(), pa.string()).take(pa.array(codes))


def pair_keys(*parts: tuple[pa.ChunkedArray, NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Number pairs of device and time.

    Args:
        parts: Columns of devices, plain or dictionary-encoded, and of times, of one length in each part.

    Returns:
        For each part an array of numbers. Two are equal where device and time are, also across parts, and they sort as
        device and time do.
    """
    chunks = [_dictionary(chunk) for device, _ in parts for chunk in device.chunks]
    names = pa.chunked_array([chunk.dictionary for chunk in chunks], pa.string()).unique().sort()
    codes = np.concatenate([np.zeros(0, np.int64), *(_codes(chunk, names) for chunk in chunks)])
    times = np.concatenate([times for _, times in parts])
    if not len(times):
        return [np.zeros(0, np.int64) for _ in parts]
    earliest, latest = int(times.min()), int(times.max())
    span = latest - earliest + 1
    if len(names) * span < 2**62:
        keys = codes * span + (times - earliest)
    else:  # many devices over very long times: count the times that occur instead of the microseconds between them
        moments, ranks = np.unique(times, return_inverse=True)
        keys = codes * len(moments) + ranks
    return np.split(keys, np.cumsum([len(times) for _, times in parts])[:-1])


def _dictionary(chunk: pa.Array) -> pa.DictionaryArray:
    return chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()


def _codes(chunk: pa.DictionaryArray, names: pa.Array) -> NDArray[np.int64]:
    if not len(chunk):
        return np.zeros(0, np.int64)
    places = pc.index_in(chunk.dictionary, names).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.asarray(places[chunk.indices.to_numpy(zero_copy_only=False)])


def _comparable(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Values in which a missing one is less than all others, and equal to itself."""
    values = column.cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return np.where(np.isnan(values), -np.inf, values)
