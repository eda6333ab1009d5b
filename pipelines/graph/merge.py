"""The panes of a window merged at once: ``features.pane.merge`` over all of them, as ONNX operators.

Merging two panes has to ask which of them is earlier. The panes of a window lie side by side in the order of time, so
here the answer is known: the first reading is that of the first pane with a reading, the last that of the last one.
All sums are then moved to the first reading of the window, all panes at the same time, and added up. The formulas are
those of ``move_origin`` in ``features/kernel/pane.c``.

No operator here makes more numbers than it is given, and none of them repeats: the graph is as long as its formulas.
"""

from dataclasses import dataclass

from features.pane import PANE_FIELDS
from pipelines.graph.terms import Sheet, Term

ROWS, SIGNALS, PANES = 0, 1, 2  # axes once the fields are apart

_FIELD_FIRST = [3, 0, 2, 1]  # from (rows, panes, signals, FIELDS): sums then run over neighbours in memory
_INFINITY = float("inf")
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Reach:
    """The dense panes behind each row, oldest first.

    Args:
        panes: Term of shape ``(rows, count, signals, FIELDS)``.
        count: How many panes lie behind a row.
        signals: How many signals there are.
        pane_us: Length of a pane in microseconds.
    """

    panes: Term
    count: int
    signals: int
    pane_us: int

    @property
    def sheet(self) -> Sheet:
        """Where the graph is written."""
        return self.panes.sheet

    def field(self, name: str) -> Term:
        """One field of all panes, shape ``(rows, signals, count)``; times count from the start of the oldest pane."""
        columns = self.sheet.apply("Transpose", self.panes, perm=_FIELD_FIRST)
        column = columns.take(PANE_FIELDS.index(name), axis=0)
        if name in ("first_at", "last_at"):
            column += self.sheet.constant([float(number * self.pane_us) for number in range(self.count)])
        return column

    def last_before(self) -> Term:
        """The last reading before each pane; NaN where there is none within the reach.

        Filled forward by doubling: the value 1, 2, 4, … panes back serves where nearer ones had none.
        """
        last, step = self.field("last"), 1
        while step < self.count:
            last = self._is_missing(last).where(self._later(last, step), last)
            step *= 2
        return self._later(last, 1)

    def _later(self, column: Term, panes: int) -> Term:
        """The values moved to later panes; what moves in is NaN."""
        if panes >= self.count:
            return column * _NAN
        kept = column.slice(0, self.count - panes, PANES)
        return (column.slice(0, panes, PANES) * _NAN).beside([kept], PANES)

    def _is_missing(self, column: Term) -> Term:
        return self.sheet.apply("IsNaN", column)


@dataclass(frozen=True, slots=True)
class Window:
    """One window of each row, merged; ``window["sum"]`` is a field of the merged pane.

    Args:
        reach: All panes behind the rows.
        length: Panes in the window.
        back: Panes between the end of the window and the end of the row.
        signals: Which signals, by their place in the fleet, increasing.
    """

    reach: Reach
    length: int
    back: int
    signals: tuple[int, ...]

    @property
    def length_us(self) -> float:
        """Length of the window in microseconds."""
        return float(self.length * self.reach.pane_us)

    def __getitem__(self, name: str) -> Term:
        """A field of the merged pane, shape ``(rows, signals)``; times count from the start of the window."""
        if name in ("first_at", "last_at"):
            return self._or_missing(self._at(name) - float(self._begin * self.reach.pane_us))
        if name in ("first", "last"):
            return self._or_missing(self._value(name))
        if name == "low":
            return self._or_missing(self._held.where(self._panes("low"), _INFINITY).least(PANES))
        if name == "high":
            return self._or_missing(self._held.where(self._panes("high"), -_INFINITY).most(PANES))
        if name == "change":
            return self._change()
        return self._about_first(name).total(PANES)

    @property
    def _begin(self) -> int:
        return self.reach.count - self.back - self.length

    def _cut(self, column: Term) -> Term:
        """What belongs to this window and its signals."""
        if self.length < self.reach.count:
            column = column.slice(self._begin, self._begin + self.length, PANES)
        return column if len(self.signals) == self.reach.signals else column.take(self.signals, SIGNALS)

    def _panes(self, name: str) -> Term:
        return self._cut(self.reach.field(name))

    @property
    def _held(self) -> Term:
        """Which panes hold a reading."""
        return self._panes("count") > 0.0

    def _or_missing(self, merged: Term) -> Term:
        return (self["count"] > 0.0).where(merged, _NAN)

    def _at(self, name: str) -> Term:
        """When the first or last reading was, from the start of the reach; infinite where there is none."""
        if name == "first_at":
            return self._held.where(self._panes(name), _INFINITY).least(PANES)
        return self._held.where(self._panes(name), -_INFINITY).most(PANES)

    def _value(self, name: str) -> Term:
        """The first or last reading; panes do not overlap, so one of them has it."""
        moment = f"{name}_at"
        here = self._panes(moment).equals(self._at(moment).unsqueeze(PANES))
        return here.where(self._panes(name), 0.0).total(PANES)

    def _distance(self, name: str) -> Term:
        """How far the first reading of each pane lies from the first of the window, in value or in time."""
        origin = self._at(name) if name == "first_at" else self._value(name)
        return self._held.where(self._panes(name) - origin.unsqueeze(PANES), 0.0)

    def _about_first(self, name: str) -> Term:
        """A sum of each pane, taken about the first reading of the window; counts as they are."""
        own, count = self._panes(name), self._panes("count")
        if name == "sum":
            return own + count * self._distance("first")
        if name == "square":
            dx = self._distance("first")
            return own + dx * (self._panes("sum") * 2.0 + count * dx)
        if name == "time":
            return own + count * self._distance("first_at")
        if name == "time_square":
            dt = self._distance("first_at")
            return own + dt * (self._panes("time") * 2.0 + count * dt)
        if name == "time_value":
            dt, dx = self._distance("first_at"), self._distance("first")
            return own + (dt * self._panes("sum") + dx * self._panes("time") + count * dt * dx)
        return own

    def _change(self) -> Term:
        """Changes within panes, and from pane to pane: every pane with a reading but the first has one before it."""
        moment = self._panes("first_at")
        follows = self.reach.sheet.apply("And", self._held, moment > self._at("first_at").unsqueeze(PANES))
        step = abs(self._panes("first") - self._cut(self.reach.last_before()))
        return (self._panes("change") + follows.where(step, 0.0)).total(PANES)
