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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.lake import Snapshot
from pipelines.past import Place, Span
from pipelines.settling import Batch, Pool, Settled, Settling, agree
from pipelines.standing import KEY, Standing, runs
from pipelines.unique import Rows, Rule

Search = Callable[[pa.Table], pa.Table]
"""Finds copies of readings in objects that are not in the batch, given device, time and sequence; columns as stored."""


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
    for run in runs(dates, snapshot.row_counts()):
        mine = batch.rows if len(run) == len(dates) else batch.rows.filter(pc.is_in(names, pa.array(run)))
        parts.append(merger.merge(mine, run))
    return _joined(parts or [merger.merge(batch.rows, [])])


class _Merger:
    def __init__(self, snapshot: Snapshot, batch: Batch, rule: Rule, search: Search) -> None:
        self._batch, self._rule, self._search = batch, rule, search
        self._columns = batch.rows.column_names
        self._standing = Standing(snapshot, rule, batch.former, self._columns)
        self._settling = Settling(rule, batch)

    def merge(self, mine: pa.Table, dates: Sequence[str]) -> Merged:
        """What the readings of some dates change."""
        touched = self._standing.touched(mine, dates)
        new = self._all_new(mine) if not len(touched) else None
        if new is not None:
            return new
        pool = self._pool(touched, mine)
        settled = self._settling.settle(pool)
        if len(settled.disputed):
            asked = pool.rows.select(KEY).take(pa.array(settled.disputed))
            found = self._search(asked).select(self._columns)
            ours, theirs = self._rule.keys(asked, found)
            found = found.filter(pa.array(np.isin(theirs, ours)))
            if len(found):
                pool = self._pool(pool.rows.slice(0, pool.stored), mine, found)
                settled = self._settling.settle(pool)
        return self._merged(pool, settled)

    def _all_new(self, mine: pa.Table) -> Merged | None:
        """What changes when no row is touched and no two readings are copies, as nearly always."""
        (keys,) = self._rule.keys(mine)
        order = np.argsort(keys, kind="stable")
        if not np.diff(keys[order]).all():
            return None
        rows = mine if (np.diff(order) == 1).all() else mine.combine_chunks().take(pa.array(order))
        none = mine.slice(0, 0).select(["date", *KEY])
        counts = dict.fromkeys(("duplicates", "superseded", "joined", "replaced", "restored"), 0)
        return Merged(rows, none, none, {"accepted": len(rows), **counts}, {})

    def _pool(self, stored: pa.Table, mine: pa.Table, found: pa.Table | None = None) -> Pool:
        parts = [part.cast(mine.schema) for part in (stored, mine, found) if part is not None]
        rows, former = pa.concat_tables(parts), self._batch.former
        void, doubtful = former.positions(stored) >= 0, former.doubtful(stored)
        return Pool(rows, self._rule.keys(rows)[0], len(stored), len(mine), void, doubtful, mine)

    def _agree(self, rows: pa.Table, left: Rows, right: Rows, *, partly: bool = False) -> NDArray[np.bool_]:
        return agree(self._rule, rows, left, right, partly=partly)

    def _merged(self, pool: Pool, settled: Settled) -> Merged:
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
        named = pool.rows.select(["date", *KEY])
        origins = pool.rows.select(["batch", "object", "time"])
        hidden = _spans(origins.take(pa.array(np.append(dropped, lost[~pool.void[lost]]))))
        removed, withdrawn = (named.take(pa.array(each)) for each in (lost, abandoned))
        return Merged(rows, removed, withdrawn, counts, hidden)

    def _givers(self, pool: Pool, settled: Settled) -> tuple[Rows, int]:
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


def _spans(rows: pa.Table) -> dict[Place, Span]:
    """The earliest and the latest time of the rows of each object."""
    known = rows.filter(pc.greater_equal(rows["object"], 0))
    found = known.group_by(["batch", "object"]).aggregate([("time", "min"), ("time", "max")])
    columns = (found[name].to_pylist() for name in ("batch", "object", "time_min", "time_max"))
    return {(batch, place): (low, high) for batch, place, low, high in zip(*columns, strict=True)}
