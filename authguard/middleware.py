"""The ASGI middleware: it finds the rule of a request, has the guard decide, and runs the app or answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Literal

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard.asgi.framework_code import passes_unchanged
from authguard.asgi.messages import Body, LifespanStart, answer
from authguard.asgi.request_context import MiddlewareOptions, RequestContext
from authguard.asgi.router_paths import RouterPaths, chain
from authguard.audit.startup import StartupAudit
from authguard.core.csrf import check_origins
from authguard.core.fast_path import Undecided
from authguard.core.guard import Guard
from authguard.core.responses import Render, Reply, served
from authguard.errors import ConfigurationError
from authguard.model import Decision, Denied
from authguard.policy.requirements import PUBLIC
from authguard.policy.rules import AMBIGUOUS, WEBSOCKET
from authguard.records.record import log, log_failure


class AuthGuardMiddleware:
    """Puts a guard in front of an app: ``app.add_middleware(AuthGuardMiddleware, guard=guard)``.

    - ``preflight``: ``"auto"`` passes a true CORS preflight only if a ``CORSMiddleware`` inside the guard answers it;
      ``"pass"`` passes every one.
    - ``origins``: other sites (``https://app.example``) whose pages may make a browser send Basic, Digest or a cookie
      with a request that changes something. They hold for a guard further in too, if it takes over the principal.
    - ``render``: ``(request, denied) -> (media type, bytes)`` replaces the body of a denial, and nothing else of it.
    - ``strict``: with True the app does not start if ``audit`` has a finding. Without a lifespan every request is 503.
    - ``ignore``: findings to accept: a code, or a code and its subject, ``"open.unsafe POST /login"``.

    Behind it ``request.user`` is the ``Principal`` and ``request.auth`` holds ``authenticated``, the scopes, and the
    roles as ``role:NAME``. Raises ``ConfigurationError``.
    """

    #: The audit recognises the middleware by this attribute.
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
            raise ConfigurationError("guard", f"{guard!r} is not a Guard(...)")
        if preflight not in {"auto", "pass"}:
            raise ConfigurationError("preflight", f'{preflight!r} is neither "auto" nor "pass"')
        if render is not None and not callable(render):
            raise ConfigurationError("render", f"{render!r} is not a function of (request, denied)")
        self.app = app
        self.guard = guard
        self.preflight = preflight
        self._options = MiddlewareOptions(guard, check_origins(origins), render)
        self._router_paths = RouterPaths(app)
        self._startup = StartupAudit(app, guard, strict=strict, ignore=ignore, preflight_passes=preflight == "pass")
        self._preflight_passes = preflight == "pass" or _cors_answers(app)
        if any(isinstance(inner, CORSMiddleware) for inner in chain(app)):
            log.warning(
                "CORSMiddleware is inside the guard, so denials have no CORS headers: add it last, as the outermost."
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. A scope type that is not known here is refused, not passed."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._lifespan(scope, receive, send)
            return
        guard = self.guard
        not_started = None if self._startup.passed else await self._startup.refusal(scope)
        path, problem = self._router_paths.read(scope)
        if guard.published and not_started is None and (page := _published(guard, scope, path)) is not None:
            await answer(scope, send, page)
            return
        match = guard.table.match(_method(scope), path)
        if problem is not None and guard.table.rules:
            match = AMBIGUOUS
        is_open = match is not AMBIGUOUS and (match.requirement is PUBLIC or self._is_preflight(scope))
        body = Body(receive, keep=is_open) if guard.reads_body and kind == "http" else None
        context = RequestContext(self._options, scope, path, None if match is AMBIGUOUS else match.rule, send)
        outer, authenticated = scope.get("authguard"), None
        if isinstance(outer, RequestContext) and outer.headers is scope["headers"]:
            context.outer, authenticated = outer, outer.principal
        if body is not None:
            context.read, receive = body.read, body.receive
        if is_open and not_started is None:
            context.enter(authenticated)
            await context.run(self.app, receive)
            return
        request = context.request
        if not_started is not None:
            decision: Decision = not_started
        elif match is AMBIGUOUS:
            decision = guard.deny_path(problem)
        else:
            decided = guard.decide_now(request, match, authenticated, context.origins)
            decision = await guard.finish(decided, request, match) if isinstance(decided, Undecided) else decided
        if isinstance(decision, Denied):
            reply, denied = guard.reply(request, decision, self._options.render)
            guard.record(request, denied, context.rule)
            await answer(scope, send, reply)
            return
        guard.record(request, decision, context.rule)
        context.response_headers = decision.response_headers
        context.verified = True
        context.enter(decision.principal)
        await context.run(self.app, receive)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            msg = f"authguard does not know the scope type {scope['type']!r}, and passes only what it knows"
            raise RuntimeError(msg)
        # The app's own error is raised unchanged: through the services' task groups it would come out wrapped.
        failed: Exception | None = None
        async with AsyncExitStack() as services:
            try:
                await services.enter_async_context(self.guard.running())
            except Exception as error:  # noqa: BLE001 - everything works without the services too, and the app must start
                log_failure("a service's start", error)
            try:
                start = LifespanStart(receive, send, partial(self._startup.problem, scope))
                await self.app(scope, start.receive, start.send)
                failed = start.failed
            except Exception as error:  # noqa: BLE001 - raised below
                failed = error
        if failed is not None:
            raise failed

    def _is_preflight(self, scope: Scope) -> bool:
        return self._preflight_passes and scope["type"] == "http" and _is_true_preflight(scope)


def _cors_answers(app: ASGIApp) -> bool:
    """Whether a CORSMiddleware inside the guard answers every preflight, with nothing before it that could answer."""
    first = next((inner for inner in chain(app) if not passes_unchanged(type(inner))), None)
    return type(first) is CORSMiddleware


def _is_true_preflight(scope: Scope) -> bool:
    if scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def _published(guard: Guard, scope: Scope, path: str) -> Reply | None:
    """The response of a document that the guard itself serves, if the request asks for one.

    It is found by the whole path, because it is served at the root of the host wherever the app is mounted. It is found
    by the path below ``root_path`` too: uvicorn adds that prefix, and the rule that opens the document matches the
    rest.
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
    # "WEBSOCKET" stands for handshakes in rules; an HTTP request that names this method must not match those.
    return "" if method == WEBSOCKET else method
