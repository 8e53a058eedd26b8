"""The middleware: which rule a request falls under, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import Literal

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard.asgi.messages import Body, LifespanStart, answer
from authguard.asgi.request_context import Crossing, MiddlewareOptions, Passage
from authguard.asgi.router_paths import RouterPaths, chain
from authguard.audit.findings import hands_on
from authguard.audit.startup import StartupAudit
from authguard.core.csrf import check_origins
from authguard.core.guard import Guard
from authguard.core.responses import Render, Reply, served
from authguard.errors import ConfigurationError
from authguard.model import Decision, Denied
from authguard.policy.requirements import PUBLIC
from authguard.policy.rules import AMBIGUOUS, WEBSOCKET
from authguard.records.record import log, log_failure


class AuthGuardMiddleware:
    """Puts a guard in front of an app: ``app.add_middleware(AuthGuardMiddleware, guard=guard)``.

    - ``preflight``: ``"auto"`` lets a true CORS preflight by only where a ``CORSMiddleware`` sits further in, which
      answers it; ``"pass"`` always does.
    - ``origins``: other sites (``https://app.example``) that may make browsers send Basic, Digest or a cookie with what
      changes something.
    - ``render``: ``(request, denied) -> (media type, octets)`` replaces the body of denials, and nothing else of them.
    - ``strict``: whether the app must not start where ``audit`` has a finding. Without a lifespan every request is 503.
    - ``ignore``: findings to accept: a code, or a code and what one is about, ``"open.unsafe POST /login"``.

    Behind it ``request.user`` is the ``Principal`` and ``request.auth`` holds ``authenticated``, the scopes, and the
    roles as ``role:NAME``. Raises ``ConfigurationError``.
    """

    #: By this the audit knows it.
    is_authguard = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: Guard,
        preflight: Literal["auto", "pass"] = "auto",
        origins: Sequence[str] = (),
        render: Render | None = None,
        strict: bool = False,
        ignore: Collection[str] = (),
    ) -> None:
        if not isinstance(guard, Guard):
            raise ConfigurationError("guard", f"{guard!r} is no Guard(...)")
        if preflight not in {"auto", "pass"}:
            raise ConfigurationError("preflight", f'{preflight!r} is neither "auto" nor "pass"')
        if render is not None and not callable(render):
            raise ConfigurationError("render", f"{render!r} is no function of (request, denied)")
        self.app = app
        self.guard = guard
        self.preflight = preflight
        self._manner = MiddlewareOptions(guard, check_origins(origins), render)
        self._routing = RouterPaths(app)
        self._startup = StartupAudit(app, guard, strict=strict, ignore=ignore)
        self._preflight_passes = preflight == "pass" or _is_answered(app)
        if any(isinstance(inner, CORSMiddleware) for inner in chain(app)):
            log.warning(
                "CORSMiddleware sits inside the guard: denials lack its headers. Put it outermost: add it last."
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. Scope types that are not known here are refused, not passed."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._lifespan(scope, receive, send)
            return
        guard = self.guard
        unstarted = None if self._startup.passed else self._startup.refusal()
        path, problem = self._routing.read(scope)
        if guard.published and unstarted is None and (page := _published(guard, scope, path)) is not None:
            await answer(scope, send, page)
            return
        match = guard.table.match(_method(scope), path)
        if problem is not None and guard.table.rules:
            match = AMBIGUOUS
        opened = match is not AMBIGUOUS and (match.requirement is PUBLIC or self._is_preflight(scope))
        body = Body(receive, keep=opened) if guard.reads_body and kind == "http" else None
        crossing = Crossing(self._manner, scope, path, None if match is AMBIGUOUS else match.rule, send)
        outer, authenticated = scope.get("authguard"), None
        if isinstance(outer, Passage) and outer.headers is scope["headers"]:
            crossing.outer, authenticated = outer, outer.principal
        if body is not None:
            crossing.read, receive = body.read, body.receive
        if opened and unstarted is None:
            crossing.enter(authenticated)
            await crossing.through(self.app, receive)
            return
        request = crossing.request
        if unstarted is not None:
            decision: Decision = unstarted
        elif match is AMBIGUOUS:
            decision = guard.path_refused(problem)
        else:
            decision = await guard.decide(request, match, authenticated, self._manner.origins)
        if isinstance(decision, Denied):
            reply, denied = guard.reply(request, decision, self._manner.render)
            guard.record(request, denied, crossing.rule)
            await answer(scope, send, reply)
            return
        guard.record(request, decision, crossing.rule)
        crossing.response_headers = decision.response_headers
        crossing.verified = True
        crossing.enter(decision.principal)
        await crossing.through(self.app, receive)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            msg = f"authguard does not know the scope type {scope['type']!r}, and lets nothing by that it does not know"
            raise RuntimeError(msg)
        # An error of the app's own comes out as it is: raised through the services, it would come out in their groups.
        failed: Exception | None = None
        async with AsyncExitStack() as services:
            try:
                await services.enter_async_context(self.guard.running())
            except Exception as error:  # noqa: BLE001 - everything works without them too, and the app must start
                log_failure("a service's start", error)
            try:
                start = LifespanStart(receive, send, self._startup.problem)
                await self.app(scope, start.receive, start.send)
                failed = start.failed
            except Exception as error:  # noqa: BLE001 - raised below
                failed = error
        if failed is not None:
            raise failed

    def _is_preflight(self, scope: Scope) -> bool:
        return self._preflight_passes and scope["type"] == "http" and _is_true_preflight(scope)


def _is_answered(app: ASGIApp) -> bool:
    """Whether a CORSMiddleware further in answers each preflight, with nothing before it that could."""
    first = next((inner for inner in chain(app) if not hands_on(type(inner))), None)
    return type(first) is CORSMiddleware


def _is_true_preflight(scope: Scope) -> bool:
    if scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def _published(guard: Guard, scope: Scope, path: str) -> Reply | None:
    """The answer of the guard's own. By the whole path: it stands at the root of the host, wherever the app does.

    By the path below ``root_path`` too: servers put that in front (uvicorn), and the rule that opens it is held against
    what is left. So what it opens never reaches the app.
    """
    if scope["type"] != "http":
        return None
    page = guard.published.get(scope["path"]) or guard.published.get(path)
    if page is None or (scope["method"] == "OPTIONS" and not _is_true_preflight(scope)):
        return None
    return served(page, scope["method"])


def _method(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return WEBSOCKET
    method: str = scope["method"]
    # An HTTP request could name the method that stands for handshakes.
    return "" if method == WEBSOCKET else method
