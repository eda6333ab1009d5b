"""The ASGI side of the server: reads bodies within limits, and decides which thread answers.

Small requests are answered on the event loop: a model takes tens of microseconds for a row, a hand-over to another
thread and back takes about as long, and with one worker the loop has nothing better to do meanwhile. Bodies beyond
``INLINE_BYTES`` (some hundred rows) go to a small pool instead, so that a large request cannot hold up health checks
and small requests; ONNX Runtime and numpy release the interpreter's lock there.

At most ``max_requests`` are being read or answered at once; the next is turned away with 503 before its body is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from serving.cloud.protocol import RequestError
from serving.cloud.server import Response, Server, refusal

INLINE_BYTES = 64 * 1024

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """An ASGI application around a ``Server``.

    Args:
        server: Answers.
        max_body: Most bytes of a body.
        max_requests: Most requests at once.
        body_seconds: Longest time a client may take to send its body.
        threads: Threads for large requests.
    """

    def __init__(
        self, server: Server, *, max_body: int, max_requests: int, body_seconds: float = 10.0, threads: int = 2
    ) -> None:
        self._server = server
        self._max_body = max_body
        self._max_requests = max_requests
        self._body_seconds = body_seconds
        self._pool = ThreadPoolExecutor(threads, "large-request")
        self._running = 0

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; anything but HTTP is not for this server."""
        if scope["type"] != "http":
            raise ValueError(f"unsupported ASGI scope {scope['type']}")
        if self._running >= self._max_requests:
            await _send(send, refusal(503, "too many requests at once", ("connection", "close")))
            return
        self._running += 1
        try:
            await _send(send, await self._answer(scope, receive))
        finally:
            self._running -= 1

    async def _answer(self, scope: Mapping[str, Any], receive: Receive) -> Response:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._read(headers, receive)
        except TimeoutError:
            return refusal(408, f"the body took longer than {self._body_seconds:g} s", ("connection", "close"))
        except RequestError as error:
            return refusal(error.status, str(error), ("connection", "close"))
        request = (scope["method"], scope["path"], headers, body)
        if len(body) <= INLINE_BYTES:
            return self._server.handle(*request)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._server.handle, *request)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        stated = headers.get("content-length", "0")
        self._check_size(int(stated) if stated.isdigit() else 0)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "the client went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._check_size(size)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise RequestError(413, f"the body is larger than {self._max_body} bytes")


async def _send(send: Send, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
