"""The gateway's door: HTTP on loopback, from the standard library.

``POST /telemetry`` takes JSON lines (gzipped or not) and answers with what became of them; ``POST /events`` does the
same with events, for features that count them or begin with them; ``GET /health``,
``/status``, ``/alerts`` and ``/metrics`` tell about the gateway. A site has some dozens of senders, not thousands: a
thread for each connection, a bounded number of them, needs no framework and no event loop.

Nothing is read that was not announced: a body needs a ``Content-Length`` within the limit, and a sender that stalls is
cut off after ``STALL_S``.
"""

import contextlib
import hmac
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from features.errors import TidemillError
from serving.exposition import CONTENT_TYPE
from serving.gateway.counts import Intake, Told
from serving.gateway.errors import NoModelError
from serving.journal import Journal

MAX_BODY = 16 * 1024 * 1024
MAX_CONNECTIONS = 64
STALL_S = 30.0
JSON = "application/json"
PATHS = ("/telemetry", "/events", "/health", "/status", "/alerts", "/metrics")
_GZIP_WINDOW = 31  # zlib's number for "a gzip header, largest window"


class Site(Protocol):
    """What the door opens to."""

    def take(self, body: bytes) -> Intake:
        """Take in telemetry; ``NoModelError`` as long as its form is not known."""

    def tell(self, body: bytes) -> Told:
        """Take in events; ``NoModelError`` as long as their fleet is not known."""

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether the gateway does what it is there for, and why not."""

    def status(self) -> dict[str, object]:
        """Everything about itself."""

    def alerts(self) -> dict[str, object]:
        """Alerts that stand, and the latest transitions."""

    def metrics(self) -> bytes:
        """Counts as Prometheus text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to be sent."""

    status: HTTPStatus
    body: bytes
    kind: str = JSON
    close: bool = False
    retry_s: int = 0


class _Refusal(Exception):  # noqa: N818 - an answer on its way out, not a fault
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Endpoint(ThreadingHTTPServer):
    """The HTTP server of a gateway.

    Args:
        address: Host and port; port 0 takes a free one.
        site: What answers.
        journal: Told about faults inside.
        token: Bearer token that every request but ``/health`` must carry; empty for none.
        tls: Context for TLS; None for plain HTTP.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        site: Site,
        journal: Journal,
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.site = site
        self.journal = journal
        self.authorization = f"Bearer {token}".encode() if token else b""
        self._scheme = "https" if tls else "http"
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._answering = 0
        self._answered = threading.Condition()
        super().__init__(address, _Handler)
        if tls is not None:
            # The handshake is made by the connection's own thread: a caller that stalls in it holds up nobody.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{self._scheme}://{shown}:{port}"

    def start(self) -> None:
        """Answer from a thread of its own until ``stop``."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="endpoint", daemon=True).start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Accept nothing more, and let the requests that are being answered have their answers."""
        self.shutdown()
        self.server_close()
        with self._answered:
            self._answered.wait_for(lambda: self._answering == 0, timeout_s)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Held while a request is being answered."""
        with self._answered:
            self._answering += 1
        try:
            yield
        finally:
            with self._answered:
                self._answering -= 1
                self._answered.notify_all()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or turn it away when there are too many."""
        if not self._room.acquire(blocking=False):
            # Over TLS a word would need a handshake first, and this thread must not wait for a stranger's.
            with contextlib.suppress(OSError):
                if self._scheme == "http":
                    request.sendall(
                        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    )
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are everyday life; requests are answered for in the handler."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "tidemill-gateway"
    sys_version = ""
    timeout = STALL_S
    wbufsize = 64 * 1024  # header and body leave in one packet
    disable_nagle_algorithm = True
    server: Endpoint

    def do_GET(self) -> None:
        """Tell something about the gateway."""
        with self.server.answering():
            self._respond(self._get)

    def do_POST(self) -> None:
        """Take telemetry."""
        with self.server.answering():
            self._respond(self._post)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """A line for each request would fill a gateway's journal."""

    def _get(self) -> Answer:
        site = self.server.site
        match self._path():
            case "/health":
                healthy, document = site.health()
                return _json(document, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)
            case "/status":
                return _json(site.status())
            case "/alerts":
                return _json(site.alerts())
            case "/metrics":
                return Answer(HTTPStatus.OK, site.metrics(), CONTENT_TYPE)
            case "/telemetry" | "/events" as path:
                raise _Refusal(_error(HTTPStatus.METHOD_NOT_ALLOWED, f"{path[1:]} is sent with POST"))
        raise _Refusal(_error(HTTPStatus.NOT_FOUND, f"no such path; there are {', '.join(PATHS)}"))

    def _post(self) -> Answer:
        site = self.server.site
        takers: dict[str, Callable[[bytes], Intake | Told]] = {"/telemetry": site.take, "/events": site.tell}
        take = takers.get(self._path())
        if take is None:
            raise _Refusal(_error(HTTPStatus.NOT_FOUND, "only /telemetry and /events take anything", close=True))
        try:
            return _json(asdict(take(self._body())))
        except NoModelError as error:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"{error.code}: {error.what}", retry_s=5)

    def _path(self) -> str:
        path = self.path.partition("?")[0]
        if path != "/health" and self.server.authorization:
            given = self.headers.get("Authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self.server.authorization):
                raise _Refusal(_error(HTTPStatus.UNAUTHORIZED, "a bearer token is needed", close=True))
        return path

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refusal(_error(HTTPStatus.LENGTH_REQUIRED, "the body needs a Content-Length", close=True))
        if int(length) > MAX_BODY:
            raise _Refusal(_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes", close=True))
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refusal(_error(HTTPStatus.BAD_REQUEST, "the body was cut off", close=True))
        match self.headers.get("Content-Encoding", "identity").lower():
            case "identity":
                return body
            case "gzip":
                return _expanded(body)
        raise _Refusal(_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body may be gzipped, nothing else"))

    def _respond(self, make: Callable[[], Answer]) -> None:
        try:
            answer = make()
        except _Refusal as refusal:
            answer = refusal.answer
        except TimeoutError:
            answer = _error(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time", close=True)
        except TidemillError as error:
            self.server.journal.say("request_failed", path=self.path, code=error.code, reason=error)
            answer = _error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.code}: {error.what}")
        except Exception as error:  # noqa: BLE001 - a fault of ours is an answer too, and the next request is served
            self.server.journal.say("request_failed", path=self.path, reason=f"{type(error).__name__}: {error}")
            answer = _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", close=True)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.retry_s:
            self.send_header("Retry-After", str(answer.retry_s))
        if answer.close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()


def _json(document: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, json.dumps(document).encode())


def _error(status: HTTPStatus, message: str, *, close: bool = False, retry_s: int = 0) -> Answer:
    return Answer(status, json.dumps({"error": message}).encode(), close=close, retry_s=retry_s)


def _expanded(body: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        expanded = inflater.decompress(body, MAX_BODY)
    except zlib.error as error:
        raise _Refusal(_error(HTTPStatus.BAD_REQUEST, f"the body is no gzip: {error}")) from error
    if inflater.unconsumed_tail:
        raise _Refusal(_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"it unpacks to more than {MAX_BODY} bytes"))
    if not inflater.eof:
        raise _Refusal(_error(HTTPStatus.BAD_REQUEST, "the gzip body was cut off"))
    return expanded
