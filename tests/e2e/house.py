"""A small house to live the journeys in: MLflow, the cloud server and a gateway as processes, the command by hand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.demo.load import fetch
from infra.local.stack import Stack

TIDEMILL = Path(sys.executable).with_name("tidemill")
USECASE = "pump_failure"
FLEET = ("--devices", "24", "--days", "30", "--seed", "3")
SPLIT, END = "2026-01-29", "2026-02-04"


@dataclass
class House:
    """The running parts, and the ``tidemill`` command over their store and registry."""

    root: Path
    stack: Stack
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def store(self) -> Path:
        return self.root / "store"

    def tidemill(self, *words: str, code: int = 0, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run a command as a person would; return its JSON result."""
        keys = {"TIDEMILL_KEYS": str(self.root / "keys"), "TIDEMILL_WORK": str(self.root / "work")}
        done = subprocess.run(
            [str(TIDEMILL), *words, "--json", "--store", str(self.store), "--tracking", self.stack.mlflow_url],
            env={**self.environ, **keys, **(environ or {})},
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def release(self, usecase: str) -> dict[str, Any]:
        """Reconcile; what that came to for one use case. Journeys share the house, so there may be others."""
        (outcome,) = (each for each in self.tidemill("release")["outcomes"] if each["usecase"] == usecase)
        return dict(outcome)

    def gateway(self, path: str) -> dict[str, Any]:
        return fetch(self.stack.gateways[0].url + path)


def eventually(reached: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + within_s
    while not (found := reached()):
        assert time.monotonic() < deadline, f"not reached within {within_s} s"
        time.sleep(0.2)
    return found
