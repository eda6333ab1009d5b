"""Columns of plain JSON, read by the scanner in C where the mapping is one it can follow."""

import functools
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from features.path import Field, Step
from features.unknown import FieldTree
from pipelines import jsonscan
from pipelines.formats.columns import Refused, type_of
from pipelines.formats.plan import Kind, Place, Plan
from pipelines.jsonscan import REAL, TEXT, WHOLE, Scanned, Scanner

_KINDS = {pa.string(): TEXT, pa.int64(): WHOLE, pa.float64(): REAL}


@functools.lru_cache(maxsize=64)
def scanner_of(plan: Plan) -> Scanner | None:
    """The scanner that reads what a plan asks for; None where columns are read another way."""
    simple = plan.plain and plan.columnar and not plan.quoted and not plan.body
    if not (simple and jsonscan.available()):
        return None
    try:
        kinds = {_names(place.steps): _KINDS[type_of(place, plan, quoted=False)] for place in plan.leaves}
        return Scanner(kinds, strict=plan.strict)
    except ValueError:  # there are too many names
        return None


class ScannedColumns:
    """What the scanner read, as the executor on columns takes it."""

    def __init__(self, plan: Plan, scanned: Scanned) -> None:
        names = dict.fromkeys(_names(place.steps) for place in plan.leaves)
        self._columns = dict(zip(names, scanned.columns, strict=True))
        self._rows = len(scanned.columns[0])

    def __len__(self) -> int:
        return self._rows

    def column(self, place: Place) -> pa.Array:
        """See `pipelines.formats.sources.Columns`. Only in signals may a missing number be NaN: times are null then."""
        found = self._columns[_names(place.steps)]
        if place.kind is Kind.REAL or not pa.types.is_floating(found.type):
            return found
        return pa.array(found.to_numpy(), from_pandas=True)

    def unknown(self, tree: FieldTree) -> Counter[str]:  # noqa: ARG002 - the port's
        """An object with an unknown field was refused by the scanner."""
        return Counter()

    def messages(self, steps: Sequence[Step]) -> pa.Array | list[bytes | str | None]:  # noqa: ARG002 - the port's
        """No mapping with envelopes is scanned."""
        raise Refused

    def part(self, steps: Sequence[Step]) -> pa.Array | pa.Table:  # noqa: ARG002 - the port's
        """No mapping that takes records apart is scanned."""
        raise Refused


def _names(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(step.name for step in steps if isinstance(step, Field))
