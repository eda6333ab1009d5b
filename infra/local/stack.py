"""The whole platform on one machine: MLflow, Airflow, the cloud server and some gateways, started and stopped as one.

Everything lies below one folder::

    run/stack.json     what runs: the mark, the owner, the parts with their addresses
    logs/<part>.log    what each part says
    mlflow/ airflow/   their databases and files
    keys/ trust/       development keys of releases, and the root that servers and gateways start from
    gateways/<n>/      the disk of each gateway

Parts start side by side and are asked until each answers. A stack ends in reverse order, asked first and killed after
a few seconds; whatever carries its mark is swept, and a guard does the same should its owner be killed.

Example::

    with Stack(Path("build"), environ) as stack:
        run = stack.airflow.trigger("ingest", {"fleet": "pumps"})
        print(stack.airflow.wait("ingest", run).summary("ingest", "pumps"))
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local import airflow_setup, parts
from infra.local.airflow_client import AirflowClient
from infra.local.errors import StackError, StackRunningError
from infra.local.process import Part, Running, start
from infra.local.trace import Guard, Trace, born

HEALTHY_WITHIN_S = 180.0
LOOK_S = 0.1
SWEEP_S = 5.0
DOWN_WITHIN_S = 30.0
MOST_STARTS = 3
STATE = Path("run") / "stack.json"
DAGS = Path(__file__).resolve().parents[2] / "dags"

Progress = Callable[[str, float], None]
"""Called with the name of a part and the seconds it took, as soon as it answers."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway of the stack: its name and its address."""

    name: str
    url: str


class Stack:
    """All parts of the platform as processes of this machine.

    Args:
        root: Folder of everything the stack writes, usually ``build``.
        environ: The environment its processes start from.
        store: URI of the object storage; ``<root>/store`` if not given.
        wanted: Which of ``parts.ALL`` to start.
        gateways: How many gateways.
        usecase: The use case whose releases the gateways run.
        dags: The folder that Airflow searches.
        progress: Told of each part that answers.
    """

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        *,
        store: str | None = None,
        wanted: tuple[str, ...] = parts.ALL,
        gateways: int = 3,
        usecase: str = "pump_failure",
        dags: Path = DAGS,
        progress: Progress = lambda _name, _seconds: None,
    ) -> None:
        root = root.resolve()
        self.plan = parts.Plan(
            root,
            store or str(root / "store"),
            environ,
            dags,
            usecase,
            Trace().mark,
            parts.choose_addresses(wanted, gateways),
        )
        self._progress = progress
        self._running: list[Running] = []
        self._trace = Trace(self.plan.mark)
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def mlflow_url(self) -> str:
        """Address of MLflow."""
        return self.plan.urls[parts.MLFLOW]

    @property
    def server_url(self) -> str:
        """Address of the cloud server."""
        return self.plan.urls[parts.SERVER]

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """The gateways."""
        return tuple(Gateway(name, self.plan.urls[name]) for name in self.plan.names("gateway-"))

    @property
    def airflow(self) -> AirflowClient:
        """A client of Airflow, logged in as its user."""
        return AirflowClient(self.plan.urls[parts.AIRFLOW], airflow_setup.USER, self.airflow_secrets.password)

    @property
    def airflow_secrets(self) -> airflow_setup.Secrets:
        """The password of Airflow's user and where it is kept."""
        return airflow_setup.prepare_secrets(self.plan.airflow_home)

    @property
    def seconds(self) -> dict[str, float]:
        """How long each part took to answer."""
        return {running.part.name: running.seconds for running in self._running}

    def start(self) -> None:
        """Start all parts and return when each answers; on any failure stop what was started.

        Raises:
            StackRunningError: One runs for this folder already.
            StackError: A part ended or did not answer in time.
        """
        refuse_second(self.plan.root)
        for name in ("run", "logs"):
            (self.plan.root / name).mkdir(parents=True, exist_ok=True)
        self._guard = Guard(self.plan.mark, SWEEP_S)
        self._write_state()
        try:
            for part in parts.make(self.plan):
                self._running.append(self._launch(part))
                self._write_state()
            self._await_all(time.monotonic() + HEALTHY_WITHIN_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all parts in reverse order, and sweep what they may have left."""
        for running in reversed(self._running):
            running.ask_to_end()
        asked = time.monotonic()
        for running in reversed(self._running):
            running.end(asked + running.part.grace_s)
        self._trace.sweep(grace_s=0)
        self._running = []
        (self.plan.root / STATE).unlink(missing_ok=True)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def revive(self) -> list[str]:
        """Start parts again that ended by themselves; return their names.

        Raises:
            StackError: One has ended too often.
        """
        ended = [index for index, running in enumerate(self._running) if not running.alive]
        for index in ended:
            before = self._running[index]
            if before.starts == MOST_STARTS:
                raise _failure(before, f"{before.part.name} ended {MOST_STARTS} times")
            self._running[index] = self._launch(before.part)
            self._running[index].starts = before.starts + 1
        if ended:
            self._write_state()
        return [self._running[index].part.name for index in ended]

    def _launch(self, part: Part) -> Running:
        running = start(part, self.plan.mark, self.plan.root / "logs")
        if (birth := born(running.process.pid)) is not None:
            self._trace.leaders[running.process.pid] = birth
            if self._guard is not None:
                self._guard.watch(running.process.pid, birth)
        return running

    def _await_all(self, deadline: float) -> None:
        waiting = list(self._running)
        while waiting:
            for running in list(waiting):
                if running.part.healthy():
                    running.seconds = time.monotonic() - running.began
                    waiting.remove(running)
                    self._progress(running.part.name, running.seconds)
                elif not running.alive:
                    raise _failure(running, f"{running.part.name} ended")
                elif time.monotonic() > deadline:
                    raise _failure(running, f"{running.part.name} does not answer")
            time.sleep(LOOK_S)

    def _write_state(self) -> None:
        state = State(
            self.plan.mark,
            os.getpid(),
            born(os.getpid()) or 0,
            dict(self._trace.leaders),
            {running.part.name: running.part.url for running in self._running},
        )
        path = self.plan.root / STATE
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(state), indent=2) + "\n")
        unfinished.replace(path)


@dataclass(frozen=True, slots=True)
class State:
    """What ``run/stack.json`` tells about a running stack.

    Attributes:
        mark: The mark of its processes.
        owner: The process that started it.
        owner_born: When that was born.
        leaders: First process of each part, with the moment of its birth.
        urls: Addresses by part; empty where people reach nothing.
    """

    mark: str
    owner: int
    owner_born: int
    leaders: dict[int, int]
    urls: dict[str, str]

    @property
    def trace(self) -> Trace:
        """What its processes are found by."""
        return Trace(self.mark, dict(self.leaders))

    @property
    def owned(self) -> bool:
        """Whether its owner is alive: the very process, not a later one with its number."""
        return born(self.owner) == self.owner_born


def read_state(root: Path) -> State | None:
    """Return what runs for a folder, or None."""
    try:
        stored = json.loads((root / STATE).read_text())
    except FileNotFoundError:
        return None
    leaders = {int(pid): int(birth) for pid, birth in stored["leaders"].items()}
    return State(stored["mark"], stored["owner"], stored["owner_born"], leaders, stored["urls"])


def refuse_second(root: Path) -> None:
    """Refuse where a stack runs for a folder; sweep where one died.

    Raises:
        StackRunningError: Its owner is alive.
    """
    state = read_state(root)
    if state is None:
        return
    if state.owned:
        raise StackRunningError("a stack is running already", where=f"process {state.owner}", fix="tidemill down")
    state.trace.sweep(SWEEP_S)
    (root / STATE).unlink(missing_ok=True)


def bring_down(root: Path) -> int:
    """Stop the stack of a folder from outside.

    Its owner is asked to stop it; where that is gone or does not, everything of the stack is ended. No other process is
    touched.

    Returns:
        How many processes it had; 0 when nothing was running.
    """
    state = read_state(root)
    if state is None:
        return 0
    trace = state.trace
    count = len(trace.processes())
    if state.owned:
        os.kill(state.owner, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_WITHIN_S
        while (root / STATE).exists() and time.monotonic() < deadline:
            time.sleep(LOOK_S)
    trace.sweep(SWEEP_S)
    (root / STATE).unlink(missing_ok=True)
    return count


def _failure(running: Running, what: str) -> StackError:
    why = running.last_words() or "it said nothing"
    return StackError(what, where=str(running.log), why=why, fix="tidemill doctor")
