"""The edge: ASGI in, ASGI out. The only file that calls ``receive`` or ``send``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.errors import ConfigurationError, RequestBodyError
from authguard.guard import Guard
from authguard.model import Decision, Denied, Header, Principal
from authguard.policy.origin import check_origins
from authguard.policy.requirement import PUBLIC
from authguard.policy.rules import WEBSOCKET
from authguard.policy.table import AMBIGUOUS
from authguard.record import log, log_failure
from authguard.request import AuthRequest
from authguard.respond import Render, Reply
from authguard.routing import Routing, chain

# RFC 6455 section 7.4.1: "policy violation", where the server has no way to refuse the handshake with a status.
_POLICY_VIOLATION = 1008
_ANONYMOUS = UnauthenticatedUser()


@dataclass(slots=True, eq=False)
class Passage:
    """What a guard leaves in ``scope["authguard"]`` for guards further in: whom it proved, and in which request."""

    principal: Principal | None
    headers: object = field(repr=False)


class _Credentials(AuthCredentials):
    """What Starlette is told of a principal. Drawn up when the app asks, which most requests never do."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @cached_property
    def scopes(self) -> list[str]:  # type: ignore[override]
        # No scope of a token may pass for a role, or for more than itself.
        own = [name for name in self._principal.scopes if name != "authenticated" and not name.startswith("role:")]
        return ["authenticated", *own, *(f"role:{name}" for name in self._principal.roles)]


class AuthGuardMiddleware:
    """Puts a guard in front of an app: ``app.add_middleware(AuthGuardMiddleware, guard=guard)``.

    - ``preflight``: ``"auto"`` lets a true CORS preflight by only where a ``CORSMiddleware`` sits further in, which
      answers it; ``"pass"`` always does.
    - ``origins``: other sites (``https://app.example``) that may make browsers send Basic, Digest or a cookie with what
      changes something.
    - ``render``: ``(request, denied) -> (media type, octets)`` replaces the body of denials, and nothing else of them.

    Behind it ``request.user`` is the ``Principal`` and ``request.auth`` holds ``authenticated``, the scopes, and the
    roles as ``role:NAME``. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: Guard,
        preflight: Literal["auto", "pass"] = "auto",
        origins: Sequence[str] = (),
        render: Render | None = None,
    ) -> None:
        if not isinstance(guard, Guard):
            raise ConfigurationError("guard", f"{guard!r} is no Guard(...)")
        if preflight not in {"auto", "pass"}:
            raise ConfigurationError("preflight", f'{preflight!r} is neither "auto" nor "pass"')
        if render is not None and not callable(render):
            raise ConfigurationError("render", f"{render!r} is no function of (request, denied)")
        self.app = app
        self.guard = guard
        self._origins = check_origins(origins)
        self._render = render
        self._routing = Routing(app)
        cors_inside = any(isinstance(inner, CORSMiddleware) for inner in chain(app))
        self._preflight_passes = preflight == "pass" or cors_inside
        if cors_inside:
            log.warning(
                "CORSMiddleware sits inside the guard: denials lack its headers. Put it outermost: add it last."
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. Scope types that are not known here are refused, not passed."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in {"http", "websocket"}:
            msg = f"authguard does not know the scope type {kind!r}, and lets nothing by that it does not know"
            raise RuntimeError(msg)
        guard = self.guard
        path, problem = self._routing.read(scope)
        match = guard.table.match(_method(scope), path)
        if problem is not None and guard.table.rules:
            match = AMBIGUOUS
        outer = scope.get("authguard")
        proven = outer.principal if isinstance(outer, Passage) and outer.headers is scope["headers"] else None
        if match is not AMBIGUOUS and (match.requirement is PUBLIC or self._is_preflight(scope)):
            _enter(scope, proven)
            await self.app(scope, receive, send)
            return
        body = _Body(receive) if guard.reads_body and kind == "http" else None
        request = AuthRequest(scope, path, guard.moment(), body.read if body else None)
        rule = None if match is AMBIGUOUS else match.rule
        if match is AMBIGUOUS:
            decision: Decision = guard.path_refused(problem)
        else:
            decision = await guard.decide(request, match, proven, self._origins)
        if isinstance(decision, Denied):
            reply, denied = guard.reply(request, decision, self._render)
            guard.tell(request, denied, rule)
            await _answer(scope, send, reply)
            return
        guard.tell(request, decision, rule)
        _enter(scope, decision.principal)
        onward = _with_headers(send, decision.response_headers) if decision.response_headers else send
        await self.app(scope, body.receive if body else receive, onward)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An error of the app's own comes out as it is: raised through the services, it would come out in their groups.
        failed: Exception | None = None
        async with AsyncExitStack() as services:
            try:
                await services.enter_async_context(self.guard.running())
            except Exception as error:  # noqa: BLE001 - everything works without them too, and the app must start
                log_failure("a service's start", error)
            try:
                await self.app(scope, receive, send)
            except Exception as error:  # noqa: BLE001 - raised below
                failed = error
        if failed is not None:
            raise failed

    def _is_preflight(self, scope: Scope) -> bool:
        if not self._preflight_passes or scope["type"] != "http" or scope["method"] != "OPTIONS":
            return False
        names = {name for name, _ in scope["headers"]}
        return b"origin" in names and b"access-control-request-method" in names


def _method(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return WEBSOCKET
    method: str = scope["method"]
    # An HTTP request could name the method that stands for handshakes.
    return "" if method == WEBSOCKET else method


def _enter(scope: Scope, principal: Principal | None) -> None:
    """What the app finds in its scope. Whatever stood there was not written by this guard, and goes."""
    scope["authguard"] = Passage(principal, scope["headers"])
    scope["user"] = principal or _ANONYMOUS
    scope["auth"] = AuthCredentials() if principal is None else _Credentials(principal)


async def _answer(scope: Scope, send: Send, reply: Reply) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
    await send({"type": f"{kind}.start", "status": reply.status, "headers": list(reply.headers)})
    await send({"type": f"{kind}.body", "body": reply.body})


def _with_headers(send: Send, headers: Sequence[Header]) -> Send:
    starts = {"http.response.start", "websocket.accept", "websocket.http.response.start"}

    async def onward(message: Message) -> None:
        if message["type"] in starts:
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return onward


class _Body:
    """The request's body, read for a scheme and then given to the app as if nobody had."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = bytearray()
        self._more = True
        self._replay = False

    async def read(self, limit: int) -> bytes:
        """At most a little more than ``limit`` octets: who gets more than that knows that there is too much."""
        self._replay = True
        while self._more and len(self._read) <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise RequestBodyError
            self._read += message.get("body", b"")
            self._more = message.get("more_body", False)
        return bytes(self._read)

    async def receive(self) -> Message:
        """What the app receives."""
        if not self._replay:
            return await self._receive()
        self._replay = False
        return {"type": "http.request", "body": bytes(self._read), "more_body": self._more}
