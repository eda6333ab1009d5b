"""What a mapping asks of a record, compiled once: which places, in which part of the record, and of what type."""

import functools
from dataclasses import dataclass
from enum import Enum

from features.errors import FleetError
from features.mapping import Mapping, choices
from features.path import Entries, Field, Pick, Step, parse, parse_sum
from features.unknown import Unknown


class Kind(Enum):
    """What stands at a place."""

    TEXT = "text"
    TIME = "time"
    STAMP = "stamp"
    WHOLE = "whole number"
    REAL = "number"


class Scope(Enum):
    """Which part of a record a path begins in."""

    RECORD = "record"
    BODY = "body"
    ROW = "row"
    ENTRY = "entry"
    BOUND = "bound"
    KEY = "key"
    META = "meta"


@dataclass(frozen=True, slots=True)
class Place:
    """A path with its beginning: ``steps`` are what is left to walk; ``text`` is the path as it was written."""

    scope: Scope
    steps: tuple[Step, ...]
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A mapping, ready to be carried out.

    Attributes:
        mapping: The mapping.
        signals: The signals, in the order of the columns.
        device: The places of the device, in the order in which they are tried.
        times: For each choice its places: one, or seconds and nanoseconds.
        received: As ``device``.
        sequence: As ``device``.
        values: For each signal its place, in wide form; empty in the long form.
        body: Where the envelope holds its message; None without one.
        rows: Where the rows are: the beginning and the steps; None where the record is the row.
        entries: Where the entries of the long form are, likewise.
        names: In the long form, where an entry's signal is named.
        value: In the long form, where an entry's value stands.
        time: In the long form, where an entry's own time stands; None for the row's.
        known: In the long form, the column of each name.
        unknown: What becomes of records with fields that no place leads to or through.
    """

    mapping: Mapping
    signals: tuple[str, ...]
    device: tuple[Place, ...]
    times: tuple[tuple[Place, ...], ...]
    received: tuple[Place, ...]
    sequence: tuple[Place, ...]
    values: tuple[Place, ...]
    body: Place | None
    rows: Place | None
    entries: Place | None
    names: tuple[Place, ...]
    value: tuple[Place, ...]
    time: Place | None
    known: tuple[tuple[str, int], ...]
    unknown: Unknown

    @property
    def strict(self) -> bool:
        """Whether unknown fields matter."""
        return self.unknown != "ignore"

    @property
    def quoted(self) -> bool:
        """Whether numbers may be texts; what stands in keys and metadata always is one."""
        outside = (place for place in self._all if place.scope in {Scope.KEY, Scope.META})
        return self.mapping.quoted or any(place.kind is not Kind.TEXT for place in outside)

    @property
    def plain(self) -> bool:
        """Whether each record is a row, and all there is to know stands in it."""
        return self.rows is None and self.mapping.long is None

    @property
    def columnar(self) -> bool:
        """Whether columns can do it: not where the names of fields are data, or a list is searched."""
        several = [*self._all, *filter(None, (self.rows, self.entries))]
        odd = any(isinstance(step, Entries | Pick) for place in several for step in place.steps)
        return not odd and not any(place.scope is Scope.BOUND for place in several)

    @property
    def _all(self) -> list[Place]:
        found = [*self.device, *(place for choice in self.times for place in choice), *self.received, *self.sequence]
        return [*found, *self.values, *self.names, *self.value, *([self.time] if self.time else [])]

    @property
    def leaves(self) -> list[Place]:
        """All places of single values in the record, its body, its rows and their entries."""
        return [place for place in self._all if place.scope not in {Scope.KEY, Scope.META, Scope.BOUND}]

    @property
    def outside(self) -> list[Place]:
        """All places in the object's key and metadata."""
        return [place for place in self._all if place.scope in {Scope.KEY, Scope.META}]


@functools.lru_cache(maxsize=64)
def compile_plan(mapping: Mapping, signals: tuple[str, ...], unknown: Unknown = "ignore") -> Plan:
    """Compile a mapping.

    Raises:
        FleetError: It gives one field two meanings.
    """
    long = mapping.long
    base = Scope.ROW if mapping.rows else Scope.RECORD
    place = functools.partial(_place, mapping, base)
    inside = functools.partial(_place, mapping, Scope.ENTRY if long and long.rows else base)
    values = () if long else tuple(place(mapping.place(signal), Kind.REAL) for signal in signals)
    renamed = dict(mapping.names)
    plan = Plan(
        mapping,
        signals,
        device=tuple(place(text, Kind.TEXT) for text in choices(mapping.device)),
        times=tuple(
            tuple(_sum_place(mapping, base, steps, text) for steps in parse_sum(text)) for text in choices(mapping.time)
        ),
        received=tuple(place(text, Kind.STAMP) for text in choices(mapping.received)),
        sequence=tuple(place(text, Kind.WHOLE) for text in choices(mapping.sequence)),
        values=values,
        body=_place(mapping, Scope.RECORD, mapping.body, Kind.TEXT) if mapping.body else None,
        rows=_place(mapping, Scope.RECORD, mapping.rows, Kind.TEXT) if mapping.rows else None,
        entries=place(long.rows, Kind.TEXT) if long and long.rows else None,
        names=tuple(inside(text, Kind.TEXT) for text in choices(long.name)) if long else (),
        value=tuple(inside(text, Kind.REAL) for text in choices(long.value)) if long else (),
        time=inside(long.time, Kind.TIME) if long and long.time else None,
        known=tuple((renamed.get(signal, signal), column) for column, signal in enumerate(signals)) if long else (),
        unknown=unknown,
    )
    _check(plan)
    return plan


def _place(mapping: Mapping, base: Scope, text: str, kind: Kind) -> Place:
    return _rooted(mapping, base, parse(text), text, kind)


def _sum_place(mapping: Mapping, base: Scope, steps: tuple[Step, ...], text: str) -> Place:
    return _rooted(mapping, base, steps, text, Kind.TIME)


def _rooted(mapping: Mapping, base: Scope, steps: tuple[Step, ...], text: str, kind: Kind) -> Place:
    """Where a path begins: its first name may lead elsewhere, if the mapping declares such a place."""
    first = steps[0].name if isinstance(steps[0], Field) else ""
    declared = {
        "key": (mapping.key, Scope.KEY),
        "meta": (mapping.meta, Scope.META),
        "body": (mapping.body, Scope.BODY),
        "env": (mapping.rows, Scope.RECORD),
    }
    there, scope = declared.get(first, ("", base))
    if there and text != mapping.body:
        return Place(scope, steps[1:], kind, text)
    if first in bound(mapping):
        return Place(Scope.BOUND, steps, kind, text)
    return Place(base, steps, kind, text)


def around(plan: Plan) -> tuple[Place, ...]:
    """What signals in wide form may stand in: the row, and the object that the mapping names."""
    mapping = plan.mapping
    base = Scope.ROW if mapping.rows else Scope.RECORD
    row = Place(base, (), Kind.TEXT, "")
    return (row, _place(mapping, base, mapping.signals, Kind.TEXT)) if mapping.signals and not mapping.long else (row,)


@functools.lru_cache(maxsize=64)
def bound(mapping: Mapping) -> frozenset[str]:
    """The names that ``rows`` and ``long.rows`` bind."""
    texts = [mapping.rows, mapping.long.rows if mapping.long else ""]
    return frozenset(step.bound for text in texts if text for step in parse(text) if isinstance(step, Entries))


def _check(plan: Plan) -> None:
    """No place may be of two types, or both hold a value and lead on."""
    kinds: dict[tuple[Scope, tuple[Step, ...]], Kind] = {}
    for leaf in plan.leaves:
        if kinds.setdefault((leaf.scope, leaf.steps), leaf.kind) is not leaf.kind and not _alike(plan, leaf, kinds):
            raise _two_meanings(leaf)
    for leaf in plan.leaves:
        if any((leaf.scope, leaf.steps[:end]) in kinds for end in range(1, len(leaf.steps))):
            raise _two_meanings(leaf)


def _alike(plan: Plan, leaf: Place, kinds: dict[tuple[Scope, tuple[Step, ...]], Kind]) -> bool:
    """A stamp may stand where the event time stands, in the same unit."""
    times = {Kind.TIME, Kind.STAMP}
    same = plan.mapping.received_unit in {None, plan.mapping.time_unit}
    return same and {leaf.kind, kinds[leaf.scope, leaf.steps]} == times


def _two_meanings(leaf: Place) -> FleetError:
    return FleetError(f"the mapping uses {leaf.text} for two things", fix="give each field of a record one meaning")
