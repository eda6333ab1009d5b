"""The statistics of ``features.statistic`` as ONNX operators, line by line beside their numpy definitions.

A statistic added there is exported once it has a form here. One that cannot have any stands in ``WITHOUT_FORM`` with
the reason that a refused export tells; a test holds the three tables against each other.
"""

from collections.abc import Callable

from features.statistic import HOUR_US
from pipelines.graph.merge import Window
from pipelines.graph.terms import Term

Form = Callable[[Window], Term]


def _missing_share(window: Window) -> Term:
    return _ratio(window["nulls"], window["count"] + window["nulls"])


def _mean(window: Window) -> Term:
    return window["first"] + _ratio(window["sum"], window["count"])


def _std(window: Window) -> Term:
    count, total = window["count"], window["sum"]
    deviations = window["square"] - _ratio(total * total, count)
    return _root(_ratio(deviations, count - 1.0))


def _slope(window: Window) -> Term:
    count, time = window["count"], window["time"]
    spread = count * window["time_square"] - time * time
    together = count * window["time_value"] - time * window["sum"]
    return _ratio(together, spread) * HOUR_US


def _rms(window: Window) -> Term:
    first = window["first"]
    about_first = window["square"] + first * 2.0 * window["sum"]
    return _root(first * first + _ratio(about_first, window["count"]))


def _crest(window: Window) -> Term:
    low, high = abs(window["low"]), abs(window["high"])
    return _ratio((low > high).where(low, high), _rms(window))


def _mean_absolute_change(window: Window) -> Term:
    return _ratio(window["change"], window["count"] - 1.0)


def _above_share(window: Window) -> Term:
    return _ratio(window["above"], window["count"])


def _since_last(window: Window) -> Term:
    return (window.length_us - window["last_at"]) / HOUR_US


def _ratio(above: Term, below: Term) -> Term:
    return (below > 0.0).where(above / below, float("nan"))


def _root(square: Term) -> Term:
    # Asked this way round NaN stays NaN; runtimes disagree on what Max makes of it.
    return (square < 0.0).where(0.0, square).sqrt()


FORMS: dict[str, Form] = {
    "count": lambda window: window["count"],
    "missing_share": _missing_share,
    "mean": _mean,
    "std": _std,
    "min": lambda window: window["low"],
    "max": lambda window: window["high"],
    "range": lambda window: window["high"] - window["low"],
    "first": lambda window: window["first"],
    "last": lambda window: window["last"],
    "delta": lambda window: window["last"] - window["first"],
    "slope": _slope,
    "rms": _rms,
    "crest": _crest,
    "mean_absolute_change": _mean_absolute_change,
    "above_share": _above_share,
    "since_last": _since_last,
}

_SKETCHED = "quantiles are read off counts in buckets, which are no part of the panes that the graph is given"
WITHOUT_FORM: dict[str, str] = dict.fromkeys(("p01", "p05", "p25", "p50", "p75", "p95", "p99"), _SKETCHED)
