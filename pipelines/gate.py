"""The gate: the rules a candidate has to pass, as a pure function from evidence to results.

Every rule is always judged, so that a refusal names all its reasons at once. A comparison with a number that is not
there (NaN) fails. A result is a value with a sentence, not an exception: a refused candidate is an expected outcome.

How to add a rule: add its limit to ``pipelines.rules.GateRules``, one line to ``judge``, and a test that fails it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.dataset import Quality
from pipelines.leak import Scrambled, Shifted
from pipelines.parity import Parity
from pipelines.rules import BUDGETS, Cost, GateRules
from pipelines.tasks import Measure, Metrics, Task
from pipelines.tasks.failure import FailureMetrics, paid

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
        task: How the answers are judged.
        train: How much there was to learn from, as the task counts.
        test: How much there was to judge with.
        counted: What was counted.
        train_devices: Devices in training.
        quality: Of the data.
        candidate: What the bundle reaches on the test.
        constant: What always guessing the same reaches.
        linear: What a linear model reaches; None where none can learn this.
        champion: The version in use on the same rows; None when there is none.
        parity: Bundle against fitted model.
        range: From the lowest to the highest score there can be.
        golden_passed: Whether the bundle gives its golden scores.
        latency_us: Median time of one row through the predictor.
        bundle_bytes: Size of the bundle.
        memory_mib: Peak memory of a process that opens it.
        placements: Where it is to run.
        cost: What mistakes cost, where the use case says.
        scrambled: What training knows about scrambled labels; None where nothing is learned from labels.
        shifted: What became of features without the future; None where there is no telemetry to make them from.
    """

    task: Task
    train: int
    test: int
    counted: str
    train_devices: int
    quality: Quality
    candidate: Metrics
    constant: Metrics
    linear: Metrics | None
    champion: Comparison | None
    parity: Parity
    range: float
    golden_passed: bool
    latency_us: float
    bundle_bytes: int
    memory_mib: float
    placements: tuple[str, ...]
    cost: Cost | None = None
    scrambled: Scrambled | None = None
    shifted: Shifted | None = None


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
        *_leaks(rules, evidence),
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
    quality, counted = evidence.quality, evidence.counted
    return [
        _at_least("train", evidence.train, rules.min_train, f"{counted} to learn from"),
        _at_least("test", evidence.test, rules.min_test, f"{counted} in the test"),
        _at_least("train_devices", evidence.train_devices, rules.min_train_devices, "devices to learn from"),
        _at_most("missing_values", quality.missing, rules.max_missing, "share of feature values missing"),
        _at_most("gaps", quality.gaps, rules.max_gaps, "share of windows absent"),
        _at_most("quarantined", quality.quarantined, rules.max_quarantined, "share of readings rejected"),
    ]


def _leaks(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    """Whether figures are borrowed from overlap or from the future: then no other rule means anything."""
    results = []
    if (scrambled := evidence.scrambled) is not None:
        what = "correlation of scrambled labels of the test with those of their neighbours in training, at least"
        results.append(_at_most("leak.shuffled_labels", scrambled.bound, rules.max_scrambled_skill, what))
    if (shifted := evidence.shifted) is not None:
        named = f" (in {', '.join(shifted.names[:3])}{' and more' * (len(shifted.names) > 3)})" if shifted.names else ""  # noqa: PLR2004 - as many as are named
        what = f"values of {shifted.windows} windows that are others without what came later{named}"
        results.append(_at_most("leak.future_shift", shifted.changed, 0, what))
    return results


def _floors(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    """One rule for each measure that has a limit, by its own direction."""
    limits = {**evidence.task.limits, **rules.limits}
    figures, results = evidence.candidate.figures, []
    for measure in evidence.task.measures:
        if measure.name in limits:
            value, limit = figures[measure.name], limits[measure.name]
            rule = _at_least if measure.better == "higher" else _at_most
            results.append(rule(measure.name, value, limit, measure.title))
    return results


def _against_others(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    first = _decisive(rules, evidence.task)
    found = evidence.candidate.figures[first.name]
    gain = first.gain(found, evidence.constant.figures[first.name])
    results = [_at_least("gain_over_guessing", gain, rules.min_gain, f"gain in {first.title} over guessing")]
    if evidence.linear is not None:
        behind = first.gain(evidence.linear.figures[first.name], found)
        what = f"{first.title} behind a linear model"
        results.append(_at_most("behind_linear", behind, rules.max_behind_linear, what))
    return results if evidence.champion is None else results + _against_champion(rules, evidence, evidence.champion)


def _decisive(rules: GateRules, task: Task) -> Measure:
    """The measure that models are compared by."""
    named = [measure for measure in task.measures if measure.name == rules.compared_by]
    return (named or task.measures)[0]


def _against_champion(rules: GateRules, evidence: Evidence, champion: Comparison) -> list[RuleResult]:
    name, found, candidate = f"champion version {champion.version}", champion.metrics, evidence.candidate
    if found is None:
        sentence = f"{name} could not be asked on the same rows: {champion.note}"
        return [RuleResult("champion_comparable", False, 0.0, 1.0, sentence)]
    asked = RuleResult("champion_comparable", True, 1.0, 1.0, f"{name} was asked on the same rows")
    if isinstance(found, FailureMetrics) and isinstance(candidate, FailureMetrics):
        return [asked, *_in_failures(rules, evidence.cost, candidate, found, name)]
    first = _decisive(rules, evidence.task)
    behind = first.gain(found.figures[first.name], candidate.figures[first.name])
    what = f"{first.title} behind {name}"
    return [asked, _at_most("champion_ahead", behind, rules.max_behind_champion, what)]


def _in_failures(
    rules: GateRules, cost: Cost | None, candidate: FailureMetrics, found: FailureMetrics, name: str
) -> list[RuleResult]:
    """Compare two models by what they caught: that is what the plant sees of them."""
    if cost is not None:
        chance = cost.of(rules.max_fewer_caught, 1)
        limit = (1 + rules.max_more_cost) * paid(cost, found) + chance
        what = f"{cost.currency} for mistakes on the rows of {name}"
        return [_at_most("champion_cost", paid(cost, candidate), limit, what)]
    more = candidate.false_alarms_per_device_week - found.false_alarms_per_device_week
    fewest = found.caught - rules.max_fewer_caught
    return [
        _at_least("champion_caught", candidate.caught, fewest, f"failures caught on the rows of {name}"),
        _at_most(
            "champion_false_alarms",
            more,
            rules.max_more_false_alarms,
            f"false alarms per device and week more than {name}",
        ),
    ]


def _faithful(rules: GateRules, evidence: Evidence) -> list[RuleResult]:
    parity = evidence.parity
    rows = f"{parity.rows} rows, {parity.missing_rows} with missing values, {parity.split_rows} beside splits"
    difference = "largest difference of a score between bundle and fitted model, as a share of the range of scores"
    golden = "the bundle gives its golden scores" if evidence.golden_passed else "the bundle misses its golden scores"
    from_panes = f"{parity.pane_rows} held-out windows asked from their panes as well"
    return [
        _at_most(
            "label_flips",
            parity.label_flips,
            rules.max_label_flips,
            f"rows that the bundle decides otherwise, of {rows}",
        ),
        _at_most("score_difference", parity.max_abs / evidence.range, rules.max_score_difference, difference),
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
