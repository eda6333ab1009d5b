"""Pictures of states and anomalies over time, as numbers: what ``templates/charts.html.j2`` draws.

Which stretches are shown is a rule, not a choice: the spells of which least was seen, and the longest alarm outside of
any.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.charts import moments
from pipelines.examine import Examination
from pipelines.lines import WIDTH, path, thinned
from pipelines.timeline import ReadSignal, told
from pipelines.traces import HEIGHT, CurvePicture, traced
from pipelines.windows import Windows

Array = NDArray[np.float64]

_SPELLS = 2
_ROOM = 3  # a spell is shown with as much before it and after it
_LEAST_ROOM = 20  # windows, at least
_UNBROKEN = 2


def spell_curves(examination: Examination, read: ReadSignal | None = None) -> list[CurvePicture]:
    """Draw the score around the spells of which least was seen, and around the longest alarm outside of any.

    Args:
        examination: What was found.
        read: Reads raw readings of the signal above the score.
    """
    test = examination.dataset.test
    found = []
    for caption, rows in _stretches(examination):
        own = test.select(rows)
        drawn = _scored(caption, own, examination.score[rows], examination.alert[rows], examination)
        stretch = (int(own.end[0]), int(own.end[-1]))
        signal = told(examination, read, str(own.device[0]), *stretch) if read else None
        found.append(traced(drawn, signal, stretch))
    return found


def _scored(caption: str, own: Windows, said: Array, alert: NDArray[np.bool_], it: Examination) -> CurvePicture:
    since, until, every = int(own.end[0]), int(own.end[-1]), it.dataset.every_us

    def x(moment: int) -> float:
        return round((moment - since) / max(until - since, 1) * WIDTH, 1)

    def stretches(chosen: NDArray[np.bool_]) -> list[tuple[float, float]]:
        return [(max(x(int(own.end[a]) - every), 0.0), x(int(own.end[b]))) for a, b in _runs(own, chosen, every)]

    times, levels = thinned(own.end, said)
    spells, alarms = stretches(own.positive), stretches(alert)
    alt = f"{caption}. Score of {len(own)} windows, {len(spells)} spells, {len(alarms)} alarms."
    return CurvePicture(
        caption=caption,
        alt=alt,
        true="",
        score=path((times - since) / max(until - since, 1) * WIDTH, HEIGHT * (1 - levels), WIDTH / 4),
        threshold=round(HEIGHT * (1 - it.candidate.threshold), 1),
        spells=spells,
        alarms=alarms,
        ticks=moments(since, until),
        high="1",
        low="0",
        unit="score",
    )


def _stretches(examination: Examination) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Captions and rows of what is shown."""
    test, alert, every = examination.dataset.test, examination.alert, examination.dataset.every_us
    spells = _runs(test, test.positive, every)
    seen = [float(alert[a : b + 1].mean()) for a, b in spells]
    worst = sorted(range(len(spells)), key=lambda place: (seen[place], spells[place][0] - spells[place][1], place))
    for place in worst[:_SPELLS]:
        a, b = spells[place]
        share = f"{100 * seen[place]:.0f} % of a spell of {_windows(a, b)} seen"
        yield f"{test.device[a]}: {share}", _around(test, a, b)
    false = [(a, b) for a, b in _runs(test, alert, every) if not test.positive[a : b + 1].any()]
    if false:
        a, b = min(false, key=lambda run: (run[0] - run[1], run[0]))
        label = examination.usecase.label
        well = "nothing was wrong" if label.question == "anomaly" else f"it was not {label.name}"
        yield f"{test.device[a]}: an alarm of {_windows(a, b)}, and {well}", _around(test, a, b)


def _windows(first: int, last: int) -> str:
    return "one window" if first == last else f"{last - first + 1:,} windows"


def _runs(windows: Windows, chosen: NDArray[np.bool_], every: int) -> list[tuple[int, int]]:
    """First and last row of each run of chosen windows of one device without a pause."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    apart = (np.diff(rows) > 1) | (windows.device[rows[1:]] != windows.device[rows[:-1]])
    apart |= np.diff(windows.end[rows]) > _UNBROKEN * every
    begins = np.append(0, np.flatnonzero(apart) + 1)
    return [(int(rows[a]), int(rows[b - 1])) for a, b in zip(begins, [*begins[1:], len(rows)], strict=True)]


def _around(test: Windows, first: int, last: int) -> NDArray[np.intp]:
    own = np.flatnonzero(test.device == test.device[first])
    room = max((last - first + 1) * _ROOM // 2, _LEAST_ROOM)
    return own[(own >= first - room) & (own <= last + room)]
