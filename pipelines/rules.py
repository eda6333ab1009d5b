"""What a use case demands of a model: limits of the gate, budgets of the placements, the cost of mistakes.

Declarations only, so that a schedule or a command line can read use cases without loading anything that computes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
        min_train_failures: Failures to learn from.
        min_test_failures: Failures to be examined with.
        min_train_devices: Devices to learn from.
        max_missing: Share of missing feature values.
        max_gaps: Share of absent windows.
        max_quarantined: Share of rejected readings.
        min_caught: Share of the test's failures that must be caught.
        max_false_alarms: False alarms per device and week.
        min_average_precision: Floor of the ranking.
        min_gain: Average precision gained over always guessing the base rate.
        max_behind_logistic: Average precision by which a plain logistic model may be better.
        max_fewer_caught: Failures fewer than the champion catches: of a few dozen, one more or less is chance.
        max_more_false_alarms: False alarms per device and week above the champion's.
        max_more_cost: Share by which mistakes may cost more than the champion's, besides ``max_fewer_caught`` failures
            and one false alarm; replaces both where a cost is declared.
        max_label_flips: Rows on which bundle and fitted model disagree.
        max_score_difference: Largest difference of their scores.
    """

    min_train_failures: int = 5
    min_test_failures: int = 3
    min_train_devices: int = 3
    max_missing: float = 0.5
    max_gaps: float = 0.3
    max_quarantined: float = 0.1
    min_caught: float = 0.5
    max_false_alarms: float = 1.0
    min_average_precision: float = 0.3
    min_gain: float = 0.2
    max_behind_logistic: float = 0.1
    max_fewer_caught: int = 1
    max_more_false_alarms: float = 0.1
    max_more_cost: float = 0.1
    max_label_flips: int = 0
    max_score_difference: float = 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """What mistakes cost, in one currency.

    Attributes:
        missed_failure: A failure nobody was warned of.
        false_alarm: A visit for nothing.
        currency: Its name.

    Example:
        >>> Cost(missed_failure=8000, false_alarm=150).of(missed=2, false_alarms=10)
        17500
    """

    missed_failure: float
    false_alarm: float
    currency: str = "EUR"

    def of(self, missed: int, false_alarms: int) -> float:
        """Return the cost of these mistakes."""
        return self.missed_failure * missed + self.false_alarm * false_alarms
