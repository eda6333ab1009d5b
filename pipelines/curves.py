"""Pictures of quantities, as numbers: what ``templates/charts.html.j2`` draws.

Which devices are shown is a rule, not a choice: those with the smallest, the middle and the largest error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.charts import moments
from pipelines.examine import Examination
from pipelines.lines import WIDTH, path, thinned
from pipelines.slices import rounded
from pipelines.timeline import ReadSignal, told
from pipelines.traces import HEIGHT, CurvePicture, Ticks, traced
from pipelines.windows import Windows

Array = NDArray[np.float64]

SQUARE = 320.0
_DOTS = 700
_BANDS = 8
_CURVES, _LEAST_CURVE, _LEAST_BACK = 3, 10, 20
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class ScatterPicture:
    """What was foreseen over what was true; a dot for each window, the line where both are the same."""

    alt: str
    dots: str
    ticks: Ticks
    cap: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class ErrorsPicture:
    """Errors by true value: of each band the middle 80 % and the median."""

    alt: str
    zero: float
    bands: list[tuple[float, float, float, float, str]]
    high: str
    low: str
    unit: str


def scatter_picture(true: Array, score: Array, cap: float | None, unit: str) -> ScatterPicture:
    """Draw foreseen over true.

    Args:
        true: Labels, shape ``(n,)``.
        score: What was foreseen, shape ``(n,)``.
        cap: The longest life that is told apart; None for a quantity without.
        unit: Of both.
    """
    low, high = _span(np.concatenate([true, score]), cap)
    kept = np.linspace(0, len(true) - 1, min(len(true), _DOTS)).round().astype(np.intp)
    by_value = np.argsort(true, kind="stable")[kept]
    x, y = (SQUARE * (values[by_value] - low) / (high - low) for values in (true, score))
    dots = "".join(f"M{a:.0f},{SQUARE - b:.0f}h0" for a, b in zip(x, y, strict=True))
    share = 100 * float(np.mean(score > true)) if len(true) else 0.0
    over = "too high" if cap is None else "too long"
    alt = f"Foreseen over true values of {len(true)} windows, {low:.3g} to {high:.3g} {unit}: {share:.0f} % {over}."
    at = None if cap is None else round(SQUARE * (cap - low) / (high - low), 1)
    return ScatterPicture(alt, dots, _nice(low, high, SQUARE), at, unit)


def errors_picture(true: Array, score: Array, cap: float | None, unit: str) -> ErrorsPicture:
    """Draw the error by true value, in bands of equal width; what lies at the cap is a band of its own."""
    names, spread = [], []
    for name, rows in _bands(true, cap):
        if rows.any():
            names.append(name)
            spread.append(np.quantile((score - true)[rows], [0.1, 0.5, 0.9]))
    edges = np.array(spread).reshape(-1, 3)
    low, high = min(0.0, float(edges.min(initial=0.0))), max(0.0, float(edges.max(initial=0.0)))
    high = high if high > low else low + 1.0
    heights = HEIGHT * (1 - (edges - low) / (high - low))
    width = WIDTH / max(len(names), 1)
    bands = []
    for number, (name, (bottom, middle, top)) in enumerate(zip(names, heights.round(1).tolist(), strict=True)):
        bands.append((round((number + 0.5) * width, 1), bottom, middle, top, name))
    spoken = ", ".join(f"{row[1]:+.3g} at {name}" for name, row in zip(names, edges, strict=True))
    alt = f"Median error in {unit or 'units'} by true value: {spoken}."
    return ErrorsPicture(
        alt, round(HEIGHT * (1 - (0.0 - low) / (high - low)), 1), bands, f"{high:+.3g}", f"{low:+.3g}", unit
    )


def quantity_curves(examination: Examination, read: ReadSignal | None = None) -> list[CurvePicture]:
    """Draw the devices with the smallest, the middle and the largest error.

    Args:
        examination: What was found. Where devices were asked once or twice, their signal is all there is to draw.
        read: Reads raw readings.
    """
    test, score, unit = examination.dataset.test, examination.score, examination.usecase.label.unit
    order = [name for name, metrics in reversed(examination.devices) if metrics.figures["windows"] >= _LEAST_CURVE]
    if few := not order:
        order = [name for name, metrics in reversed(examination.devices) if metrics.figures["windows"]]
    if not order or (few and read is None):
        return []
    places = sorted({0, (len(order) - 1) // 2, len(order) - 1})
    words = (
        ["smallest error,", "middle error,", "largest error,"] if len(places) == _CURVES else ["error"] * len(places)
    )
    found = []
    for word, place in zip(words, places, strict=True):
        name = order[place]
        rows = test.device == name
        own, said = test.select(rows), score[rows]
        rmse = dict(examination.devices)[name].figures["rmse"]
        caption = f"{name}: {word} {rmse:.3g} {unit}".rstrip()
        if few:
            drawn = CurvePicture(f"{caption}; foreseen {said[-1]:.3g}, true {own.label[-1]:.3g}")
            stretch = (int(own.end[-1]) - _back(examination), int(own.end[-1]))
        else:
            threshold = examination.candidate.threshold if examination.task.question == "life" else None
            drawn, stretch = _curve(caption, own, said, threshold, unit), (int(own.end[0]), int(own.end[-1]))
        signal = told(examination, read, name, *stretch) if read else None
        found.append(traced(drawn, signal, stretch))
    return found


def _back(examination: Examination) -> int:
    """How far back from its one window a device is shown."""
    return max(examination.dataset.horizon_us, _LEAST_BACK * examination.dataset.every_us)


def _curve(caption: str, own: Windows, said: Array, threshold: float | None, unit: str) -> CurvePicture:
    since, until = int(own.end[0]), int(own.end[-1])
    low, high = _span(np.concatenate([own.label, said]), None)

    def line(values: Array) -> str:
        times, levels = thinned(own.end, values)
        return path((times - since) / max(until - since, 1) * WIDTH, HEIGHT * (1 - (levels - low) / (high - low)))

    shown = threshold is not None and low <= threshold <= high
    alt = (
        f"{caption}. True values from {own.label[0]:.3g} to {own.label[-1]:.3g} {unit}, foreseen from {said[0]:.3g} to "
        f"{said[-1]:.3g}."
    )
    return CurvePicture(
        caption=caption,
        alt=alt,
        true=line(own.label),
        score=line(said),
        threshold=round(HEIGHT * (1 - ((threshold or 0.0) - low) / (high - low)), 1) if shown else -1.0,
        spells=[],
        alarms=[],
        ticks=moments(since, until),
        high=rounded(float(max(own.label.max(), said.max())), high - low),
        low=rounded(float(min(own.label.min(), said.min())), high - low),
        unit=unit,
    )


def _bands(true: Array, cap: float | None) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    below = true < cap if cap is not None else np.ones(len(true), dtype=np.bool_)
    if below.any():
        edges = np.linspace(true[below].min(), true[below].max(), _BANDS + 1)
        span = float(edges[-1] - edges[0])
        place = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, _BANDS - 1)
        for band in range(_BANDS):
            yield f"{rounded(edges[band], span)} to {rounded(edges[band + 1], span)}", below & (place == band)
    if cap is not None:
        yield "at the cap", ~below


def _span(values: Array, cap: float | None) -> tuple[float, float]:
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if cap is not None:
        return 0.0, max(cap, high if np.isfinite(high) else cap)
    if not np.isfinite(low):
        return 0.0, 1.0
    room = (high - low or 1.0) * 0.03
    return low - room, high + room


def _nice(low: float, high: float, width: float) -> Ticks:
    """Round numbers over a range, three to seven, with their place.

    Example:
        >>> _nice(0.0, 125.0, 100.0)
        [(0.0, '0'), (20.0, '25'), (40.0, '50'), (60.0, '75'), (80.0, '100'), (100.0, '125')]
    """
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(nice * power for nice in _NICE if nice * power >= rough * (1 - 1e-9)))
    first = int(np.ceil(low / step - 1e-9))
    values: Sequence[float] = [number * step for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]
    return [(round((value - low) / (high - low) * width, 1), f"{value:.6g}") for value in values]
