"""Talk to Airflow as its users do: trigger a run, wait for it, read what its tasks returned."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from infra.local.errors import AirflowRequestError

OVER = ("success", "failed")
TIMEOUT_S = 30.0
LOOK_S = 0.25
# Without a proxy: what runs on this machine is never reached through one.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a run, as it ended or stands.

    Attributes:
        name: Its id.
        about: What a mapped task is about, such as a fleet; empty otherwise.
        state: ``success``, ``failed``, ``skipped``, ``running`` …; empty before it is scheduled.
        seconds: How long it ran.
        summary: What it returned; None without a result.
        index: Its index if it is mapped, else -1.
        attempt: How often it was tried.
    """

    name: str
    about: str
    state: str
    seconds: float
    summary: Any
    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a DAG.

    Attributes:
        dag: Id of the DAG.
        id: Id of the run.
        state: ``queued``, ``running``, ``success`` or ``failed``.
        tasks: Its tasks, in the order they were started.
    """

    dag: str
    id: str
    state: str
    tasks: tuple[Task, ...] = ()

    def summary(self, task: str, about: str = "") -> Any:
        """Return what a task returned; ``about`` picks one of several mapped ones."""
        for candidate in self.tasks:
            if candidate.name == task and about in ("", candidate.about):
                return candidate.summary
        raise KeyError(task)


class AirflowClient:
    """The REST API of one Airflow, as one user.

    Args:
        url: Such as ``http://127.0.0.1:8080``.
        user: Name of the user.
        password: Its password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._token = ""

    def dags(self) -> list[str]:
        """Return the ids of all DAGs that were parsed."""
        return sorted(entry["dag_id"] for entry in self._call("GET", "/dags?limit=100")["dags"])

    def import_errors(self) -> list[str]:
        """Return what keeps files from being parsed."""
        return [entry["stack_trace"] for entry in self._call("GET", "/importErrors")["import_errors"]]

    def make_pools(self, slots: Mapping[str, int]) -> None:
        """Create pools; one that is there keeps the slots somebody gave it."""
        entities = [
            {"name": name, "slots": count, "description": "Tidemill", "include_deferred": False}
            for name, count in slots.items()
        ]
        action = {"action": "create", "entities": entities, "action_on_existence": "skip"}
        self._call("PATCH", "/pools", {"actions": [action]})

    def pools(self) -> dict[str, int]:
        """Return the slots of every pool."""
        return {entry["name"]: entry["slots"] for entry in self._call("GET", "/pools?limit=100")["pools"]}

    def paused(self) -> list[str]:
        """Return the ids of the DAGs that are paused."""
        return sorted(entry["dag_id"] for entry in self._call("GET", "/dags?paused=true&limit=100")["dags"])

    def trigger(self, dag: str, conf: Mapping[str, Any] | None = None, note: str = "") -> str:
        """Create a run and return its id.

        Raises:
            AirflowRequestError: The DAG is unknown, or a value does not fit its form.
        """
        body = {"logical_date": None, "conf": dict(conf or {})} | ({"note": note} if note else {})
        return str(self._call("POST", f"/dags/{dag}/dagRuns", body)["dag_run_id"])

    def backfill(self, dag: str, first: str, last: str, conf: Mapping[str, Any] | None = None) -> int:
        """Have a DAG run again for past days, both included; return the number of the backfill.

        Raises:
            AirflowRequestError: The DAG has no past to run for.
        """
        body = {"dag_id": dag, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        return int(self._call("POST", "/backfills", {**body, "dag_run_conf": dict(conf or {})})["id"])

    def wait(self, dag: str, run: str, timeout_s: float = 600, progress: Callable[[Run], None] | None = None) -> Run:
        """Wait until a run is over.

        Args:
            dag: Id of the DAG.
            run: Id of the run.
            timeout_s: How long to wait, seconds.
            progress: Called with the run whenever the state of one of its tasks has changed.

        Raises:
            AirflowRequestError: It is not over in time.
        """
        deadline = time.monotonic() + timeout_s
        before: list[tuple[str, int, str]] = []
        while True:
            state = self._call("GET", _run_path(dag, run))["state"]
            if state in OVER:
                return self.run(dag, run)
            if progress and (now := self._states(dag, run)) != before:
                before = now
                progress(self.run(dag, run))
            if time.monotonic() > deadline:
                raise AirflowRequestError(
                    f"the run is still {state} after {timeout_s:.0f} s", where=f"{self.url}/dags/{dag}/runs/{run}"
                )
            time.sleep(LOOK_S)

    def runs(self, dag: str) -> list[Run]:
        """Return the runs of a DAG, newest first, without their tasks."""
        found = self._call("GET", f"/dags/{dag}/dagRuns?order_by=-run_after&limit=100")["dag_runs"]
        return [Run(dag, entry["dag_run_id"], entry["state"]) for entry in found]

    def wait_for_another(self, dag: str, known: list[Run], timeout_s: float = 60) -> Run:
        """Wait for a run that somebody or something else triggers, and until it is over.

        Args:
            dag: Id of the DAG.
            known: Its runs before, from ``runs``.
            timeout_s: How long to wait, seconds.

        Raises:
            AirflowRequestError: None comes, or it is not over in time.
        """
        deadline = time.monotonic() + timeout_s
        ids = {run.id for run in known}
        while True:
            new = [run for run in self.runs(dag) if run.id not in ids]
            if new:
                return self.wait(dag, new[-1].id, max(1.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise AirflowRequestError(f"no further run within {timeout_s:.0f} s", where=f"{self.url}/dags/{dag}")
            time.sleep(LOOK_S)

    def run(self, dag: str, run: str) -> Run:
        """Return a run with its tasks and what they returned."""
        state = self._call("GET", _run_path(dag, run))["state"]
        tasks = [self._task(dag, run, entry) for entry in self._instances(dag, run)]
        return Run(dag, run, str(state), tuple(tasks))

    def log(self, run: Run, task: Task) -> str:
        """Return the messages a task logged at its last attempt."""
        path = f"{_run_path(run.dag, run.id)}/taskInstances/{task.name}/logs/{task.attempt}?map_index={task.index}"
        lines = self._call("GET", f"{path}&full_content=true")["content"]
        return "\n".join(text for line in lines for text in _texts(line))

    def _states(self, dag: str, run: str) -> list[tuple[str, int, str]]:
        return [(entry["task_id"], entry["map_index"], entry["state"]) for entry in self._instances(dag, run)]

    def _instances(self, dag: str, run: str) -> list[dict[str, Any]]:
        found = self._call("GET", f"{_run_path(dag, run)}/taskInstances?limit=100")["task_instances"]
        return sorted(found, key=lambda entry: (entry["start_date"] or "9", entry["task_id"], entry["map_index"]))

    def _task(self, dag: str, run: str, entry: Mapping[str, Any]) -> Task:
        summary = None
        if entry["state"] == "success":
            path = f"{_run_path(dag, run)}/taskInstances/{entry['task_id']}/xcomEntries/return_value"
            try:
                summary = self._call("GET", f"{path}?map_index={entry['map_index']}&deserialize=false")["value"]
            except AirflowRequestError:
                summary = None  # a task without a result
        return Task(
            entry["task_id"],
            entry["rendered_map_index"] or "" if entry["map_index"] >= 0 else "",
            entry["state"] or "",
            float(entry["duration"] or 0),
            json.loads(summary) if isinstance(summary, str) and summary[:1] in '[{"' else summary,
            int(entry["map_index"]),
            int(entry["try_number"]),
        )

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        if not self._token:
            self._token = _request(f"{self.url}/auth/token", "POST", self._login, "")["access_token"]
        return _request(f"{self.url}/api/v2{path}", method, body, self._token)


def _request(url: str, method: str, body: Mapping[str, Any] | None, token: str) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - addresses of our own stack
    try:
        with OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise AirflowRequestError(f"Airflow answers {error.code}", where=f"{method} {url}", why=said) from error
    except (OSError, HTTPException) as error:
        raise AirflowRequestError("Airflow does not answer", where=f"{method} {url}", why=str(error)) from error


def _texts(line: Any) -> list[str]:
    """Return what one line of a log says, with the messages of its exceptions."""
    if isinstance(line, str):
        return [line]
    raised = [f"{entry['exc_type']}: {entry['exc_value']}" for entry in line.get("error_detail") or []]
    return [str(line.get("event", "")), *raised]


def _run_path(dag: str, run: str) -> str:
    return f"/dags/{dag}/dagRuns/{urllib.parse.quote(run, safe='')}"
