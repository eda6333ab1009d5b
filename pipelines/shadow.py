"""Shadow: what a challenger would have said of the windows that the champion predicted, and which of them was right.

The prediction log keeps what the model saw, so nothing has to be served twice: the challenger's bundle answers the very
rows of the log through the same predictor that would serve it. Where it sees other features, those windows are taken
from the table of its features, and windows that lie in none are left out and counted.

Only windows that ended after everything the challenger was trained and judged on are looked at. What it has learned
from it knows by heart, and would always win.

Specification, format 1. ``reports/shadow/<use case>/<version>.json``, written anew by each run: the fields of `Shadow`,
``format``, ``made_at_us`` and ``promotion`` (`pipelines.automatic`); null where nothing can be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.intervals import Draw, by_devices
from pipelines.labels import Events
from pipelines.tasks import Measure, Span
from pipelines.watched import Watched
from pipelines.windows import Windows
from serving.bundle import Bundle
from serving.predictor import Predictor, Scores

_EXAMPLES = 10
_MOST_JUDGED = 100_000  # windows that intervals are made of: whole devices, drawn once
_DRAWS = 80  # of devices: of both models, each with its areas under curves, half a minute at most
_AT_ONCE = 65_536

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        version: Its version.
        bundle: Digest of its bundle.
        alerts: Windows on which it alerts.
        devices: Devices on which it alerts.
        headline: What it reaches where the outcome is known, in a few words; empty where nothing is.
        figures: By measure, on the windows whose outcome is known.
        intervals: Of the figures, 95 %.
    """

    version: str
    bundle: str
    alerts: int
    devices: int
    headline: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Example:
    """A window that the two decide otherwise; ``outcome`` is None while it is not known."""

    device: str
    window_end_us: int
    champion: float
    challenger: float
    champion_alerts: bool
    outcome: float | None


@dataclass(frozen=True, slots=True)
class Shadow:
    """The comparison.

    Attributes:
        usecase: Name of the use case.
        champion: The version that predicted.
        challenger: The version that was asked afterwards.
        since_us: End of everything the challenger learned from, UTC microseconds.
        windows: Windows of the champion after that, which the challenger was asked about.
        left_out: Those that it could not be asked about, because its features are not there.
        devices: Devices.
        agreement: Share of the windows on which both decide the same; NaN without windows.
        agreement_interval: 95 %, devices drawn anew.
        examples: Windows on which they differ, those first whose scores are furthest apart.
        joined: Windows whose outcome is known.
        judged: How much came true that can be judged by.
        counted: What was counted.
        measure: Name of the measure that the two are compared by.
        gain: By how much the challenger is better, by that measure; NaN where that cannot be told.
        gain_interval: 95 %, of both on the same draws of devices.
    """

    usecase: str
    champion: Side
    challenger: Side
    since_us: int
    windows: int
    left_out: int
    devices: int
    agreement: float
    agreement_interval: Interval
    examples: tuple[Example, ...]
    joined: int
    judged: int
    counted: str
    measure: str
    gain: float
    gain_interval: Interval

    @property
    def sentence(self) -> str:
        """The comparison in a sentence."""
        if not self.windows:
            return f"version {self.challenger.version} in the shadow: no window yet that it has not learned from"
        said = (
            f"version {self.challenger.version} in the shadow of {self.champion.version}: they agree on "
            f"{self.agreement:.1%} of {self.windows:,} windows"
        )
        if not self.judged:
            return f"{said}; no outcome to judge by yet"
        return f"{said}; {self.challenger.headline}, champion {self.champion.headline}, on {self.judged} {self.counted}"


def comparable(watched: Watched, bundle: Bundle) -> NDArray[np.bool_]:
    """Return which windows of the champion ended after everything a bundle learned from, shape ``(n,)``."""
    return np.asarray(watched.windows.end > learned_until(bundle), dtype=np.bool_)


def learned_until(bundle: Bundle) -> int:
    """Return up to when a bundle knows its data, UTC microseconds; 0 where it does not say."""
    until = bundle.manifest.lineage.get("until", "")
    return int(until) if until.isdecimal() else 0


def compare(
    watched: Watched,
    challenger: tuple[str, Bundle],
    rows: NDArray[np.bool_],
    values: NDArray[np.float64],
    measure: Measure,
) -> Shadow:
    """Compare a challenger with the version that predicted.

    Args:
        watched: The version that predicted.
        challenger: Version and bundle of the other.
        rows: Windows it is asked about, of those that are ``comparable``, shape ``(n,)``.
        values: What it sees of them, shape ``(windows of rows, F)``.
        measure: What the two are compared by.

    Raises:
        ModelError: The challenger cannot be opened.
        PredictionError: It cannot answer.
    """
    version, bundle = challenger
    windows, given = watched.bare.select(rows), _answers(Predictor(bundle), values)
    ours = Scores(watched.score[rows], watched.alert[rows])
    same = ours.alert == given.alert
    nothing = Events.of({"device": [], "time": [], "kind": [], "known_at": []})
    drawn = by_devices(windows, nothing, lambda draw: {"same": float(same[draw.rows].mean())}, most=_DRAWS)
    joined = windows.labelled
    judged, counted = watched.task.evidence(windows.select(joined), watched.span)
    sides, gain, gained = _judged(watched, windows, (ours, given), measure)
    return Shadow(
        usecase=bundle.manifest.usecase,
        champion=_side(watched.version, watched.digest, windows, ours, sides[0] if judged else ("", {}, {})),
        challenger=_side(version, bundle.digest, windows, given, sides[1] if judged else ("", {}, {})),
        since_us=learned_until(bundle),
        windows=len(windows),
        left_out=int(comparable(watched, bundle).sum()) - len(windows),
        devices=len(np.unique(windows.device)),
        agreement=float(same.mean()) if len(same) else float("nan"),
        agreement_interval=drawn.get("same", (float("nan"), float("nan"))),
        examples=_examples(windows, ours, given),
        joined=int(joined.sum()),
        judged=judged,
        counted=counted,
        measure=measure.name,
        gain=gain if judged else float("nan"),
        gain_interval=gained if judged else (float("nan"), float("nan")),
    )


def _answers(predictor: Predictor, values: NDArray[np.float64]) -> Scores:
    parts = [predictor.predict(values[at : at + _AT_ONCE]) for at in range(0, max(len(values), 1), _AT_ONCE)]
    return Scores(np.concatenate([each.score for each in parts]), np.concatenate([each.alert for each in parts]))


_Judged = tuple[str, Mapping[str, float], Mapping[str, Interval]]


def _judged(
    watched: Watched, windows: Windows, answers: tuple[Scores, Scores], measure: Measure
) -> tuple[list[_Judged], float, Interval]:
    """Headline, figures and intervals of both where the outcome is known, and by how much the second is better."""
    joined = np.flatnonzero(windows.labelled)
    known = windows.select(joined)
    scores = [Scores(each.score[joined], each.alert[joined]) for each in answers]

    def figures(part: Windows, rows: NDArray[Any], span: Span) -> list[Any]:
        return [watched.task.measure(part, each.score[rows], each.alert[rows], span) for each in scores]

    chosen = _some(known)
    sample, events = known.select(chosen), watched.span.events
    seen = events.select(np.isin(events.device, np.unique(sample.device)))

    def drawn(draw: Draw) -> dict[str, float]:
        part = replace(sample.select(draw.rows), device=draw.device)
        both = figures(part, chosen[draw.rows], replace(watched.span, events=draw.events))
        found = {f"{side}.{name}": value for side, each in enumerate(both) for name, value in each.figures.items()}
        return {**found, "gain": measure.gain(both[1].figures[measure.name], both[0].figures[measure.name])}

    both = figures(known, np.arange(len(known)), watched.span)
    intervals = by_devices(sample, seen, drawn, most=_DRAWS) if len(sample) else {}
    told: list[_Judged] = []
    for side, each in enumerate(both):
        own = {name[2:]: span for name, span in intervals.items() if name.startswith(f"{side}.")}
        told.append((watched.task.headline(each), each.figures, own))
    gain = measure.gain(both[1].figures[measure.name], both[0].figures[measure.name])
    return told, gain, intervals.get("gain", (float("nan"), float("nan")))


def _some(windows: Windows) -> NDArray[np.intp]:
    """Rows of whole devices, drawn once, as many as intervals can be made of."""
    names, first, count = np.unique(windows.device, return_index=True, return_counts=True)
    if len(windows) <= _MOST_JUDGED:
        return np.arange(len(windows))
    order = np.random.default_rng(0).permutation(len(names))
    kept = order[np.cumsum(count[order]) <= _MOST_JUDGED]
    return np.concatenate([np.arange(first[at], first[at] + count[at]) for at in np.sort(kept)])


def _side(version: str, digest: str, windows: Windows, answer: Scores, judged: _Judged) -> Side:
    devices = len(np.unique(windows.device[answer.alert]))
    return Side(version, digest, int(answer.alert.sum()), devices, *judged)


def _examples(windows: Windows, ours: Scores, given: Scores) -> tuple[Example, ...]:
    apart = np.flatnonzero(ours.alert != given.alert)
    order = apart[np.argsort(-np.abs(ours.score - given.score)[apart], kind="stable")][:_EXAMPLES]
    return tuple(
        Example(
            str(windows.device[at]),
            int(windows.end[at]),
            float(ours.score[at]),
            float(given.score[at]),
            bool(ours.alert[at]),
            None if np.isnan(windows.label[at]) else float(windows.label[at]),
        )
        for at in order.tolist()
    )
