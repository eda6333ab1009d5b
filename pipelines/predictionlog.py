"""The latest four weeks of the prediction log, as it stood at a moment.

Predictions are read without their features, which are fetched for those rows that are looked at, day by day: a million
of them are half a gigabyte, and reading all columns at once takes several times that.

Windows that end after the moment are no part of it, only counted: whoever predicted them has a wrong clock, and a
device that is ten years ahead must not make the log end in ten years.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.lake import Lake, Snapshot

PERIOD = timedelta(days=28)
_LIGHT = ("date", "id", "instance", "device", "window_end", "predicted_at", "version", "bundle", "score", "alert")
_CLOCK = ("device", "instance", "window_end", "predicted_at")


@dataclass(frozen=True, slots=True)
class Log:
    """What was predicted lately, of every placement.

    Attributes:
        snapshot: The table it was read from.
        rows: Predictions without their features, in any order.
        strays: Predictions whose windows end after the moment, and those made lately about windows that ended before
            the four weeks: device, instance, window_end, predicted_at.
    """

    snapshot: Snapshot
    rows: pa.Table
    strays: pa.Table

    def features(self, rows: pa.Table, width: int) -> NDArray[np.float64]:
        """Fetch what the model saw.

        Args:
            rows: The predictions wanted, each once: ``id`` and ``date``.
            width: Number of features.

        Returns:
            Shape ``(len(rows), width)``; NaN where a feature was missing.
        """
        values = np.full((len(rows), width), np.nan)
        dates = rows["date"].combine_chunks()
        for code, date in enumerate(dates.dictionary.to_pylist() if width else ()):
            own = np.flatnonzero(dates.indices.to_numpy() == code)
            stored = self.snapshot.read(["id", "features"], dates=[date])
            place = pc.index_in(stored["id"], rows["id"].take(pa.array(own)).combine_chunks())
            wanted = pc.and_(pc.is_valid(place), pc.equal(pc.list_value_length(stored["features"]), width))
            stored, place = stored.filter(wanted), place.filter(wanted)
            flat = pc.list_flatten(stored["features"]).fill_null(math.nan).to_numpy()
            values[own[place.to_numpy()]] = flat.reshape(-1, width)
        return values


def read_log(lake: Lake, usecase: str, now_us: int) -> Log:
    """Read the log of a use case as it stood at a moment, UTC microseconds."""
    snapshot = lake.predictions(usecase).open()
    today = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%d}"
    dates = snapshot.dates()
    past = [date for date in dates if date <= today]
    first = f"{datetime.fromisoformat(past[-1]) - PERIOD:%Y-%m-%d}" if past else today
    rows = _coded(snapshot.read(_LIGHT, dates=[date for date in past if date > first]))
    now = pc.less_equal(rows["window_end"], now_us)
    empty = snapshot.read(_CLOCK, dates=[])
    strays = [
        rows.filter(pc.invert(now)).select(_CLOCK).cast(empty.schema),
        snapshot.read(_CLOCK, dates=[date for date in dates if date > today]),
        _behind(snapshot, [date for date in past if date <= first], first),
    ]
    return Log(snapshot, rows if pc.all(now).as_py() else rows.filter(now), pa.concat_tables(strays))


def _coded(rows: pa.Table) -> pa.Table:
    """The same with each name that nearly all rows share kept once: of a million, digests alone are 70 MB a copy."""
    for name in ("date", "instance", "version", "bundle"):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].dictionary_encode())
    return rows.unify_dictionaries()


def _behind(snapshot: Snapshot, dates: Sequence[str], first: str) -> pa.Table:
    """Predictions about windows of long ago that were made after the day ``first``; by the ranges that files state."""
    since = int(datetime.fromisoformat(f"{first}T23:59:59.999999+00:00").timestamp() * 1e6)
    made = snapshot.ranges("predicted_at")
    late = [date for date in dates if (made.get(date) or (0, 0))[1] > since]
    return snapshot.read(_CLOCK, dates=late, after={"predicted_at": since})
