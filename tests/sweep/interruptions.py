"""Promotions on a stack that loses its parts: ``python -m tests.sweep.interruptions 30 SEED``.

The real MLflow, Airflow with all its DAGs and the cloud server, as ``tidemill up`` starts them. Each run moves the
alias while something is killed, paused, forged or repeated; then everything is there again, and what is wanted has to
serve, or its version has to say why not, before the timer has ticked twice. Meanwhile somebody asks the server all the
time, and nothing may ever answer that no gate let through.
"""

import os
import random
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from infra.local.stack import HEALTHY_WITHIN_S, Stack
from serving.store import open_store
from tests.sweep.promoted import FAN, Promoted

WANTED = ("mlflow", "airflow", "server")
AIRFLOW = ("airflow-api", "airflow-scheduler", "airflow-parser", "airflow-triggerer")
TIMER_S, TICKS = 120.0, 2
"""The timer of the DAG release, and how often it may tick before all is well."""
LOOK_S = 0.25
HOOK = "/tidemill/hooks/mlflow"
SECRET = "of the press shop"


class Losing(Stack):
    """A stack whose parts can be killed without a word."""

    def kill(self, *names: str) -> None:
        """Kill parts and whatever they started, tasks of Airflow too."""
        for running in self._running:
            if running.part.name in names:
                end_all(running.process.pid)
                running.process.wait()

    def restore(self) -> None:
        """Start again what is not there, and wait until everything answers."""
        for running in self._running:
            running.starts = 1
        self.revive()
        self._await_all(time.monotonic() + HEALTHY_WITHIN_S)

    def pause(self, *, paused: bool) -> None:
        """Pause the DAG release, or let it go on."""
        self.airflow._call("PATCH", "/dags/release", {"is_paused": paused})

    def tasks(self) -> list[psutil.Process]:
        """Processes of the command ``tidemill release`` that run now."""
        found = []
        for pid in self._trace.processes():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if "release" in process.cmdline() and any(word.endswith("tidemill") for word in process.cmdline()):
                    found.append(process)
        return found

    def hint(self, *, secret: str = SECRET, delivery: str = "", age_s: int = 0) -> int:
        """Send a webhook as MLflow does; the answer's status."""
        from mlflow.webhooks.delivery import _generate_hmac_signature  # noqa: PLC0415 - takes seconds

        body, sent = '{"entity": "model_version_alias", "data": {"version": "666"}}', str(int(time.time()) - age_s)
        delivery = delivery or secrets.token_hex(8)
        headers = {
            "X-MLflow-Signature": _generate_hmac_signature(secret, delivery, sent, body),
            "X-MLflow-Delivery-Id": delivery,
            "X-MLflow-Timestamp": sent,
        }
        return httpx.post(self.airflow.url + HOOK, content=body, headers=headers, timeout=30).status_code


def end_all(pid: int) -> None:
    """Kill a process and all that come from it, children first stopped so that none is started meanwhile."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        top.suspend()
        for process in [*top.children(recursive=True), top]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def answering(url: str) -> list[str]:
    """The versions that a server answers with now."""
    try:
        return list(httpx.get(f"{url}/v2/models/{FAN}", timeout=10).json().get("versions") or [])
    except httpx.HTTPError:
        return []


class Witness:
    """Asks the server which version answers, five times a second, for as long as it is used."""

    def __init__(self, url: str) -> None:
        self.seen: set[str] = set()
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            self.seen |= set(answering(self._url))


# --- faults ---------------------------------------------------------------------------------------------------------


def airflow_down(stack: Losing, model: Promoted) -> None:
    """Aliases move while no part of Airflow is there."""
    stack.kill(*AIRFLOW)
    for _ in range(model.chance.randint(1, 3)):
        model.promote(model.any_version())


def scheduler_killed(stack: Losing, model: Promoted) -> None:
    """The scheduler is killed with its tasks, at any moment after an alias was moved."""
    model.promote(model.any_version())
    time.sleep(model.chance.uniform(0, 5))
    stack.kill("airflow-scheduler")


def watcher_killed(stack: Losing, model: Promoted) -> None:
    """What watches is killed before an alias is moved, or at any moment after it."""
    if model.chance.random() < 0.5:
        stack.kill("airflow-triggerer")
        model.promote(model.any_version())
    else:
        model.promote(model.any_version())
        time.sleep(model.chance.uniform(0, 3))
        stack.kill("airflow-triggerer")


def api_killed(stack: Losing, model: Promoted) -> None:
    """The server that tasks and triggers speak to is killed after an alias was moved."""
    model.promote(model.any_version())
    time.sleep(model.chance.uniform(0, 5))
    stack.kill("airflow-api")


def registry_killed(stack: Losing, model: Promoted) -> None:
    """MLflow is killed while it is watched, and while a release looks."""
    model.promote(model.any_version())
    time.sleep(model.chance.uniform(0, 4))
    stack.kill("mlflow")
    time.sleep(model.chance.uniform(2, 6))
    stack.restore()
    model.promote(model.any_version())


def task_killed(stack: Losing, model: Promoted) -> None:
    """The command of a release run is killed while it works."""
    version = model.train()
    model.promote(version)
    deadline = time.monotonic() + 20
    while not (found := stack.tasks()) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(model.chance.uniform(0, 1.5))
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def paused(stack: Losing, model: Promoted) -> None:
    """The DAG is paused while aliases move."""
    stack.pause(paused=True)
    for _ in range(model.chance.randint(1, 3)):
        model.promote(model.any_version())
        time.sleep(model.chance.uniform(0, 3))
    stack.pause(paused=False)


def back_and_forth(stack: Losing, model: Promoted) -> None:
    """A-B-A, faster or slower than anybody looks."""
    first, second = model.any_version(), model.any_version()
    for version in (first, second, first):
        model.promote(version)
        time.sleep(model.chance.uniform(0, 4))


def two_at_once(stack: Losing, model: Promoted) -> None:
    """Two release runs besides the one that the alias wakes."""
    model.promote(model.any_version())
    for _ in range(2):
        stack.airflow.trigger("release")


def removed(stack: Losing, model: Promoted) -> None:
    """The alias is deleted, or the version it stands on."""
    version = model.train()
    model.promote(version)
    time.sleep(model.chance.uniform(0, 5))
    if model.chance.random() < 0.5:
        model.client.delete_model_version(FAN, version)
    else:
        model.promote(None)


def hints(stack: Losing, model: Promoted) -> None:
    """Webhooks come forged, late, twice; and a true one alone is enough while nobody watches."""
    assert stack.hint(secret="of somebody else") == httpx.codes.UNAUTHORIZED
    assert stack.hint(age_s=600) == httpx.codes.UNAUTHORIZED
    stack.kill("airflow-triggerer")
    model.promote(model.any_version())
    delivery = secrets.token_hex(8)
    assert [stack.hint(delivery=delivery) for _ in range(2)] == [httpx.codes.ACCEPTED, httpx.codes.OK]
    await_settled(stack, model)


FAULTS: Mapping[str, Callable[[Losing, Promoted], None]] = {
    "Airflow killed": airflow_down,
    "scheduler killed": scheduler_killed,
    "watcher killed": watcher_killed,
    "API killed": api_killed,
    "MLflow killed": registry_killed,
    "release killed": task_killed,
    "DAG paused": paused,
    "A-B-A": back_and_forth,
    "two at once": two_at_once,
    "alias or version deleted": removed,
    "webhook forged, late, doubled, alone": hints,
}


def await_settled(stack: Losing, model: Promoted) -> tuple[str, float]:
    """Wait until what is wanted serves or is refused; what came of it, and after how many seconds.

    Raises:
        AssertionError: Something was released that no gate let through, or two ticks did not suffice.
    """
    began = time.monotonic()
    while True:
        release = model.check_gated()
        try:
            became = model.check()
            serving = [release.version] if release is not None and not release.withdrawn else []
            answers = answering(stack.server_url)
            assert answers == serving, f"{answers} answers, published is {serving}"
        except AssertionError:
            if time.monotonic() > began + TICKS * TIMER_S:
                raise
            time.sleep(LOOK_S)
        else:
            return became, time.monotonic() - began


def run(count: int, seed: int) -> tuple[Counter[str], dict[str, list[float]]]:
    """Live through faults; what came of them, and the seconds until all was well, by fault.

    Raises:
        AssertionError: Something wrong was released, or nothing came of an alias.
    """
    chance, became, seconds = random.Random(seed), Counter[str](), defaultdict[str, list[float]](list)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL_"))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hook").write_text(SECRET)
        kept["TIDEMILL_WEBHOOK_SECRET_FILE"] = str(folder / "hook")
        with Losing(folder, kept, wanted=WANTED, gateways=0) as stack, Witness(stack.server_url) as witness:
            model = Promoted(stack.mlflow_url, open_store(str(folder / "store")), stack.plan.keys, chance)
            order: list[str] = []
            for number in range(count):
                order = order or chance.sample(list(FAULTS), len(FAULTS))
                fault = order.pop()
                try:
                    FAULTS[fault](stack, model)
                    stack.restore()
                    came, waited = await_settled(stack, model)
                except Exception as error:
                    raise AssertionError(f"run {number} of seed {seed}, {fault}: {_last(stack)}{error}") from error
                print(f"{number + 1:>4} {fault:<40}{came:<10}{waited:6.1f} s", flush=True)
                became[came] += 1
                seconds[fault].append(waited)
            ungated = {version for version in witness.seen if model.bundles[version] not in model.passed}
            assert not ungated, f"versions {ungated} answered, and no gate let them through"
    return became, seconds


def _last(stack: Losing) -> str:
    """What the newest runs came to, for whoever has to find out why."""
    with suppress(Exception):
        found: Any = [f"{each.id} {each.state}" for each in stack.airflow.runs("release")[:6]]
        return f"newest runs {found}: "
    return ""


def sweep(count: int = 33, seed: int | None = None) -> bool:
    """All faults three times, from a seed that is told."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    print(f"promotions on a stack that loses its parts, seed {seed}", flush=True)
    try:
        became, seconds = run(count, seed)
    except AssertionError as error:
        print(f"BROKEN: {error}")
        return False
    for fault, waited in seconds.items():
        print(f"{len(waited):>4} {fault:<40}median {statistics.median(waited):5.1f} s, at most {max(waited):5.1f} s")
    print(f"{count} runs, 0 wrong releases: " + ", ".join(f"{number} {what}" for what, number in became.items()))
    return True


if __name__ == "__main__":
    sys.exit(0 if sweep(*map(int, sys.argv[1:])) else 1)
