"""The edge: the only file that calls ``receive`` or ``send``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.errors import RequestBodyError
from authguard.model import Principal
from authguard.passage import CURRENT, AccessDenied, Manner, Passage
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
    _answering = False
    _left: list[Message] | None = None

    def __init__(self, manner: Manner, scope: Scope, path: str, rule: Rule | None, send: Send) -> None:
        # Not by the class below: this is on the path of every request.
        self.manner = manner
        self.scope = scope
        self.headers = scope["headers"]
        self.path = path
        self.rule = rule
        self._send = send

    def show(self, scope: Scope) -> None:
        """Who it is, as Starlette is told."""
        principal = self.principal
        if principal is None:
            scope["user"], scope["auth"] = _ANONYMOUS, _NOBODY
        else:
            scope["user"], scope["auth"] = principal, _Credentials(principal)

    async def through(self, app: ASGIApp, receive: Receive) -> None:
        """Runs the app. What it raises after a denial that still has its answer to come goes no further."""
        token = CURRENT.set(self)
        try:
            await app(self.scope, receive, self.send)
        except Exception as error:
            if isinstance(error, AccessDenied) and self.noted is None:
                # Made where nobody knew of this request: in a bare thread, or once for all requests.
                self.note(self.refused(error.reason, error.facts))
            if self.noted is None or self._begun:
                raise
        finally:
            self.over = True
            # The scope and this hold each other, which only the garbage collector would find out.
            if self.outer is None:
                self.scope.pop("authguard", None)
            else:
                self.scope["authguard"] = self.outer
            try:  # noqa: SIM105 - one `suppress` costs a tenth of what PUBLIC costs
                CURRENT.reset(token)
            except ValueError:
                pass  # of a task that its loop left behind; the collector ends it, in a context of its own
            if self.noted is not None:
                self.manner.guard.tell(self.request, self.noted.denied, self.rule)
        if self.noted is not None:
            await self._deny()

    # Not async: a coroutine more for each message would cost as much as all else that PUBLIC costs.
    def send(self, message: Message) -> Awaitable[None]:
        """What the app sends."""
        if self._begun:
            return self._send(message)
        if self.noted is not None:
            return self._deny()
        kind = message["type"]
        if kind == "http.response.start" and not self.response_headers:  # nearly all
            self._begun = True
        elif kind in _STARTS:
            if kind == "websocket.accept":
                self._accepted = True
            else:
                self._begun = True
            if self.response_headers:
                message = {**message, "headers": [*message.get("headers", ()), *self.response_headers]}
        elif kind == "websocket.close":
            self._left = []  # and so a denial has nothing to add
        return self._send(message)

    async def _deny(self) -> None:
        """Answers once; what the app sends is dropped. Where a task is cancelled that does so, another goes on."""
        if self._begun or self._answering or self.noted is None:
            return
        if self._left is None:
            closed: list[Message] = [{"type": "websocket.close", "code": _POLICY_VIOLATION}]
            self._left = closed if self._accepted else messages(self.scope, self.noted.reply)
        self._answering = True
        try:
            while self._left:
                await self._send(self._left[0])
                del self._left[0]
        except Exception:
            self._left.clear()  # the client is gone, or the server has had enough
            raise
        finally:
            self._answering = False


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
            return [{"type": "websocket.close", "code": _POLICY_VIOLATION}]
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


class Starting:
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
