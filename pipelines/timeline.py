"""Three stretches of real time to look at: one failure caught, one missed, one false alarm.

They are chosen by rule, not by hand: the caught failure with the median lead time, the first missed one, the longest
false alarm. What there is none of is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.candidate import span_of
from pipelines.examine import Examination
from pipelines.tasks.failure import Alarm, alarms, failures

Kind = Literal["caught", "missed", "false alarm"]
_BEFORE, _AFTER = 3, 1  # horizons that are shown
_MOST = 0.5  # share of the rows
# Times and values of a signal of a device between two moments.
ReadSignal = Callable[[str, str, int, int], tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Told:
    """The readings of a signal over a stretch of time.

    Attributes:
        signal: Its name.
        unit: Its unit; empty for none.
        normal: Its normal band (low, high); NaN where it is unknown.
        times: When readings were taken, shape ``(n,)``, UTC microseconds.
        values: The readings, shape ``(n,)``; NaN where there is none.
    """

    signal: str
    unit: str
    normal: tuple[float, float]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A stretch of one device; times in UTC microseconds.

    Attributes:
        kind: What it shows.
        device: Whose it is.
        drawn: The signal above the score.
        since: Its begin.
        until: Its end.
        ends: Ends of the windows the model was asked about.
        every: Step between two of them.
        scores: What it said.
        alarms: Alarms in the stretch.
        failures: Failures in the stretch.
    """

    kind: Kind
    device: str
    drawn: Told
    since: int
    until: int
    ends: NDArray[np.int64]
    every: int
    scores: NDArray[np.float64]
    alarms: list[Alarm]
    failures: list[int]


def timelines(examination: Examination, read: ReadSignal) -> list[Timeline]:
    """Choose the stretches and read their signal.

    Args:
        examination: What was found.
        read: Reads raw readings.
    """
    horizon = examination.dataset.horizon_us
    test, span = examination.dataset.test, span_of(examination.dataset)
    raised = alarms(test, examination.alert, span)
    shown = []
    for kind, device, moment in _chosen(examination, raised):
        since, until = moment - _BEFORE * horizon, moment + _AFTER * horizon
        rows = (test.device == device) & (test.end >= since) & (test.end <= until)
        own = span.events.device == device
        drawn = told(examination, read, device, since, until)
        if drawn is None:
            continue
        shown.append(
            Timeline(
                kind=kind,
                device=device,
                drawn=drawn,
                since=since,
                until=until,
                ends=test.end[rows],
                every=span.every_us,
                scores=examination.score[rows],
                alarms=[a for a in raised if a.device == device and a.end >= since and a.start <= until],
                failures=[int(t) for t in span.events.time[own] if since <= t <= until],
            )
        )
    return shown


def told(examination: Examination, read: ReadSignal, device: str, since: int, until: int) -> Told | None:
    """Read the signal to draw of a stretch of a device: the most important one that most of its rows hold.

    Rare reports, such as errors, may decide, but there is nothing to see. The band of a signal that the model sees
    normalised is none of its readings', and is left out.

    Returns:
        None where the model is not known to go by anything.
    """
    found = None
    for leaning in examination.leanings:
        times, values = read(device, leaning.signal, since, until)
        held = float(np.mean(~np.isnan(values))) if len(values) else 0.0
        if found is None or held >= _MOST:
            unit = next(s.unit for s in examination.usecase.fleet_schema.signals if s.name == leaning.signal)
            normal = leaning.normal if unit == leaning.unit else (np.nan, np.nan)
            found = Told(leaning.signal, "" if unit == "1" else unit, normal, times, values)
        if held >= _MOST:
            break
    return found


def _chosen(examination: Examination, raised: list[Alarm]) -> list[tuple[Kind, str, int]]:
    found = failures(examination.dataset.test, examination.alert, span_of(examination.dataset))
    caught = sorted((f for f in found if f.first_alert is not None), key=lambda f: (f.lead_hours, f.device, f.time))
    missed = [f for f in found if f.first_alert is None]
    false = sorted((a for a in raised if not a.hit), key=lambda a: (a.start - a.end, a.device, a.start))
    chosen: list[tuple[Kind, str, int]] = []
    if caught:
        chosen.append(("caught", caught[len(caught) // 2].device, caught[len(caught) // 2].time))
    if missed:
        chosen.append(("missed", missed[0].device, missed[0].time))
    if false:
        chosen.append(("false alarm", false[0].device, false[0].start))
    return chosen
