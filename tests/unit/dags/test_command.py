import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from dags import command
from dags.command import CommandOperator

CONTEXT = {"ti": SimpleNamespace(log_url="http://airflow/run/1")}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Let tasks call a script in place of `tidemill`; the body sees its arguments as `words`."""
    for name in ("AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_CONN_MLFLOW_DEFAULT"):
        monkeypatch.delenv(name, raising=False)

    def write(body):
        path = tmp_path / "tidemill"
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nwords = sys.argv[1:]\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setattr(command, "PROGRAM", path)

    return write


def failing(code, error):
    return f"print(json.dumps({{'error': {error!r}}})); sys.exit({code})"


def test_the_command_is_called_with_words_and_the_options_that_have_a_value(program):
    program("print(json.dumps({'words': words}))")
    task = CommandOperator(
        task_id="train", words=["train", "pumps"], options={"since": "2026-01-01", "until": "", "note": "-x"}
    )
    assert task.execute(CONTEXT)["words"] == ["train", "pumps", "--since=2026-01-01", "--note=-x", "--json"]


def test_progress_is_logged_while_it_runs_and_the_last_object_is_the_result(program, capsys):
    program("print('reading', file=sys.stderr); print('noise'); print('{\"rows\": 1}'); print('{\"rows\": 2}')")
    assert CommandOperator(task_id="ingest", words=["ingest"]).execute(CONTEXT) == {"rows": 2}
    said = capsys.readouterr().out
    assert said.index("tidemill ingest") < said.index("reading") < said.index('"rows": 2')


def test_a_log_ends_with_the_sentence_and_its_numbers_can_be_read(program, capsys):
    program("print(json.dumps({'share': 0.12345678901, 'sentence': 'keep the model: nothing moved', 'rows': 3}))")
    found = CommandOperator(task_id="monitor", words=["monitor"]).execute(CONTEXT)
    assert found["share"] == 0.12345678901
    said = capsys.readouterr().out
    assert '"share": 0.123457' in said
    assert "0.12345678901" not in said
    assert "keep the model" in said.strip().splitlines()[-1]


def test_what_is_out_of_the_ordinary_is_a_warning_in_the_log(program, capsys):
    program("print('WARNING freshness: old', file=sys.stderr); print('{}')")
    CommandOperator(task_id="ingest", words=["ingest"]).execute(CONTEXT)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "freshness: old" in line]
    assert "warning" in line.lower().replace("warning freshness", "")


def test_much_output_on_both_sides_does_not_stall(program):
    program("for _ in range(9000): print('y' * 99); print('x' * 99, file=sys.stderr)")
    assert CommandOperator(task_id="ingest", words=["ingest"]).execute(CONTEXT) == {}


def test_an_outcome_that_is_not_good_is_a_result_all_the_same(program):
    program('print(\'{"gate": "refused"}\'); sys.exit(1)')
    assert CommandOperator(task_id="train", words=["train"]).execute(CONTEXT) == {"gate": "refused"}


@pytest.mark.parametrize(
    ("body", "raised", "said"),
    [
        (failing(3, {"code": "TM-203", "message": "no store"}), AirflowException, "TM-203 no store"),
        (failing(1, {"code": "TM-306", "message": "second"}), AirflowException, "TM-306 second"),
        (failing(1, {"code": "TM-307", "message": "bad ledger"}), AirflowFailException, "TM-307 bad ledger"),
        (failing(3, {"code": "TM-204", "message": "no keys"}), AirflowException, "aws_default or.*AWS_"),
        (failing(2, {"code": "TM-400", "message": "no"}), AirflowFailException, r"TM-400 no \(tidemill ingest pumps\)"),
        ("print('oh no', file=sys.stderr); sys.exit(1)", AirflowFailException, "oh no"),
        ("sys.exit(1)", AirflowFailException, "ended with code 1 and said nothing"),
        ("os.kill(os.getpid(), 9)", AirflowException, "ended with code -9"),
    ],
)
def test_an_error_fails_the_task_with_its_message_and_only_what_may_pass_is_tried_again(program, body, raised, said):
    program(body)
    with pytest.raises(AirflowException, match=said) as caught:
        CommandOperator(task_id="ingest", words=["ingest", "pumps"]).execute(CONTEXT)
    assert type(caught.value) is raised


def test_nothing_to_do_skips_the_task_where_that_is_wanted(program):
    program(failing(1, {"code": "TM-302", "message": "nothing stored"}))
    with pytest.raises(AirflowSkipException, match="nothing stored"):
        CommandOperator(task_id="ingest", words=["ingest"], skip_on=["TM-302"]).execute(CONTEXT)


def test_the_command_sees_the_connection_and_the_run_but_no_secret_of_airflow(program, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://AKIAPLANT:verysecret@/?region_name=eu-west-1")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "hidden")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    program("print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('AWS', 'AIRFLOW_'))}))")
    seen = CommandOperator(task_id="ingest", words=["ingest"]).execute(CONTEXT)
    assert seen["AWS_ACCESS_KEY_ID"] == "AKIAPLANT"
    assert seen["AIRFLOW_CTX_RUN_URL"] == "http://airflow/run/1"
    assert not [name for name in seen if name.startswith(("AIRFLOW__", "AIRFLOW_CONN"))]


def test_a_connection_that_cannot_be_read_is_not_taken_for_none(program, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://a:b@/?endpoint_url=http://unquoted")
    program("print('{}')")
    with pytest.raises(
        AirflowFailException, match=r"TM-503 .*cannot be read \(AIRFLOW_CONN_AWS_DEFAULT\).*percent-encode"
    ):
        CommandOperator(task_id="ingest", words=["ingest"]).execute(CONTEXT)


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_command_ends_with_its_task(program, tmp_path, monkeypatch, stubborn):
    monkeypatch.setattr(command, "GRACE_S", 0.2)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
    program(f"{ignore}\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()) + chr(10)); time.sleep(60)")
    task = CommandOperator(task_id="train", words=["train"])
    ended = []

    def run():
        try:
            task.execute(CONTEXT)
        except AirflowException as error:
            ended.append(str(error))

    runner = threading.Thread(target=run)
    runner.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
        time.sleep(0.01)
    task.on_kill()
    runner.join(10)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert f"ended with code -{signal.SIGKILL.value if stubborn else signal.SIGTERM.value}" in ended[0]


def test_a_task_that_is_killed_before_or_after_its_command_has_nothing_to_end(program):
    program("print('{}')")
    task = CommandOperator(task_id="train", words=["train"])
    task.on_kill()
    task.execute(CONTEXT)
    task.on_kill()


def test_only_names_and_counts_travel_between_tasks():
    result = {
        "rows": 5,
        "name": "pumps",
        "share": 0.5,
        "none": None,
        "reasons": ["a", "b"],
        "scores": [0.1] * 21,
        "text": "x" * 201,
        "table": [{"a": 1}] * 21,
        "outcomes": [{"usecase": "pumps", "curve": [0.1] * 99}],
        "inner": {"f1": 0.9, "curve": list(range(99))},
    }
    assert command.summary(result) == {
        "rows": 5,
        "name": "pumps",
        "share": 0.5,
        "none": None,
        "reasons": ["a", "b"],
        "outcomes": [{"usecase": "pumps"}],
        "inner": {"f1": 0.9},
    }


def test_a_long_sentence_loses_its_end_and_a_task_that_needs_it_still_finds_it():
    """A decision with several reasons is longer than a name; the task that wakes the training reads it."""
    long = "speed has moved far, " * 15
    brief = command.summary({"retrain": True, "sentence": long, "reasons": [long, "short"]})
    assert brief["sentence"] == f"{long[:199]}…"
    assert brief["reasons"] == [f"{long[:199]}…", "short"]


def test_a_task_has_a_button_to_what_it_made(program):
    made = {
        "url": "http://mlflow/#/models/pump_failure/versions/3",
        "run_id": "0a1b",
        "report": "http://mlflow/#/experiments/1/runs/0a1b/artifacts/report/index.html",
    }
    program(f"print({json.dumps(made)!r})")
    task = CommandOperator(task_id="train", words=["train"])

    def buttons():
        return {link.name: link.get_link(task, ti_key=None) for link in task.operator_extra_links}

    assert buttons() == {"MLflow run": "", "Model version": "", "Report": ""}
    task.execute(CONTEXT)
    assert buttons() == {
        "MLflow run": "http://mlflow/#/runs/0a1b",
        "Model version": made["url"],
        "Report": made["report"],
    }


def test_what_is_no_page_gets_no_button(program):
    program('print(\'{"report": "reports/ingest/pumps/1.json", "accepted": 1}\')')
    task = CommandOperator(task_id="ingest", words=["ingest"])
    task.execute(CONTEXT)
    assert [link.get_link(task, ti_key=None) for link in task.operator_extra_links] == ["", "", ""]
