"""Which of the copies of some keys are believed, and which stored rows stay."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.compose import Composed, Copies, compose
from pipelines.former import Former, put_together
from pipelines.unique import Rows, Rule


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
class Pool:
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
class Settled:
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


@dataclass(frozen=True, slots=True)
class Settling:
    """Settles pools of one batch.

    Attributes:
        rule: Which copy is believed.
        batch: The readings.
    """

    rule: Rule
    batch: Batch

    def settle(self, pool: Pool) -> Settled:
        """Believe of each key what the rule says, and keep the stored rows that say it already."""
        keys, place = np.unique(pool.keys, return_inverse=True)
        stored = np.arange(pool.stored)
        gone = (pool.void & ~self._still_given(pool, place)) | pool.doubtful
        live = np.append(np.flatnonzero(~gone), np.arange(pool.stored, len(pool.rows)))
        rows = pool.rows if len(live) == len(pool.rows) else pool.rows.take(pa.array(live))
        best = live[self.rule.believed(rows, pool.keys[live])]
        believed = np.full(len(keys), -1)
        believed[np.searchsorted(keys, pool.keys[best])] = best
        composed = compose(self.rule, self._copies(pool, place, live), believed, self.batch.seq)
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
        return Settled(rows, keys_of_all, believed[place], kept, gone, disputed, composed)

    def _on_loan(self, rows: pa.Table, place: NDArray[np.intp], live: Rows, believed: Rows, stored: Rows) -> Rows:
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

    def _copies(self, pool: Pool, place: NDArray[np.intp], live: Rows) -> Copies:
        together, unstamped = np.zeros(len(pool.rows), bool), np.zeros(len(pool.rows), bool)
        together[: pool.stored] = put_together(pool.rows.slice(0, pool.stored))
        clocks = self.batch.clocks[pool.own["object"].to_numpy()]
        unstamped[pool.stored : pool.stored + pool.mine] = pool.own["received"].to_numpy() == clocks
        return Copies(pool.rows, place, live, together, unstamped)

    def _as_before(self, pool: Pool, composed: Composed, at: Rows) -> NDArray[np.bool_]:
        """Which doubtful rows would be put together again with no worse a stamp; ``at``: as which row."""
        again = pool.doubtful & (at >= 0)
        if again.any():
            ranks = self.rule.stamps(pool.rows.slice(0, pool.stored))
            again[again] = composed.bounds[at[again]] <= ranks[again]
        return again

    def _still_given(self, pool: Pool, place: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which stored rows their object gives again, as it is now: the same values, with no worse a stamp."""
        given = np.zeros(pool.stored, bool)
        if not pool.void.any():
            return given
        heirs = self.batch.former.positions(pool.rows.slice(0, pool.stored))
        row_of = np.full(int(place.max()) + 1, -1)
        row_of[place[: pool.stored]] = np.arange(pool.stored)
        mine = np.arange(pool.stored, pool.stored + pool.mine)
        objects = pool.own["object"].to_numpy()
        former = row_of[place[mine]]
        own = (former >= 0) & (heirs[former] == objects)
        mine, former, objects = mine[own], former[own], objects[own]
        ranks = self.rule.stamps(pool.rows)
        unstamped = pool.rows["received"].to_numpy()[mine] == self.batch.clocks[objects]
        same = ((ranks[mine] <= ranks[former]) | unstamped) & self._agree(pool.rows, mine, former)
        given[former[same]] = True
        return given

    def _agree(self, rows: pa.Table, left: Rows, right: Rows, *, partly: bool = False) -> NDArray[np.bool_]:
        return agree(self.rule, rows, left, right, partly=partly)


def agree(rule: Rule, rows: pa.Table, left: Rows, right: Rows, *, partly: bool = False) -> NDArray[np.bool_]:
    """Tell which rows say what others say; ``partly``: or less."""
    return rule.agree(rows.take(pa.array(left)), rows.take(pa.array(right)), partly=partly)
