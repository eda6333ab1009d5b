"""What a batch of readings changes in the table: rows that come, and rows that go.

Of each key the table holds the copy that `pipelines.unique` believes of all copies in all objects as they are now. Most
copies leave no trace in the table, because they say what is there already. So three times the table alone cannot tell:

    * An object was written again and lacks a reading: perhaps another object has it, too.
    * It has the reading with other values, or another stamp: the same.
    * A copy beats the stored one: perhaps the stored one was received even earlier, with another object.

Then the objects with such copies are read once more (`Search`). The ledger keeps the times of all readings that are not
in the table (`Merged.hidden`), so these are few.

A reading that an object still gives after it was written again keeps its row, the number of its batch, and the time of
receipt it had where no hub stamped it: an object that grows only adds rows. So what is believed of unstamped copies in
objects that are written again depends on when they were first read; of all others it depends on nothing but them.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.lake import Snapshot
from pipelines.ledger import Place, Span
from pipelines.unique import Rows, Rule

Search = Callable[[pa.Table], pa.Table]
"""Finds copies of readings in objects that are not in the batch, given device, time and sequence; columns as stored."""

_Bounds = dict[str, dict[str, int]]
"""Which times `Snapshot.read` reads."""
_KEY = ("device", "time", "sequence")
_MOST_ROWS = 4_000_000  # stored keys that are compared at a time
_MOST_DEVICES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Readings of one intent.

    Attributes:
        seq: Its number.
        rows: All columns of the table; ``object`` is the position in the intent.
        clocks: What stands in for a missing stamp, for each object, UTC microseconds.
        heirs: Places of former versions of objects, and the position of the object in the intent.
    """

    seq: int
    rows: pa.Table
    clocks: NDArray[np.int64]
    heirs: Mapping[Place, int]


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What changes.

    Attributes:
        added: Rows to add, sorted by device and time.
        removed: Stored rows to take out: date, device, time, sequence.
        withdrawn: Those of them that no reading of this batch takes the place of.
        counts: ``accepted`` readings of the batch are rows now, ``duplicates`` say what a row says, ``superseded`` say
            something else; ``replaced`` rows were taken out, ``restored`` rows come from objects read before.
        hidden: Readings that are not in the table, from now on: their object, and their times.
    """

    added: pa.Table
    removed: pa.Table
    withdrawn: pa.Table
    counts: dict[str, int]
    hidden: dict[Place, Span]


def merge(snapshot: Snapshot, batch: Batch, rule: Rule, search: Search) -> Merged:
    """Find what a batch changes.

    Args:
        snapshot: The telemetry table as it is.
        batch: The readings, in any order; keys may occur often.
        rule: Which of them are copies, and which is believed.
        search: Looks for further copies.
    """
    void = _void_dates(snapshot, batch.heirs)
    names = batch.rows["date"].combine_chunks().dictionary_encode()
    dates = sorted({*names.dictionary.to_pylist(), *void})
    merger = _Merger(snapshot, batch, rule, search)
    parts = []
    for run in _runs(dates, snapshot.row_counts()):
        mine = batch.rows if len(run) == len(dates) else batch.rows.filter(pc.is_in(names, pa.array(run)))
        parts.append(merger.merge(mine, run))
    return _joined(parts or [merger.merge(batch.rows, [])])


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """All copies of some keys: ``stored`` rows first, then ``mine``, then those that were found.

    Attributes:
        rows: The copies.
        keys: Numbers of their keys.
        stored: How many are rows of the table.
        mine: How many are of the batch.
        void: Which of the stored ones come from a former version of an object of the batch.
    """

    rows: pa.Table
    keys: NDArray[np.int64]
    stored: int
    mine: int
    void: NDArray[np.bool_]
    own: pa.Table


class _Merger:
    def __init__(self, snapshot: Snapshot, batch: Batch, rule: Rule, search: Search) -> None:
        self._snapshot, self._batch, self._rule, self._search = snapshot, batch, rule, search
        self._columns = batch.rows.column_names

    def merge(self, mine: pa.Table, dates: Sequence[str]) -> Merged:
        """What the readings of some dates change."""
        touched = self._touched(mine, dates)
        new = self._all_new(mine) if not len(touched) else None
        if new is not None:
            return new
        pool = self._pool(touched, mine)
        final, kept = self._settle(pool)
        disputed = np.flatnonzero(~kept)
        if len(disputed):
            asked = pool.rows.select(_KEY).take(pa.array(disputed))
            found = self._search(asked).select(self._columns)
            ours, theirs = self._rule.keys(asked, found)
            found = found.filter(pa.array(np.isin(theirs, ours)))
            if len(found):
                pool = self._pool(pool.rows.slice(0, pool.stored), mine, found)
                final, kept = self._settle(pool)
        return self._merged(pool, final, kept)

    def _all_new(self, mine: pa.Table) -> Merged | None:
        """What changes when no row is touched and no two readings are copies, as nearly always."""
        (keys,) = self._rule.keys(mine)
        order = np.argsort(keys, kind="stable")
        if not np.diff(keys[order]).all():
            return None
        rows = mine if (np.diff(order) == 1).all() else mine.combine_chunks().take(pa.array(order))
        none = mine.slice(0, 0).select(["date", *_KEY])
        counts = dict.fromkeys(("duplicates", "superseded", "replaced", "restored"), 0)
        return Merged(rows, none, none, {"accepted": len(rows), **counts}, {})

    def _touched(self, mine: pa.Table, dates: Sequence[str]) -> pa.Table:
        """The stored rows that are copies of the readings, or come from former versions of their objects; whole."""
        parts = [self._touched_within(mine, dates, bounds) for bounds in self._slices(mine, dates)]
        return pa.concat_tables([mine.slice(0, 0), *(part.cast(mine.schema) for part in parts if len(part))])

    def _slices(self, mine: pa.Table, dates: Sequence[str]) -> list[_Bounds]:
        """Spans of time in which so many stored rows are to be compared at most, were they spread evenly."""
        counts = self._snapshot.row_counts()
        stored = sum(counts.get(date, 0) for date in dates)
        reach = pc.min_max(mine["time"]).as_py()
        low, high = reach["min"], reach["max"]
        if self._batch.heirs or low is None:  # what former versions gave may lie anywhere on these dates
            if stored <= _MOST_ROWS:
                return [{}]
            ranges = self._snapshot.ranges("time")
            low = min(ranges[date][0] for date in dates if date in ranges)
            high = max(ranges[date][1] for date in dates if date in ranges)
        elif stored > _MOST_ROWS:
            near = (file for file in self._snapshot.files(dates) if file.may_hold(low, high))
            stored = sum(file.rows for file in near)
        cuts = np.linspace(low - 1, high, 1 + max(-(-stored // _MOST_ROWS), 1)).astype(np.int64).tolist()
        cuts[0], cuts[-1] = low - 1, high  # floats have not all digits
        return [{"after": {"time": a}, "before": {"time": b + 1}} for a, b in itertools.pairwise(cuts) if a < b]

    def _touched_within(self, mine: pa.Table, dates: Sequence[str], bounds: _Bounds) -> pa.Table:
        lineage = ["batch", "object"] if self._batch.heirs else []
        stored = self._snapshot.read([*_KEY, *lineage], dates=dates, coded=True, **bounds)
        ours, theirs = self._rule.keys(mine, stored)
        wanted = _among(theirs, ours)
        if lineage:
            wanted |= _heirs(stored, self._batch.heirs) >= 0
        if not wanted.any():
            return mine.slice(0, 0)
        few = stored.filter(pa.array(wanted)).select(_KEY)
        del stored
        reach, devices = pc.min_max(few["time"]).as_py(), pc.unique(few["device"].cast(pa.string()))
        whole = self._snapshot.read(
            self._columns,
            dates=dates,
            devices=devices.to_pylist() if len(devices) <= _MOST_DEVICES else None,
            after={"time": reach["min"] - 1},
            before={"time": reach["max"] + 1},
        )
        ours, theirs = self._rule.keys(few, whole)
        return whole.filter(pa.array(_among(theirs, ours)))

    def _pool(self, stored: pa.Table, mine: pa.Table, found: pa.Table | None = None) -> _Pool:
        parts = [part.cast(mine.schema) for part in (stored, mine, found) if part is not None]
        rows = pa.concat_tables(parts)
        void = _heirs(stored, self._batch.heirs) >= 0
        return _Pool(rows, self._rule.keys(rows)[0], len(stored), len(mine), void, mine)

    def _settle(self, pool: _Pool) -> tuple[Rows, NDArray[np.bool_]]:
        """Which copy of its key each copy stands behind (-1: none), and which stored rows stay as they are."""
        live = np.append(np.flatnonzero(~pool.void), np.arange(pool.stored, len(pool.rows)))
        rows = pool.rows if len(live) == len(pool.rows) else pool.rows.take(pa.array(live))
        best = live[self._rule.believed(rows, pool.keys[live])]
        keys, place = np.unique(pool.keys, return_inverse=True)
        believed = np.full(len(keys), -1)
        believed[np.searchsorted(keys, pool.keys[best])] = best
        stored = np.arange(pool.stored)
        kept = believed[place[stored]] >= 0
        rivals = stored[kept]
        kept[rivals] = self._agree(pool, rivals, believed[place[rivals]])
        kept &= ~pool.void | self._still_given(pool, place)
        believed[place[stored[kept]]] = stored[kept]
        return believed[place], kept

    def _still_given(self, pool: _Pool, place: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which stored rows their object gives again, as it is now: the same values, with no worse a stamp."""
        given = np.zeros(pool.stored, bool)
        if not pool.void.any():
            return given
        heirs = _heirs(pool.rows.slice(0, pool.stored), self._batch.heirs)
        row_of = np.full(int(place.max()) + 1, -1)
        row_of[place[: pool.stored]] = np.arange(pool.stored)
        mine = np.arange(pool.stored, pool.stored + pool.mine)
        objects = pool.own["object"].to_numpy()
        former = row_of[place[mine]]
        own = (former >= 0) & (heirs[former] == objects)
        mine, former, objects = mine[own], former[own], objects[own]
        stamps = pool.rows["received"].to_numpy()
        no_worse = stamps[mine] >= stamps[former] if self._rule.last else stamps[mine] <= stamps[former]
        unstamped = stamps[mine] == self._batch.clocks[objects]
        same = (no_worse | unstamped) & self._agree(pool, mine, former)
        given[former[same]] = True
        return given

    def _agree(self, pool: _Pool, left: Rows, right: Rows) -> NDArray[np.bool_]:
        return self._rule.agree(pool.rows.take(pa.array(left)), pool.rows.take(pa.array(right)))

    def _merged(self, pool: _Pool, final: Rows, kept: NDArray[np.bool_]) -> Merged:
        gone = np.flatnonzero(~kept)
        added = np.unique(final[final >= pool.stored])
        restored = added >= pool.stored + pool.mine
        mine = np.arange(pool.stored, pool.stored + pool.mine)
        dropped = mine[final[mine] != mine]
        duplicates = int(self._agree(pool, dropped, final[dropped]).sum())
        abandoned = gone[(final[gone] < 0) | (final[gone] >= pool.stored + pool.mine)]
        rows = pool.rows.take(pa.array(added[np.argsort(pool.keys[added], kind="stable")]))
        counts = {
            "accepted": int((~restored).sum()),
            "duplicates": duplicates,
            "superseded": len(dropped) - duplicates,
            "replaced": len(gone),
            "restored": int(restored.sum()),
        }
        named = pool.rows.select(["date", *_KEY])
        origins = pool.rows.select(["batch", "object", "time"])
        hidden = _spans(origins.take(pa.array(np.append(dropped, gone[~pool.void[gone]]))))
        removed, withdrawn = (named.take(pa.array(each)) for each in (gone, abandoned))
        return Merged(rows, removed, withdrawn, counts, hidden)


def _joined(parts: Sequence[Merged]) -> Merged:
    counts = {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}
    hidden: dict[Place, Span] = {}
    for part in parts:
        for place, (low, high) in part.hidden.items():
            known = hidden.get(place, (low, high))
            hidden[place] = min(low, known[0]), max(high, known[1])
    added, removed, withdrawn = (
        pa.concat_tables([getattr(part, name) for part in parts]) for name in ("added", "removed", "withdrawn")
    )
    return Merged(added, removed, withdrawn, counts, hidden)


def _runs(dates: Sequence[str], counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Cut dates into lists that have so many stored rows at most; a larger date stands alone."""
    run: list[str] = []
    rows = 0
    for date in dates:
        if run and rows + counts.get(date, 0) > _MOST_ROWS:
            yield run
            run, rows = [], 0
        run.append(date)
        rows += counts.get(date, 0)
    if run:
        yield run


def _void_dates(snapshot: Snapshot, heirs: Mapping[Place, int]) -> set[str]:
    """The dates of the rows that come from former versions of objects."""
    if not heirs:
        return set()
    batches = sorted({batch for batch, _ in heirs})
    after, before = {"batch": batches[0] - 1}, {"batch": batches[-1] + 1}
    rows = snapshot.read(["date", "batch", "object"], after=after, before=before)
    return set(rows.filter(pa.array(_heirs(rows, heirs) >= 0))["date"].unique().to_pylist())


def _heirs(rows: pa.Table, heirs: Mapping[Place, int]) -> NDArray[np.int64]:
    """The position in the intent of the object that each row comes from a former version of; -1 where there is none."""
    found = np.full(len(rows), -1, np.int64)
    if not heirs or not len(rows):
        return found
    known = np.array(sorted((batch << 32 | place, heir) for (batch, place), heir in heirs.items()))
    places = rows["batch"].to_numpy() << 32 | rows["object"].fill_null(2**31 - 1).to_numpy().astype(np.int64)
    at = np.minimum(np.searchsorted(known[:, 0], places), len(known) - 1)
    return np.where(known[at, 0] == places, known[at, 1], -1)


def _among(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys are among some others; quicker than ``isin`` where many are asked and few are wanted."""
    if not len(wanted) or not len(keys):
        return np.zeros(len(keys), bool)
    wanted = np.sort(wanted)
    return np.asarray(np.append(wanted, -1)[np.searchsorted(wanted, keys)] == keys)


def _spans(rows: pa.Table) -> dict[Place, Span]:
    """The earliest and the latest time of the rows of each object."""
    known = rows.filter(pc.is_valid(rows["object"]))
    found = known.group_by(["batch", "object"]).aggregate([("time", "min"), ("time", "max")])
    columns = (found[name].to_pylist() for name in ("batch", "object", "time_min", "time_max"))
    return {(batch, place): (low, high) for batch, place, low, high in zip(*columns, strict=True)}
