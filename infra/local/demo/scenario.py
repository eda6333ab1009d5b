"""The demo's story, step by step: what is done, what it must show, and what is kept for the summary.

Every step goes through the part that does it in earnest: commands deliver telemetry, Airflow runs the DAGs, the alias
is set over MLflow's API, the release reaches server and gateways by itself. A step that does not show what it must
raises `DemoError`, and the demo fails.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from features import catalog
from infra.local.airflow_client import AirflowClient
from infra.local.demo import load, replay, skew
from infra.local.demo.sources import DAY, Source
from infra.local.errors import DemoError
from infra.local.stack import Stack
from pipelines.lake import Lake
from pipelines.materialize import load_features
from pipelines.registry import Registry
from serving.record import decode
from serving.store import Store

PATIENCE_S = 240.0
"""How long one DAG run or one release may take before the demo gives up."""

MOST_SKEW = 1e-9
"""How far features of a gateway may lie from those of the batch job, by scale."""

AFTERWARDS_S = 1.5
"""How long requests go on after a version has changed, so that its answers are seen."""

INGESTED = ("objects", "accepted", "duplicates", "late", "quarantined")
"""What is told of an ingest."""

LOAD_ROWS = 8
"""Feature rows in one request to the cloud server."""


@dataclass(slots=True)
class Scenario:
    """The steps of the demo over a running stack.

    Args:
        source: Fleet, use case and deliveries.
        stack: The embedded stack, healthy.
        airflow: Its Airflow.
        store: The object store that all parts share.
        deliver: Makes delivery 1 or 2 and returns when it is written.
        progress: Told what a long step is doing: stage, done, total.
    """

    source: Source
    stack: Stack
    airflow: AirflowClient
    store: Store
    deliver: Callable[[int], dict[str, Any]]
    progress: Callable[[str, int, int], None]

    def ingest(self, before: Mapping[str, int]) -> dict[str, Any]:
        """Run the ``ingest`` DAG and return what the ledger counts beyond ``before``.

        The ledger, not the run: the hourly run may have been there first.
        """
        self._dag("ingest", "ingest", {"fleet": self.source.fleet})
        done = (entry for entry in self.store.list(f"ledger/objects/{self.source.fleet}/") if "done" in entry.key)
        counts = [json.loads(self.store.get(entry.key)) for entry in done]
        return {name: sum(count[name] for count in counts) - before.get(name, 0) for name in INGESTED}

    def ingest_again(self) -> dict[str, Any]:
        """Run it again: nothing may change."""
        before = self._lake.telemetry(self.source.fleet).version()
        result = self._dag("ingest", "ingest", {"fleet": self.source.fleet})
        after = self._lake.telemetry(self.source.fleet).version()
        if before != after or result["accepted"]:
            raise DemoError("a second ingest changed the table", where=f"version {before} became {after}")
        return result

    def train(self, until: datetime, note: str, since: datetime | None = None, gate: str = "passed") -> dict[str, Any]:
        """Run the ``train`` DAG over telemetry up to ``until`` and return the registered version.

        Raises:
            DemoError: The gate did not say what the story needs: nobody would ever serve what it refused.
        """
        conf = {"usecase": self.source.usecase, "until": f"{until:%Y-%m-%d}", "note": note}
        result = self._dag("train", "train", conf | ({"since": f"{since:%Y-%m-%d}"} if since else {}))
        if result["gate"] != gate:
            raise DemoError(
                f"the gate says {result['gate']} to version {result['version']}, and the demo needs {gate}",
                where=f"training of {self.source.usecase} until {until:%Y-%m-%d}, {note}",
                why="; ".join(result["reasons"]) or "it had nothing against it",
                fix=f"tidemill up, and look at {result['url']}; with files of your own take all 90 days of them",
            )
        return result

    def promote(self, version: str) -> dict[str, Any]:
        """Set the alias ``champion``, as the click in MLflow does, and wait until everyone serves the version."""
        began: float | None = None
        if not self._model_is_ready():  # nobody can be asked before the first version of all is there
            self._registry.set_alias(self.source.usecase, "champion", version)
            began = time.monotonic()
            self._await(self._model_is_ready, f"the first answer of {self.source.usecase}")
        with self._load() as requests:
            if began is None:
                self._registry.set_alias(self.source.usecase, "champion", version)
                began = time.monotonic()
            self._await(lambda: requests.answers and requests.answers[-1].version == version, f"server at v{version}")
            server_s = time.monotonic() - began
            self._await(lambda: set(self._gateway_versions()) == {version}, f"gateways at v{version}")
            gateways_s = time.monotonic() - began
            time.sleep(AFTERWARDS_S)
        return self._served(requests) | {
            "version": version,
            "server_s": round(server_s, 1),
            "gateways_s": round(gateways_s, 1),
        }

    def refuse(self, version: str, serving: str) -> dict[str, Any]:
        """Set the alias on a version that the gate refused: only a tag with the reason may come of it."""
        with self._load() as requests:
            self._registry.set_alias(self.source.usecase, "champion", version)
            self._await(lambda: "release.refused" in self._registry.tags(self.source.usecase, version), "a refusal")
            self._registry.set_alias(self.source.usecase, "champion", serving)
        reason = self._registry.tags(self.source.usecase, version)["release.refused"]
        if version in {answer.version for answer in requests.answers} | set(self._gateway_versions()):
            raise DemoError(f"version {version} was refused, yet it is served")
        return self._served(requests) | {"version": version, "reason": reason}

    def feed_gateways(self) -> dict[str, Any]:
        """Replay telemetry and events around the first delivery's end, a third of the devices to each gateway."""
        fleet = catalog.load(self.source.fleet).fleet
        since, until = (int(at.timestamp() * 1000) for at in self._replayed)
        recorded = replay.record(self.store, fleet, since, until)
        gateways = self.stack.gateways
        count, disorder_ms = len(gateways), int(fleet.late_after.total_seconds() * 1000) // 2
        shares = [recorded.of(["", *recorded.devices[n::count]], disorder_ms, seed=n) for n in range(count)]
        total, done, lock = sum(map(len, shares)), [0], threading.Lock()

        def fed(count: int) -> None:
            with lock:
                done[0] += count
                self.progress("records to gateways", done[0], total)

        def feed_one(number: int) -> dict[str, Any]:
            return replay.feed(gateways[number].url, shares[number], fed)

        with ThreadPoolExecutor(len(gateways)) as threads:
            answers = list(threads.map(feed_one, range(len(gateways))))
        self._await(lambda: not any(self._pending(gateway.url) for gateway in gateways), "an empty spool")
        return {"gateways": [self._gateway(number) | answer for number, answer in enumerate(answers)]}

    def compare_features(self) -> dict[str, Any]:
        """Compare what the gateways computed online with the batch features of the same windows."""
        entry = catalog.load(self.source.fleet)
        since, until = (int(at.timestamp() * 1_000_000) for at in self._replayed)
        table = load_features(self._lake, entry.features, since, until + 86_400_000_000)
        values = np.column_stack([table.column(name).to_numpy() for name in entry.features.names])
        windows = zip(table.column("device").to_pylist(), table.column("end").to_pylist(), strict=True)
        batch = dict(zip(windows, values, strict=True))
        prefix = f"predictions/{self.source.usecase}/gateway/"
        logged = [row for entry in self.store.list(prefix) for row in decode(self.store.get(entry.key))]
        result = skew.compare(entry.features.names, logged, batch)
        if not result.max_rel <= MOST_SKEW:
            raise DemoError(f"gateways and the batch job differ by {result.max_rel:.1e}", where=result.feature)
        return {
            "rows": result.rows,
            "max_rel": result.max_rel,
            "feature": result.feature,
            "unmatched": result.unmatched,
        }

    def monitor(self) -> dict[str, Any]:
        """Run the ``monitor`` DAG: join predictions with late labels, judge drift, decide on retraining."""
        return self._dag("monitor", "monitor", {"usecase": self.source.usecase})

    @property
    def _replayed(self) -> tuple[datetime, datetime]:
        """The windows fill up first, those that grow from the first reading on, then two days are predicted."""
        features = catalog.load(self.source.fleet).features
        longest = timedelta(microseconds=features.longest_us)
        return self.source.start if features.growing else self.source.split - longest, self.source.split + 2 * DAY

    @property
    def _lake(self) -> Lake:
        return Lake(self.store.uri)

    @property
    def _registry(self) -> Registry:
        return Registry(self.stack.mlflow_url)

    def _dag(self, dag: str, task: str, conf: Mapping[str, Any]) -> dict[str, Any]:
        """Run a DAG to its end and return what one of its tasks returned."""
        run = self.airflow.wait(dag, self.airflow.trigger(dag, conf), PATIENCE_S)
        if run.state != "success":
            failed = next(entry for entry in run.tasks if entry.state == "failed")
            raise DemoError(f"task {failed.name} of DAG {dag} failed", why=self.airflow.log(run, failed)[-2000:])
        result: dict[str, Any] = run.summary(task)
        return result

    @contextmanager
    def _load(self) -> Iterator[load.Load]:
        entry = catalog.load(self.source.fleet)
        end = int(self.source.split.timestamp() * 1_000_000)
        table = load_features(self._lake, entry.features, end - 86_400_000_000, end).slice(0, 50 * LOAD_ROWS)
        rows = np.column_stack([table.column(name).to_numpy() for name in entry.features.names]).tolist()
        devices, ends = table.column("device").to_pylist(), table.column("end").to_pylist()
        parts = [slice(at, at + LOAD_ROWS) for at in range(0, len(rows), LOAD_ROWS)]
        bodies = [load.request_body(rows[part], devices[part], ends[part]) for part in parts]
        with load.Load(self.stack.server_url, self.source.usecase, bodies) as requests:
            yield requests

    def _served(self, requests: load.Load) -> dict[str, Any]:
        if requests.failed:
            first = requests.failed[0]
            raise DemoError(f"{len(requests.failed)} of {len(requests.answers)} requests failed", why=first.failure)
        versions = list(dict.fromkeys(answer.version for answer in requests.answers))
        began = requests.answers[0].at
        answered = [[round(answer.at - began, 2), answer.version] for answer in requests.answers]
        return {"requests": len(requests.answers), "failed": 0, "versions": versions, "answered": answered}

    def _model_is_ready(self) -> bool:
        return load.is_ready(self.stack.server_url, self.source.usecase)

    def _gateway_versions(self) -> list[str]:
        return [str(load.fetch(f"{gateway.url}/status").get("version") or "") for gateway in self.stack.gateways]

    def _pending(self, url: str) -> int:
        return int(load.fetch(f"{url}/status")["spool"]["pending"])

    def _gateway(self, number: int) -> dict[str, Any]:
        status = load.fetch(f"{self.stack.gateways[number].url}/status")
        return {name: status[name] for name in ("id", "version", "predictions", "alerts")}

    def _await(self, reached: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{what} was not reached within {timedelta(seconds=PATIENCE_S)}", where="see build/logs"
                )
            time.sleep(0.2)
