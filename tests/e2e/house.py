"""A small house to live the journeys in: MLflow, the cloud server and a gateway as processes, the command by hand."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.local.airflow_client import AirflowClient
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

    def serving(self, usecase: str) -> dict[str, str]:
        """What answers where: version by ``cloud`` and gateway, empty where nothing does."""
        found = {each.name: str(fetch(f"{each.url}/status").get("version") or "") for each in self.stack.gateways}
        cloud = fetch(f"{self.stack.server_url}/v2/models/{usecase}").get("versions") or [""]
        return {"cloud": str(cloud[0]), **found}


@dataclass(frozen=True)
class Office:
    """Airflow over a house, from a checkout that can be changed.

    Attributes:
        url: Its address.
        password: Of its user ``admin``.
        client: Its REST API.
        checkout: The sources that its tasks run.
    """

    url: str
    password: str
    client: AirflowClient
    checkout: Path


class Arrival:
    """When a version answers, counted from a click: asked twenty times a second, from before the click on.

    Example::

        with Arrival(house, USECASE, "2") as arrival:
            arrival.begin()
            button.click()
        print(arrival.seconds)   # {"cloud": 4.1, "gateway-1": 5.0}
    """

    EVERY_S = 0.05

    def __init__(self, house: House, usecase: str, version: str, within_s: float = 90.0) -> None:
        self.seconds: dict[str, float] = {}
        self._house, self._usecase, self._version, self._within_s = house, usecase, version, within_s
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """The click comes now."""
        self._began = time.monotonic()
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._thread.join(self._within_s + 5)
            waited = sorted(set(self._places) - set(self.seconds))
            assert not waited, f"version {self._version} did not come to {waited} within {self._within_s} s"

    @property
    def _places(self) -> list[str]:
        return ["cloud", *(gateway.name for gateway in self._house.stack.gateways)]

    def _look(self) -> None:
        while len(self.seconds) < len(self._places) and time.monotonic() < self._began + self._within_s:
            for place, version in self._house.serving(self._usecase).items():
                if version == self._version:
                    self.seconds.setdefault(place, round(time.monotonic() - self._began, 2))
            time.sleep(self.EVERY_S)


def eventually(reached: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + within_s
    while not (found := reached()):
        assert time.monotonic() < deadline, f"not reached within {within_s} s"
        time.sleep(0.2)
    return found
