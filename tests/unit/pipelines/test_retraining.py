import dataclasses
import math

import pytest

from pipelines.drift import NOWHERE, Shift
from pipelines.retraining import DAY_US, Asked, Evidence, RetrainingRules, decide
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
    features={name: Shift(index, index, 1000) for name, index in (("flow", 0.02), ("heat", 0.05), ("speed", 0.01))},
    score=Shift(0.03, 0.03, 1000),
)
FAR = Shift(0.9, 0.7, 1000)
MOVED = {"flow": FAR, "heat": Shift(0.4, 0.3, 1000), "speed": Shift(0.01, 0.01, 1000)}


def asked(*days, come=True):
    """Retrainings that were asked for so many days ago."""
    return [Asked(NOW - each * DAY_US, come) for each in days]


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
    result = decision(features=MOVED, judged=0, figures={})
    assert result.retrain
    assert result.reasons == ["2 of 3 features moved far (most: flow index 0.90, 0.70 of its scale, 1,000 values)"]


def test_moved_inputs_are_no_reason_while_labels_show_the_gate_is_reached():
    result = decision(features=MOVED)
    assert not result.retrain
    assert result.brakes == ["it still reaches its gate on 5 failures"]


def test_moved_scores_are_a_reason():
    assert decision(score=FAR, judged=0).retrain


def test_a_single_feature_among_many_is_no_reason():
    features = {f"feature_{number}": Shift(0.01, 0.01, 1000) for number in range(20)} | {"flow": FAR}
    assert not decision(features=features, judged=0).reasons


def test_what_cannot_be_told_is_no_reason():
    assert not decision(score=NOWHERE, features={"flow": NOWHERE}, judged=0).reasons


@pytest.mark.parametrize("shift", [Shift(0.9, 0.05, 1000), Shift(0.2, 0.7, 1000), Shift(0.9, 0.7, 199)])
def test_it_takes_a_major_index_a_distance_worth_mentioning_and_enough_values(shift):
    assert not decision(features={"flow": shift}, score=shift, judged=0, figures={}).reasons
    assert decision(features={"flow": FAR}, score=FAR, judged=0, figures={}).retrain


def test_where_there_is_no_scale_the_index_speaks_alone():
    assert decision(features={"flow": Shift(0.9, math.nan, 200)}, judged=0, figures={}).retrain


@pytest.mark.parametrize(
    ("seen", "brake"),
    [
        ({"windows": 499}, "499 windows are too few to tell, 500 are needed"),
        ({"devices": 4}, "4 devices are too few to tell, 5 are needed"),
        ({"asked": asked(16, 6)}, "a new model was asked for 6 days ago, 7 days have to pass"),
        ({"asked": asked(29, 16, 8)}, "a new model was asked for 3 times within 30 days"),
        ({"asked": asked(6, 4, 2, come=False)}, "a new model was asked for 3 times within 30 days"),
        (
            {"asked": asked(1, come=False)},
            "a new model was asked for 1 day ago and has not come yet, 2 days have to pass",
        ),
    ],
)
def test_each_brake_holds_back_a_good_reason(seen, brake):
    result = decision(figures={**FIGURES, "caught_share": 0.0}, **seen)
    assert result.reasons
    assert not result.retrain
    assert result.brakes == [brake]
    assert brake in result.sentence


def test_brakes_let_go():
    missed = {**FIGURES, "caught_share": 0.0}
    assert decision(figures=missed, asked=asked(31, 16, 7)).retrain
    assert decision(figures=missed, asked=asked(2, come=False)).retrain, "a training that failed is asked for again"
