"""ASGI messages: a response, the request's body, the start of a lifespan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.types import Message, Receive, Scope, Send

from authguard.core.responses import Reply
from authguard.errors import RequestBodyError
from authguard.model import Denied
from authguard.reasons import BODY_TOO_LARGE

#: The first message of a response, and of a WebSocket.
STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

# RFC 6455 section 7.4.1, "policy violation": for servers that cannot refuse a handshake with a status.
POLICY_VIOLATION = 1008


async def answer(scope: Scope, send: Send, reply: Reply) -> None:
    """Send a whole response."""
    for message in messages(scope, reply):
        await send(message)


def messages(scope: Scope, reply: Reply) -> list[Message]:
    """A whole response as ASGI messages."""
    start, body = "http.response.start", "http.response.body"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            return [{"type": "websocket.close", "code": POLICY_VIOLATION}]
        start, body = "websocket.http.response.start", "websocket.http.response.body"
    return [
        {"type": start, "status": reply.status, "headers": list(reply.headers)},
        {"type": body, "body": reply.body},
    ]


def with_handshake(denied: Denied, scope: Scope, *, accepted: bool = False) -> Denied:
    """The denial; that of a WebSocket with the fact ``websocket``: what the client sees, if it is not the status."""
    if scope["type"] == "http":
        return denied
    if accepted:
        seen = "it was open already, and is closed with 1008"
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        seen = "the handshake is answered with the status"
    else:
        seen = "this server can only close the handshake: clients see 403"
    return replace(denied, facts={**denied.facts, "websocket": seen})


# With these the app says itself what caches may do with a response. The last three are those by which a response to
# `Authorization` may be stored in a shared cache: https://www.rfc-editor.org/rfc/rfc9111.html#section-3.5
_SAYS_WHO_MAY_STORE = frozenset({b"private", b"no-store", b"public", b"s-maxage", b"must-revalidate"})


def with_private(message: Message) -> Message:
    """The start of a response to credentials outside ``Authorization``: no shared cache stores it.

    RFC 9111 section 3.5 keeps shared caches from storing what answers ``Authorization``, and no other field. What the
    app says of shared caches stays, under the conditions of that section.
    """
    headers = [*message.get("headers", ())]
    for name, value in headers:
        if name.lower() == b"cache-control" and not _SAYS_WHO_MAY_STORE.isdisjoint(_directives(value)):
            return message
    return {**message, "headers": [*headers, (b"cache-control", b"private")]}


def _directives(value: bytes) -> list[bytes]:
    """The names of the directives in a line of ``Cache-Control``."""
    return [directive.partition(b"=")[0].strip().lower() for directive in value.split(b",")]


#: How many bytes of a body are kept for a lock on a PUBLIC route, which asks after the app may have read the body.
MAX_KEPT_BODY = 1024 * 1024


class Body:
    """The request's body: read for a scheme, then given to the app as if nobody had read it.

    ``keep``: whether what the app reads first is kept for a scheme that asks later.
    """

    def __init__(self, receive: Receive, *, keep: bool) -> None:
        self._receive = receive
        self._keep = keep
        self._read = bytearray()
        self._given = 0
        self._more = True
        self._ahead = False
        self._lost = False

    async def read(self, limit: int) -> bytes:
        """At most one message more than ``limit`` bytes: more than ``limit`` means that the body is too large."""
        if self._lost:
            problem = "the app had read more of it than is kept for a lock"
            raise RequestBodyError(BODY_TOO_LARGE, problem=problem, limit=MAX_KEPT_BODY)
        while self._more and len(self._read) <= limit:
            self._ahead = True
            message = await self._receive()
            if message["type"] != "http.request":
                raise RequestBodyError(problem="the client has disconnected", octets=len(self._read))
            self._add(message)
        return bytes(self._read)

    async def receive(self) -> Message:
        """The ``receive`` of the app."""
        if self._ahead:
            self._ahead = False
            data = bytes(self._read[self._given :])
            self._given = len(self._read)
            return {"type": "http.request", "body": data, "more_body": self._more}
        message = await self._receive()
        if self._keep and message["type"] == "http.request":
            self._add(message)
            self._given = len(self._read)
            if self._given > MAX_KEPT_BODY:
                self._lost, self._keep, self._given = True, False, 0
                self._read.clear()
        return message

    def _add(self, message: Message) -> None:
        self._read += message.get("body", b"")
        self._more = message.get("more_body", False)


class LifespanStart:
    """The lifespan of an app. If ``problem`` finds one when the app has started, the start is reported as failed."""

    def __init__(self, receive: Receive, send: Send, problem: Callable[[], Awaitable[Exception | None]]) -> None:
        self._receive, self._send, self._problem = receive, send, problem
        self.failed: Exception | None = None

    async def send(self, message: Message) -> None:
        """The ``send`` of the app."""
        if self.failed is not None:
            return  # the server has been told that the start failed
        if message["type"] == "lifespan.startup.complete":
            self.failed = await self._problem()
            if self.failed is not None:
                message = {"type": "lifespan.startup.failed", "message": str(self.failed)}
        await self._send(message)

    async def receive(self) -> Message:
        """The ``receive`` of the app."""
        return await self._receive() if self.failed is None else {"type": "lifespan.shutdown"}
