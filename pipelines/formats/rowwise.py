"""Reading records one by one: slower than columns, but nothing stops it, and whatever a mapping can say it does.

Good records are kept; everything else comes back as a `Fault` with its reason.
"""

import base64
import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.burst import Burst, BurstColumns, RefusedBurstError
from features.path import Entries, Field, Items, Pick, Step
from features.schema import Reason
from pipelines.formats.frame import Frame
from pipelines.formats.pivot import Long, pivot
from pipelines.formats.plan import Place, Plan, Scope
from pipelines.formats.times import microseconds, time_type
from pipelines.records import UNSEQUENCED, UNSTAMPED, Links, row_number
from pipelines.salvage import FaultError, Moment, moment, number, parse_whole, read_record, text_of, wrong

NULL_TEXTS = frozenset({"", "null", "NULL", "NA", "N/A", "NaN", "nan", "None"})
"""Texts that stand for a missing number where numbers may be quoted."""

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NANO = 1_000_000_000
_FARTHEST = 2**62

Scopes = dict[Scope, Any]
Getter = Callable[[Scopes], object]


class Instant(int):
    """A time of a container that knows its unit: UTC microseconds, whatever the mapping says."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be used: which one, of which record, why, and what was found."""

    ordinal: int
    record: int
    reason: Reason
    sentence: str


@dataclass(slots=True)
class Rows:
    """Rows, or entries of the long form, as they stand in the records; ``None`` where a field is missing."""

    device: list[str | None] = field(default_factory=list)
    time: list[Moment] = field(default_factory=list)
    received: list[Moment] = field(default_factory=list)
    sequence: list[int | None] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen: int = 0


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
        self._unit = mapping.time_unit
        self._stamp_unit = mapping.received_unit or mapping.time_unit
        self._device = [(_getter(place), place.text) for place in plan.device]
        self._times = [[(_getter(place), place.text) for place in choice] for choice in plan.times]
        self._received = [(_getter(place), place.text) for place in plan.received]
        self._sequence = [(_getter(place), place.text) for place in plan.sequence]
        self._values = [(_getter(place), place.text) for place in plan.values]
        self._together = self._prefix()
        self._value = [(_getter(place), place.text) for place in plan.value]
        self._body = _getter(plan.body) if plan.body else None
        self._known = dict(plan.known)
        self._names = [(_getter(place), place) for place in plan.names]
        self._own_time = _getter(plan.time) if plan.time else None

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
                several = [scopes] if self._plan.rows is None else list(self._rows(scopes))
            except FaultError as fault:
                rows.faults.append(Fault(rows.seen, record, fault.reason, str(fault)))
                rows.seen += 1
                continue
            for row in several:
                try:
                    take(row, record, rows)
                except FaultError as fault:
                    rows.faults.append(Fault(rows.seen, record, fault.reason, str(fault)))
                    rows.seen += 1
        return rows

    def _rows(self, scopes: Scopes) -> Iterator[Scopes]:
        rows = self._plan.rows
        assert rows is not None  # noqa: S101 - asked before
        found = False
        for item, names, _ in _each(scopes[rows.scope], rows.steps, {}, ()):
            found = True
            yield {**scopes, Scope.ROW: item, Scope.BOUND: names}
        if not found and _missing(scopes[rows.scope], rows.steps):
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
            places = _each(scopes[entries.scope], entries.steps, scopes.get(Scope.BOUND, {}), ())
        for item, names, around in places:
            inside = scopes if entries is None else {**scopes, Scope.ENTRY: item, Scope.BOUND: names}
            try:
                column = self._column(inside, around)
                if column is None:
                    continue
                value = self._entry_value(inside)
                at = self._entry_time(inside)
            except FaultError as fault:
                rows.faults.append(Fault(rows.seen, record, fault.reason, str(fault)))
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
        return moment(_unquoted(value, whole=unit != "s") if self._quoted else value, text, unit)

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
            if value is None:
                continue
            if self._quoted:
                value = _unquoted(value, whole=True)
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is not int or not -(2**63) < value < 2**63:
                raise wrong(text, value, "a whole number")
            return value
        return self._plan.mapping.sequence_default

    def _prefix(self) -> tuple[Getter, str, list[str]] | None:
        """Where all signals stand in one object: taking them from there together is four times as fast."""
        mapping = self._plan.mapping
        if mapping.long or mapping.names or not mapping.signals:
            return None
        first = self._plan.values[0]
        above = Place(first.scope, first.steps[:-1], first.kind, mapping.signals)
        return _getter(above), mapping.signals, list(self._plan.signals)

    def _row(self, scopes: Scopes) -> list[float]:
        if self._together:
            get, text, names = self._together
            found = get(scopes)
        else:
            base = self._plan.values[0].scope if self._plan.values else Scope.RECORD
            found, text, names = scopes.get(base), "", []
        if found is None:
            return [math.nan] * len(self._plan.signals)
        if not isinstance(found, dict):
            raise wrong(text or "the row", found, "a JSON object")
        if self._together:
            row = self._plainly([found.get(name) for name in names], f"{text}.")
        else:
            row = self._plainly([get(scopes) for get, _ in self._values], "")
        if self._bursts:
            try:
                self._bursts.fill(found, row)
            except RefusedBurstError as error:
                raise FaultError(Reason(error.fault), str(error)) from None
        return row

    def _plainly(self, values: list[object], prefix: str) -> list[float]:
        if {float, int}.issuperset(map(type, values)):  # nearly always, and four times as fast
            with contextlib.suppress(OverflowError):
                return [float(value) for value in values]  # type: ignore[arg-type]  # each was seen to be a number
        texts = [f"{prefix}{name}" for name in self._plan.signals] if prefix else [text for _, text in self._values]
        return [self._real(value, text) for value, text in zip(values, texts, strict=True)]

    def _real(self, value: object, text: str) -> float:
        return number(_unquoted(value, whole=False) if self._quoted else value, text)

    def _column(self, scopes: Scopes, around: tuple[object, ...]) -> int | None:
        """Which signal an entry is of; the name may stand in the entry or in what encloses it."""
        for get, place in self._names:
            name = None
            if place.scope is not Scope.ENTRY or isinstance(scopes[Scope.ENTRY], dict):
                name = get(scopes)
            if name is None and place.scope is Scope.ENTRY:
                above = (_walked(each, place.steps, place.text) for each in reversed(around) if isinstance(each, dict))
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


def framed(rows: Rows, plan: Plan, source: int, faults: list[Fault]) -> Frame:
    """Rows of one object as columns.

    Args:
        rows: What was read.
        plan: What was asked for.
        source: Position of the object.
        faults: Replaced by the same with the ordinals they have among the rows.
    """
    mapping = plan.mapping
    device = pa.array(rows.device, pa.string())
    times, timed = _microseconds(rows.time, mapping.time_unit, mapping.zone)
    received, stamped = _microseconds(rows.received, mapping.received_unit or mapping.time_unit, mapping.zone)
    received[~stamped] = UNSTAMPED
    clocked = np.array([time is not None for time in rows.time], np.bool_)
    sequence = np.array([UNSEQUENCED if each is None else each for each in rows.sequence], np.int64)
    sources = np.full(len(times), source, np.int32)
    records = np.array(rows.record, np.int64)
    unknown = np.array([-1])
    if mapping.long is None:
        values = np.array(rows.values, np.float64).reshape(-1, len(plan.signals))
        ordinals = np.array(rows.ordinal, np.int32)
        frame = Frame(device, times, timed, clocked, received, sequence, values, sources, ordinals, None, unknown)
        if plan.rows is None:
            return frame
        linked = [*zip(rows.ordinal, rows.record, strict=True)]
    else:
        single = np.array(rows.values, np.float64).reshape(-1)
        columns = np.array(rows.column, np.int64)
        at = np.where(timed, times, 0)
        long = Long(device, at, timed, clocked, received, sequence, sources, columns, single, records)
        frame = pivot(long, len(plan.signals), unknown)
        faults[:] = [replace(fault, ordinal=len(frame.times) + number) for number, fault in enumerate(faults)]
        kept = frame.links
        linked = [] if kept is None else [*zip((kept.rows % 2**32).tolist(), kept.records.tolist(), strict=True)]
    linked = sorted([*linked, *((fault.ordinal, fault.record) for fault in faults)])
    pairs = np.array(linked, np.int64).reshape(-1, 2)
    return replace(frame, links=Links(row_number(np.full(len(pairs), source), pairs[:, 0]), pairs[:, 1]))


def _microseconds(found: list[Moment], unit: str, zone: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    known = np.array([type(moment) is Instant for moment in found], np.bool_)
    if not known.any():
        return microseconds(pa.array(found, time_type(unit)), unit, zone)
    others = [None if type(moment) is Instant else moment for moment in found]
    times, timed = microseconds(pa.array(others, time_type(unit)), unit, zone)
    times = times.copy()
    times[known] = np.array([int(moment) for moment in found if type(moment) is Instant], np.int64)
    return times, timed | known


def decode_body(found: object) -> object:
    """The message in an envelope: an object already, JSON as text or bytes, or either in base64.

    Raises:
        FaultError: It is none of these.

    Example:
        >>> decode_body("eyJhIjogMX0="), decode_body(b'{"a": 1}'), decode_body(None)
        ({'a': 1}, {'a': 1}, None)
    """
    if found is None or isinstance(found, dict | list):
        return found
    if not isinstance(found, str | bytes):
        raise FaultError(Reason.UNREADABLE, "The body is neither an object nor a text.")
    try:
        return parse_whole(message_in(found))
    except (ValueError, RecursionError):
        raise FaultError(Reason.UNREADABLE, "The body is no JSON.") from None


def message_in(found: str | bytes) -> bytes:
    """The text of the message in an envelope, out of base64 where it is in that.

    Raises:
        ValueError: It is neither the text of an object or a list, nor base64.
    """
    data = found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found
    if data.lstrip()[:1] not in (b"{", b"["):
        data = base64.b64decode(data, validate=True)
    return data.removeprefix(b"\xef\xbb\xbf")


def _unquoted(value: object, *, whole: bool) -> object:
    """A number out of its quotes; what is none stays as it is, for the reader to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in NULL_TEXTS:
        return None
    if whole:
        return int(text) if _WHOLE.fullmatch(text) else value
    try:
        return value if "_" in text else float(text)
    except ValueError:
        return value


def _getter(place: Place) -> Getter:
    scope, steps, text = place.scope, place.steps, place.text
    if len(steps) == 1 and isinstance(steps[0], Field):
        name = steps[0].name

        def get(scopes: Scopes) -> object:
            found = scopes.get(scope)
            if found is None:
                return None
            if type(found) is not dict:
                raise wrong(text, found, "an object")
            return found.get(name)

        return get
    return lambda scopes: _walked(scopes.get(scope), steps, text)


def _walked(record: object, steps: Sequence[Step], text: str) -> object:
    """Follow a path; what is missing on the way is missing at its end."""
    for step in steps:
        if record is None:
            return None
        if isinstance(step, Field):
            if not isinstance(record, dict):
                raise wrong(text, record, "a JSON object")
            record = record.get(step.name)
        elif isinstance(step, Pick):
            if not isinstance(record, list):
                raise wrong(text, record, "a list")
            fits = (item for item in record if isinstance(item, dict) and item.get(step.key) == step.value)
            record = next(fits, None)
    return record


def _each(
    record: object, steps: Sequence[Step], names: Mapping[str, str], around: tuple[object, ...]
) -> Iterator[tuple[object, dict[str, str], tuple[object, ...]]]:
    """What a path leads to: each item, the names bound on the way, and the objects passed on the way."""
    for place, step in enumerate(steps):
        rest = steps[place + 1 :]
        if record is None:
            return
        if isinstance(step, Items):
            if not isinstance(record, list):
                # The items of a list at the top are the records already, whatever their framing.
                if place or around:
                    raise wrong("a list of rows", record, "a list")
                continue
            for item in record:
                yield from _each(item, rest, names, (*around, item))
            return
        if isinstance(step, Entries):
            if not isinstance(record, dict):
                raise wrong(f"{{{step.bound}}}", record, "a JSON object")
            for name, item in record.items():
                yield from _each(item, rest, {**names, step.bound: name}, (*around, item))
            return
        record = _walked(record, [step], "the rows")
        around = (*around, record)
    yield record, dict(names), around[:-1] if around else ()


def _missing(record: object, steps: Sequence[Step]) -> bool:
    """Whether a path to rows ends before it comes to a list, as opposed to a list without items."""
    for step in steps:
        if record is None:
            return True
        if not isinstance(step, Field):
            return False
        record = _walked(record, [step], "the rows")
    return record is None
