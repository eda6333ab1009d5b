"""The DAGs in a real Airflow, with a database of its own: each test runs one whole DAG, every task for real."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from pipelines.importers.hub import RawWriter
from serving.store import open_store
from tests.fakes.dag_runs import dag_runs
from tests.fakes.predictions import START, a_fortnight, publish, send
from tests.fakes.s3 import BUCKET, s3_server

pytestmark = pytest.mark.slow
SECRET = "the-secret-key-of-the-plant"
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def airflow(home):
    with dag_runs(home) as airflow:
        yield airflow


def test_telemetry_is_taken_in_over_s3_with_nothing_but_an_airflow_connection(home, airflow, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3_server() as server:
        address = server["AWS_ENDPOINT_URL"]
        with monkeypatch.context() as environment:
            for name, value in server.items():
                environment.setenv(name, value)
            _write_telemetry(open_store(f"s3://{BUCKET}/telemetry"))
        connection = f"aws://AKIAPLANT:{SECRET}@/?region_name=us-east-1&endpoint_url={quote(address, safe='')}"
        found, said = airflow.run(
            "ingest",
            {"fleet": "pumps"},
            TIDEMILL_STORE=f"s3://{BUCKET}/telemetry",
            AIRFLOW_CONN_AWS_DEFAULT=connection,
        )
    assert found["state"] == "success", said[-4000:]
    assert found["tasks"] == {"check_parameters:": "success", "ingest:pumps": "success", "materialize:pumps": "success"}
    assert (found["returned"]["ingest"]["accepted"], found["returned"]["ingest"]["quarantined"]) == (180, 1)
    assert found["returned"]["materialize"]["panes"] == 18
    ((name, extra),) = found["events"]
    assert (name, extra["accepted"]) == ("telemetry.pumps", 180)
    assert "tidemill ingest pumps" in said
    written = [path.read_bytes() for path in home.glob("airflow.db*")]
    assert written
    assert not [text for text in (said.encode(), json.dumps(found).encode(), *written) if SECRET.encode() in text]


def test_panes_are_made_by_a_task_for_each_run_of_dates(airflow, tmp_path):
    store = open_store(str(tmp_path / "store"), create=True)
    write_fleet(Plan(2, 3, 7, parse_start("2026-01-05")), store.uri, processes=1)
    subprocess.run([_bin("tidemill"), "ingest", "pumps", "--store", store.uri], check=True, capture_output=True)
    found, said = airflow.run("materialize", {"fleet": "pumps"}, TIDEMILL_STORE=store.uri)
    assert found["state"] == "success", said[-4000:]
    panes = {name.partition(":")[2] for name in found["tasks"] if name.startswith("panes:")}
    assert panes == {f"pumps {date}..{date}" for date in ("2026-01-05", "2026-01-06", "2026-01-07")}
    assert found["returned"]["rows"]["rows"] > 0


def test_monitoring_wakes_the_training_when_the_inputs_have_moved(airflow, tmp_path):
    store = open_store(str(tmp_path / "store"), create=True)
    publish(store)
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    found, said = airflow.run("monitor", {"usecase": "pump_failure"}, TIDEMILL_STORE=str(tmp_path / "store"))
    assert found["state"] == "success", said[-4000:]
    assert found["tasks"]["decide:pump_failure"] == "success"
    assert found["returned"]["monitor"]["retrain"] is True
    assert found["returned"]["decide"].startswith("train anew: 55 of 55 features moved far")
    event = [extra for name, extra in found["events"] if name == "retrain.pump_failure"]
    assert event == [{"reasons": found["returned"]["monitor"]["reasons"]}]


def _write_telemetry(store):
    """Three hours of one pump, a reading a minute, and one reading that cannot be."""
    readings = [(minute, 2.0 + minute / 100) for minute in range(180)] + [(200, -5.0)]
    times = [(START + minute * MINUTE) // 1000 for minute, _ in readings]
    messages = [
        {"device": "pump-1", "ts": time, "received": time + 500, "values": {"vibration": value}}
        for time, (_, value) in zip(times, readings, strict=True)
    ]
    RawWriter(store, "pumps").write_telemetry("hub-1", START + 201 * MINUTE, messages)


def _bin(name):
    return str(Path(sys.executable).with_name(name))
