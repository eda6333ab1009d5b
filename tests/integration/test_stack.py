"""The whole stack on this machine: MLflow, Airflow, the cloud server and gateways, and that nothing outlives it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from infra.local.airflow_client import AirflowClient
from infra.local.airflow_setup import USER, prepare_secrets
from infra.local.errors import AirflowRequestError
from infra.local.stack import read_state

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
OWNER = """
import os, sys, time
from pathlib import Path
from infra.local.stack import Stack
stack = Stack(Path(sys.argv[1]), os.environ, gateways=1)
stack.start()
print("up", flush=True)
time.sleep(600)
"""


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def listening():
    """Return the addresses that processes of this machine listen at, by socket."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9]: row[1] for row in rows if row[3] == "0A"}


def sockets_of(pid):
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def test_the_stack_runs_releases_on_a_moved_alias_and_ends_with_its_owner(tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL_"))}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "up\n", (tmp_path / "logs").exists()
        state = read_state(tmp_path)
        assert state is not None
        urls = {name: url for name, url in state.urls.items() if url}
        assert set(urls) == {"mlflow", "airflow-api", "server", "gateway-1"}

        heard = listening()
        open_to = {heard[n] for pid in state.trace.processes() for n in sockets_of(pid) if n in heard}
        assert len(open_to) >= len(urls)
        assert {address.split(":")[0] for address in open_to} == {"0100007F"}, "everything listens on loopback alone"

        airflow = AirflowClient(urls["airflow-api"], USER, prepare_secrets(tmp_path / "airflow").password)
        with pytest.raises(AirflowRequestError, match="is not one of"):
            airflow.trigger("train", {"usecase": "pump_failur"})
        misspelt = airflow.wait("train", airflow.trigger("train", {"usecas": "pump_failure"}), PATIENCE_S)
        assert misspelt.state == "failed"
        assert "did you mean 'usecase'?" in airflow.log(misspelt, misspelt.tasks[0])

        before = airflow.runs("release")
        api = f"{urls['mlflow']}/api/2.0/mlflow"
        post(f"{api}/registered-models/create", {"name": "pump_failure"})
        run = post(f"{api}/runs/create", {"experiment_id": "0"})["run"]["info"]
        version = {"name": "pump_failure", "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        post(f"{api}/model-versions/create", version)
        post(f"{api}/registered-models/alias", {"name": "pump_failure", "alias": "champion", "version": "1"})
        released = airflow.wait_for_another("release", before, PATIENCE_S)
        assert released.state == "success"
        assert [outcome["action"] for outcome in released.summary("release")["outcomes"]] == ["refused"]

        owner.send_signal(signal.SIGKILL)
        owner.wait()
        deadline = time.monotonic() + PATIENCE_S
        while (left := state.trace.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
