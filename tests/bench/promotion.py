"""``make bench-promotion``: what a look for something to do costs, and how long it takes from an alias to an answer.

Protocol. A real MLflow server on this machine (SQLite, one worker) and a store in a folder; each model has one version
with a bundle, a gate record and the alias champion, and is released. A *reconcile with nothing to do* is
``serving.reconcile`` from an opened registry on: wall seconds, of which MLflow takes a part; CPU seconds are those of
our process alone. The *watcher* is Airflow's trigger ``dags.alias_watcher`` in a process of its own that looks every
five seconds: its CPU share over a minute, without the time to import. *Gateways* are reports of 10,000 in the store.
The last rows are of the whole stack (``tests.bench.clicks``) and of the Fleet page in a browser
(``tests.bench.paint``).
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console

from pipelines.registry import Registry
from serving.bundle import digest_of
from serving.reconcile import reconcile
from serving.store import Store, open_store
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher
from tests.bench import clicks, paint
from tests.bench.table import Row, machine, of_runs, show, write
from tests.fakes.bundles import packed
from tests.fakes.mlflow_server import mlflow_server
from tests.fakes.registered import register

RESULT = Path("build/bench/promotion.json")
MODELS, GATEWAYS, ROUNDS = 200, 10_000, 5
WATCHED_S = 60.0


def main() -> None:
    """Measure, print and store."""
    console, rows = Console(stderr=True), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mlflow_server(folder) as url:
            store = open_store(str(folder / "store"), create=True)
            create_keys(folder / "keys")
            Publisher(store, folder / "keys").initialise(_now())
            client = MlflowClient(url)
            home = client.create_experiment("fans")
            for count in (1, MODELS):
                _register(client, home, store, count)
                _look(url, store, folder)
                rows += _idle(url, store, folder, count)
            rows.append(_watcher(url, folder))
            _report(store)
            rows += _idle(url, store, folder, MODELS, "_10000_gateways")
    with tempfile.TemporaryDirectory() as name:
        rows += clicks.measure(Path(name))
    with tempfile.TemporaryDirectory() as name:
        rows += paint.measure(Path(name))
    write(rows, machine(), RESULT)
    show(rows, console, "Looking for something to do")


def _now() -> int:
    return time.time_ns() // 1000


def _register(client: MlflowClient, home: str, store: Store, count: int) -> None:
    """Bring the registry to so many models, each with a champion."""
    known = {model.name for model in client.search_registered_models(max_results=1000)}
    for number in range(count):
        name = f"fan_failure_{number}"
        if name in known:
            continue
        client.create_registered_model(name)
        version = register(client, home, store, packed(usecase=name))
        client.set_registered_model_alias(name, "champion", version)


def _look(url: str, store: Store, folder: Path) -> tuple[float, float, set[str]]:
    """Reconcile once; wall seconds, CPU seconds of this process, and what was done."""
    registry, publisher = Registry(url), Publisher(store, folder / "keys")
    wall, cpu = time.perf_counter(), time.process_time()
    outcomes = reconcile(registry, store, publisher, _now())
    done = {outcome.action for outcome in outcomes}
    return time.perf_counter() - wall, time.process_time() - cpu, {str(action) for action in done}


def _idle(url: str, store: Store, folder: Path, count: int, suffix: str = "") -> list[Row]:
    _look(url, store, folder)  # the first look imports MLflow, and counts gateways that are new
    runs = [_look(url, store, folder) for _ in range(ROUNDS)]
    assert all(done == {"unchanged"} for _, _, done in runs), runs
    name = f"reconcile_{count}{suffix}"
    goal = None if suffix else f"<= {1.0 if count == 1 else 2.0}"
    return [
        of_runs(f"{name}_cpu", [cpu for _, cpu, _ in runs], "s", goal, note="CPU seconds of our process"),
        of_runs(f"{name}_wall", [wall for wall, _, _ in runs], "s", note="wall seconds, MLflow's answers included"),
    ]


def _watcher(url: str, folder: Path) -> Row:
    environ = {**os.environ, "MLFLOW_TRACKING_URI": url, "AIRFLOW_HOME": str(folder / "airflow")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.promotion", "watch"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    share = float(done.stdout.strip().splitlines()[-1])
    return Row("watcher_core_share", share, "1", "<= 0.05", note=f"{MODELS} models, one look in 5 s, over a minute")


async def watch() -> None:
    """Watch, and print the share of a core it took."""
    from dags.alias_watcher import AliasWatcher  # noqa: PLC0415 - Airflow takes seconds to import

    async def look() -> None:
        async for _ in AliasWatcher(every_s=5.0).run():
            pass

    looking = asyncio.create_task(look())
    await asyncio.sleep(6)  # the first look opens the connection
    begin = time.process_time()
    await asyncio.sleep(WATCHED_S)
    print((time.process_time() - begin) / WATCHED_S)
    looking.cancel()


def _report(store: Store) -> None:
    """Let 10,000 gateways report that they run what is released."""
    said = {
        "usecase": "fan_failure_0", "at": datetime.now(UTC).isoformat(), "state": "serving",
        "version": "1", "number": 1, "bundle": digest_of(packed(usecase="fan_failure_0")),
        "desired": {"version": "1", "number": 1}, "predictions": 3, "updates": {"state": "current"},
    }  # fmt: skip
    for number in range(GATEWAYS):
        name = f"gateway-{number}"
        store.put(f"reports/fans/{name}.json", json.dumps({"id": name, **said}).encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["watch"]:
        asyncio.run(watch())
    else:
        main()
