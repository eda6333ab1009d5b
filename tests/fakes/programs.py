"""The console scripts as processes of their own, stopped for certain."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PATIENCE_S = 60.0


class Program:
    """A console script that listens somewhere.

    Args:
        module: ``serving.gateway.command`` or ``serving.cloud.command``.
        folder: For its output and its address.
        settings: ``TIDEMILL_*`` variables.
    """

    def __init__(self, module: str, folder: Path, settings: dict[str, str]) -> None:
        self._module = module
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return (self._folder / "address.txt").read_text()

    @property
    def output(self) -> str:
        return (self._folder / "output.txt").read_text()

    def start(self) -> None:
        """Start, and wait until it listens."""
        (self._folder / "address.txt").unlink(missing_ok=True)
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                self.command("run", "--port", "0", "--address-file", str(self._folder / "address.txt")),
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: (self._folder / "address.txt").exists() or self._ended(), "its address")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", f"from {self._module} import main; main()", *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMILL_", "PYTHONDONT"))}
        return {**kept, **self._settings}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of the same script, with the same settings."""
        return subprocess.run(
            self.command(*arguments), env=self.environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return self.ask("GET", path, None, headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data.startswith(b"{") else data
        finally:
            connection.close()

    def _ended(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"it ended with {self._process.returncode}:\n{self.output}")
        return False


def wait_for(reached: Any, what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``reached()`` is true."""
    deadline = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
