"""The gate: the rules a candidate has to pass, as a pure function from evidence to results.

Every rule is always judged, so that a refusal names all its reasons at once. A comparison with a number that is not
there (NaN) fails. A result is a value with a sentence, not an exception: a refused candidate is an expected outcome.

How to add a rule: add its limit to ``pipelines.rules.GateRules``, one line to ``judge``, and a test that fails it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.dataset import Quality
from pipelines.evaluate import Metrics
from pipelines.parity import Parity
from pipelines.rules import BUDGETS, Cost, GateRules

_LARGE = 1000  # from here on, people read digits rather than exponents


@dataclass(frozen=True, slots=True)
class Comparison:
    """The champion on the test rows of the candidate.

    Attributes:
        version: Its version.
        metrics: What it reaches; None when it could not be asked.
        note: Why it could not.
    """

    version: str
    metrics: Metrics | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the gate looks at.

    Attributes:
        train_failures: Failures behind the training windows.
        train_devices: Devices in training.
        quality: Of the data.
        candidate: What the bundle reaches on the test.
        constant: What always guessing the base rate reaches.
        logistic: What a plain logistic model reaches.
        champion: The version in use on the same rows; None when there is none.
        parity: Bundle against fitted model.
        golden_passed: Whether the bundle gives its golden scores.
        latency_us: Median time of one row through the predictor.
        bundle_bytes: Size of the bundle.
        memory_mib: Peak memory of a process that opens it.
        placements: Where it is to run.
        cost: What mistakes cost, where the use case says.
    """

    train_failures: int
    train_devices: int
    quality: Quality
    candidate: Metrics
    constant: Metrics
    logistic: Metrics
    champion: Comparison | None
    parity: Parity
    golden_passed: bool
    latency_us: float
    bundle_bytes: int
    memory_mib: float
    placements: tuple[str, ...]
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule, judged.

    Attributes:
        rule: Its name; of a budget, with the placement.
        passed: Whether the candidate may go on.
        value: What was found.
        limit: What is allowed.
        sentence: What was measured, for people.
    """

    rule: str
    passed: bool
    value: float
    limit: float
    sentence: str


def judge(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    """Judge a candidate by every rule, data first."""
    return [
        *_data(rules, evidence),
        *_floors(rules, evidence),
        *_against_others(rules, evidence),
        *_faithful(rules, evidence),
        *_budgets(evidence),
    ]


def passed(results: Sequence[RuleResult]) -> bool:
    """Say whether every rule passed; of no rules at all, no."""
    return bool(results) and all(result.passed for result in results)


def reasons(results: Sequence[RuleResult]) -> list[str]:
    """Return the sentences of the rules that failed."""
    return [f"{result.rule}: {result.sentence}" for result in results if not result.passed]


def _data(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    quality = evidence.quality
    return [
        _at_least("train_failures", evidence.train_failures, rules.min_train_failures, "failures to learn from"),
        _at_least("test_failures", evidence.candidate.failures, rules.min_test_failures, "failures in the test"),
        _at_least("train_devices", evidence.train_devices, rules.min_train_devices, "devices to learn from"),
        _at_most("missing_values", quality.missing, rules.max_missing, "share of feature values missing"),
        _at_most("gaps", quality.gaps, rules.max_gaps, "share of windows absent"),
        _at_most("quarantined", quality.quarantined, rules.max_quarantined, "share of readings rejected"),
    ]


def _floors(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    found = evidence.candidate
    caught = f"share of failures caught ({found.caught} of {found.failures})"
    return [
        _at_least("caught", found.caught_share, rules.min_caught, caught),
        _at_most(
            "false_alarms",
            found.false_alarms_per_device_week,
            rules.max_false_alarms,
            "false alarms per device and week",
        ),
        _at_least("average_precision", found.average_precision, rules.min_average_precision, "average precision"),
    ]


def _against_others(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    found = evidence.candidate.average_precision
    gain, behind = found - evidence.constant.average_precision, evidence.logistic.average_precision - found
    results = [
        _at_least("gain_over_guessing", gain, rules.min_gain, "average precision above guessing"),
        _at_most(
            "behind_logistic", behind, rules.max_behind_logistic, "average precision behind a plain logistic model"
        ),
    ]
    return results if evidence.champion is None else results + _against_champion(rules, evidence, evidence.champion)


def _against_champion(rules: GateRules, evidence: Evidence, champion: Comparison) -> list[RuleResult]:
    name, found = f"champion version {champion.version}", champion.metrics
    if found is None:
        sentence = f"{name} could not be asked on the same rows: {champion.note}"
        return [RuleResult("champion_comparable", False, 0.0, 1.0, sentence)]
    asked = RuleResult("champion_comparable", True, 1.0, 1.0, f"{name} was asked on the same rows")
    candidate = evidence.candidate
    if evidence.cost is not None:
        chance = evidence.cost.of(rules.max_fewer_caught, 1)
        limit = (1 + rules.max_more_cost) * _paid(evidence.cost, found) + chance
        what = f"{evidence.cost.currency} for mistakes on the rows of {name}"
        return [asked, _at_most("champion_cost", _paid(evidence.cost, candidate), limit, what)]
    more = candidate.false_alarms_per_device_week - found.false_alarms_per_device_week
    return [
        asked,
        _at_least(
            "champion_caught",
            candidate.caught,
            found.caught - rules.max_fewer_caught,
            f"failures caught on the rows of {name}",
        ),
        _at_most(
            "champion_false_alarms",
            more,
            rules.max_more_false_alarms,
            f"false alarms per device and week more than {name}",
        ),
    ]


def _paid(cost: Cost, found: Metrics) -> float:
    return float(cost.of(found.failures - found.caught, found.false_alarms))


def _faithful(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    parity = evidence.parity
    rows = f"{parity.rows} rows, {parity.missing_rows} with missing values, {parity.split_rows} beside splits"
    difference = "largest difference of a score between bundle and fitted model"
    golden = "the bundle gives its golden scores" if evidence.golden_passed else "the bundle misses its golden scores"
    from_panes = f"{parity.pane_rows} held-out windows asked from their panes as well"
    return [
        _at_most(
            "label_flips",
            parity.label_flips,
            rules.max_label_flips,
            f"rows that the bundle decides otherwise, of {rows}",
        ),
        _at_most("score_difference", parity.max_abs, rules.max_score_difference, difference),
        *([] if parity.pane_rows is None else [_at_least("pane_rows", parity.pane_rows, 1, from_panes)]),
        RuleResult("golden_rows", evidence.golden_passed, float(evidence.golden_passed), 1.0, golden),
    ]


def _budgets(evidence: Evidence) -> list[RuleResult]:
    results = []
    for place in evidence.placements:
        budget = BUDGETS[place]
        results += [
            _at_most(f"latency.{place}", evidence.latency_us, budget.latency_us, "microseconds a row"),
            _at_most(f"size.{place}", evidence.bundle_bytes, budget.bundle_bytes, "bytes of bundle"),
            _at_most(f"memory.{place}", evidence.memory_mib, budget.memory_mib, "mebibytes of memory"),
        ]
    return results


def _at_least(rule: str, value: float, limit: float, what: str) -> RuleResult:
    return RuleResult(rule, value >= limit, value, limit, f"{what}: {_number(value)} (at least {_number(limit)})")


def _at_most(rule: str, value: float, limit: float, what: str) -> RuleResult:
    return RuleResult(rule, value <= limit, value, limit, f"{what}: {_number(value)} (at most {_number(limit)})")


def _number(value: float) -> str:
    if math.isnan(value):
        return "not known"
    return f"{value:,.0f}" if isinstance(value, int) or value >= _LARGE else f"{value:.3g}"
