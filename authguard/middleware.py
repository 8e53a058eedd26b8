"""The edge: ASGI in, ASGI out. The only file that calls ``receive`` or ``send``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.errors import ConfigurationError, RequestBodyError
from authguard.guard import Guard
from authguard.model import Denied, Header, Principal
from authguard.policy.requirement import PUBLIC
from authguard.policy.rules import WEBSOCKET
from authguard.policy.table import AMBIGUOUS
from authguard.record import log
from authguard.request import AuthRequest
from authguard.respond import Render, Reply

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
        self._render = render
        # An app with a root_path of its own puts it into the scope only after the guard has looked.
        self._root_path = _along(app, "root_path")
        cors_inside = any(isinstance(inner, CORSMiddleware) for inner in _chain(app))
        # Looked up at the first request that depends on it: by then all routes are there.
        self._mounts: list[re.Pattern[str]] | None = None
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
        root: str = self._root_path or scope.get("root_path", "")
        path: str = route_path(scope, root) if root else scope["path"]
        match = guard.table.match(_method(scope), path)
        if root and path == scope["path"] and guard.table.rules and self._is_read_twice(path):
            match = AMBIGUOUS
        outer = scope.get("authguard")
        proven = outer.principal if isinstance(outer, Passage) and outer.headers is scope["headers"] else None
        if match is not AMBIGUOUS and (match.requirement is PUBLIC or self._is_preflight(scope)):
            _enter(scope, proven)
            await self.app(scope, receive, send)
            return
        body = _Body(receive) if guard.reads_body and kind == "http" else None
        request = AuthRequest(scope, path, guard.moment(), body.read if body else None)
        decision = guard.path_refused() if match is AMBIGUOUS else await guard.decide(request, match, proven)
        if isinstance(decision, Denied):
            reply, denied = guard.reply(request, decision, self._render)
            guard.tell(request, denied)
            await _answer(scope, send, reply)
            return
        guard.tell(request, decision)
        _enter(scope, decision.principal)
        onward = _with_headers(send, decision.response_headers) if decision.response_headers else send
        await self.app(scope, body.receive if body else receive, onward)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An error of the app's own comes out as it is: raised through the services, it would come out in their groups.
        failed: Exception | None = None
        async with self.guard.running():
            try:
                await self.app(scope, receive, send)
            except Exception as error:  # noqa: BLE001 - raised below
                failed = error
        if failed is not None:
            raise failed

    def _is_read_twice(self, path: str) -> bool:
        """Whether a ``Mount`` further in would not take its own part off a path that is outside of ``root_path``.

        Starlette looks for the mount's path behind ``root_path``; where the path does not begin with that, the router
        inside the mount reads the whole path anew, and what it finds is not what the rules were held against.
        """
        if self._mounts is None:
            self._mounts = [mount for inner in _chain(self.app) for mount in _mounts_in(inner)]
        return any(mount.match(path) for mount in self._mounts)

    def _is_preflight(self, scope: Scope) -> bool:
        if not self._preflight_passes or scope["type"] != "http" or scope["method"] != "OPTIONS":
            return False
        names = {name for name, _ in scope["headers"]}
        return b"origin" in names and b"access-control-request-method" in names


def route_path(scope: Scope, own_root_path: str = "") -> str:
    """The path that the router matches: decoded, and below ``root_path`` where that ends at a slash."""
    path: str = scope["path"]
    root: str = own_root_path or scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    below = path[len(root) :]
    return below if not below or below[0] == "/" else path


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


def _chain(app: object) -> list[object]:
    """The app and what it wraps, along ``.app``."""
    found: list[object] = []
    while app is not None and app not in found:
        found.append(app)
        app = getattr(app, "app", None)
    return found


def _mounts_in(router: object, *, included: bool = False) -> Iterator[re.Pattern[str]]:
    """What the mounts match, of those that take a part of the path for themselves."""
    routes: Sequence[object] = getattr(router, "routes", None) or ()
    for route in routes:
        if isinstance(route, Mount) and route.path:
            # Behind which prefix FastAPI has included its router, a mount does not know.
            yield re.compile("") if included else route.path_regex
        else:
            inner = getattr(route, "original_router", None)
            yield from _mounts_in(route if inner is None else inner, included=included or inner is not None)


def _along(app: object, name: str) -> str:
    for inner in _chain(app):
        value = getattr(inner, name, None)
        if isinstance(value, str) and value:
            return value
    return ""
