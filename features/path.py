"""Where a value stands in a record: dotted paths, as they are written in a fleet's mapping.

==============  =======================================================================================
``a.b``         the field b of the object in the field a
``"a.b".c``     a name with dots, blanks or signs stands in double quotes
``a[]``         each item of the list a
``a{x}``        each entry of the object a, its key bound to the name x; ``{x}`` alone is the record's own
``a[k=v]``      the item of the list a whose field k is the text v
==============  =======================================================================================

    >>> parse('SystemProperties."iothub-connection-device-id"')
    (Field(name='SystemProperties'), Field(name='iothub-connection-device-id'))
    >>> parse("{dev}[]"), parse("attributes[key=device.id]")
    ((Entries(bound='dev'), Items()), (Field(name='attributes'), Pick(key='key', value='device.id')))

A time may be the sum of two fields, whole seconds and nanoseconds, written ``a+b``:

    >>> parse_sum("sec+ns")
    ((Field(name='sec'),), (Field(name='ns'),))
"""

import functools
import re
from dataclasses import dataclass

from features.errors import FleetError

MOST_STEPS = 32

_TOKEN = re.compile(
    r'(?P<dot>\.)|"(?P<quoted>[^"]+)"|(?P<items>\[\])|\[(?P<key>[^\[\]=]+)=(?P<value>[^\[\]]*)\]'
    r'|\{(?P<bound>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<name>[^."\[\]{}+]+)'
)
_PLUS = re.compile(r'\+(?=(?:[^"]*"[^"]*")*[^"]*$)')


@dataclass(frozen=True, slots=True)
class Field:
    """The field of an object."""

    name: str


@dataclass(frozen=True, slots=True)
class Items:
    """Each item of a list."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Each entry of an object; its key goes by the name ``bound``."""

    bound: str


@dataclass(frozen=True, slots=True)
class Pick:
    """The first item of a list of objects whose field ``key`` is the text ``value``."""

    key: str
    value: str


Step = Field | Items | Entries | Pick


@functools.lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path.

    Raises:
        FleetError: It is no path.
    """
    steps: list[Step] = []
    at, joined = 0, True  # whether a name may follow
    while at < len(path):
        found = _TOKEN.match(path, at)
        if found is None or (found["dot"] and (joined or found.end() == len(path))):
            raise _malformed(path)
        named = found["name"] or found["quoted"]
        if named and not joined:
            raise _malformed(path)
        if named:
            steps.append(Field(named))
        elif found["items"]:
            steps.append(Items())
        elif found["bound"]:
            steps.append(Entries(found["bound"]))
        elif found["key"]:
            steps.append(Pick(found["key"], found["value"]))
        joined, at = bool(found["dot"]), found.end()
    if not steps or len(steps) > MOST_STEPS:
        raise _malformed(path)
    return tuple(steps)


@functools.lru_cache(maxsize=256)
def parse_sum(path: str) -> tuple[tuple[Step, ...], ...]:
    """The one path, or the two of a sum.

    Raises:
        FleetError: It is no path, or the sum of more than two.
    """
    parts = _PLUS.split(path)
    if len(parts) > 2:  # noqa: PLR2004 - seconds and nanoseconds
        raise FleetError(f"'{path}' adds more than two fields", where="mapping", fix="give seconds + nanoseconds")
    return tuple(parse(part.strip()) for part in parts)


def names(path: str) -> tuple[str, ...] | None:
    """The names of a path that is made of names alone, else None."""
    steps = parse(path)
    return tuple(step.name for step in steps if isinstance(step, Field)) if only_fields(steps) else None


def only_fields(steps: tuple[Step, ...]) -> bool:
    """Whether a path is made of names alone."""
    return all(isinstance(step, Field) for step in steps)


def _malformed(path: str) -> FleetError:
    return FleetError(
        f"'{path}' is no path",
        where="mapping",
        why="a path is made of names with dots between, [] for each item, {x} for each entry, and [k=v]",
        fix='put names with dots, blanks or signs in double quotes: "a.b".c',
    )
