"""Statistics: what is read off a merged pane.

A statistic is a small pure function from pane states to numbers. It works on any leading shape, so one definition
serves a single window on a gateway and a million windows in the batch job.

How to add one:
    1. Write ``_<name>(state, window_us)``: states of shape ``(..., FIELDS)`` and the length of the window in, an array
       of shape ``(...)`` out, NaN where the state holds too little to say anything. ``field(state, "sum")`` reads a
       field; sums are about the first reading, times count from the start of the window.
    2. Enter it in ``STATISTICS`` with one sentence that defines it and the rule for its unit.
    3. Give it an oracle on raw readings in ``tests/parity/oracle.py``; a statistic without one fails the suite.
    4. Give it a form in ONNX in ``pipelines/graph/statistic.py``; it mirrors the function line by line.
    5. Where it has to be fast or is wanted on microcontrollers, give it a twin in C: a code in ``pane.h``, a case in
       ``tm_pane_statistic`` and its name in ``binding.c``, all at the end. ``read`` takes the twin from then on.
If the fields of a pane do not suffice, the pane itself has to grow: raise ``PANE_VERSION`` in ``features.pane``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.pane import PANE_FIELDS

State = NDArray[np.float64]

HOUR_US = 3.6e9


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way to sum up the readings of a signal in a window.

    Args:
        name: The word that stands in feature names.
        function: Pane states of shape ``(..., FIELDS)`` and the microseconds of the window, one for all or shape
            ``(...)``, to values of shape ``(...)``.
        definition: What the value says, one sentence.
        unit: The unit of the value, from the unit of the signal.
    """

    name: str
    function: Callable[[State, float | State], State]
    definition: str
    unit: Callable[[str], str]


def field(state: State, name: str) -> State:
    """One field of pane states, shape ``(...)``.

    Example:
        >>> from features.pane import summarize
        >>> float(field(summarize([0.0, 60.0], [20.0, 22.0]), "high"))
        22.0
    """
    column: State = state[..., PANE_FIELDS.index(name)]
    return column


def _count(state: State, _window_us: float | State) -> State:
    return field(state, "count").copy()


def _missing_share(state: State, _window_us: float | State) -> State:
    return _ratio(field(state, "nulls"), field(state, "count") + field(state, "nulls"))


def _mean(state: State, _window_us: float | State) -> State:
    return field(state, "first") + _ratio(field(state, "sum"), field(state, "count"))


def _std(state: State, _window_us: float | State) -> State:
    count = field(state, "count")
    deviations = field(state, "square") - _ratio(field(state, "sum") ** 2, count)
    # Rounding can leave a constant signal a hair below zero.
    return np.sqrt(_ratio(np.maximum(deviations, 0.0), count - 1.0))


def _low(state: State, _window_us: float | State) -> State:
    return field(state, "low").copy()


def _high(state: State, _window_us: float | State) -> State:
    return field(state, "high").copy()


def _range(state: State, _window_us: float | State) -> State:
    return field(state, "high") - field(state, "low")


def _first(state: State, _window_us: float | State) -> State:
    return field(state, "first").copy()


def _last(state: State, _window_us: float | State) -> State:
    return field(state, "last").copy()


def _delta(state: State, _window_us: float | State) -> State:
    return field(state, "last") - field(state, "first")


def _slope(state: State, _window_us: float | State) -> State:
    count, time = field(state, "count"), field(state, "time")
    spread = count * field(state, "time_square") - time**2
    together = count * field(state, "time_value") - time * field(state, "sum")
    return _ratio(together, spread) * HOUR_US


def _rms(state: State, _window_us: float | State) -> State:
    first, count = field(state, "first"), field(state, "count")
    about_first = field(state, "square") + 2.0 * first * field(state, "sum")
    return np.sqrt(np.maximum(first**2 + _ratio(about_first, count), 0.0))


def _crest(state: State, window_us: float | State) -> State:
    peak = np.maximum(np.abs(field(state, "low")), np.abs(field(state, "high")))
    return _ratio(peak, _rms(state, window_us))


def _mean_absolute_change(state: State, _window_us: float | State) -> State:
    return _ratio(field(state, "change"), field(state, "count") - 1.0)


def _above_share(state: State, _window_us: float | State) -> State:
    return _ratio(field(state, "above"), field(state, "count"))


def _since_last(state: State, window_us: float | State) -> State:
    since: State = (window_us - field(state, "last_at")) / HOUR_US
    return since


def _ratio(above: State, below: State) -> State:
    """``above / below``, NaN where ``below`` is not positive: there is nothing to divide among."""
    ratio: State = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0.0)
    return ratio


def _one(_unit: str) -> str:
    return "1"


def _same(unit: str) -> str:
    return unit


def _per_hour(unit: str) -> str:
    return f"{unit}/h"


STATISTICS: dict[str, Statistic] = {
    statistic.name: statistic
    for statistic in (
        Statistic("count", _count, "Readings with a value; 0 where there are none.", _one),
        Statistic("missing_share", _missing_share, "Share of the records that lack the signal.", _one),
        Statistic("mean", _mean, "Arithmetic mean.", _same),
        Statistic("std", _std, "Sample standard deviation (n - 1); needs two readings.", _same),
        Statistic("min", _low, "Smallest value.", _same),
        Statistic("max", _high, "Largest value.", _same),
        Statistic("range", _range, "Largest minus smallest value.", _same),
        Statistic("first", _first, "Earliest value.", _same),
        Statistic("last", _last, "Latest value.", _same),
        Statistic("delta", _delta, "Latest minus earliest value.", _same),
        Statistic("slope", _slope, "Least-squares trend over event time; needs two different times.", _per_hour),
        Statistic("rms", _rms, "Root of the mean of the squares (energy).", _same),
        Statistic("crest", _crest, "Largest magnitude as a multiple of the RMS (crest factor).", _one),
        Statistic("mean_absolute_change", _mean_absolute_change, "Mean distance of neighbours in time.", _same),
        Statistic("above_share", _above_share, "Share of the readings above the limit of the signal.", _one),
        Statistic("since_last", _since_last, "Time from the latest reading to the end of the window.", lambda _: "h"),
    )
}

ORDERED = frozenset({"mean_absolute_change"})
"""Statistics that need the readings of a pane in the order of time."""


def read(state: State, names: Sequence[str], window_us: float | State) -> State:
    """Read statistics off panes.

    Args:
        state: Pane states, shape ``(..., FIELDS)``.
        names: Names of the statistics, ``k`` of them.
        window_us: Microseconds of the windows, one number for all or one that broadcasts against ``(...)``.

    Returns:
        Shape ``(..., k)``; column after column in memory.

    Example:
        >>> from features.pane import summarize
        >>> read(summarize([0.0, 60.0], [20.0, 22.0]), ["mean", "max"], 100.0).tolist()
        [21.0, 22.0]
    """
    leading = state.shape[:-1]
    windows = window_us if np.ndim(window_us) == 0 else np.broadcast_to(window_us, leading).ravel()
    flat = state.reshape(-1, 1, len(PANE_FIELDS))
    return np.moveaxis(read_columns(flat, [(0, name) for name in names], windows).reshape(-1, *leading), 0, -1)


def read_columns(state: State, wanted: Sequence[tuple[int, str]], window_us: float | State) -> State:
    """Read statistics off panes of several signals in one pass, by the compiled kernel where it knows them.

    Args:
        state: Pane states, shape ``(n, signals, FIELDS)``.
        wanted: Signals and names of statistics, ``k`` pairs.
        window_us: Microseconds of the windows, one number for all or shape ``(n,)``.

    Returns:
        Shape ``(k, n)``.
    """
    columns = np.empty((len(wanted), len(state)))
    code = {name: number for number, name in enumerate(kernel.STATISTICS)}
    in_c = [place for place, (_, name) in enumerate(wanted) if name in code]
    if in_c:
        out = columns if len(in_c) == len(wanted) else np.empty((len(in_c), len(state)))
        signals = np.array([wanted[place][0] for place in in_c], np.int64)
        codes = np.array([code[wanted[place][1]] for place in in_c], np.int64)
        windows = np.require(np.atleast_1d(window_us), np.float64, ["C", "A"])
        kernel.finalize(np.require(state, np.float64, ["C", "A"]), windows, signals, codes, out)
        if out is not columns:
            columns[in_c] = out
    for place in sorted(set(range(len(wanted))).difference(in_c)):
        signal, name = wanted[place]
        columns[place] = STATISTICS[name].function(state[:, signal], window_us)
    return columns
