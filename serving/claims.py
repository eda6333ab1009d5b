"""What the members of a bundle claim, taken without trust: numbers, texts, lists, objects, and what must hold of them.

Whatever is not what it must be is a ``BundleContentError``.
"""

import itertools
import math
from collections.abc import Iterable

from serving.errors import BundleContentError

REFERENCE_EDGES = 11  # deciles with both ends


def nulled(values: Iterable[float]) -> list[float | None]:
    """Numbers for JSON, which has no NaN.

    Example:
        >>> nulled([1.0, float("nan")])
        [1.0, None]
    """
    return [None if math.isnan(value) else float(value) for value in values]


def unnulled(values: list[object], where: str) -> list[float]:
    """The inverse of ``nulled``; nothing but finite numbers and null is taken."""
    return [math.nan if value is None else number(value, where) for value in values]


def edges(value: object, where: str) -> list[float]:
    """Deciles from minimum to maximum: eleven numbers that do not decrease, or as many NaN."""
    found = unnulled(items(value, where), where)
    demand(len(found) == REFERENCE_EDGES, where, f"it has {len(found)} edges, not {REFERENCE_EDGES}")
    ordered = all(left <= right for left, right in itertools.pairwise(found))
    demand(ordered or all(map(math.isnan, found)), where, "its edges decrease")
    return found


def number(value: object, where: str) -> float:
    """A finite number."""
    demand(type(value) in (int, float), where, f"it holds a {type(value).__name__} where a number belongs")
    try:
        taken = float(value)  # type: ignore[arg-type]  # int or float, as demanded above
    except OverflowError:
        taken = math.inf
    demand(math.isfinite(taken), where, "it holds an infinite number")
    return taken


def text(claimed: dict[str, object], name: str) -> str:
    """A field that is a text and not empty; ``KeyError`` where it is not there."""
    value = claimed[name]
    demand(isinstance(value, str) and value != "", name, "it is not a text")
    return str(value)


def items(value: object, where: str) -> list[object]:
    """A list of anything."""
    demand(isinstance(value, list), where, f"it is a {type(value).__name__}, not a list")
    return value  # type: ignore[return-value]  # a list, as demanded above


def fields(value: object, where: str) -> dict[str, object]:
    """A JSON object."""
    demand(isinstance(value, dict), where, f"it is a {type(value).__name__}, not an object")
    return value  # type: ignore[return-value]  # an object, as demanded above


def demand(met: bool, where: str, why: str) -> None:  # noqa: FBT001 - reads as a sentence: demand(that this is met)
    """Raise ``BundleContentError`` unless something is met."""
    if not met:
        raise BundleContentError("the bundle contradicts itself", where=where, why=why)
