from dataclasses import replace

import pytest

from pipelines.dataset import Quality
from pipelines.gate import Comparison, Evidence, judge, passed, reasons
from pipelines.leak import Scrambled, Shifted
from pipelines.parity import Parity
from pipelines.rules import BUDGETS, Cost, GateRules
from pipelines.tasks import TASKS
from pipelines.tasks.failure import FailureMetrics
from pipelines.tasks.quantity import QuantityMetrics

METRICS = FailureMetrics(
    windows=2000,
    positives=80,
    precision=0.8,
    recall=0.7,
    f1=0.75,
    average_precision=0.8,
    roc_auc=0.97,
    brier=0.01,
    failures=10,
    caught=9,
    false_alarms=4,
    device_weeks=20.0,
    leads=(9.0, 20.0, 21.0),
)
GOOD = Evidence(
    task=TASKS["failure"],
    train=20,
    test=10,
    counted="failures",
    train_devices=12,
    quality=Quality(missing=0.02, gaps=0.01, quarantined=0.001, late=0.01),
    candidate=METRICS,
    constant=replace(METRICS, average_precision=0.04, caught=0, false_alarms=0),
    linear=replace(METRICS, average_precision=0.6),
    champion=Comparison("3", replace(METRICS, caught=8)),
    parity=Parity(rows=5000, missing_rows=3000, split_rows=3000, label_flips=0, max_abs=1e-7),
    range=1.0,
    golden_passed=True,
    latency_us=40.0,
    bundle_bytes=200_000,
    memory_mib=60.0,
    placements=("gateway", "cloud"),
    scrambled=Scrambled(skill=0.01, bound=-0.02, scrambles=40, windows=2000),
    shifted=Shifted(windows=48, values=1000, changed=0, names=()),
)
RULES = GateRules()
COST = Cost(missed_failure=1000, false_alarm=100)


def champion(**changes):
    return {"champion": Comparison("3", replace(METRICS, **changes))}


def candidate(**changes):
    return {"candidate": replace(METRICS, **changes)}


FAILING = {
    "train": {"train": 4},
    "test": {"test": 2},
    "train_devices": {"train_devices": 2},
    "missing_values": {"quality": Quality(missing=0.51, gaps=0)},
    "gaps": {"quality": Quality(missing=0, gaps=0.31)},
    "quarantined": {"quality": Quality(missing=0, gaps=0, quarantined=0.11)},
    "leak.shuffled_labels": {"scrambled": Scrambled(skill=0.2, bound=0.11, scrambles=40, windows=2000)},
    "leak.future_shift": {"shifted": Shifted(windows=48, values=1000, changed=1, names=("flow_mean_6h",))},
    "caught_share": candidate(caught=4) | champion(caught=4),
    "false_alarms_per_device_week": candidate(false_alarms=21) | champion(false_alarms=21),
    "average_precision": candidate(average_precision=0.29) | {"linear": replace(METRICS, average_precision=0.2)},
    "gain_over_guessing": {"constant": replace(METRICS, average_precision=0.61)},
    "behind_linear": {"linear": replace(METRICS, average_precision=0.91)},
    "champion_comparable": {"champion": Comparison("3", None, "its features cannot be computed")},
    "champion_caught": champion(caught=10) | candidate(caught=8),
    "champion_cost": champion(caught=10, false_alarms=0) | {"cost": COST},
    "champion_false_alarms": champion(false_alarms=1),
    "label_flips": {"parity": replace(GOOD.parity, label_flips=1)},
    "score_difference": {"parity": replace(GOOD.parity, max_abs=2e-6)},
    "pane_rows": {"parity": replace(GOOD.parity, pane_rows=0)},
    "golden_rows": {"golden_passed": False},
    "latency.gateway": {"latency_us": 5_001.0, "placements": ("gateway",)},
    "latency.cloud": {"latency_us": 2_001.0},
    "size.gateway": {"bundle_bytes": BUDGETS["gateway"].bundle_bytes + 1},
    "memory.gateway": {"memory_mib": 129.0},
    "memory.cloud": {"memory_mib": 513.0, "placements": ("cloud",)},
    "size.cloud": {"bundle_bytes": BUDGETS["cloud"].bundle_bytes + 1, "placements": ("cloud",)},
}


def failed(evidence, rules=RULES):
    return [result.rule for result in judge(rules, evidence) if not result.passed]


def test_a_good_candidate_passes_every_rule():
    results = judge(RULES, GOOD)
    assert passed(results)
    assert reasons(results) == []


@pytest.mark.parametrize("rule", FAILING)
def test_each_rule_can_fail_alone(rule):
    assert failed(replace(GOOD, **FAILING[rule])) == [rule]


def test_no_rule_is_without_a_test_that_fails_it():
    from_panes = replace(GOOD, parity=replace(GOOD.parity, pane_rows=2000))
    judged = judge(RULES, GOOD) + judge(RULES, replace(GOOD, cost=COST)) + judge(RULES, from_panes)
    assert {result.rule for result in judged} == set(FAILING)
    assert {result.rule for result in judge(LIFE_RULES, LIFE)} - set(FAILING) == {"champion_ahead", "rmse"}


def life_of(rmse):
    return QuantityMetrics(2000, 20, rmse=rmse, mae=rmse / 2, bias=1.0, r2=0.8, score=900.0)


LIFE = replace(
    GOOD,
    task=TASKS["life"],
    candidate=life_of(12.0),
    constant=life_of(40.0),
    linear=life_of(13.0),
    champion=Comparison("3", life_of(12.5)),
    range=125.0,
)
LIFE_RULES = GateRules(limits={"rmse": 15.0})
LIFE_FAILING = {
    "rmse": {"candidate": life_of(15.1), "linear": life_of(15.1), "champion": None},
    "gain_over_guessing": {"constant": life_of(14.9)},
    "behind_linear": {"linear": life_of(10.7)},
    "champion_ahead": {"champion": Comparison("3", life_of(11.3))},
    "champion_comparable": {"champion": Comparison("3", None, "its features cannot be computed")},
    "score_difference": {"parity": replace(GOOD.parity, max_abs=1.3e-4)},
}


@pytest.mark.parametrize("rule", LIFE_FAILING)
def test_where_lower_is_better_each_rule_can_fail_alone(rule):
    assert failed(LIFE, LIFE_RULES) == []
    assert failed(replace(LIFE, **LIFE_FAILING[rule]), LIFE_RULES) == [rule]


def test_a_model_with_a_larger_error_than_the_champion_is_never_the_better_one():
    """The worst model has the largest number: whoever forgets the direction of a measure promotes it."""
    worst = replace(LIFE, candidate=life_of(39.0), linear=None, constant=life_of(60.0))
    assert failed(worst, GateRules()) == ["champion_ahead"]


def test_a_use_case_may_say_by_which_measure_models_are_compared():
    behind = {result.rule: result for result in judge(RULES, GOOD)}["behind_linear"]
    other = replace(RULES, compared_by="precision")
    named = {result.rule: result for result in judge(other, GOOD)}["behind_linear"]
    assert "average precision" in behind.sentence
    assert named.sentence.startswith("precision behind")


def test_limits_themselves_are_allowed():
    edge = replace(GOOD, train=5, train_devices=3, latency_us=2_000.0, quality=Quality(0.5, 0.3, 0.1))
    assert failed(edge) == []


def test_a_number_that_is_not_there_fails():
    nothing = replace(METRICS, failures=0, caught=0, average_precision=float("nan"))
    found = failed(replace(GOOD, candidate=nothing, champion=None, test=0))
    assert {"test", "caught_share", "average_precision", "gain_over_guessing"} <= set(found)


def test_one_failure_less_than_the_champion_is_chance():
    assert failed(replace(GOOD, **champion(caught=10))) == []
    assert failed(replace(GOOD, cost=COST, **champion(caught=10))) == []


def test_where_mistakes_have_a_price_the_price_is_compared():
    """Two failures less for 2000, eleven false alarms less for 1100."""
    dearer = replace(GOOD, cost=COST, **candidate(caught=8) | champion(caught=10, false_alarms=15))
    assert failed(dearer) == []
    assert "champion_caught" in failed(replace(dearer, cost=None))


def test_without_a_champion_there_is_nothing_to_beat():
    rules = {result.rule for result in judge(RULES, replace(GOOD, champion=None))}
    assert not any(rule.startswith("champion") for rule in rules)


def test_a_refusal_names_all_its_reasons_with_value_and_limit():
    bad = replace(GOOD, train=4, golden_passed=False)
    assert reasons(judge(RULES, bad)) == [
        "train: failures to learn from: 4 (at least 5)",
        "golden_rows: the bundle misses its golden scores",
    ]


def test_no_rules_are_no_pass():
    assert not passed([])


def test_a_leak_that_cannot_be_judged_is_no_pass():
    nothing = Scrambled(skill=float("nan"), bound=float("nan"), scrambles=0, windows=0)
    assert failed(replace(GOOD, scrambled=nothing)) == ["leak.shuffled_labels"]


def test_a_feature_that_looks_ahead_is_named():
    found = judge(RULES, replace(GOOD, shifted=Shifted(48, 1000, 7, ("flow_mean_6h", "speed_max_1d"))))
    assert "in flow_mean_6h, speed_max_1d" in reasons(found)[0]
