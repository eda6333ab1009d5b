"""The doctor finds choices about the DAGs that cannot be used, pools that are missing, and what is paused."""

from pathlib import Path

import pytest

from dags.options import Options
from infra.local.airflow_check import choices, examine, judge, own_airflow
from infra.local.doctor import Finding


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found(text) -> list[Finding]:
    Path("tidemill.toml").write_text(text)
    return list(examine())


def test_without_any_choice_everything_is_fine():
    assert [finding.state for finding in examine()] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[schedules]\ningets = "off"\n', "there is no DAG 'ingets' ([schedules]). Fix: did you mean ingest?"),
        ('[schedules]\ningest = "7 * * *"\n', "'7 * * *' is no schedule ([schedules] ingest)"),
        ('[deadlines]\ningest = "soon"\n', "'soon' is no length of time ([deadlines] ingest)"),
        ('[notifications]\nemail = "a@plant"\n', "email needs smtp and sender"),
        ('[pods.train]\nmemroy = "6Gi"\n', "'memroy' is unknown ([pods.train] in tidemill.toml)"),
        ('[poools]\ningest = "x"\n', ""),
        ('[pools]\ningst = "x"\n', "'ingst' is unknown ([pools] in tidemill.toml)"),
        ("[pools", "the file cannot be read as TOML"),
    ],
)
def test_what_cannot_be_used_is_a_finding(text, said):
    first = found(text)[0]
    assert said in first.sentence
    assert first.state == ("fail" if said else "ok")  # a table nobody knows is found by the settings of the command


def test_all_that_is_wrong_is_said_at_once():
    (first, *_) = found('[schedules]\ningest = "soon"\nrelease = "7min"\n[deadlines]\nupkeep = "x"\n')
    assert all(
        f"[{name}" in first.sentence for name in ("schedules] ingest", "schedules] release", "deadlines] upkeep")
    )


def test_a_pool_that_is_missing_or_has_no_slots_is_found_with_the_command_that_makes_it():
    finding = judge({"default_pool": 128, "b": 0}, [], [], {"a": 2, "b": 1})
    assert finding.state == "fail"
    assert finding.fix == "airflow pools set a 2 Tidemill; airflow pools set b 1 Tidemill"


def test_what_is_paused_and_should_run_is_a_remark():
    finding = judge({"a": 1}, ["ingest", "train"], [], {"a": 1})
    assert (finding.state, finding.fix) == ("warn", "airflow dags unpause ingest")
    assert judge({"a": 1}, ["train"], [], {"a": 1}).state == "ok"


def test_a_dag_that_cannot_be_loaded_comes_first():
    finding = judge({}, [], ["Traceback\ndags.errors.ScheduleError: no schedule"], {"a": 1})
    assert finding.sentence == "a DAG cannot be loaded: dags.errors.ScheduleError: no schedule"


def test_an_airflow_of_somebodys_own_is_asked_only_where_pools_are_named(tmp_path, monkeypatch):
    assert own_airflow({}).state == "ok"
    program = tmp_path / "airflow"
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert own_airflow({"train": "a"}).state == "warn"
    program.write_text('#!/bin/sh\necho "a warning"\necho \'[{"pool": "a", "slots": "2"}]\'\n')
    program.chmod(0o755)
    assert own_airflow({"train": "a"}).state == "ok"
    assert own_airflow({"train": "b"}).fix == "airflow pools set b 1 Tidemill"


def test_the_timers_are_told():
    sentence = choices(Options(schedules={"ingest": "off"})).sentence
    assert "ingest off" in sentence
    assert "release */2 * * * *" in sentence
