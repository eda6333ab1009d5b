"""Starts measured processes and keeps what they report."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = ROOT / "build" / "bench-env" / "bin" / "python"

Measured = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """A process to measure.

    Args:
        command: The program and its arguments; its last line of output is what it measured, as JSON.
        settings: Environment variables it gets besides those of this process.
    """

    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


def ours(name: str, *arguments: object, **settings: str) -> Job:
    """One of our jobs."""
    return Job((sys.executable, "-m", "tests.bench.ours", name, *map(str, arguments)), settings)


def peer(name: str, *arguments: object, module: str = "peers") -> Job:
    """A job of a peer."""
    return Job((str(PEERS_PYTHON), str(ROOT / "tests" / "bench" / f"{module}.py"), name, *map(str, arguments)))


def run(job: Job) -> Measured:
    """Run a job to its end.

    Raises:
        RuntimeError: The job failed; the message holds the end of what it said.
    """
    environment = {**os.environ, **job.settings}
    done = subprocess.run(job.command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(job.command[:5])} ended with {done.returncode}: {done.stderr[-2000:]}")
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def interleaved(jobs: Mapping[str, Job], rounds: int) -> dict[str, list[Measured]]:
    """Run every job once in each round, so that a slow minute hits all of them alike."""
    found: dict[str, list[Measured]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name, job in jobs.items():
            found[name].append(run(job))
        print(f"  round {number + 1} of {rounds}", flush=True)
    return found


def median(measured: Sequence[Measured], unit: str) -> float:
    """The median of one quantity over runs."""
    return statistics.median(each[unit] for each in measured)


def ratios(above: Sequence[Measured], below: Sequence[Measured], unit: str) -> list[float]:
    """Run by run one over the other, each pair of one round."""
    return [a[unit] / b[unit] for a, b in zip(above, below, strict=True)]
