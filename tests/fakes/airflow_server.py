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
PROGRAM = str(Path(sys.executable).with_name("airflow"))
DAGS = Path(__file__).parents[2] / "dags"
USERS = {"ada": "op", "vic": "viewer"}
PASSWORD = "harbour"


class Airflow:
    """An Airflow whose files lie in a folder.

    Args:
        folder: For its database, its secrets and its DAG.
    """

    def __init__(self, folder):
        self._folder, self._home, self._dags = folder, folder / "airflow", folder / "dags"
        self._dags.mkdir(parents=True)
        shutil.copy(DAGS / "release.py", self._dags)
        self._secrets = airflow_setup.prepare_secrets(self._home)
        self._secrets.password_file.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
        for words in (["db", "migrate"], ["dags", "reserialize"]):
            subprocess.run([PROGRAM, *words], env=self._environment(1), check=True, capture_output=True)

    @contextmanager
    def serve(self, **environ):
        """Run the server; yields its address and the id of its process."""
        port = free_port()
        log = self._folder / "api.log"
        known = self._environment(port) | environ
        with log.open("wb") as output:
            server = subprocess.Popen([PROGRAM, "api-server"], env=known, stdout=output, stderr=output)
            try:
                url = f"http://127.0.0.1:{port}"
                _await(server, url, log)
                yield url, server.pid
            finally:
                server.kill()  # it would wait for browsers that keep their connections
                server.wait(30)

    def _environment(self, port):
        foreign = ("AIRFLOW", "AWS_", "TIDEMILL_")
        known = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        users = ",".join(f"{name}:{role}" for name, role in USERS.items())
        made = airflow_setup.airflow_environment(known, self._home, self._dags, port, self._secrets)
        return made | {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users}


def _await(server, url, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"Airflow did not start:\n{log.read_text()[-2000:]}")
