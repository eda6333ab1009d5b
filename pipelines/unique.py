"""One reading for one device and time: the one that was received first.

Telemetry arrives at least once. A reading that arrives again, in the same batch or months later, is recognised by its
device and time; of two that say different things, the one that was received first is believed, so the order in which
objects are read does not matter. A copy that says the same is dropped whatever its stamp, because putting it in place
would rewrite a day for nothing: with two hubs that hear the same devices, in every run.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.lake import Snapshot
from pipelines.tables import DAY_US


@dataclass(frozen=True, slots=True)
class Merged:
    """What a batch changes in a table.

    Attributes:
        rows: Rows to write, sorted by device and time.
        dates: The dates ``rows`` stands in for as a whole, or None when it is only to be appended.
        new: How many rows are new.
        duplicates: How many rows of the batch were there already.
    """

    rows: pa.Table
    dates: list[str] | None
    new: int
    duplicates: int


def merge(snapshot: Snapshot, batch: pa.Table) -> Merged:
    """Find what is new in a batch.

    Args:
        snapshot: The telemetry table as it is.
        batch: Rows with its columns, in the order in which they were read; the same device and time may occur often.
    """
    dates = [str(date) for date in batch["date"].unique().to_pylist()]
    stored = snapshot.read(["device", "time", "received"], dates=dates)
    fresh, known = pair_keys(_pairs(batch), _pairs(stored))
    received = batch["received"].to_numpy()
    first = _first_of_each(fresh, received)
    fresh, received = fresh[first], received[first]
    position = np.searchsorted(fresh, known)
    met = np.flatnonzero(np.append(fresh, -1)[position] == known) if len(fresh) else np.zeros(0, np.intp)
    twice = position[met]
    earlier = np.flatnonzero(received[twice] < stored["received"].to_numpy()[met])
    seen = np.zeros(len(fresh), bool)
    seen[twice] = True
    if len(earlier):
        candidates = batch.take(pa.array(first[twice[earlier]]))
        correcting = _differing(snapshot, candidates, dates)
        if correcting.any():
            seen[twice[earlier[correcting]]] = False
            return _corrected(snapshot, batch, first[~seen], candidates.filter(pa.array(correcting)), dates)
    rows = batch.take(pa.array(first[~seen]))
    return Merged(rows, None, len(rows), len(batch) - len(rows))


def date_names(times: NDArray[np.int64]) -> pa.Array:
    """The UTC days of times in microseconds, as ``yyyy-mm-dd``.

    Example:
        >>> date_names(np.array([0, 86_400_000_000])).to_pylist()
        ['1970-01-01', '1970-01-02']
    """
    days, inverse = np.unique(times // DAY_US, return_inverse=True)
    names = np.datetime_as_string(days.astype("datetime64[D]"))
    return pa.array(names.tolist(), pa.string()).take(pa.array(inverse))


def pair_keys(*parts: tuple[pa.ChunkedArray, NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Number pairs of device and time.

    Args:
        parts: Columns of devices and of times, of one length in each part.

    Returns:
        For each part an array of numbers. Two are equal where device and time are, also across parts, and they sort as
        device and time do.
    """
    devices = pa.chunked_array([chunk for device, _ in parts for chunk in device.chunks], pa.string())
    names = devices.unique().sort()
    codes = pc.index_in(devices, names).to_numpy().astype(np.int64)
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


def _first_of_each(keys: NDArray[np.int64], received: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of the earliest received row of each key, the first read among equals, sorted by key."""
    order: NDArray[np.intp] = np.argsort(keys, kind="stable")
    if not (np.diff(keys[order]) == 0).any():
        return order
    by_receipt: NDArray[np.intp] = np.lexsort((received, keys))
    begins = np.diff(keys[by_receipt], prepend=-1) != 0
    return np.asarray(by_receipt[begins])


def _pairs(rows: pa.Table) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    return rows["device"], rows["time"].to_numpy()


def _signals(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in ("date", "device", "time", "received", "batch")]


def _differing(snapshot: Snapshot, candidates: pa.Table, dates: Collection[str]) -> NDArray[np.bool_]:
    """Which rows say something else than the stored rows of their device and time."""
    names = _signals(candidates)
    devices = candidates["device"].unique().to_pylist()
    stored = snapshot.read(["device", "time", *names], dates=dates, devices=devices)
    ours, theirs = pair_keys(_pairs(candidates), _pairs(stored))
    order = np.argsort(theirs)
    match = order[np.searchsorted(theirs[order], ours)]
    different = np.zeros(len(candidates), bool)
    for name in names:
        left = candidates[name].fill_null(np.nan).to_numpy()
        right = stored[name].fill_null(np.nan).to_numpy()[match]
        different |= (left != right) & ~(np.isnan(left) & np.isnan(right))
    return different


def _corrected(
    snapshot: Snapshot, batch: pa.Table, new: NDArray[np.intp], corrections: pa.Table, dates: list[str]
) -> Merged:
    """The dates as a whole: an earlier copy that came later takes the place of the stored one."""
    stored = snapshot.read(batch.column_names, dates=dates)
    theirs, ours = pair_keys(_pairs(stored), _pairs(corrections))
    kept = stored.filter(pa.array(~np.isin(theirs, ours)))
    rows = pa.concat_tables([kept, batch.take(pa.array(new)).cast(kept.schema)])
    rows = rows.take(pa.array(np.argsort(pair_keys(_pairs(rows))[0])))
    return Merged(rows, dates, len(new) - len(corrections), len(batch) - len(new) + len(corrections))
