"""Airflow as plants run it: scheduler, parser, triggerer and API over PostgreSQL, with the LocalExecutor.

One stack for the whole file, because it takes a quarter of a minute to start.
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest

from dags.options import Options
from infra.local import airflow_check, parts
from infra.local.airflow_setup import DATABASE, POOLS, airflow_environment, prepare_secrets
from infra.local.cli import run as tidemill
from infra.local.errors import AirflowRequestError
from infra.local.ports import free_port
from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from infra.local.stack import DAGS, Stack
from pipelines.lake import Lake
from serving.store import open_store
from tests.fakes import postgres
from tests.fakes.wrong import WRONG

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(postgres.unable()), reason=postgres.unable() or "-")]
PATIENCE_S = 120.0
DAYS = ("2026-01-05", "2026-01-06", "2026-01-07")


class Hook:
    """Where failures are told."""

    def __init__(self):
        hook = self
        self.told: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def wait_for(self, fits):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := [told for told in self.told if fits(told)]:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(self.told)


@pytest.fixture(scope="module")
def hook():
    made = Hook()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, hook):
    root = tmp_path_factory.mktemp("postgres")
    store = open_store(str(root / "store"), create=True)
    write_fleet(Plan(2, 3, 7, parse_start(DAYS[0])), store.uri, processes=1)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL_"))}
    choices = {
        "TIDEMILL_SCHEDULE_RELEASE": "off",  # nobody answers for MLflow here
        "TIDEMILL_NOTIFY_WEBHOOK": hook.url,
        "TIDEMILL_DEADLINE_MATERIALIZE": "1s",
    }
    with (
        patch.dict(parts.USUAL_PORTS, {parts.AIRFLOW: free_port(0)}),  # another test's stack may be about to take it
        postgres.cluster() as url,
        Stack(root, kept | choices | {DATABASE: url}, store=store.uri, wanted=(parts.AIRFLOW,), gateways=0) as stack,
    ):
        yield stack


def airflow(stack, *arguments):
    """Call Airflow's own command, as an operator does."""
    port = stack.airflow.url.rsplit(":", 1)[1]
    home = stack.plan.airflow_home
    environment = airflow_environment(stack.plan.environment(), home, DAGS, int(port), prepare_secrets(home))
    command = [str(Path(sys.executable).with_name("airflow")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_telemetry_is_taken_in_and_a_past_day_is_made_again_by_a_backfill(stack, hook):
    assert not (stack.plan.airflow_home / "airflow.db").exists()
    client, lake = stack.airflow, Lake(stack.plan.store)
    done = client.wait("ingest", client.trigger("ingest", {"fleet": "pumps"}), PATIENCE_S)
    assert done.state == "success", [client.log(done, task) for task in done.tasks if task.state == "failed"]
    assert done.summary("materialize", "pumps")["rows"] > 0
    assert {name: client.pools()[name] for name, _ in POOLS.values()} == dict(POOLS.values())
    assert airflow_check.airflow(stack.plan.root, Options()).state == "ok"

    tables = lake_tables(lake)
    before = [files(table) for table in tables]
    known = client.runs("materialize")
    asked = ["--dag-id", "materialize", "--from-date", DAYS[1], "--to-date", DAYS[1]]
    made = airflow(stack, "backfill", "create", *asked, "--dag-run-conf", '{"fleet": "pumps"}')
    assert made.returncode == 0, made.stderr[-2000:]
    again = client.wait_for_another("materialize", known, PATIENCE_S)
    assert again.state == "success", [client.log(again, task) for task in again.tasks if task.state == "failed"]
    assert again.id.startswith(f"backfill__{DAYS[1]}")
    assert again.summary("rows", "pumps")["dates"] == [DAYS[1]]
    for old, new in zip(before, [files(table) for table in tables], strict=True):
        assert {date for date in old if old[date] != new[date]} == {DAYS[1]}

    with pytest.raises(AirflowRequestError, match="does not allow backfill runs"):
        client.backfill("ingest", DAYS[1], DAYS[1])
    late = hook.wait_for(lambda told: told["kind"] == "late")
    assert (late["dag"], "should have been over within 0:00:01" in late["what"]) == ("materialize", True)


def test_the_same_mistake_is_refused_in_the_form_by_command_and_over_the_api(stack, hook, capsys):
    client = stack.airflow
    with pytest.raises(AirflowRequestError, match="is not one of"):
        client.trigger("train", {"estimator": "forest"})
    posted, said = WRONG["dates the wrong way round"]
    runs, expected = {"posted": client.trigger("train", {"usecase": "pump_failure", **posted})}, {"posted": said}
    runs["misspelt"] = client.trigger("train", {"usecas": "pump_failure"})
    wrong, expected["typed"] = WRONG["an estimator for another question"]
    typed = airflow(stack, "dags", "trigger", "train", "--run-id", "typed", "--conf", json.dumps(wrong))
    assert typed.returncode == 0, typed.stderr[-2000:]
    expected["misspelt"] = "'usecas' is no parameter, did you mean 'usecase'"
    for name, run_id in {**runs, "typed": "typed"}.items():
        run = client.wait("train", run_id, PATIENCE_S)
        assert {task.name: task.state for task in run.tasks}["check_parameters"] == "failed", name
        (first,) = [task for task in run.tasks if task.name == "check_parameters"]
        assert expected[name] in client.log(run, first)
        assert all(task.state in ("failed", "upstream_failed") for task in run.tasks)
    told = hook.wait_for(lambda told: told["code"] == "TM-329")
    assert (told["dag"], told["task"]) == ("train", "check_parameters")
    assert told["fix"]
    assert told["url"].startswith(client.url)
    for wrong, said in WRONG.values():
        options = [f"--{name}={value}" for name, value in wrong.items()]
        assert tidemill(["train", "pump_failure", *options, "--store", stack.plan.store]) == 2
        assert said in capsys.readouterr().err
    assert tidemill(["train", "pump_failure", "--estimator=forest"]) == 2
    assert tidemill(["train", "pump_failure", "--usecas=x"]) == 2


def lake_tables(lake):
    from features import catalog  # noqa: PLC0415 - beside its use

    features = catalog.load("pumps").features.computable
    return lake.panes(features), lake.features(features)


def files(table):
    return {date: sorted(file.path for file in table.open().files([date])) for date in table.open().dates()}
