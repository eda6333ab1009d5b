import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from serving.cloud.asgi import INLINE_BYTES, Application
from serving.cloud.server import Response


class Echo:
    """A server that answers with the size of what it got, and on which thread."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.gate: threading.Event | None = None
        self.both_in_hand = threading.Event()

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) == 2:
            self.both_in_hand.set()
        if self.gate is not None:
            self.gate.wait(5)
        answer = {"method": method, "path": path, "size": len(body), "host": headers.get("host")}
        return Response(200, (("content-type", "application/json"),), json.dumps(answer).encode())


def application(server: Any, **limits: Any) -> Application:
    return Application(server, **{"max_body": 1_000_000, "max_requests": 2, **limits})


async def ask(
    app: Application, messages: list[dict[str, Any]], headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    sent: list[Any] = []
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(name.encode(), value.encode()) for name, value in {"host": "x", **(headers or {})}.items()]
    await app({"type": "http", "method": "POST", "path": "/p", "headers": fields}, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert answered["content-length"] == str(len(sent[1]["body"]))
    return sent[0]["status"], answered, json.loads(sent[1]["body"])


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts_arrives_whole():
    status, _, answer = asyncio.run(ask(application(Echo()), [part(b"ab", more=True), part(b"c")]))
    assert (status, answer) == (200, {"method": "POST", "path": "/p", "size": 3, "host": "x"})


@pytest.mark.parametrize(("size", "inline"), [(INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
def test_large_requests_are_answered_on_another_thread(size, inline):
    server = Echo()
    asyncio.run(ask(application(server), [part(b"x" * size)]))
    assert (server.threads == [threading.main_thread().name]) is inline


@pytest.mark.parametrize(
    ("parts", "headers"),
    [
        ([part(b"x" * 600, more=True), part(b"x" * 600)], {}),
        ([], {"content-length": "1001"}),
    ],
    ids=["while it is read", "before it is read"],
)
def test_a_body_beyond_the_limit_is_refused(parts, headers):
    server = Echo()
    status, answered, answer = asyncio.run(ask(application(server, max_body=1000), parts, headers))
    assert (status, answered["connection"]) == (413, "close")
    assert "1000 bytes" in answer["error"]
    assert server.threads == []


def test_a_client_that_does_not_send_its_body_is_cut_off():
    status, _, answer = asyncio.run(ask(application(Echo(), body_seconds=0.01), [part(b"x", more=True)]))
    assert status == 408
    assert "0.01 s" in answer["error"]


def test_a_client_that_goes_away_is_not_answered_with_a_fault():
    status, *_ = asyncio.run(ask(application(Echo()), [part(b"x", more=True), {"type": "http.disconnect"}]))
    assert status == 400


def test_more_requests_than_there_is_room_for_are_told_to_come_back():
    server = Echo()
    gate = server.gate = threading.Event()
    both_in_hand = server.both_in_hand
    app = application(server)
    large = [part(b"x" * (INLINE_BYTES + 1))]

    async def scene() -> tuple[Any, Any, list[Any]]:
        held = [asyncio.create_task(ask(app, large)) for _ in range(2)]
        await asyncio.to_thread(both_in_hand.wait, 5)
        refused = await ask(app, [part(b"")])
        gate.set()
        answers = await asyncio.gather(*held)
        return refused, await ask(app, [part(b"")]), list(answers)

    refused, later, answers = asyncio.run(scene())
    assert (refused[0], refused[1]["retry-after"]) == (503, "1")
    assert [answer[0] for answer in answers] == [200, 200]
    assert later[0] == 200


def test_anything_but_http_is_not_for_this_server():
    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(application(Echo())({"type": "websocket"}, None, None))  # type: ignore[arg-type]  # never called
