"""A steady stream of inference requests to the cloud server, to show that versions change under load without a loss.

Open Inference Protocol V2 over kept-alive HTTP/1.1; every request carries feature rows of real windows.
"""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered (or failed) request: when, by which version, and why it failed."""

    at: float
    version: str
    failure: str = ""


@dataclass(slots=True)
class Load:
    """Requests at a steady rate from one thread, between ``with`` and its end.

    Args:
        url: Base address of the server.
        usecase: Name of the model to ask.
        bodies: Encoded requests, sent in turn.
        per_second: Requests per second.
    """

    url: str
    usecase: str
    bodies: Sequence[bytes]
    per_second: float = 40.0
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    @property
    def failed(self) -> list[Answer]:
        """Requests without a good answer."""
        return [answer for answer in self.answers if answer.failure]

    def wait_for(self, version: str, timeout_s: float) -> bool:
        """Wait until ``version`` answers; False when it does not within ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.answers and self.answers[-1].version == version:
                return True
            time.sleep(0.1)
        return False

    def _run(self) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10)
        path = f"/v2/models/{self.usecase}/infer"
        for number in range(1_000_000):  # bounded: about seven hours at the default rate
            if self._stop.wait(1 / self.per_second):
                break
            self.answers.append(_ask(connection, path, self.bodies[number % len(self.bodies)]))
        connection.close()


def is_ready(url: str, usecase: str) -> bool:
    """Whether the server says that it can answer for a use case."""
    return _get(f"{url}/v2/models/{usecase}/ready")[0] == http.HTTPStatus.OK


def fetch(url: str) -> dict[str, Any]:
    """Return the JSON object at an address of the stack; empty where nobody answers."""
    status, content = _get(url)
    found: dict[str, Any] = json.loads(content) if status == http.HTTPStatus.OK else {}
    return found


def request_body(rows: Sequence[Sequence[float]], devices: Sequence[str], ends_us: Sequence[int]) -> bytes:
    """Encode feature rows as a V2 inference request; NaN becomes ``null``."""
    data = [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN alone differs
    tensor = {"name": "features", "datatype": "FP64", "shape": [len(data), len(data[0])], "data": data}
    parameters = {"devices": list(devices), "window_ends_us": list(ends_us)}
    return json.dumps({"parameters": parameters, "inputs": [tensor]}).encode()


def _get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes) -> Answer:
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content: dict[str, Any] = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        connection.close()
        return Answer(time.time(), "", f"{type(error).__name__}: {error}")
    if response.status != http.HTTPStatus.OK:
        return Answer(time.time(), "", f"{response.status}: {content.get('error', '')}")
    return Answer(time.time(), content["model_version"])
