"""Every use case by the DAGs: raw files in, ``ingest`` and ``train`` in a real Airflow, a version in a real MLflow.

Prints a table: state of the runs, seconds from raw objects to features and from there to a registered version, what the
gate says and its first reason. What people see of each version is held against what was agreed on: a first line that
lists do not cut, few short tags, a link to the report, a report with all its parts and nothing from elsewhere.

Everything stays in ``build/use_cases``: the reports by name, and what an MLflow needs to show the versions again.
``python -m tests.sweep.use_cases NAME…`` takes the use cases that are named.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient

from infra.local.console import table
from infra.local.demo.sources import Pumps
from pipelines import usecases
from pipelines.report import MOST_BYTES, PARTS
from tests.fakes.dag_runs import DagRuns, dag_runs
from tests.fakes.mlflow_server import mlflow_server
from tests.sweep.public_sets import ITEMS

ROOT: Final = Path(__file__).resolve().parents[2] / "build" / "use_cases"
PART: Final[Mapping[str, tuple[str, ...]]] = {"cmapss": ("--subset", "FD001")}
"""Options of an import that takes a part of a set: the other turbofans only differ in their regimes."""
HEADER: Final = ("use case", "DAGs", "to features, s", "to version, s", "gate", "first reason", "version")
MOST_LINE: Final = 30
MOST_TAGS: Final = 4
MOST_TAG: Final = 12


@dataclass(frozen=True, slots=True)
class Trip:
    """One use case on its way, a row of the table; seconds include what Airflow takes to start its tasks."""

    name: str
    state: str
    to_features: float
    to_version: float
    gate: str = ""
    reason: str = ""
    version: str = ""


class Plant:
    """A store for each use case, one MLflow and one Airflow for all."""

    def __init__(self, airflow: DagRuns, tracking: str) -> None:
        self._airflow = airflow
        self._tracking = tracking
        self._client = MlflowClient(tracking)
        self.complaints: list[str] = []

    def take(self, name: str, data: Path | None, conf: Mapping[str, Any]) -> Trip:
        """Bring one use case from raw files to a version.

        Args:
            name: The use case.
            data: Folder with the published sets; None for a fleet that is simulated.
            conf: What the form of the DAG ``train`` says besides.
        """
        environ = {"TIDEMILL_STORE": str(ROOT / "stores" / name), "TIDEMILL_WORK": str(ROOT / "work" / name)}
        fleet = usecases.load(name).fleet
        _bring(fleet, data, environ)
        ingested, to_features = self._run("ingest", {"fleet": fleet}, environ)
        trained, to_version = self._run("train", {"usecase": name, **conf}, environ)
        found = trained["returned"].get("train")
        if not found:
            self.complaints.append(f"{name}: no version; tasks {ingested['tasks']}, {trained['tasks']}")
            return Trip(name, f"{ingested['state']}, {trained['state']}", to_features, to_version)
        self._look(name, found)
        state = "success" if ingested["state"] == trained["state"] == "success" else "failed"
        reason = next(iter(found.get("reasons", [])), "")
        return Trip(name, state, to_features, to_version, found["gate"], reason, found["version"])

    def _run(self, dag: str, conf: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], float]:
        began = time.monotonic()
        found, said = self._airflow.run(dag, dict(conf), **environ, MLFLOW_TRACKING_URI=self._tracking)
        if found["state"] != "success":
            self.complaints.append(f"DAG {dag} with {dict(conf)}: {found['state']}\n{said[-3000:]}")
        return found, round(time.monotonic() - began, 1)

    def _look(self, name: str, found: Mapping[str, Any]) -> None:
        """Keep the report, and complain of what a person would stumble over."""
        version = self._client.get_model_version(name, found["version"])
        run = self._client.get_run(version.run_id)
        page = Path(self._client.download_artifacts(version.run_id, "report/index.html", str(ROOT / "reports")))
        html = page.rename(ROOT / "reports" / f"{name}.html").read_text()
        first, tags = version.description.partition("\n")[0], version.tags
        wrong = {
            f"first line {first!r}": len(first) > MOST_LINE or first.startswith("#"),
            f"tags {tags}": len(tags) > MOST_TAGS or any(len(value) > MOST_TAG for value in tags.values()),
            "no relative link to the report": "](#/experiments/" not in version.description,
            "no link from the run to Airflow": not run.data.tags.get("airflow.url"),
            f"a report of {len(html.encode())} bytes": len(html.encode()) > MOST_BYTES,
            "an address in the report": re.search(r"(?:src|href)=|https?://", html) is not None,
            "a picture without words": html.count("<svg") != html.count('role="img" aria-label="'),
            **{f"no part {part} in the report": f'id="{part}"' not in html for part in _parts(name)},
        }
        self.complaints += [f"{name} version {version.version}: {words}" for words, is_so in wrong.items() if is_so]


def _parts(name: str) -> list[str]:
    """Parts of a report: only failures come with hours of warning and a threshold that is dialled."""
    failing = usecases.load(name).label.question == "failure"
    return [part for part in PARTS if failing or part not in {"lead-time", "threshold"}]


def _bring(fleet: str, data: Path | None, environ: Mapping[str, str]) -> None:
    """Write raw objects as a hub would have."""
    words: Sequence[str] = Pumps().delivery(1)
    if data is not None:
        words = ["import", fleet.replace("_", "-"), str(data / fleet), *PART.get(fleet, ())]
    tidemill = Path(sys.executable).with_name("tidemill")
    subprocess.run([str(tidemill), *words], env={**os.environ, **environ}, check=True, capture_output=True)


def run(names: Iterable[str] = (), **conf: Any) -> bool:
    """Take the use cases, all that there is data for if none are named; whether all came to a version worth showing."""
    data = Path(os.environ["TIDEMILL_DATA"]) if "TIDEMILL_DATA" in os.environ else None
    if data is None:
        print("use cases of public sets: left out, TIDEMILL_DATA names no folder")
    shutil.rmtree(ROOT, ignore_errors=True)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    for folder in ("mlflow", "airflow", "reports"):
        (ROOT / folder).mkdir(parents=True)
    trips = []
    with mlflow_server(ROOT / "mlflow") as tracking, dag_runs(ROOT / "airflow") as airflow:
        plant = Plant(airflow, tracking)
        for name in names or usecases.names():
            public = usecases.load(name).fleet in ITEMS
            if data is not None or not public:
                trips.append(plant.take(name, data if public else None, conf))
    print("\n".join([*table(HEADER, [astuple(trip) for trip in trips]), *plant.complaints, f"reports: {ROOT}/reports"]))
    return not plant.complaints and all(trip.version for trip in trips)


if __name__ == "__main__":
    sys.exit(0 if run(sys.argv[1:]) else 1)
