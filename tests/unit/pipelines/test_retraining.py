import dataclasses
import math

import pytest

from pipelines.retraining import DAY_US, Evidence, RetrainingRules, decide
from pipelines.rules import GateRules
from pipelines.tasks import TASKS

NOW = 100 * DAY_US
FIGURES = {"caught_share": 1.0, "false_alarms_per_device_week": 0.1, "average_precision": math.nan}
CALM = Evidence(
    windows=1_000,
    devices=10,
    task=TASKS["failure"],
    judged=5,
    counted="failures",
    figures=FIGURES,
    feature_index={"flow": 0.02, "heat": 0.05, "speed": 0.01},
    score_index=0.03,
)
MOVED = {"flow": 0.9, "heat": 0.4, "speed": 0.01}


def decision(**seen):
    return decide(dataclasses.replace(CALM, **seen), GateRules(), RetrainingRules(), NOW)


def test_a_calm_model_is_kept():
    result = decision()
    assert not result.retrain
    assert result.sentence == "keep the model: nothing has moved far"


def test_missed_failures_are_a_reason():
    result = decision(figures={**FIGURES, "caught_share": 0.2})
    assert result.retrain
    assert result.sentence == "train anew: share of failures caught 0.2, at least 0.5 is demanded"


def test_false_alarms_are_a_reason():
    assert decision(figures={**FIGURES, "false_alarms_per_device_week": 2.0}).reasons == [
        "false alarms per device and week 2, at most 1 is demanded"
    ]


def test_moved_inputs_are_a_reason_as_long_as_no_labels_speak():
    result = decision(feature_index=MOVED, judged=0, figures={})
    assert result.retrain
    assert result.reasons == ["2 of 3 features moved far (most: flow 0.90)"]


def test_moved_inputs_are_no_reason_while_labels_show_the_gate_is_reached():
    result = decision(feature_index=MOVED)
    assert not result.retrain
    assert result.brakes == ["it still reaches its gate on 5 failures"]


def test_moved_scores_are_a_reason():
    assert decision(score_index=0.3, judged=0).retrain


def test_a_single_feature_among_many_is_no_reason():
    index = {f"feature_{number}": 0.01 for number in range(20)} | {"flow": 3.0}
    assert not decision(feature_index=index, judged=0).reasons


def test_what_cannot_be_told_is_no_reason():
    assert not decision(score_index=math.nan, feature_index={"flow": math.nan}, judged=0).reasons


@pytest.mark.parametrize(
    ("seen", "brake"),
    [
        ({"windows": 499}, "499 windows are too few to tell, 500 are needed"),
        ({"devices": 4}, "4 devices are too few to tell, 5 are needed"),
        ({"retrained_at": [NOW - 6 * DAY_US]}, "trained anew 6 days ago, 7 days have to pass"),
        ({"retrained_at": [NOW - days * DAY_US for days in (8, 16, 29)]}, "trained anew 3 times within 30 days"),
    ],
)
def test_each_brake_holds_back_a_good_reason(seen, brake):
    result = decision(figures={**FIGURES, "caught_share": 0.0}, **seen)
    assert result.reasons
    assert not result.retrain
    assert result.brakes == [brake]
    assert brake in result.sentence


def test_brakes_let_go():
    assert decision(
        figures={**FIGURES, "caught_share": 0.0}, retrained_at=[NOW - days * DAY_US for days in (7, 16, 31)]
    ).retrain
