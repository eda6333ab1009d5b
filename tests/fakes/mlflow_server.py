"""A real MLflow server for tests: SQLite, one worker, loopback, a free port."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE_S = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server whose files lie in ``folder``: it runs from the start, and can be away for a while."""

    def __init__(self, folder):
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self):
        folder = self._folder
        command = [
            str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(self._port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
            "--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts",
        ]  # fmt: skip
        quiet = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"
        }  # fmt: skip
        log = folder / "mlflow.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=output, stderr=output)
        try:
            _await(self._process, self.url, log)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    @contextmanager
    def away(self):
        """Stopped within, running again afterwards."""
        self.stop()
        yield
        self.start()


@contextmanager
def mlflow_server(folder):
    """Run a server whose files lie in ``folder``; yields its address."""
    server = Server(folder)
    try:
        yield server.url
    finally:
        server.stop()


def _await(server, url, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"MLflow did not start:\n{log.read_text()[-2000:]}")


class Door:
    """A way to a server that can be shut: what was open is cut, what knocks is refused."""

    def __init__(self, url):
        self._target = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self):
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                outer = socket.create_connection((self._target.hostname, self._target.port))
                self._open += [inner, outer]
                for pair in ((inner, outer), (outer, inner)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source, target):
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
