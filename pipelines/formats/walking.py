"""Following paths through records that are objects of Python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from features.path import Entries, Field, Items, Pick, Step
from pipelines.formats.plan import Place, Scope
from pipelines.salvage import wrong

Scopes = dict[Scope, Any]
"""The parts of a record that paths begin in."""
Getter = Callable[[Scopes], object]


def getter(place: Place) -> Getter:
    """What reads a place from the parts of a record; None where nothing stands there."""
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
    return lambda scopes: walked(scopes.get(scope), steps, text)


def walked(record: object, steps: Sequence[Step], text: str) -> object:
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


def each_of(
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
                yield from each_of(item, rest, names, (*around, item))
            return
        if isinstance(step, Entries):
            if not isinstance(record, dict):
                raise wrong(f"{{{step.bound}}}", record, "a JSON object")
            for name, item in record.items():
                yield from each_of(item, rest, {**names, step.bound: name}, (*around, item))
            return
        record = walked(record, [step], "the rows")
        around = (*around, record)
    yield record, dict(names), around[:-1] if around else ()


def is_missing(record: object, steps: Sequence[Step]) -> bool:
    """Whether a path to rows ends before it comes to a list, as opposed to a list without items."""
    for step in steps:
        if record is None:
            return True
        if not isinstance(step, Field):
            return False
        record = walked(record, [step], "the rows")
    return record is None
