"""A small HTTP proxy on loopback that breaks some of what passes through it, by seed.

It stands between a client and an S3 server. Some faults keep a request from arriving, some lose or spoil the answer to
one that did. Bytes are changed only where the client could know: in objects below ``raw/`` and ``ledger/`` and in the
data files of tables, not in listings or in the logs of tables, which the table engine reads without a checksum.
"""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BEFORE = ("error 500", "slow down", "reset", "silence")
AFTER = ("answer lost", "body cut", "body short", "byte changed", "slow body")
SILENCE_S = 1.2
"""Longer than the clients under test are patient."""
_OURS = ("/raw/", "/ledger/")
_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class FlakyProxy:
    """A running proxy.

    Args:
        upstream: The server's address.
        seed: What the faults follow from.
        share: How many of the requests for objects of ours meet a fault, 0 to 1; of those for logs of tables, whose
            engine waits ever longer between its attempts, a third as many.

    Attributes:
        faults: How many of each kind there were.
        url: Where clients find it.
    """

    def __init__(self, upstream: str, seed: int, share: float) -> None:
        self.upstream = urlsplit(upstream).netloc
        self._share = share
        self.faults: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, method: str, path: str) -> tuple[str, float]:
        """What befalls a request, empty for nothing, and a number between 0 and 1 to choose a place with."""
        ours = any(part in path for part in _OURS) or is_data(path)
        reading = method == "GET" and "list-type" not in path
        kinds = [
            kind
            for kind in (*BEFORE, *AFTER)
            if (kind not in ("body short", "byte changed", "slow body") or (ours and reading))
            and (kind != "silence" or ours)  # the table engine waits for half a minute
        ]
        with self._lock:
            place = self._random.random()
            if self._random.random() >= (self._share if ours else self._share / 3):
                return "", place
            kind = self._random.choice(kinds)
            self.faults[kind] += 1
            return kind, place


class StallingProxy(FlakyProxy):
    """A proxy that lets requests for the data files of tables wait in vain: the first for each, or every one."""

    def __init__(self, upstream: str, *, always: bool) -> None:
        super().__init__(upstream, seed=0, share=0.0)
        self._always = always
        self.stalled: Counter[tuple[str, str]] = Counter()

    def fault(self, method: str, path: str) -> tuple[str, float]:
        if not is_data(path):
            return "", 0.0
        with self._lock:
            self.stalled[method, path] += 1
            return "silence" if self._always or self.stalled[method, path] == 1 else "", 0.0


def is_data(path: str) -> bool:
    """Tell whether a request is for a data file of a table."""
    return "/lake/" in path and "_delta_log" not in path and path.partition("?")[0].endswith(".parquet")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FlakyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.relay()

    def do_HEAD(self) -> None:
        self.relay()

    def do_PUT(self) -> None:
        self.relay()

    def do_POST(self) -> None:
        self.relay()

    def do_DELETE(self) -> None:
        self.relay()

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kind, place = self.server.proxy.fault(self.command, self.path)
        match kind:
            case "error 500":
                self.answer(500, [], b"<Error><Code>InternalError</Code></Error>")
            case "slow down":
                self.answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
            case "reset":
                self.reset()
            case "silence":
                time.sleep(SILENCE_S)
                self.reset()
            case _:
                self.pass_on(body, kind, place)

    def pass_on(self, body: bytes, kind: str, place: float) -> None:
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data, headers = answer.read(), answer.getheaders()
        finally:
            upstream.close()
        spot = int(place * len(data))
        if kind == "answer lost":
            self.reset()
        elif kind == "body short" and data:
            self.answer(answer.status, headers, data[:spot])
        elif kind == "byte changed" and data:
            self.answer(answer.status, headers, data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :])
        elif kind == "body cut" and data:
            self.answer(answer.status, headers, data, send=lambda: self.wfile.write(data[:spot]))
            self.reset()
        elif kind == "slow body":
            self.answer(answer.status, headers, data, send=lambda: self.drip(data))
        else:
            self.answer(answer.status, headers, data)

    def answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        send: Callable[[], object] | None = None,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOPS:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            send() if send else self.wfile.write(data)
        self.wfile.flush()

    def drip(self, data: bytes) -> None:
        step = max(1, len(data) // 4)
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            self.wfile.flush()
            time.sleep(0.02)

    def reset(self) -> None:
        """Close the connection the hard way: the client reads "connection reset by peer"."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client went away, or we cut the line ourselves
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def flaky_proxy(upstream: str, seed: int, share: float) -> Iterator[FlakyProxy]:
    """A running proxy; closed at the end."""
    proxy = FlakyProxy(upstream, seed, share)
    try:
        yield proxy
    finally:
        proxy.close()
