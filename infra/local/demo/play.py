"""Play the scenario over an embedded stack, and say in a table and a page what came out."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.console import Console
from infra.local.demo.journal import Journal
from infra.local.demo.page import write_page
from infra.local.demo.scenario import Scenario
from infra.local.demo.sources import AzureMachines, Pumps, Source
from infra.local.demo.summary import summarize
from infra.local.errors import DemoError
from infra.local.stack import Stack
from serving.store import open_store

STATE = ("store", "mlflow", "airflow", "gateways", "server", "keys", "run", "work", "logs")
"""Folders below the state folder that a finished demo leaves and the next one begins without."""

Outcome = Callable[[Mapping[str, Any]], str]
Work = Callable[[], dict[str, Any]]
Step = Callable[[str, Outcome, Work], dict[str, Any]]

FED = ("accepted", "predictions", "alerts")


@dataclass(slots=True)
class Deliveries:
    """The commands that write telemetry, each in a process of its own, beside whatever else goes on."""

    source: Source
    store: Path
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self, number: int) -> None:
        """Begin delivery 1 or 2."""
        command = [str(Path(sys.executable).with_name("tidemill")), *self.source.delivery(number)]
        command += ["--json", "--quiet", "--store", str(self.store)]
        self._running[number] = subprocess.Popen(command, stdout=subprocess.PIPE)

    def finish(self, number: int) -> dict[str, Any]:
        """Wait until delivery 1 or 2 is written, and return what the command counted."""
        if number not in self._running:
            self.begin(number)
        output, _ = self._running[number].communicate()
        if self._running[number].returncode:
            raise DemoError("the telemetry could not be written", why="the lines above say why")
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def stop(self) -> None:
        """End what still runs."""
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
                process.wait()


def run(root: Path, data: Path | None, environ: Mapping[str, str], console: Console) -> dict[str, Any]:
    """Run the demo below ``root`` and return its summary.

    A demo that was killed goes on after its last finished step; after a finished one, the next begins anew.

    Args:
        root: State folder, ``build`` by default.
        data: Folder of the Azure files; None simulates pumps.
        environ: The environment its processes start from.
        console: Where progress is told.

    Raises:
        DemoError: A step did not show what it must, or ``root`` holds telemetry that no demo put there.
    """
    source: Source = AzureMachines(data) if data else Pumps()
    journal = Journal.open(root / "demo" / "journal.json", source.name)
    if not journal.continued:
        _begin_anew(root)
        (root / "demo").mkdir(parents=True, exist_ok=True)
        (root / "demo" / "usecase").write_text(source.usecase + "\n")
    console.say(f"Tidemill demo: {source.name}" + (" (going on after a stop)" if journal.continued else ""))
    (root / "store").mkdir(parents=True, exist_ok=True)
    deliveries = Deliveries(source, root / "store")
    if "telemetry 1" not in journal.steps:
        deliveries.begin(1)
    stack = Stack(root, environ, usecase=source.usecase)
    try:
        _step(journal, console, "stack", _healthy, lambda: _start(stack), again=True)
        store = open_store(str(root / "store"))
        scenario = Scenario(source, stack, stack.airflow, store, deliveries.finish, console.progress)
        _play(journal, scenario, source, deliveries, functools.partial(_step, journal, console))
    finally:
        stack.stop()
        deliveries.stop()
    journal.finish()
    summary = summarize(journal, source.usecase)
    (root / "demo" / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    write_page(root, journal, source, summary)
    return summary


def _play(journal: Journal, scenario: Scenario, source: Source, deliveries: Deliveries, step: Step) -> None:
    step("telemetry 1", _delivered, lambda: scenario.deliver(1))
    first = step("ingest 1", _ingested, lambda: scenario.ingest({}))
    step("ingest again", lambda _: "nothing changed", scenario.ingest_again)
    if "telemetry 2" not in journal.steps:
        deliveries.begin(2)
    one = step("train 1", _trained, lambda: scenario.train(source.split, "first version"))
    step("promote 1", _promoted, lambda: scenario.promote(one["version"]))
    step("telemetry 2", _delivered, lambda: scenario.deliver(2))
    step("gateways", _fed, scenario.feed_gateways)
    step("ingest 2", _ingested, lambda: scenario.ingest(first))
    two = step("train 2", _trained, lambda: scenario.train(source.until, "more data"))
    step("promote 2", _promoted, lambda: scenario.promote(two["version"]))
    step("roll back", _promoted, lambda: scenario.promote(one["version"]))
    step("roll forward", _promoted, lambda: scenario.promote(two["version"]))
    since = source.split - source.too_short
    poor = step("train poorly", _trained, lambda: scenario.train(source.split, "too little history", since, "failed"))
    step("refused", _refused, lambda: scenario.refuse(poor["version"], two["version"]))
    step("skew", _compared, scenario.compare_features)
    step("monitor", lambda result: str(result["sentence"]), scenario.monitor)


def _step(
    journal: Journal, console: Console, name: str, outcome: Outcome, work: Work, *, again: bool = False
) -> dict[str, Any]:
    before = name in journal.steps and not again
    journal.run(name, outcome, work, again=again)
    done = journal.steps[name]
    console.row(f"{name:<12}", f"{done['seconds']:>6.1f} s", done["outcome"] + (" (before)" if before else ""))
    return journal.result(name)


def _start(stack: Stack) -> dict[str, Any]:
    stack.start()
    return stack.seconds


def _healthy(result: Mapping[str, Any]) -> str:
    return f"{len(result)} parts healthy: {', '.join(result)}"


def _refused(result: Mapping[str, Any]) -> str:
    return f"v{result['version']}: {result['reason']}"


def _compared(result: Mapping[str, Any]) -> str:
    return f"{result['rows']:,} windows, largest difference {result['max_rel']:.1e}"


def _delivered(result: Mapping[str, Any]) -> str:
    return f"{result['messages']:,} messages in {result['objects']:,} objects"


def _ingested(result: Mapping[str, Any]) -> str:
    return (
        f"{result['accepted']:,} accepted, {result['duplicates']:,} duplicates, {result['late']:,} late, "
        f"{result['quarantined']:,} quarantined"
    )


def _trained(result: Mapping[str, Any]) -> str:
    parity, f1 = result["parity"], result["metrics"]["f1"]
    return (
        f"v{result['version']}, gate {result['gate']}, F1 {'-' if f1 is None else f'{f1:.2f}'}, "
        f"{parity['label_flips']} flips in {parity['rows']:,} rows"
    )


def _promoted(result: Mapping[str, Any]) -> str:
    return (
        f"server after {result['server_s']} s, gateways after {result['gateways_s']} s, "
        f"{result['failed']} of {result['requests']} requests failed"
    )


def _fed(result: Mapping[str, Any]) -> str:
    gateways = result["gateways"]
    readings, predictions, alerts = (sum(gateway[name] for gateway in gateways) for name in FED)
    return f"{readings:,} readings, {predictions:,} predictions, {alerts:,} alerts"


def _begin_anew(root: Path) -> None:
    """Remove what an earlier demo left; refuse to touch a store that no demo filled."""
    if (root / "store").exists() and any((root / "store").iterdir()) and not (root / "demo" / "usecase").exists():
        raise DemoError(
            "there is telemetry that no demo put there",
            where=str(root / "store"),
            fix=f"tidemill demo --state {root}/demo-state, or make clean if nothing of it is needed",
        )
    for name in (*STATE, "demo"):
        shutil.rmtree(root / name, ignore_errors=True)
