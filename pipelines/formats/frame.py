"""Readings as they come out of an executor, before anybody has judged them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.rejects import Links


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of objects, in the order of the objects and of the rows in them.

    Attributes:
        device: Strings, null where missing, shape ``(n,)``.
        times: UTC microseconds; only those in ``timed`` mean something.
        timed: Where there is a usable time.
        clocked: Where the record holds a time at all, usable or not.
        received: UTC microseconds, `pipelines.records.UNSTAMPED` where there is none.
        sequence: `pipelines.records.UNSEQUENCED` where there is none.
        values: Shape ``(n, signals)``, NaN where missing.
        sources: Position of the object of each row.
        ordinals: Position of each row in its object.
        links: The records that each row was made of; None where row and record are one.
        counts: Records in each object, -1 where it holds other things too or nobody counted.
    """

    device: pa.Array
    times: NDArray[np.int64]
    timed: NDArray[np.bool_]
    clocked: NDArray[np.bool_]
    received: NDArray[np.int64]
    sequence: NDArray[np.int64]
    values: NDArray[np.float64]
    sources: NDArray[np.int32]
    ordinals: NDArray[np.int32]
    links: Links | None
    counts: NDArray[np.int64]


def concatenated(frames: Sequence[Frame], signals: int, objects: int) -> Frame:
    """Frames of different objects as one; ``counts`` then has one entry for each of all ``objects``."""
    if len(frames) == 1 and len(frames[0].counts) == objects:
        return frames[0]
    counts = np.full(objects, -1, np.int64)
    for frame in frames:
        if len(frame.counts) == objects:
            np.maximum(counts, frame.counts, out=counts)
    links = [frame.links for frame in frames if frame.links is not None]
    return Frame(
        pa.concat_arrays([pa.array([], pa.string()), *(frame.device for frame in frames)]),
        np.concatenate([np.empty(0, np.int64), *(frame.times for frame in frames)]),
        np.concatenate([np.empty(0, np.bool_), *(frame.timed for frame in frames)]),
        np.concatenate([np.empty(0, np.bool_), *(frame.clocked for frame in frames)]),
        np.concatenate([np.empty(0, np.int64), *(frame.received for frame in frames)]),
        np.concatenate([np.empty(0, np.int64), *(frame.sequence for frame in frames)]),
        np.concatenate([np.empty((0, signals)), *(frame.values for frame in frames)]),
        np.concatenate([np.empty(0, np.int32), *(frame.sources for frame in frames)]),
        np.concatenate([np.empty(0, np.int32), *(frame.ordinals for frame in frames)]),
        Links(np.concatenate([each.rows for each in links]), np.concatenate([each.records for each in links]))
        if links
        else None,
        counts,
    )
