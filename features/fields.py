"""Which fields of a pane a statistic of merged panes rests on, so that a reader of stored panes can leave the rest.

Merging touches all fields of two panes at once, but each of them only by a few others: a mean needs neither extremes
nor sums over time, before or after. What is left out is given as in `features.pane.EMPTY` and comes out as anything.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from features.pane import PANE_FIELDS
from features.sketch import QUANTILES

_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "count": (),
    "missing_share": ("nulls",),
    "mean": ("first", "sum"),
    "std": ("sum", "square"),
    "min": ("low",),
    "max": ("high",),
    "range": ("low", "high"),
    "first": ("first",),
    "last": ("last",),
    "delta": ("first", "last"),
    "slope": ("sum", "time", "time_square", "time_value"),
    "rms": ("first", "sum", "square"),
    "crest": ("first", "sum", "square", "low", "high"),
    "mean_absolute_change": ("change",),
    "above_share": ("above",),
    "since_last": ("last_at",),
    **dict.fromkeys(QUANTILES, ()),
}
"""What each statistic reads, besides the count."""

_FIRST: Final = ("first", "first_at")
_MERGED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "sum": _FIRST,
    "square": ("sum", *_FIRST),
    "time": _FIRST,
    "time_square": ("time", *_FIRST),
    "time_value": ("sum", "time", *_FIRST),
    "change": (*_FIRST, "last", "last_at"),
    "first": _FIRST,
    "first_at": _FIRST,
    "last": ("last", "last_at"),
    "last_at": ("last", "last_at"),
}
"""What each field is merged by, besides itself and the count: ``tm_pane_merge`` in ``features/kernel/pane.c``."""


def fields_behind(statistics: Iterable[str]) -> tuple[str, ...]:
    """The fields that some statistics rest on, in the order of ``PANE_FIELDS``; none without a statistic.

    Example:
        >>> fields_behind(["mean", "std"])
        ('count', 'sum', 'square', 'first', 'first_at')
        >>> fields_behind(["max"]), fields_behind([])
        (('count', 'high'), ())
    """
    needed: set[str] = set()
    for statistic in statistics:
        needed |= {"count", *_READ[statistic]}
    needed |= {other for field in needed for other in _MERGED_BY.get(field, ())}
    return tuple(field for field in PANE_FIELDS if field in needed)
