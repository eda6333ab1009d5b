from types import SimpleNamespace

import pytest
from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from dags import assets, forms, train
from dags.errors import ParameterError
from pipelines import usecases
from tests.fakes.wrong import WRONG


def context(conf=None, events=(), kind="manual", **params):
    known = {name: param.value for name, param in train.FORM.items()}
    return {
        "params": known | params | (conf or {}),
        "dag_run": SimpleNamespace(conf=conf, run_type=kind),
        "dag": SimpleNamespace(dag_id="train"),
        "triggering_asset_events": dict.fromkeys(events, ()),
    }


def test_a_misspelt_key_fails_the_run_with_the_nearest_known_one():
    with pytest.raises(AirflowFailException, match=r"TM-501 'estimatr' is no parameter, did you mean 'estimator'\?"):
        forms.check(context({"estimatr": "logistic"}), train.FORM)


def test_all_unknown_keys_are_named_at_once():
    with pytest.raises(ParameterError, match=r"'quux' is no parameter.*'sed' is no parameter, did you mean 'seed'"):
        forms.refuse_unknown({"sed", "quux"}, {"seed", "usecase"}, "train")


def test_a_form_without_fields_takes_nothing():
    with pytest.raises(ParameterError, match="trigger it again with no parameters"):
        forms.refuse_unknown({"usecase"}, set(), "release")


@pytest.mark.parametrize("conf", [None, {}, {"seed": 5}])
def test_known_keys_pass(conf):
    assert forms.check(context(conf), train.FORM)["seed"] == (conf or {}).get("seed", 0)


def test_a_run_by_hand_trains_the_use_case_of_the_form():
    assert train.wanted(context(usecase="pump_failure")) == [{"name": "pump_failure", "fleet": "pumps"}]


def test_a_run_by_events_trains_what_they_ask_for_even_when_they_were_merged():
    events = [assets.retrain("pump_failure"), assets.retrain("machine_failure"), AssetAlias("retrain")]
    assert [job["name"] for job in train.wanted(context(events=events, usecase="pump_failure"))] == [
        "machine_failure",
        "pump_failure",
    ]


def test_a_run_by_the_clock_is_for_every_use_case():
    assert [job["name"] for job in train.wanted(context(kind="scheduled"))] == usecases.names()
    woken = context(kind="scheduled", events=[assets.retrain("pump_failure")])
    assert [job["name"] for job in train.wanted(woken)] == ["pump_failure"]


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_a_training_that_cannot_be_is_refused_by_the_first_task(wrong, said):
    with pytest.raises(AirflowFailException, match=f"TM-329 .*{said}.*Fix: "):
        train.wanted(context(wrong))


@pytest.mark.parametrize("workers", [0, -1, 17])
def test_tasks_that_cannot_share_a_search_are_refused(workers):
    with pytest.raises(
        AirflowFailException, match=f"TM-329 a number of {workers} search tasks is not between 1 and 16"
    ):
        train.wanted(context(workers=workers))


@pytest.mark.parametrize(
    ("name", "allowed"), [("budget", (None, 0, 86_400)), ("seed", (0, 2**31 - 1)), ("workers", (1, 16))]
)
def test_the_page_cannot_put_a_bound_in_the_place_of_a_mistyped_number(name, allowed):
    assert {"minimum", "maximum"}.isdisjoint(train.FORM[name].schema)
    for value in allowed:
        assert train.wanted(context(**{name: value}))
    assert f"{allowed[-1]:,}" in train.FORM[name].description


def test_everything_that_is_wrong_with_a_training_is_said_at_once():
    wrong = {"since": "2026-02-01", "until": "2026-01-01", "estimator": "pca"}
    with pytest.raises(AirflowFailException, match=r"is not before until .*; estimator pca learns no probability"):
        train.wanted(context(wrong))


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-02-01", "2026-01-01", "there is nothing between them"),
        ("2026-02-01", "2026-02-01", "there is nothing between them"),
        ("2999-01-01", None, "still to come"),
        (None, "2026-01-01", "'until' without 'since'"),
    ],
)
def test_days_that_name_nothing_are_refused(since, until, said):
    with pytest.raises(AirflowFailException, match=f"TM-501 .*{said}"):
        forms.dates(context(), {"since": since, "until": until})


def test_days_are_options_of_the_command():
    assert forms.dates(context(), {"since": None, "until": None}) == {}
    assert forms.dates(context(), {"since": "2026-01-31", "until": None}) == {
        "since": "2026-01-31",
        "until": "2026-02-01",
    }
