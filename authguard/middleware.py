"""The ASGI middleware: it finds the rule of a request, has the guard decide, and runs the app or answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Literal

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard.app_code import plain_function
from authguard.asgi.framework_code import passes_unchanged
from authguard.asgi.messages import Body, LifespanStart, answer, with_handshake
from authguard.asgi.request_context import MiddlewareOptions, RequestContext
from authguard.asgi.response_warnings import SetCookieCheck
from authguard.asgi.router_paths import RouterPaths, chain
from authguard.core.csrf import check_origins
from authguard.core.fast_path import Undecided
from authguard.core.guard import Guard
from authguard.core.responses import Render, Reply, served
from authguard.errors import ConfigurationError
from authguard.model import Denied
from authguard.policy.requirements import PUBLIC, UNLISTED
from authguard.policy.rules import AMBIGUOUS, WEBSOCKET, Match, ambiguity
from authguard.records.record import log, log_failure

_CONNECTIONS = frozenset({"http", "websocket"})
#: For a path that no rule can be found for.
NO_RULE = Match(UNLISTED)


class AuthGuardMiddleware:
    """Puts a guard in front of an app: ``app.add_middleware(AuthGuardMiddleware, guard=guard)``.

    - ``preflight``: ``"auto"`` passes a true CORS preflight only if a ``CORSMiddleware`` inside the guard answers it;
      ``"pass"`` passes every one.
    - ``origins``: other sites (``https://app.example``) whose pages may make a browser send Basic, Digest or a cookie
      with a request that changes something. They hold for a guard further in too, if it takes over the principal.
      ``"null"`` is for pages of this site under ``Referrer-Policy: no-referrer``, in browsers without
      ``Sec-Fetch-Site``; there, a sandboxed page of any other site looks the same.
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
        if render is not None:
            plain_function("render", render, "render(request, denied)", None, None)
        if any(map(partial(_holds, guard), chain(app))):
            raise ConfigurationError(
                "guard",
                "this guard is in front of the app twice, so each request would be decided and recorded twice; use "
                "install(app, guard) or add_middleware(AuthGuardMiddleware, ...), and not both",
            )
        self.app = app
        self.guard = guard
        self.preflight = preflight
        self.options = MiddlewareOptions(guard, check_origins(origins), render)
        self._router_paths = RouterPaths(app)
        self._set_cookies = SetCookieCheck(guard.cookies)
        # A program that imports authguard and makes no middleware, such as a command, does not import the audit.
        from authguard.audit.startup import StartupAudit  # noqa: PLC0415

        self._startup = StartupAudit(app, guard, strict=strict, ignore=ignore, preflight_passes=preflight == "pass")
        self._preflight_passes = preflight == "pass" or _cors_answers(app)
        if any(isinstance(inner, CORSMiddleware) for inner in chain(app)):
            log.warning(
                "CORSMiddleware is inside the guard, so denials have no CORS headers: add it last, as the outermost."
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. A scope type that is not known here is refused, not passed."""
        if scope["type"] not in _CONNECTIONS:
            await self._lifespan(scope, receive, send)
            return
        guard, options = self.guard, self.options
        denied = None if self._startup.passed else await self._startup.refusal(scope)
        path, problem = self._router_paths.read(scope)
        if guard.published and denied is None and (page := published_reply(guard, scope, path)) is not None:
            await answer(scope, send, page)
            return
        match = AMBIGUOUS if problem is not None and guard.table.rules else guard.table.match(rule_method(scope), path)
        if match is AMBIGUOUS:
            match, denied = NO_RULE, denied or guard.deny_path(problem or ambiguity(path))
        is_open = denied is None and (match.requirement is PUBLIC or self.passes_preflight(scope))
        watched = self._set_cookies.watch(send) if guard.cookies else send
        context = RequestContext(options, scope, path, match.rule, watched)
        if "authguard" in scope:
            context.join_outer()
        if guard.reads_body and scope["type"] == "http":
            body = Body(receive, keep=is_open)
            context.read, receive = body.read, body.receive
        if not is_open:
            origins = context.origins
            decision = denied or guard.decide_now(context.request, match, context.principal, origins)
            if isinstance(decision, Undecided):
                decision = await guard.finish(decision, context.request, match)
            if isinstance(decision, Denied):
                if guard.enforces(decision, report_only=guard.report_only or match.report_only):
                    reply, decision = guard.reply(context.request, decision, options.render)
                    guard.record(context.request, with_handshake(decision, scope), match.rule)
                    await answer(scope, send, reply)
                    return
                context.reported = decision = replace(decision, enforced=False)
            guard.record(context.request, decision, match.rule, origins)
            context.admit(decision)
        context.enter()
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

    def passes_preflight(self, scope: Scope) -> bool:
        """Whether it is a CORS preflight that passes unasked."""
        return self._preflight_passes and scope["type"] == "http" and is_true_preflight(scope)


def _holds(guard: Guard, app: object) -> bool:
    """Whether this guard is in front of the app, or listed among the middleware that it will have."""
    if isinstance(app, AuthGuardMiddleware):
        return app.guard is guard
    return any(middleware.kwargs.get("guard") is guard for middleware in getattr(app, "user_middleware", ()))


def _cors_answers(app: ASGIApp) -> bool:
    """Whether a CORSMiddleware inside the guard answers every preflight, with nothing before it that could answer."""
    first = next((inner for inner in chain(app) if not passes_unchanged(type(inner))), None)
    return type(first) is CORSMiddleware


def is_true_preflight(scope: Scope) -> bool:
    """Whether a browser asks about CORS: OPTIONS with the two fields that it sends then."""
    if scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def published_reply(guard: Guard, scope: Scope, path: str) -> Reply | None:
    """The response of a document that the guard itself serves, if the request asks for one.

    It is found by the whole path, because it is served at the root of the host wherever the app is mounted. It is found
    by the path below ``root_path`` too: uvicorn adds that prefix, and the rule that opens the document matches the
    rest.
    """
    if scope["type"] != "http":
        return None
    page = guard.published.get(scope["path"]) or guard.published.get(path)
    if page is None or (scope["method"] == "OPTIONS" and not is_true_preflight(scope)):
        return None
    return served(page, scope["method"])


def rule_method(scope: Scope) -> str:
    """The method by which the rule of a connection is found."""
    if scope["type"] == "websocket":
        return WEBSOCKET
    method: str = scope["method"]
    # "WEBSOCKET" stands for handshakes in rules; an HTTP request that names this method must not match those.
    return "" if method == WEBSOCKET else method
