"""What a batch of readings changes in the table: rows that come, and rows that go.

Of each key the table holds the copy that `pipelines.unique` believes of all copies in all objects as they are now, with
what it lacks from the next ones that have it (`pipelines.compose`). Most copies leave no trace in the table, because
they say what is there already. So four times the table alone cannot tell:

    * An object was written again and lacks a reading: perhaps another object has it, too.
    * It has the reading with other values, or another stamp: the same.
    * A copy beats the stored one: perhaps the stored one was received even earlier, with another object.
    * An object was written again that may have given a part of a row that was put together.

Then the objects with such copies are read once more (`Search`). The ledger keeps the times of all readings that are no
rows of their own (`Merged.hidden`), so these are few. A row that only gets longer needs no search.

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

from pipelines.compose import Composed, Copies, compose
from pipelines.former import Former, put_together
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
        former: Former versions of its objects.
    """

    seq: int
    rows: pa.Table
    clocks: NDArray[np.int64]
    former: Former


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What changes.

    Attributes:
        added: Rows to add, sorted by device and time.
        removed: Stored rows to take out: date, device, time, sequence.
        withdrawn: Those of them that no reading of this batch takes the place of.
        counts: ``accepted`` readings of the batch gave a row, or a value that it lacked; ``duplicates`` say what a row
            says, ``superseded`` say something else; ``joined`` of the accepted share a row with another one of them;
            ``replaced`` rows were taken out, ``restored`` rows come from objects read before.
        hidden: Readings that are no rows of their own, from now on: their object, and their times.
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
    void = batch.former.dates(snapshot)
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
        doubtful: Which of the stored ones may have a part from there.
        own: The rows of the batch.
    """

    rows: pa.Table
    keys: NDArray[np.int64]
    stored: int
    mine: int
    void: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    own: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """What is believed of a pool.

    Attributes:
        rows: Those of the pool, then those that were put together.
        keys: Numbers of their keys.
        final: The row that each copy of the pool stands behind; -1: none.
        kept: Which stored rows stay as they are.
        gone: Which stored rows count no more: their record is gone, or may be.
        disputed: The stored rows that other copies may be needed for.
        composed: What was put together.
    """

    rows: pa.Table
    keys: NDArray[np.int64]
    final: Rows
    kept: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    disputed: Rows
    composed: Composed


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
        settled = self._settle(pool)
        if len(settled.disputed):
            asked = pool.rows.select(_KEY).take(pa.array(settled.disputed))
            found = self._search(asked).select(self._columns)
            ours, theirs = self._rule.keys(asked, found)
            found = found.filter(pa.array(np.isin(theirs, ours)))
            if len(found):
                pool = self._pool(pool.rows.slice(0, pool.stored), mine, found)
                settled = self._settle(pool)
        return self._merged(pool, settled)

    def _all_new(self, mine: pa.Table) -> Merged | None:
        """What changes when no row is touched and no two readings are copies, as nearly always."""
        (keys,) = self._rule.keys(mine)
        order = np.argsort(keys, kind="stable")
        if not np.diff(keys[order]).all():
            return None
        rows = mine if (np.diff(order) == 1).all() else mine.combine_chunks().take(pa.array(order))
        none = mine.slice(0, 0).select(["date", *_KEY])
        counts = dict.fromkeys(("duplicates", "superseded", "joined", "replaced", "restored"), 0)
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
        if self._batch.former or low is None:  # what former versions gave may lie anywhere on these dates
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
        former = self._batch.former
        lineage = ["batch", "object"] if former else []
        stored = self._snapshot.read([*_KEY, *lineage], dates=dates, coded=True, **bounds)
        ours, theirs = self._rule.keys(mine, stored)
        wanted = _among(theirs, ours)
        if former:
            wanted |= (former.positions(stored) >= 0) | former.doubtful(stored)
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
        rows, former = pa.concat_tables(parts), self._batch.former
        void, doubtful = former.positions(stored) >= 0, former.doubtful(stored)
        return _Pool(rows, self._rule.keys(rows)[0], len(stored), len(mine), void, doubtful, mine)

    def _settle(self, pool: _Pool) -> _Settled:
        keys, place = np.unique(pool.keys, return_inverse=True)
        stored = np.arange(pool.stored)
        gone = (pool.void & ~self._still_given(pool, place)) | pool.doubtful
        live = np.append(np.flatnonzero(~gone), np.arange(pool.stored, len(pool.rows)))
        rows = pool.rows if len(live) == len(pool.rows) else pool.rows.take(pa.array(live))
        best = live[self._rule.believed(rows, pool.keys[live])]
        believed = np.full(len(keys), -1)
        believed[np.searchsorted(keys, pool.keys[best])] = best
        composed = compose(self._rule, self._copies(pool, place, live), believed, self._batch.seq)
        believed[place[composed.alone]] = composed.alone
        believed[composed.places] = len(pool.rows) + np.arange(len(composed.rows))
        rows = pa.concat_tables([pool.rows, composed.rows]) if len(composed.rows) else pool.rows
        kept = believed[place[stored]] >= 0
        rivals = stored[kept]
        kept[rivals] = self._agree(rows, rivals, believed[place[rivals]])
        kept[self._on_loan(rows, place, live, believed, stored[kept])] = False
        kept &= ~gone | self._as_before(pool, composed, believed[place[stored]] - len(pool.rows))
        changed = stored[~kept]
        open_ = changed[~gone[changed]]
        certain = open_[self._agree(rows, open_, believed[place[open_]], partly=True)]  # it only became longer
        disputed = np.union1d(np.setdiff1d(changed, certain), np.flatnonzero(pool.doubtful))
        believed[place[stored[kept]]] = stored[kept]
        keys_of_all = np.append(pool.keys, keys[composed.places])
        return _Settled(rows, keys_of_all, believed[place], kept, gone, disputed, composed)

    def _on_loan(
        self, rows: pa.Table, place: NDArray[np.intp], live: Rows, believed: Rows, stored: Rows
    ) -> Rows:
        """Stored rows that others contradict, and that a copy saying the same outranks: they stand as long as it does.

        The row must then name the record of that copy, so that it goes when that record goes.
        """
        backed: Rows = stored[believed[place[stored]] != stored]
        if not len(backed):
            return backed
        asked = np.zeros(len(believed), bool)
        asked[place[backed]] = True
        copies = live[asked[place[live]]]
        against = copies[~self._agree(rows, copies, believed[place[copies]], partly=True)]
        still: Rows = backed[np.isin(place[backed], place[against])]
        return still

    def _copies(self, pool: _Pool, place: NDArray[np.intp], live: Rows) -> Copies:
        together, unstamped = np.zeros(len(pool.rows), bool), np.zeros(len(pool.rows), bool)
        together[: pool.stored] = put_together(pool.rows.slice(0, pool.stored))
        clocks = self._batch.clocks[pool.own["object"].to_numpy()]
        unstamped[pool.stored : pool.stored + pool.mine] = pool.own["received"].to_numpy() == clocks
        return Copies(pool.rows, place, live, together, unstamped)

    def _as_before(self, pool: _Pool, composed: Composed, at: Rows) -> NDArray[np.bool_]:
        """Which doubtful rows would be put together again with no worse a stamp; ``at``: as which row."""
        again = pool.doubtful & (at >= 0)
        if again.any():
            ranks = self._rule.stamps(pool.rows.slice(0, pool.stored))
            again[again] = composed.bounds[at[again]] <= ranks[again]
        return again

    def _still_given(self, pool: _Pool, place: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which stored rows their object gives again, as it is now: the same values, with no worse a stamp."""
        given = np.zeros(pool.stored, bool)
        if not pool.void.any():
            return given
        heirs = self._batch.former.positions(pool.rows.slice(0, pool.stored))
        row_of = np.full(int(place.max()) + 1, -1)
        row_of[place[: pool.stored]] = np.arange(pool.stored)
        mine = np.arange(pool.stored, pool.stored + pool.mine)
        objects = pool.own["object"].to_numpy()
        former = row_of[place[mine]]
        own = (former >= 0) & (heirs[former] == objects)
        mine, former, objects = mine[own], former[own], objects[own]
        ranks = self._rule.stamps(pool.rows)
        unstamped = pool.rows["received"].to_numpy()[mine] == self._batch.clocks[objects]
        same = ((ranks[mine] <= ranks[former]) | unstamped) & self._agree(pool.rows, mine, former)
        given[former[same]] = True
        return given

    def _agree(self, rows: pa.Table, left: Rows, right: Rows, *, partly: bool = False) -> NDArray[np.bool_]:
        return self._rule.agree(rows.take(pa.array(left)), rows.take(pa.array(right)), partly=partly)

    def _merged(self, pool: _Pool, settled: _Settled) -> Merged:
        final, whole = settled.final, len(pool.rows)
        lost = np.flatnonzero(~settled.kept)
        added = np.unique(final[final >= pool.stored])
        mine = np.arange(pool.stored, pool.stored + pool.mine)
        givers, shared = self._givers(pool, settled)
        dropped = mine[final[mine] != mine]
        idle = np.setdiff1d(dropped, givers, assume_unique=True)
        duplicates = int(self._agree(settled.rows, idle, final[idle], partly=True).sum())
        found = (added >= pool.stored + pool.mine) & (added < whole)
        own = int((added < pool.stored + pool.mine).sum())
        composed = int((added >= whole).sum())
        counts = {
            "accepted": own + len(givers),
            "duplicates": duplicates,
            "superseded": len(idle) - duplicates,
            "joined": len(givers) - shared,
            "replaced": len(lost),
            "restored": int(found.sum()) + composed - shared,
        }
        behind = final[lost]
        abandoned = lost[(behind < 0) | ((behind >= pool.stored + pool.mine) & (behind < whole))]
        rows = settled.rows.take(pa.array(added[np.argsort(settled.keys[added], kind="stable")]))
        named = pool.rows.select(["date", *_KEY])
        origins = pool.rows.select(["batch", "object", "time"])
        hidden = _spans(origins.take(pa.array(np.append(dropped, lost[~pool.void[lost]]))))
        removed, withdrawn = (named.take(pa.array(each)) for each in (lost, abandoned))
        return Merged(rows, removed, withdrawn, counts, hidden)

    def _givers(self, pool: _Pool, settled: _Settled) -> tuple[Rows, int]:
        """The readings of the batch that gave a value to a row put together, and how many rows they gave to."""
        composed, whole = settled.composed, len(pool.rows)
        if not len(composed.rows):
            return np.zeros(0, np.intp), 0
        used = np.zeros(len(composed.rows), bool)
        used[settled.final[settled.final >= whole] - whole] = True
        sources = np.where(used[:, None], composed.sources, -1)
        before = np.flatnonzero(~settled.gone & (settled.final[: pool.stored] >= whole))
        at = settled.final[before] - whole
        for signal, name in enumerate(self._rule.signals):
            had, has = pool.rows[name].take(pa.array(before)), composed.rows[name].take(pa.array(at))
            same = pc.fill_null(pc.equal(had, has), fill_value=False).to_numpy()
            sources[at[same], signal] = -1
        row, _ = np.nonzero(given := (sources >= pool.stored) & (sources < pool.stored + pool.mine))
        return np.unique(sources[given]), len(np.unique(row))


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


def _among(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys are among some others; quicker than ``isin`` where many are asked and few are wanted."""
    if not len(wanted) or not len(keys):
        return np.zeros(len(keys), bool)
    wanted = np.sort(wanted)
    return np.asarray(np.append(wanted, -1)[np.searchsorted(wanted, keys)] == keys)


def _spans(rows: pa.Table) -> dict[Place, Span]:
    """The earliest and the latest time of the rows of each object."""
    known = rows.filter(pc.greater_equal(rows["object"], 0))
    found = known.group_by(["batch", "object"]).aggregate([("time", "min"), ("time", "max")])
    columns = (found[name].to_pylist() for name in ("batch", "object", "time_min", "time_max"))
    return {(batch, place): (low, high) for batch, place, low, high in zip(*columns, strict=True)}
