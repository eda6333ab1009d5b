"""What came of each prediction, by its id, as it became known.

    joined = join(lake, "pump_failure", watched, usecase.label, now_us)

A table of the lake beside the predictions (`pipelines.tables.outcomes`), which any engine can join by ``id``. Rows are
only ever added: one when the outcome of a prediction is known for the first time, and another one when it turns out to
be different, as when a failure is written down that nobody had known of. So what was known on any day can be told
again: of the rows of an id whose ``joined_at`` is not later, the latest.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.labels import Label
from pipelines.labels.events import NEVER, next_event
from pipelines.lake import Lake
from pipelines.unique import date_names
from pipelines.watched import Watched

WRITER = "outcomes"
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Joined:
    """What a run joined.

    Attributes:
        new: Predictions whose outcome is known for the first time.
        changed: Predictions whose outcome turned out to be another one.
    """

    new: int
    changed: int


def join(lake: Lake, usecase: str, watched: list[Watched], label: Label, now_us: int) -> Joined:
    """Write down the outcomes that became known since the last run.

    Args:
        lake: Holds the table.
        usecase: Name of the use case.
        watched: What each version predicted, with labels as of now.
        label: When silence is an answer.
        now_us: When this run joins, UTC microseconds.

    Raises:
        CommitConflictError: Another run joined first; what it joined need not be joined again.
    """
    rows = [_rows(each, label, now_us) for each in watched]
    if not any(map(len, rows)):
        return Joined(0, 0)
    found = pa.concat_tables(rows)
    snapshot = lake.outcomes(usecase).create()
    stored = snapshot.read(["id", "label", "joined_at"], dates=found["date"].unique().to_pylist())
    stored = stored.sort_by("joined_at")
    latest = stored.group_by("id", use_threads=False).aggregate([("label", "last")])
    place = pc.index_in(found["id"], latest["id"].combine_chunks())
    before = pc.take(latest["label_last"], place)
    new = pc.is_null(before)
    changed = pc.fill_null(pc.not_equal(before, found["label"]), False)
    fresh = found.filter(pc.or_(new, changed)).cast(snapshot.layout.schema)
    if len(fresh):
        snapshot.append(fresh, transaction=(WRITER, snapshot.transaction(WRITER) + 1))
    return Joined(int(pc.sum(new).as_py() or 0), int(pc.sum(changed).as_py() or 0))


def known_at(watched: Watched, label: Label) -> NDArray[np.int64]:
    """Return when the outcome of each window became known, UTC microseconds.

    Silence is an answer a while after the window; where something happened within the horizon, not before that was
    known.
    """
    windows, events = watched.windows, watched.span.events
    silence = windows.end + label.known_after // timedelta(microseconds=1)
    due = next_event(windows.device, windows.end, events)
    found = silence.copy()
    rows = np.flatnonzero((due < NEVER) & (due < windows.end + watched.span.horizon_us))
    told = dict(
        zip(zip(events.device.tolist(), events.time.tolist(), strict=True), events.known_at.tolist(), strict=True)
    )
    keys = zip(windows.device[rows].tolist(), due[rows].tolist(), strict=True)
    found[rows] = np.maximum(silence[rows], [told[key] for key in keys])
    return found


def delay_hours(watched: Watched, label: Label) -> float:
    """Return the median time from the end of a window to its outcome, hours; NaN where none is known."""
    joined = watched.joined
    if not joined.any():
        return float("nan")
    return float(np.median((known_at(watched, label) - watched.windows.end)[joined])) / _HOUR_US


def _rows(watched: Watched, label: Label, now_us: int) -> pa.Table:
    """A row for each prediction whose outcome is known, those of windows that were predicted twice as well."""
    windows = watched.windows
    kept = watched.joined[watched.place]
    place = watched.place[kept]
    return pa.table(
        {
            "date": date_names(windows.end[place]),
            "id": watched.ids.filter(pa.array(kept)),
            "device": pa.array(windows.device[place]),
            "window_end": windows.end[place],
            "label": windows.label[place],
            "known_at": known_at(watched, label)[place],
            "joined_at": np.full(len(place), now_us),
        }
    )
