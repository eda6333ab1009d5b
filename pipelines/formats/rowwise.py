"""Reading records one by one: slower than columns, but nothing stops it, and whatever a mapping can say it does.

Good records are kept; everything else comes back as a fault with its reason.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

from features.burst import Burst, BurstColumns, RefusedBurstError
from features.quotes import unquoted
from features.schema import Reason
from features.unknown import add, sentence_of
from pipelines.formats.plan import Place, Plan, Scope
from pipelines.formats.rows import Instant, Rows
from pipelines.formats.strangers import known_to
from pipelines.formats.texts import decode_body
from pipelines.formats.walking import Getter, Scopes, each_of, getter, is_missing, walked
from pipelines.salvage import FaultError, Moment, moment, number, read_record, text_of, wrong

_NANO = 1_000_000_000


class RowReader:
    """Reads records as a plan says.

    Args:
        plan: The plan.
        bursts: Fields with samples, and the signals read off them.
        quoted: Whether numbers may stand in quotes.
    """

    def __init__(self, plan: Plan, bursts: Sequence[Burst] = (), *, quoted: bool = False) -> None:
        mapping = plan.mapping
        self._plan = plan
        self._bursts = BurstColumns(bursts, plan.signals) if bursts else None
        self._quoted = quoted or plan.quoted
        self._trees = known_to(plan, tuple(bursts)) if plan.strict else {}
        self._unit = mapping.time_unit
        self._stamp_unit = mapping.received_unit or mapping.time_unit
        self._device = [(getter(place), place.text) for place in plan.device]
        self._times = [[(getter(place), place.text) for place in choice] for choice in plan.times]
        self._received = [(getter(place), place.text) for place in plan.received]
        self._sequence = [(getter(place), place.text) for place in plan.sequence]
        self._values = [(getter(place), place.text) for place in plan.values]
        self._around = self._prefix()
        self._together = not (mapping.long or mapping.names)
        self._value = [(getter(place), place.text) for place in plan.value]
        self._body = getter(plan.body) if plan.body else None
        self._known = dict(plan.known)
        self._names = [(getter(place), place) for place in plan.names]
        self._own_time = getter(plan.time) if plan.time else None

    def read(self, values: Iterable[object], constants: Scopes) -> Rows:
        """Read all records of an object.

        Args:
            values: The records.
            constants: What the object's key and metadata say.
        """
        rows = Rows()
        take = self._take_wide if self._plan.mapping.long is None else self._take_long
        for record, value in enumerate(values):
            try:
                scopes = {**constants, Scope.RECORD: read_record(value)}
                if self._body:
                    scopes[Scope.BODY] = decode_body(self._body(scopes))
                if self._trees:
                    self._ask(scopes, rows)
                several = [scopes] if self._plan.rows is None else list(self._rows(scopes))
            except FaultError as fault:
                rows.faults.add(rows.seen, record, fault.reason, str(fault))
                rows.seen += 1
                continue
            for row in several:
                try:
                    take(row, record, rows)
                except FaultError as fault:
                    rows.faults.add(rows.seen, record, fault.reason, str(fault))
                    rows.seen += 1
        return rows

    def _ask(self, scopes: Scopes, rows: Rows) -> None:
        """Count fields that the plan does not know, or refuse a record that has any."""
        names = self._trees[Scope.RECORD].unknown(scopes[Scope.RECORD])
        if self._body:
            names += [f"body.{name}" for name in self._trees[Scope.BODY].unknown(scopes[Scope.BODY])]
        if names and self._plan.unknown == "reject":
            raise FaultError(Reason.UNKNOWN_FIELD, sentence_of(names))
        add(rows.unknown, dict.fromkeys(names, 1))

    def _rows(self, scopes: Scopes) -> Iterator[Scopes]:
        rows = self._plan.rows
        assert rows is not None  # noqa: S101 - asked before
        found = False
        for item, names, _ in each_of(scopes[rows.scope], rows.steps, {}, ()):
            found = True
            yield {**scopes, Scope.ROW: item, Scope.BOUND: names}
        if not found and is_missing(scopes[rows.scope], rows.steps):
            raise FaultError(Reason.NO_SIGNALS, f"The record holds no rows at {rows.text}.")

    def _take_wide(self, scopes: Scopes, record: int, rows: Rows) -> None:
        device, time, stamp, sequence = self._head(scopes)
        values = self._row(scopes)
        rows.device.append(device)
        rows.time.append(time)
        rows.received.append(stamp)
        rows.sequence.append(sequence)
        rows.values.append(values)
        rows.ordinal.append(rows.seen)
        rows.record.append(record)
        rows.seen += 1

    def _take_long(self, scopes: Scopes, record: int, rows: Rows) -> None:
        device, time, stamp, sequence = self._head(scopes)
        entries = self._plan.entries
        places: Iterable[tuple[object, dict[str, str], tuple[object, ...]]] = [(None, {}, ())]
        if entries is not None:
            places = each_of(scopes[entries.scope], entries.steps, scopes.get(Scope.BOUND, {}), ())
        for item, names, around in places:
            inside = scopes if entries is None else {**scopes, Scope.ENTRY: item, Scope.BOUND: names}
            try:
                column = self._column(inside, around)
                if column is None:
                    continue
                value = self._entry_value(inside)
                at = self._entry_time(inside)
            except FaultError as fault:
                rows.faults.add(rows.seen, record, fault.reason, str(fault))
                rows.seen += 1
                continue
            rows.device.append(device)
            rows.time.append(time if at is None else at)
            rows.received.append(stamp)
            rows.sequence.append(sequence)
            rows.values.append([value])
            rows.column.append(column)
            rows.record.append(record)

    def _head(self, scopes: Scopes) -> tuple[str | None, Moment, Moment, int | None]:
        device = None
        for get, text in self._device:
            device = text_of(get(scopes), text)
            if device is not None:
                break
        return device, self._time(scopes), self._stamp(scopes), self._counted(scopes)

    def _time(self, scopes: Scopes) -> Moment:
        for choice in self._times:
            get, text = choice[0]
            found = self._moment(get(scopes), text)
            if found is None:
                continue
            if len(choice) == 1:
                return found
            get, text = choice[1]
            rest = self._moment(get(scopes), text)
            total = int(found) * _NANO + (int(rest) if rest is not None else 0)
            return max(min(total, 2**63 - 1), -(2**63))
        return None

    def _moment(self, value: object, text: str, unit: str = "") -> Moment:
        unit = unit or self._unit
        if type(value) is Instant:
            return value
        if unit == "iso":
            return text_of(value, text)
        return moment(unquoted(value, whole=unit != "s") if self._quoted else value, text, unit)

    def _stamp(self, scopes: Scopes) -> Moment:
        """The hub's stamp; without a usable one the record is still good, and the reader's clock serves."""
        for get, text in self._received:
            try:
                found = self._moment(get(scopes), text, self._stamp_unit)
            except FaultError:
                return None
            if found is not None:
                return found
        return None

    def _counted(self, scopes: Scopes) -> int | None:
        for get, text in self._sequence:
            value = get(scopes)
            if self._quoted:
                value = unquoted(value, whole=True)
            if value is None:
                continue
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is not int or not -(2**63) < value < 2**63:
                raise wrong(text, value, "a whole number")
            return value
        return self._plan.mapping.sequence_default

    def _prefix(self) -> tuple[Getter, str]:
        """What signals and bursts stand in, and its path."""
        mapping = self._plan.mapping
        base = Scope.ROW if self._plan.rows else Scope.RECORD
        if not mapping.signals or mapping.long or not self._plan.signals:
            return lambda scopes: scopes.get(base), ""
        renamed = dict(mapping.names)
        own = [place for place, name in zip(self._plan.values, self._plan.signals, strict=True) if name not in renamed]
        if not own:
            return lambda scopes: scopes.get(base), ""
        above = Place(own[0].scope, own[0].steps[:-1], own[0].kind, mapping.signals)
        return getter(above), mapping.signals

    def _row(self, scopes: Scopes) -> list[float]:
        get_around, text = self._around
        around = get_around(scopes)
        if around is not None and not isinstance(around, dict):
            raise wrong(text or "the row", around, "a JSON object")
        if self._together:  # they stand in one object: taking them from there at once is four times as fast
            if around is None:
                return [math.nan] * len(self._plan.signals)
            row = self._plainly([around.get(name) for name in self._plan.signals])
        else:
            row = self._plainly([get(scopes) for get, _ in self._values])
        if self._bursts and around is not None:
            try:
                self._bursts.fill(around, row)
            except RefusedBurstError as error:
                raise FaultError(Reason(error.fault), str(error)) from None
        return row

    def _plainly(self, values: list[object]) -> list[float]:
        if {float, int}.issuperset(map(type, values)):  # nearly always, and four times as fast
            with contextlib.suppress(OverflowError):
                return [float(value) for value in values]  # type: ignore[arg-type]  # each was seen to be a number
        return [self._real(value, text) for value, (_, text) in zip(values, self._values, strict=True)]

    def _real(self, value: object, text: str) -> float:
        return number(unquoted(value, whole=False) if self._quoted else value, text)

    def _column(self, scopes: Scopes, around: tuple[object, ...]) -> int | None:
        """Which signal an entry is of; the name may stand in the entry or in what encloses it."""
        for get, place in self._names:
            name = None
            if place.scope is not Scope.ENTRY or isinstance(scopes[Scope.ENTRY], dict):
                name = get(scopes)
            if name is None and place.scope is Scope.ENTRY:
                above = (walked(each, place.steps, place.text) for each in reversed(around) if isinstance(each, dict))
                name = next((found for found in above if found is not None), None)
            if name is not None:
                return self._known.get(text_of(name, place.text) or "")
        raise FaultError(Reason.NO_SIGNALS, "An entry does not name its signal.")

    def _entry_time(self, scopes: Scopes) -> Moment:
        if self._own_time is None or not isinstance(scopes.get(Scope.ENTRY, {}), dict):
            return None
        return self._moment(self._own_time(scopes), "the entry's time")

    def _entry_value(self, scopes: Scopes) -> float:
        entry = scopes.get(Scope.ENTRY)
        if self._plan.entries is not None and not isinstance(entry, dict):
            return self._real(entry, self._plan.entries.text)
        for get, text in self._value:
            value = get(scopes)
            if value is not None:
                return self._real(value, text)
        return math.nan
