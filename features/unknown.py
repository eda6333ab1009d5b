"""Fields of a record that the mapping of its fleet names nowhere: what a device says that nobody listens to.

A field is known when a path of the mapping leads to it or through it. Below what a path leads to nothing is looked at;
within what paths lead through, each field is. One that holds null is missing, as everywhere.

    >>> known = FieldTree([parse("device"), parse("values.flow"), parse("rows[].at")])
    >>> record = {"device": "a", "fw": "1.2", "values": {"flow": 1, "rpm": 2}, "rows": [{"at": 1, "q": 0}], "x": None}
    >>> known.unknown(record)
    ['fw', 'values.rpm', 'rows[].q']
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from features.burst import Burst
from features.mapping import Mapping as FleetMapping
from features.mapping import choices
from features.path import Entries, Field, Items, Pick, Step, parse

Unknown = Literal["ignore", "count", "reject"]
"""What becomes of records with unknown fields; see `features.schema.Fleet`."""
OTHERS: Final = "(others)"
MOST_NAMES: Final = 200
"""Names that are told apart; devices that make up names must not take the memory of those who count them."""
_LONGEST = 80
_DEEPEST = 64
EACH: Final = object()  # the items of a list
ANY: Final = object()  # a field of any name

Tree = dict[object, "Tree"]


class FieldTree:
    """The fields that paths lead to and through.

    Args:
        paths: The steps of each, from the beginning of the record.
    """

    def __init__(self, paths: Iterable[tuple[Step, ...]]) -> None:
        self.tree: Tree = {}
        for steps in paths:
            node = self.tree
            for place, step in enumerate(steps):
                if isinstance(step, Items) and not place:
                    continue  # the items of a list at the top are the records
                node = node.setdefault(_edge(step), {})
                if isinstance(step, Pick):
                    node.setdefault(step.key, {})

    def unknown(self, record: object) -> list[str]:
        """The unknown fields of a record, each once, in the order in which they stand."""
        return list(dict.fromkeys(_unknown(record, self.tree, "", _DEEPEST)))


def plain_paths(mapping: FleetMapping, signals: Iterable[str], bursts: Iterable[Burst]) -> Iterator[tuple[Step, ...]]:
    """All paths of a mapping that reads single records."""
    for place in (mapping.device, mapping.time, mapping.received, mapping.sequence, mapping.signals):
        yield from map(parse, choices(place))
    yield from (parse(mapping.place(signal)) for signal in signals)
    yield from burst_paths(mapping, bursts)


def burst_paths(mapping: FleetMapping, bursts: Iterable[Burst]) -> Iterator[tuple[Step, ...]]:
    """Where samples stand: beside the signals."""
    around = parse(mapping.signals) if mapping.signals else ()
    yield from ((*around, Field(burst.samples)) for burst in bursts)


def add(counts: Counter[str], found: Mapping[str, int]) -> None:
    """Add counts of fields; what is beyond `MOST_NAMES` counts as `OTHERS`."""
    for name, count in found.items():
        counts[name if name in counts or len(counts) < MOST_NAMES else OTHERS] += count


def both(left: Mapping[str, int], right: Mapping[str, int]) -> Counter[str]:
    """The counts of two, see `add`."""
    found = Counter(left)
    add(found, right)
    return found


def sentence_of(names: Iterable[str]) -> str:
    """What is wrong with a record that has such fields."""
    first = list(names)
    told = ", ".join(first[:5])
    return f"The mapping of the fleet names no field {told}{' and others' if len(first) > 5 else ''}."  # noqa: PLR2004


def _edge(step: Step) -> object:
    if isinstance(step, Field):
        return step.name
    return ANY if isinstance(step, Entries) else EACH


def _unknown(found: object, tree: Tree, path: str, depth: int) -> Iterator[str]:
    if not tree or not depth:
        return
    if isinstance(found, list) and EACH in tree:
        for item in found:
            yield from _unknown(item, tree[EACH], f"{path}[]", depth - 1)
    elif isinstance(found, dict):
        for name, value in found.items():
            below = tree.get(name, tree.get(ANY))
            if value is None:
                continue
            place = f"{path}.{name}" if path else str(name)
            if below is not None:
                yield from _unknown(value, below, place, depth - 1)
            else:
                yield _printable(place)


def _printable(place: str) -> str:
    text = place.encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
