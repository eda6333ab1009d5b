import gzip
import http.client
import io
import json
import socket
import threading
from typing import Any

import pytest

from features.errors import DataError
from serving.gateway import endpoint as endpoint_module
from serving.gateway.counts import Intake, Told
from serving.gateway.endpoint import Endpoint
from serving.gateway.errors import NoModelError
from serving.journal import Journal

TOKEN = "a-token-of-sixteen-letters"


class Counting:
    """A site that counts the lines it is given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.healthy = True
        self.raises: Exception | None = None
        self.gate: threading.Event | None = None

    def take(self, body: bytes) -> Intake:
        if self.gate is not None:
            self.gate.wait(5)
        if self.raises is not None:
            raise self.raises
        self.bodies.append(body)
        return Intake(body.count(b"\n") + 1, {"no_time": 2}, 0, 0, 1)

    def tell(self, body: bytes) -> Told:
        if self.raises is not None:
            raise self.raises
        return Told(body.count(b"\n") + 1, 0, {}, 0)

    def health(self) -> tuple[bool, dict[str, object]]:
        return self.healthy, {"healthy": self.healthy}

    def status(self) -> dict[str, object]:
        return {"id": "gw-1"}

    def alerts(self) -> dict[str, object]:
        return {"standing": [], "recent": []}

    def metrics(self) -> bytes:
        return b"x 1\n"


class Door:
    """An endpoint that runs, and one connection to it."""

    def __init__(self, token: str = "") -> None:
        self.site = Counting()
        self.lines = io.StringIO()
        self.endpoint = Endpoint(("127.0.0.1", 0), self.site, Journal(self.lines), token=token)
        self.endpoint.start()
        self.address = ("127.0.0.1", int(self.endpoint.server_address[1]))
        self.connection = http.client.HTTPConnection(*self.address, timeout=5)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data.startswith(b"{") else data, answer.headers

    def say(self, request: bytes) -> bytes:
        """Raw bytes in, all raw bytes out."""
        with socket.create_connection(self.address, timeout=5) as stream:
            stream.sendall(request)
            return b"".join(iter(lambda: stream.recv(65536), b""))


@pytest.fixture
def door():
    door = Door()
    yield door
    door.connection.close()
    door.endpoint.stop()


@pytest.fixture
def locked():
    door = Door(TOKEN)
    yield door
    door.connection.close()
    door.endpoint.stop()


def test_telemetry_is_handed_on_and_the_answer_says_what_became_of_it(door):
    status, answer, _ = door.ask("POST", "/telemetry", b"1\n2\n3")
    assert status == 200
    assert answer == {"accepted": 3, "rejected": {"no_time": 2}, "duplicates": 0, "late": 0, "predictions": 1}
    assert door.site.bodies == [b"1\n2\n3"]


def test_events_are_handed_on_and_the_answer_says_what_became_of_them(door):
    status, answer, _ = door.ask("POST", "/events", b"{}\n{}")
    assert (status, answer) == (200, {"accepted": 2, "ignored": 0, "rejected": {}, "late": 0})
    assert door.site.bodies == []
    status, answer, _ = door.ask("GET", "/events")
    assert (status, answer["error"]) == (405, "events is sent with POST")


def test_a_connection_serves_many_requests(door):
    for _ in range(3):
        assert door.ask("POST", "/telemetry", b"1")[0] == 200
    assert door.ask("GET", "/status")[1] == {"id": "gw-1"}


def test_a_gzipped_body_is_unpacked(door):
    assert door.ask("POST", "/telemetry", gzip.compress(b"1\n2"), {"Content-Encoding": "gzip"})[1]["accepted"] == 2


def test_everything_there_is_to_see_can_be_seen(door):
    assert door.ask("GET", "/health")[:2] == (200, {"healthy": True})
    assert door.ask("GET", "/alerts?since=0")[1] == {"standing": [], "recent": []}
    status, metrics, headers = door.ask("GET", "/metrics")
    assert (status, metrics) == (200, b"x 1\n")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_an_unhealthy_gateway_says_so_with_its_status(door):
    door.site.healthy = False
    assert door.ask("GET", "/health")[0] == 503


def test_before_the_first_model_senders_are_told_to_come_back(door):
    door.site.raises = NoModelError("no release was installed yet")
    status, answer, headers = door.ask("POST", "/telemetry", b"1")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "TM-276" in answer["error"]


@pytest.mark.parametrize("error", [DataError("broken"), ZeroDivisionError("oops")])
def test_a_fault_inside_is_an_answer_and_a_line_in_the_journal(door, error):
    door.site.raises = error
    assert door.ask("POST", "/telemetry", b"1")[0] == 500
    assert "request_failed" in door.lines.getvalue()
    door.site.raises = None
    assert door.ask("POST", "/telemetry", b"1")[0] == 200


REFUSED = {
    "an unknown path": ("GET", "/nothing", None, {}, 404),
    "telemetry by GET": ("GET", "/telemetry", None, {}, 405),
    "a POST elsewhere": ("POST", "/status", b"", {}, 404),
    "another method": ("PUT", "/telemetry", b"", {}, 501),
    "a length that is none": ("POST", "/telemetry", None, {"Content-Length": "many"}, 411),
    "another encoding": ("POST", "/telemetry", b"1", {"Content-Encoding": "br"}, 415),
    "a gzip that is none": ("POST", "/telemetry", b"1", {"Content-Encoding": "gzip"}, 400),
    "a gzip that was cut": ("POST", "/telemetry", gzip.compress(b"1" * 99)[:-9], {"Content-Encoding": "gzip"}, 400),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused(door, case):
    method, path, body, headers, expected = REFUSED[case]
    assert door.ask(method, path, body, headers)[0] == expected
    assert door.site.bodies == []


def test_a_body_beyond_the_limit_is_refused_unread(door):
    answer = door.say(b"POST /telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_refused_because_its_size_is_not_announced(door):
    answer = door.say(b"POST /telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411")


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(door):
    bomb = gzip.compress(b"\n" * (endpoint_module.MAX_BODY + 1))
    assert len(bomb) < 100_000
    assert door.ask("POST", "/telemetry", bomb, {"Content-Encoding": "gzip"})[0] == 413


def test_a_sender_that_goes_away_in_the_middle_costs_nothing(door):
    with socket.create_connection(door.address) as stream:
        stream.sendall(b"POST /telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert door.ask("POST", "/telemetry", b"1")[0] == 200
    assert door.site.bodies == [b"1"]


def test_a_sender_that_stalls_is_cut_off(door, monkeypatch):
    monkeypatch.setattr(endpoint_module._Handler, "timeout", 0.1)
    answer = door.say(b"POST /telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("given", ["", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN} "])
def test_without_the_token_only_health_is_told(locked, given):
    headers = {"Authorization": given} if given else {}
    assert locked.ask("GET", "/health", None, headers)[0] == 200
    if given.strip() != f"Bearer {TOKEN}":
        assert locked.ask("GET", "/status", None, headers)[0] == 401
        assert locked.ask("POST", "/telemetry", b"1", headers)[0] == 401
        assert locked.site.bodies == []


def test_with_the_token_telemetry_is_taken(locked):
    assert locked.ask("POST", "/telemetry", b"1", {"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_more_connections_than_there_is_room_for_are_turned_away(monkeypatch):
    monkeypatch.setattr(endpoint_module, "MAX_CONNECTIONS", 2)
    door = Door()
    held = [socket.create_connection(door.address, timeout=5) for _ in range(2)]
    for stream in held:  # an answered request shows that the connection has its thread
        stream.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(65536).startswith(b"HTTP/1.1 200")
    assert door.say(b"").startswith(b"HTTP/1.1 503")
    for stream in held:
        stream.close()
    while not door.say(b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200"):
        pass  # the threads of the closed connections have not ended yet
    door.endpoint.stop()


def test_a_stop_lets_the_request_in_hand_have_its_answer(door):
    door.site.gate = threading.Event()
    door.connection.request("POST", "/telemetry", b"1")
    while not door.endpoint._answering:
        pass
    stopping = threading.Thread(target=door.endpoint.stop)
    stopping.start()
    door.site.gate.set()
    assert door.connection.getresponse().status == 200
    stopping.join()
