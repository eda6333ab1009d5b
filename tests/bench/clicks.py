"""What somebody waits for who sets an alias: the whole stack, from MLflow's answer to the first one of the server.

Protocol. The embedded stack (MLflow, Airflow with all DAGs, the cloud server) on this machine; two versions of a model
that take turns as champion. The alias is set through MLflow's HTTP interface, which is what the click in its page does,
and the server is asked twenty times a second which version it serves. Between two rounds everything comes to rest.
"""

import os
import time
from pathlib import Path

import httpx
from mlflow import MlflowClient

from infra.local.stack import Stack, read_state
from serving.store import open_store
from tests.bench.table import Row, of_runs
from tests.fakes.bundles import packed
from tests.fakes.registered import register

USECASE = "fan_failure_0"
ROUNDS = 9
WITHIN_S = 60.0
ASKED_EVERY_S = 0.05
REST_S = 8.0


def measure(folder: Path) -> list[Row]:
    """Start the stack, move the alias to and fro, and weigh Airflow at rest.

    Args:
        folder: An empty folder.
    """
    store = open_store(str(folder / "store"), create=True)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL_"))}
    with Stack(folder, known, wanted=("mlflow", "airflow", "server")) as stack:
        client = MlflowClient(stack.mlflow_url)
        home = client.create_experiment("fans")
        client.create_registered_model(USECASE)
        versions = [register(client, home, store, packed(usecase=USECASE, bias=bias)) for bias in (0.0, 0.5)]
        _wait(stack, client, versions[1])  # the first one imports what later ones find imported
        time.sleep(REST_S)
        weight = _airflow_mib(folder)
        waited = []
        for number in range(ROUNDS):
            waited.append(_wait(stack, client, versions[number % 2]))
            time.sleep(REST_S)
    return [
        of_runs(
            "click_to_cloud_s", waited, "s", "<= 6", note=f"alias set -> the cloud server answers, {ROUNDS} rounds"
        ),
        Row("airflow_idle_mib", weight, "MiB", note="PSS of all processes of Airflow, all DAGs, at rest"),
    ]


def _wait(stack: Stack, client: MlflowClient, version: str) -> float:
    client.set_registered_model_alias(USECASE, "champion", version)
    began = time.monotonic()
    with httpx.Client(base_url=stack.server_url) as server:
        while server.get(f"/v2/models/{USECASE}").json().get("versions") != [version]:
            assert time.monotonic() < began + WITHIN_S, f"version {version} did not come within {WITHIN_S} s"
            time.sleep(ASKED_EVERY_S)
    return time.monotonic() - began


def _airflow_mib(folder: Path) -> float:
    """Memory of all processes of Airflow; what several share is shared out."""
    state = read_state(folder)
    assert state is not None
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in state.trace.processes()}
    rows = [
        row
        for pid, command in words.items()
        if b"airflow" in command
        for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    ]
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024
