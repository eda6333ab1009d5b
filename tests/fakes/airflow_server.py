"""A real server of Airflow's API and pages, with one DAG called release, and without anything that would run it."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.local import airflow_setup
from tests.fakes.mlflow_server import free_port

PATIENCE_S = 180
DAGS = Path(__file__).parents[2] / "dags"
USERS = {"ada": "op", "vic": "viewer"}
PASSWORD = "harbour"  # noqa: S105 - of a server that lives as long as its test


@contextmanager
def airflow_server(folder, **environ):
    """Run a server whose files lie in ``folder``; yields its address and its process."""
    home, dags = folder / "airflow", folder / "dags"
    dags.mkdir(parents=True)
    shutil.copy(DAGS / "release.py", dags)
    secrets = airflow_setup.prepare_secrets(home)
    secrets.password_file.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
    port = free_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "TIDEMILL_"))}
    known = airflow_setup.airflow_environment(known | environ, home, dags, port, secrets)
    known["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = ",".join(f"{name}:{role}" for name, role in USERS.items())
    program = str(Path(sys.executable).with_name("airflow"))
    for words in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([program, *words], env=known, check=True, capture_output=True)
    log = folder / "api.log"
    with log.open("wb") as output:
        server = subprocess.Popen([program, "api-server"], env=known, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            _await(server, url, log)
            yield url, server.pid
        finally:
            server.terminate()
            server.wait(30)


def _await(server, url, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"Airflow did not start:\n{log.read_text()[-2000:]}")
