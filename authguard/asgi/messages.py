"""The edge: the only file that calls ``receive`` or ``send``."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Message, Receive, Scope, Send

from authguard.core.responses import Reply
from authguard.errors import RequestBodyError
from authguard.reasons import BODY_TOO_LARGE

# RFC 6455 section 7.4.1: "policy violation", where the server has no way to refuse the handshake with a status.
POLICY_VIOLATION = 1008


async def answer(scope: Scope, send: Send, reply: Reply) -> None:
    """Sends a whole answer."""
    for message in messages(scope, reply):
        await send(message)


def messages(scope: Scope, reply: Reply) -> list[Message]:
    """A whole answer, as ASGI sends it."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            return [{"type": "websocket.close", "code": POLICY_VIOLATION}]
    return [
        {"type": f"{kind}.start", "status": reply.status, "headers": list(reply.headers)},
        {"type": f"{kind}.body", "body": reply.body},
    ]


#: So much of a body is kept for a lock behind PUBLIC, which asks when the app has read it already.
_MOST_KEPT = 1024 * 1024


class Body:
    """The request's body, read for a scheme and then given to the app as if nobody had.

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
        """At most a little more than ``limit`` octets: who gets more than that knows that there is too much."""
        if self._lost:
            raise RequestBodyError(BODY_TOO_LARGE)
        while self._more and len(self._read) <= limit:
            self._ahead = True
            message = await self._receive()
            if message["type"] != "http.request":
                raise RequestBodyError
            self._take(message)
        return bytes(self._read)

    async def receive(self) -> Message:
        """What the app receives."""
        if self._ahead:
            self._ahead = False
            octets = bytes(self._read[self._given :])
            self._given = len(self._read)
            return {"type": "http.request", "body": octets, "more_body": self._more}
        message = await self._receive()
        if self._keep and message["type"] == "http.request":
            self._take(message)
            self._given = len(self._read)
            if self._given > _MOST_KEPT:
                self._lost, self._keep, self._given = True, False, 0
                self._read.clear()
        return message

    def _take(self, message: Message) -> None:
        self._read += message.get("body", b"")
        self._more = message.get("more_body", False)


class LifespanStart:
    """One lifespan of an app: what it says of its start goes out unless there is a problem, and then it is ended."""

    def __init__(self, receive: Receive, send: Send, problem: Callable[[], Exception | None]) -> None:
        self._receive, self._send, self._problem = receive, send, problem
        self.failed: Exception | None = None

    async def send(self, message: Message) -> None:
        """What the app sends."""
        if self.failed is not None:
            return  # of its end; the server knows of no start
        if message["type"] == "lifespan.startup.complete":
            self.failed = self._problem()
            if self.failed is not None:
                message = {"type": "lifespan.startup.failed", "message": str(self.failed)}
        await self._send(message)

    async def receive(self) -> Message:
        """What the app receives."""
        return await self._receive() if self.failed is None else {"type": "lifespan.shutdown"}
