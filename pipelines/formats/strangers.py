"""Which fields of records a plan knows, so that the others can be told; see `features.unknown`."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa

from features.burst import Burst
from features.path import Field, Step
from features.unknown import ANY, EACH, FieldTree, Tree, add
from pipelines.formats.columns import Refused, unrolled
from pipelines.formats.plan import Place, Plan, Scope, around

Trees = dict[Scope, FieldTree]


@functools.lru_cache(maxsize=64)
def known_to(plan: Plan, bursts: tuple[Burst, ...] = ()) -> Trees:
    """The known fields of a record, and of the message in it."""
    paths: dict[Scope, list[tuple[Step, ...]]] = {Scope.RECORD: [], Scope.BODY: []}
    for place in _places(plan, bursts):
        scope, steps = unrolled(place, plan)
        if scope in paths:
            paths[scope].append(steps)
    return {scope: FieldTree(found) for scope, found in paths.items()}


def counted(records: Iterable[object], tree: FieldTree) -> Counter[str]:
    """How many records have which unknown field."""
    found: Counter[str] = Counter()
    for record in records:
        add(found, dict.fromkeys(tree.unknown(record), 1))
    return found


def check_types(schema: pa.Schema, tree: Tree) -> None:
    """Make sure that no known column holds other fields than known ones.

    Raises:
        Refused: One does; whether any record has them, only reading them one by one tells.
    """
    for field in schema:
        _check(field.type, tree.get(field.name, {}))


def _check(kind: pa.DataType, tree: Tree) -> None:
    if not tree:
        return
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            field = kind.field(number)
            below = tree.get(field.name, tree.get(ANY))
            if below is None:
                raise Refused
            _check(field.type, below)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _check(kind.value_type, tree.get(EACH, {}))


def _places(plan: Plan, bursts: Iterable[Burst]) -> Iterator[Place]:
    beside = around(plan)
    yield from plan.leaves
    yield from (place for place in (plan.body, plan.rows, plan.entries, *beside) if place is not None)
    for burst in bursts:
        place = beside[-1]
        yield Place(place.scope, (*place.steps, Field(burst.samples)), place.kind, burst.samples)
    if plan.entries is None:
        return
    scope, steps = unrolled(plan.entries, plan)
    for name in plan.names:  # it may stand in whatever encloses the entry
        if name.scope is Scope.ENTRY:
            yield from (Place(scope, (*steps[:end], *name.steps), name.kind, name.text) for end in range(len(steps)))
