"""The edge: the only file that calls ``receive`` or ``send``."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cached_property

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.access import CURRENT, Manner, Passage
from authguard.errors import RequestBodyError
from authguard.model import Principal
from authguard.policy.rules import Rule
from authguard.reasons import BODY_TOO_LARGE
from authguard.respond import Reply

# RFC 6455 section 7.4.1: "policy violation", where the server has no way to refuse the handshake with a status.
_POLICY_VIOLATION = 1008
_ANONYMOUS = UnauthenticatedUser()
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class _Credentials(AuthCredentials):
    """What Starlette is told of a principal. Drawn up when the app asks, which most requests never do."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @cached_property
    def scopes(self) -> list[str]:  # type: ignore[override]
        # No scope of a token may pass for a role, or for more than itself.
        own = [name for name in self._principal.scopes if name != "authenticated" and not name.startswith("role:")]
        return ["authenticated", *own, *(f"role:{name}" for name in self._principal.roles)]


class _Nobody(AuthCredentials):
    """What Starlette is told where nobody was proved: one for all requests, which none of them can add to."""

    def __init__(self) -> None:
        pass

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        return []


_NOBODY = _Nobody()


class Crossing(Passage):
    """A passage on its way through the app: what the app sends goes out, unless the request was denied meanwhile."""

    #: Whether the answer has begun, so that nothing can be put in its place; a WebSocket can still be closed.
    _begun = False
    _accepted = False

    def __init__(self, manner: Manner, scope: Scope, path: str, rule: Rule | None, send: Send) -> None:
        self.manner, self.scope, self.headers, self.path, self.rule = manner, scope, scope["headers"], path, rule
        self._send = send

    def enter(self, principal: Principal | None) -> None:
        """What the app finds in its scope. Whatever stood there was not written by this guard, and goes."""
        self.principal = principal
        scope = self.scope
        scope["authguard"] = self
        if principal is None:
            scope["user"], scope["auth"] = _ANONYMOUS, _NOBODY
        else:
            scope["user"], scope["auth"] = principal, _Credentials(principal)

    async def through(self, app: ASGIApp, receive: Receive) -> None:
        """Runs the app. What it raises after a denial that still has its answer to come goes no further."""
        token = CURRENT.set(self)
        try:
            await app(self.scope, receive, self.send)
        except Exception:
            if self.denied is None or self._begun:
                raise
        finally:
            CURRENT.reset(token)
            if self.denied is not None:
                self.manner.guard.tell(self.request, self.denied, self.rule)
        if self.denied is not None:
            await self._deny()

    # Not async: a coroutine more for each message would cost as much as all else that PUBLIC costs.
    def send(self, message: Message) -> Awaitable[None]:
        """What the app sends."""
        if self._begun:
            return self._send(message)
        if self.denied is not None:
            return self._deny()
        kind = message["type"]
        if kind in _STARTS:
            if kind == "websocket.accept":
                self._accepted = True
            else:
                self._begun = True
            if self.response_headers:
                message = {**message, "headers": [*message.get("headers", ()), *self.response_headers]}
        elif kind == "websocket.close":
            self._begun = True
        return self._send(message)

    async def _deny(self) -> None:
        """Answers once; what follows is dropped."""
        if self.over or self._begun or self.reply is None:
            return
        self.over = True
        if self._accepted:
            await self._send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await answer(self.scope, self._send, self.reply)


async def answer(scope: Scope, send: Send, reply: Reply) -> None:
    """Sends a whole answer."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
    await send({"type": f"{kind}.start", "status": reply.status, "headers": list(reply.headers)})
    await send({"type": f"{kind}.body", "body": reply.body})


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
        while self._more and len(self._read) <= limit:
            self._ahead = True
            message = await self._receive()
            if message["type"] != "http.request":
                raise RequestBodyError
            self._take(message)
        if self._lost:
            raise RequestBodyError(BODY_TOO_LARGE)
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
            self._lost = self._lost or len(self._read) + len(message.get("body", b"")) > _MOST_KEPT
            if not self._lost:
                self._take(message)
                self._given = len(self._read)
        return message

    def _take(self, message: Message) -> None:
        self._read += message.get("body", b"")
        self._more = message.get("more_body", False)
