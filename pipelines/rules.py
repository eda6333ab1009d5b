"""What a use case demands of a model: limits of the gate, budgets of the placements, the cost of mistakes.

Declarations only, so that a schedule or a command line can read use cases without loading anything that computes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Budget:
    """What a placement can afford.

    Attributes:
        latency_us: Median time of one row, in microseconds.
        bundle_bytes: Size of the bundle.
        memory_mib: Peak memory of a process that opens it and answers, in mebibytes.
    """

    latency_us: float
    bundle_bytes: int
    memory_mib: float


BUDGETS: Mapping[str, Budget] = {
    "endpoint": Budget(5_000, MEBIBYTE, math.inf),  # no such process runs there
    "gateway": Budget(5_000, 8 * MEBIBYTE, 128),
    "hub": Budget(2_000, 32 * MEBIBYTE, 512),
    "cloud": Budget(2_000, 32 * MEBIBYTE, 512),
}


@dataclass(frozen=True, slots=True)
class GateRules:
    """The limits of a use case. Shares are 0..1.

    Attributes:
        limits: Floors and ceilings of single measures, such as ``{"rmse": 16.0}``, beside those that the kind of label
            brings (``pipelines.tasks``); which direction is better, the measure knows.
        min_train: Of what is learned from: failures, lives that ended, windows in the rarer state, calm windows.
        min_test: Of what is judged with.
        min_train_devices: Devices to learn from.
        max_missing: Share of missing feature values.
        max_gaps: Share of absent windows.
        max_quarantined: Share of rejected readings.
        compared_by: The measure that candidates are compared by with guessing, a linear model and the champion; empty
            for the first of the task.
        min_gain: Gain over always guessing the same, by that measure.
        max_behind_linear: By how much a linear model may be better, by the same measure.
        max_behind_champion: By how much the champion may be better, by the same measure; failures are compared by
            what was caught instead, by false alarms and by cost.
        max_fewer_caught: Failures fewer than the champion catches: of a few dozen, one more or less is chance.
        max_more_false_alarms: False alarms per device and week above the champion's.
        max_more_cost: Share by which mistakes may cost more than the champion's, besides ``max_fewer_caught`` failures
            and one false alarm; replaces both where a cost is declared.
        max_scrambled_skill: How well training may know scrambled labels of the test; what chance leaves is near 0.
        max_label_flips: Rows on which bundle and fitted model disagree.
        max_score_difference: Largest difference of their scores, as a share of the range of scores.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    min_train: int = 5
    min_test: int = 3
    min_train_devices: int = 3
    max_missing: float = 0.5
    max_gaps: float = 0.3
    max_quarantined: float = 0.1
    compared_by: str = ""
    min_gain: float = 0.2
    max_behind_linear: float = 0.1
    max_behind_champion: float = 0.05
    max_fewer_caught: int = 1
    max_more_false_alarms: float = 0.1
    max_more_cost: float = 0.1
    max_scrambled_skill: float = 0.1
    max_label_flips: int = 0
    max_score_difference: float = 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """What mistakes cost, in one currency.

    Attributes:
        missed_failure: A failure nobody was warned of.
        false_alarm: A visit for nothing.
        currency: Its name.
        lead_hours: Warning that is needed to do anything about a failure; one with less counts as missed.

    Example:
        >>> Cost(missed_failure=8000, false_alarm=150).of(missed=2, false_alarms=10)
        17500
    """

    missed_failure: float
    false_alarm: float
    currency: str = "EUR"
    lead_hours: float = 0.0

    def of(self, missed: int, false_alarms: int) -> float:
        """Return the cost of these mistakes."""
        return self.missed_failure * missed + self.false_alarm * false_alarms


@dataclass(frozen=True, slots=True)
class Alerting:
    """When to alert. Without any of these, the threshold with the best F1 is chosen.

    Attributes:
        cost: Choose the threshold with the least cost of mistakes.
        false_alarms_per_device_week: Choose the one that catches most within this budget.
        at: Alert from here on, in the unit of the label: a remaining life at or below it, an anomaly score at or above.
    """

    cost: Cost | None = None
    false_alarms_per_device_week: float | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """When a challenger may become champion without anybody: never, unless a use case says so; then all of this holds.

    Attributes:
        automatic: Whether it may at all. The gate has to have passed it in any case.
        min_windows: Windows in the shadow of the champion.
        min_judged: Failures, or what else the task counts, whose outcome is known.
        min_gain: By how much it has to be better there, by the measure that candidates are compared by.
        surely_above: What the gain has to be above with its whole interval of 95 %.
        min_agreement: Share of the windows on which both decide the same: a model that behaves wholly otherwise is for
            people to look at, however good it seems.
        cool_down_days: Days between two automatic promotions.
    """

    automatic: bool = False
    min_windows: int = 2_000
    min_judged: int = 10
    min_gain: float = 0.05
    surely_above: float = 0.0
    min_agreement: float = 0.9
    cool_down_days: int = 14

    @property
    def sentence(self) -> str:
        """The bounds in words.

        Example:
            >>> Promotion(automatic=True).sentence
            'at least 2000 windows, 10 judged, gain 0.05 and surely above 0, agreement 0.9, once in 14 days'
        """
        gain = f"gain {self.min_gain:g} and surely above {self.surely_above:g}"
        counts = f"at least {self.min_windows} windows, {self.min_judged} judged"
        return f"{counts}, {gain}, agreement {self.min_agreement:g}, once in {self.cool_down_days} days"
