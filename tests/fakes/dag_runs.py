"""A real Airflow with a database of its own, that runs DAGs one after the other when it is told to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENDED = "what came of it: "
DAGS = Path(__file__).resolve().parents[2] / "dags"


class DagRuns:
    """Runs DAGs in a process of its own (`tests.fakes.airflow_run`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, dag: str, conf: dict[str, Any], **environ: str) -> tuple[dict[str, Any], str]:
        """Run a DAG; what came of it, and everything that was said meanwhile."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"dag": dag, "conf": conf, "environ": environ}) + "\n")
        self._process.stdin.flush()
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith(ENDED):
                return json.loads(line.removeprefix(ENDED)), "".join(said)
            said.append(line)
        raise AssertionError("".join(said)[-6000:])


@contextmanager
def dag_runs(home: Path) -> Iterator[DagRuns]:
    """Make an Airflow in ``home``; it knows of no AWS but what a run brings along."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "TIDEMILL_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    own = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "false", "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS)}
    airflow = str(Path(sys.executable).with_name("airflow"))
    subprocess.run([airflow, "db", "migrate"], env=kept | own, check=True, capture_output=True)
    command = [sys.executable, "-m", "tests.fakes.airflow_run", ENDED]
    with subprocess.Popen(
        command, env=kept | own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield DagRuns(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()  # where a run was left while it had something to say
