"""What to watch of a model: the weak spots its examination found, as sentences, and the card that goes with it.

A sentence appears only where there is something to say. A difference counts from a tenth of the first measure on, by
its own direction; parts with too little to judge with say nothing.
"""

import math
from collections.abc import Iterator
from datetime import timedelta

from pipelines.candidate import span_of
from pipelines.examine import Examination
from pipelines.tasks import Measure
from pipelines.verdict import day, figure

_WORSE = -0.1
_MISJUDGED = 0.05
_FEW = 10
_SAID = {
    "failure": "warn of a failure within the next {horizon}",
    "life": "tell how long is left, up to {horizon}",
    "state": "tell whether the device is in the state now",
    "anomaly": "tell whether the device behaves otherwise than it usually does",
    "forecast": "tell the value {horizon} ahead",
}


def cautions(examination: Examination) -> list[str]:
    """Say where not to trust a model, what matters most first."""
    return [*_of_evidence(examination), *_of_parts(examination), *_of_time(examination), *_of_inputs(examination)]


def card(examination: Examination) -> dict[str, str]:
    """Say what a model is for, what it was made of, who answers for it and how it is retired."""
    usecase, dataset = examination.usecase, examination.dataset
    name, fleet, often = usecase.name, usecase.fleet, spoken(timedelta(microseconds=dataset.every_us))
    tables = ", ".join(f"{key} {value}" for key, value in dataset.lineage.items() if key.endswith("version"))
    return {
        "Intended use": _intended(examination),
        "Not for": f"Other fleets than {fleet}, devices with other sensors, or decisions that no person can overrule. "
        f"It protects neither people nor machines: it looks every {often} and sees what telemetry shows.",
        "Data": f"Telemetry of fleet {fleet} from {day(dataset.since)} to {day(dataset.until)}, "
        f"{len(dataset.train):,} windows learned from and {len(dataset.test):,} judged with "
        f"({tables or 'no table versions'}). Names of devices are in it, names of people are not.",
        "Limits": " ".join(cautions(examination)) or "None was found beyond the figures of this report.",
        "Owner": usecase.owner or f"Nobody is named yet: set owner= in pipelines/usecases/{name}.py.",
        "To watch it": f"tidemill monitor {name} compares predictions with what happened, and asks for a new training "
        "when they part.",
        "To retire it": f"Remove the alias champion of {name} in MLflow: the next release takes it off every gateway. "
        "Its versions, reports and predictions stay.",
    }


def _intended(examination: Examination) -> str:
    usecase = examination.usecase
    said = _SAID[examination.task.question].format(horizon=spoken(usecase.label.horizon))
    places = " and ".join(usecase.placements)
    return f"To {said}, for devices of fleet {usecase.fleet}, at the {places}; a person decides what follows."


def _of_evidence(examination: Examination) -> Iterator[str]:
    dataset, task = examination.dataset, examination.task
    judged, counted = task.evidence(dataset.test, span_of(dataset))
    if judged < _FEW:
        yield f"It was judged by {judged} {counted} only: one more or less moves its figures."
    if task.question == "failure":
        often = spoken(timedelta(microseconds=dataset.every_us))
        yield f"It looks every {often}: a failure that announces itself after its last look cannot be foreseen."
    if not examination.intervals:
        yield "All of the test is of one device, so nobody knows how it does on another."
    if not examination.usecase.split.in_time:
        when = "in the same weeks as" if examination.usecase.split.learned is None else "in the days around those"
        where = ", on other devices" if dataset.held_out else ""
        yield f"It was judged {when} it learned from{where}: whether it wears out is not known."
    elif not dataset.held_out:
        yield "No device was held out: how it does on a device it has never seen is not known."


def _of_parts(examination: Examination) -> Iterator[str]:
    first, whole = examination.task.measures[0], examination.metrics.figures
    title, unit = first.title, examination.usecase.label.unit
    new, known = (metrics.figures[first.name] for metrics in (examination.new, examination.known))
    if first.gain(new, known) < _WORSE:
        yield (
            f"On devices it has never seen it is worse: {title} {_told(first, new, unit)} instead of "
            f"{_told(first, known, unit)}."
        )
    large = [part for part in examination.slices if not part.small]
    worse = [(first.gain(part.metrics.figures[first.name], whole[first.name]), part) for part in large]
    worse = [pair for pair in worse if pair[0] < _WORSE]
    if worse:
        _, part = min(worse, key=lambda pair: pair[0])
        value = _told(first, part.metrics.figures[first.name], unit)
        yield (
            f"It is worst where the {part.group} is {part.name}: {title} {value} instead of "
            f"{_told(first, whole[first.name], unit)} over all."
        )


def _of_time(examination: Examination) -> Iterator[str]:
    first, unit = examination.task.measures[0], examination.usecase.label.unit
    title = first.title
    folds = [fold.value for fold in examination.folds if not math.isnan(fold.value)]
    if len(folds) > 1:
        low, high = min(folds), max(folds)
        if min(first.gain(low, high), first.gain(high, low)) < 2 * _WORSE:
            yield (
                f"Fitted on other parts of training, the same recipe reached {_told(first, low, '')} to "
                f"{_told(first, high, unit)} ({title}): one good test may be luck."
            )
    told = [(period, period.metrics.figures[first.name]) for period in examination.periods if period.evidence]
    told = [(period, value) for period, value in told if not math.isnan(value)]
    if len(told) > 1:
        period, value = told[-1]
        if first.gain(value, told[0][1]) < _WORSE:
            yield (
                f"In the last stretch of the test ({period.name}) it was worse than in the first: {title} "
                f"{_told(first, value, unit)} instead of {_told(first, told[0][1], unit)}. Train again soon."
            )


def _of_inputs(examination: Examination) -> Iterator[str]:
    first, unit = examination.task.measures[0], examination.usecase.label.unit
    share = 100 * examination.outside
    if share > 0:
        yield f"{share:.3g} % of the windows of the test have a value beyond everything in training. There it guesses."
    found = examination.calibration
    if found is not None and found.error > _MISJUDGED:
        yield f"Its probabilities are off by {100 * found.error:.0f} % on average: take them as ranks, not as odds."
    if examination.leanings:
        worst = examination.leanings[0]
        without, whole = (
            _told(first, metrics.figures[first.name], unit) for metrics in (worst.dead, examination.metrics)
        )
        if without != whole:
            told = f"without it, {first.title} is {without} instead of {whole}"
            yield f"The sensor it can spare least is {worst.signal}: {told}."


def _told(measure: Measure, value: float, unit: str) -> str:
    named = unit if measure.unit == "label" else measure.unit
    return f"{figure(value, measure.digits)} {named}".rstrip() if named != "1" else figure(value, measure.digits)


def spoken(length: timedelta) -> str:
    """Say how long something is.

    Example:
        >>> spoken(timedelta(hours=125)), spoken(timedelta(days=7)), spoken(timedelta(seconds=1))
        ('125 hours', '7 days', 'second')
    """
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if length >= unit and not length % unit and (name != "day" or length >= 2 * unit):
            return name if length == unit else f"{length // unit} {name}s"
    seconds = length / timedelta(seconds=1)
    return "second" if seconds == 1 else f"{seconds:g} seconds"
