"""Faults of an ingest at length: ``python -m tests.sweep.faults`` runs all of them, or those that are named."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.fakes.s3 import BUCKET, s3_server
from tests.sweep import deliveries, disks, kills, writers

ROOT = Path(__file__).resolve().parents[2]
_PROPERTIES = ("test_exactly_once.py", "test_withdrawn.py")
_EXAMPLES = "300"


def run(names: Iterable[str] = ()) -> bool:
    """Run them; whether all held. Each prints a line, and its seed before."""
    wanted = set(names) or set(FAULTS)
    sound = True
    for name, fault in FAULTS.items():
        if name in wanted:
            begin = time.monotonic()
            try:
                line = fault()
            except AssertionError as error:
                sound, line = False, f"{name}: BROKEN: {error}"
            print(f"{line} ({time.monotonic() - begin:.0f} s)", flush=True)
    return sound


def _deliveries() -> str:
    return deliveries.run(10_000, secrets.randbelow(10**6))


def _writers_on_s3() -> str:
    with s3_server() as environ:
        return writers.run(8, 10, f"s3://{BUCKET}/writers", environ)


def _properties() -> str:
    paths = [str(ROOT / "tests" / "unit" / "pipelines" / name) for name in _PROPERTIES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=random", *paths]
    environ = {**os.environ, "TIDEMILL_EXAMPLES": _EXAMPLES}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return f"properties, {_EXAMPLES} examples: {done.stdout.strip().splitlines()[-1]}"


FAULTS: Mapping[str, Callable[[], str]] = {
    "deliveries": _deliveries,
    "kills": lambda: kills.run(1000),
    "engine": lambda: kills.run_engine(150),
    "disks": lambda: "\n".join(disks.run(20)),
    "writers": lambda: writers.run(8, 50),
    "s3": _writers_on_s3,
    "properties": _properties,
}

if __name__ == "__main__":
    sys.exit(0 if run(sys.argv[1:]) else 1)
