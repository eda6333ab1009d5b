"""Whether to train anew: a pure function from what monitoring saw to a decision that explains itself.

Reasons speak for it, brakes against it; it takes a reason and no brake. A reason is a large effect: the labels show
that the model misses its own gate, or a large part of its inputs or its scores have moved. Where labels show that it
still reaches the gate, moved inputs alone are no reason. Brakes are too small a sample, a recent retraining, and too
many in a month. Broken sensors and wrong clocks are neither: a new model would learn them (`pipelines.soundness`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.drift import MAJOR, NOWHERE, WORTH_MENTIONING, Shift
from pipelines.rules import GateRules
from pipelines.tasks import Task

DAY_US = 86_400_000_000
_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class RetrainingRules:
    """The limits of a decision. Shares are 0..1.

    Attributes:
        min_windows: Windows below which nothing is decided.
        min_devices: Devices below which nothing is decided.
        min_judged: Failures, or what else the task counts, from which on the labels count as evidence.
        max_stability_index: Of a feature or of the scores; more is a major shift,
        min_distance: if it also moved by this share of its scale,
        min_values: and this many values say so.
        max_drifted: Share of the features that may have shifted.
        cool_down_days: Days after a retraining was asked for in which none is.
        overdue_days: The same where none came of it: its training failed, or still runs.
        most_in_30_days: How often one is asked for in thirty days, whatever came of it.
    """

    min_windows: int = 500
    min_devices: int = 5
    min_judged: int = 3
    max_stability_index: float = MAJOR
    min_distance: float = WORTH_MENTIONING
    min_values: int = 200
    max_drifted: float = 0.3
    cool_down_days: int = 7
    overdue_days: int = 2
    most_in_30_days: int = 3

    @property
    def memory_us(self) -> int:
        """For how long a retraining counts, in microseconds."""
        return max(_MONTH_DAYS, self.cool_down_days) * DAY_US

    def far(self, shift: Shift) -> bool:
        """Whether something moved far.

        Example:
            >>> rules = RetrainingRules()
            >>> rules.far(Shift(0.9, 0.5, 1000)), rules.far(Shift(0.9, 0.01, 1000)), rules.far(Shift(0.9, 0.5, 20))
            (True, False, False)
        """
        mentioned = math.isnan(shift.distance) or shift.distance >= self.min_distance
        return shift.index > self.max_stability_index and mentioned and shift.values >= self.min_values


@dataclass(frozen=True, slots=True)
class Asked:
    """A retraining that was asked for.

    Attributes:
        at_us: When, UTC microseconds.
        come: Whether a training has followed and given a version, passed or refused.
    """

    at_us: int
    come: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """What monitoring saw of the version in use.

    Attributes:
        windows: Windows it predicted.
        devices: Devices it predicted for.
        task: How its answers are judged.
        judged: How much came true that it can be judged by, as the task counts.
        counted: What was counted.
        figures: What it reached, by measure; NaN where nothing can be told.
        features: How far each feature has moved.
        score: How far its scores have moved.
        asked: What retraining was asked for before, oldest first.
    """

    windows: int
    devices: int
    task: Task
    judged: int
    counted: str
    figures: Mapping[str, float]
    features: Mapping[str, Shift] = field(default_factory=dict)
    score: Shift = NOWHERE
    asked: Sequence[Asked] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why.

    Attributes:
        retrain: Whether to train anew.
        reasons: What speaks for it.
        brakes: What speaks against it.
    """

    retrain: bool
    reasons: list[str] = field(default_factory=list)
    brakes: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The decision in a sentence.

        Example:
            >>> Decision(False, ["scores moved"], ["sample too small"]).sentence
            'keep the model: scores moved, but sample too small'
        """
        if self.retrain:
            return f"train anew: {'; '.join(self.reasons)}"
        if self.reasons:
            return f"keep the model: {'; '.join(self.reasons)}, but {'; '.join(self.brakes)}"
        return f"keep the model: {'; '.join(self.brakes) or 'nothing has moved far'}"


def decide(evidence: Evidence, gate: GateRules, rules: RetrainingRules, now_us: int) -> Decision:
    """Decide.

    Args:
        evidence: What was seen.
        gate: What the use case demands of a model.
        rules: The limits.
        now_us: The clock, UTC microseconds.
    """
    worse, labels_speak = _missed_gate(evidence, gate, rules)
    moved = _moved(evidence, rules)
    reasons = worse + moved
    brakes = _brakes(evidence, rules, now_us)
    if moved and labels_speak and not worse:
        brakes.append(f"it still reaches its gate on {evidence.judged} {evidence.counted}")
    return Decision(bool(reasons) and not brakes, reasons, brakes)


def _missed_gate(evidence: Evidence, gate: GateRules, rules: RetrainingRules) -> tuple[list[str], bool]:
    """Return where the labels show it below its gate, and whether there are enough labels to show anything."""
    if evidence.judged < rules.min_judged:
        return [], False
    limits, found = {**evidence.task.limits, **gate.limits}, []
    for measure in evidence.task.measures:
        value, limit = evidence.figures.get(measure.name, math.nan), limits.get(measure.name)
        if limit is not None and not math.isnan(value) and not measure.reaches(value, limit):
            word = "at least" if measure.better == "higher" else "at most"
            found.append(f"{measure.title} {value:.3g}, {word} {limit:g} is demanded")
    return found, True


def _moved(evidence: Evidence, rules: RetrainingRules) -> list[str]:
    shifted = drifted(evidence.features, rules)
    found = []
    if len(shifted) > rules.max_drifted * max(len(evidence.features), 1):
        most = f"{shifted[0]} {_told(evidence.features[shifted[0]])}"
        found.append(f"{len(shifted)} of {len(evidence.features)} features moved far (most: {most})")
    if rules.far(evidence.score):
        found.append(f"scores moved far ({_told(evidence.score)})")
    return found


def drifted(features: Mapping[str, Shift], rules: RetrainingRules) -> list[str]:
    """Return the features that moved far, most first."""
    return sorted((name for name, shift in features.items() if rules.far(shift)), key=lambda n: -features[n].index)


def _told(shift: Shift) -> str:
    """Both sizes with what they rest on.

    Example:
        >>> _told(Shift(0.9, 0.52, 1200))
        'index 0.90, 0.52 of its scale, 1,200 values'
    """
    distance = "" if math.isnan(shift.distance) else f"{shift.distance:.2f} of its scale, "
    return f"index {shift.index:.2f}, {distance}{shift.values:,} values"


def _brakes(evidence: Evidence, rules: RetrainingRules, now_us: int) -> list[str]:
    found = []
    if evidence.windows < rules.min_windows:
        found.append(f"{evidence.windows} windows are too few to tell, {rules.min_windows} are needed")
    if evidence.devices < rules.min_devices:
        found.append(f"{evidence.devices} devices are too few to tell, {rules.min_devices} are needed")
    ages = [(now_us - each.at_us) / DAY_US for each in evidence.asked]
    if ages:
        come = evidence.asked[-1].come
        days = rules.cool_down_days if come else rules.overdue_days
        if ages[-1] < days:
            missing = "" if come else " and has not come yet"
            found.append(f"a new model was asked for {_ago(ages[-1])}{missing}, {days} days have to pass")
    if sum(age < _MONTH_DAYS for age in ages) >= rules.most_in_30_days:
        found.append(f"a new model was asked for {rules.most_in_30_days} times within 30 days")
    return found


def _ago(days: float) -> str:
    """A number of days since then.

    Example:
        >>> _ago(0.2), _ago(1.0), _ago(6.4)
        ('less than a day ago', '1 day ago', '6 days ago')
    """
    whole = round(days)
    if not whole:
        return "less than a day ago"
    return f"{whole} day{'s' if whole > 1 else ''} ago"
