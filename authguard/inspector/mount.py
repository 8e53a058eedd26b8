"""``inspector(guard, requirement)``: the page, its files and its data, as an app to mount, which the guard closes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from authguard.asgi.locks import Lock, context_of, route_params, set_lock_marker
from authguard.asgi.request_context import RequestContext
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.inspector.decision_log import DecisionLog
from authguard.inspector.event_stream import EventStream
from authguard.inspector.filters import DecisionFilter
from authguard.inspector.shared_decisions import SharedDecisions
from authguard.inspector.views import hello_view, kept_for, routes_view, state_view
from authguard.model import Requirement
from authguard.policy.requirements import OPTIONAL, PUBLIC, check_requirement
from authguard.source_location import caller_location
from authguard.state.redis.backend import RedisBackend

#: The files of the page, and their types.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "inspector.css": "text/css; charset=utf-8",
    "inspector.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
}
#: Nothing but the files of this page is loaded, run or asked, and no text can become markup, whatever a script does.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
#: For how many seconds the figures, and the routes, are the same for all pages.
STATE_SECONDS, ROUTES_SECONDS = 1.0, 60.0


def inspector(guard: Guard, requirement: Requirement, *, title: str = "", redis: RedisBackend | None = None) -> ASGIApp:
    """A page that shows why requests are refused: ``app.mount("/inspector", inspector(guard, role("operator")))``.

    It shows refusals by reason over time, the last 1,000 decisions as they happen and what to do about each, bursts and
    those who are refused most, the clocks of issuers, key sets, password hashing, and the routes of the app with the
    findings of the audit. All of it is about this process, unless there is ``redis``.

    ``requirement`` is who may see it. ``guard``, which must be in front of the app, checks that for each request to the
    page, beside the rules of the path. The page reads credentials that a browser sends by itself: a ``Session``, a
    ``Cookie``, or ``Basic``. ``title`` names the app. With ``redis``, a ``RedisBackend``, the page shows the decisions
    and counts of all processes with the same server and prefix. They publish them there while a page is open.

    The page has no effect on requests that are granted, unless it is open and shows grants. It changes nothing, loads
    nothing from elsewhere, and shows no credentials. Raises ``ConfigurationError``, also for PUBLIC and OPTIONAL.
    """
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{guard!r} is not a Guard(...)")
    check_requirement("requirement", requirement)
    if requirement in {PUBLIC, OPTIONAL}:
        raise ConfigurationError(
            "requirement", f"{requirement} would show everybody who is refused, and why; name a role"
        )
    if not isinstance(title, str):
        raise ConfigurationError("title", f"{title!r} is not a text")
    return _Inspector(guard, Lock(requirement, caller_location(1)), title, redis).router()


class _Inspector:
    """The endpoints of the page."""

    def __init__(self, guard: Guard, lock: Lock, title: str, redis: RedisBackend | None) -> None:
        self._guard, self._lock, self._title = guard, lock, title
        self._log = DecisionLog(guard)
        self._state = kept_for(STATE_SECONDS, lambda: state_view(self._log, guard), guard.monotonic)
        self._shared = None if redis is None else SharedDecisions(redis, self._log, self._state)
        if self._shared is not None:
            self._log.on_refusal = self._shared.start
        self._routes: dict[str, object] = {}
        self._routes_at = float("-inf")

    def router(self) -> Router:
        """All endpoints, each with the lock."""
        routes = [
            Route("/", self._locked(self._file), name="inspector"),
            Route("/events", self._locked(self._events)),
            Route("/routes", self._locked(self._routes_of_app)),
            Route("/{file}", self._locked(self._file)),
        ]
        return Router(routes)

    def _locked(self, endpoint: Callable[[Request], Awaitable[ASGIApp]]) -> Callable[[Request], Awaitable[ASGIApp]]:
        """The endpoint, which runs after the lock: the guard asks it, and the audit sees it."""

        async def locked(request: Request) -> ASGIApp:
            context = self._context(request)
            await context.require(self._lock.requirement, route_params(request), request.scope)
            return await endpoint(request)

        set_lock_marker(locked, (self._lock,))
        return locked

    def _context(self, request: Request) -> RequestContext:
        """The request as this guard knows it. Raises ``ConfigurationError`` if this guard is not in front."""
        context: RequestContext | None = context_of(request)
        while context is not None:
            if context.options.guard is self._guard:
                return context
            context = context.outer
        raise ConfigurationError("guard", "another guard than the one of this inspector is in front of the app")

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("file", "index.html")
        media_type = FILES.get(name)
        if media_type is None:
            return Response(status_code=HTTPStatus.NOT_FOUND, headers=HEADERS)
        return Response(_content(name), media_type=media_type, headers=HEADERS)

    async def _events(self, request: Request) -> ASGIApp:
        title = self._title or str(getattr(request.scope.get("app"), "title", ""))
        return EventStream(
            self._log,
            DecisionFilter.from_query(request.query_params),
            request.headers.get("last-event-id", ""),
            [(name.encode(), text.encode()) for name, text in HEADERS.items()],
            lambda: {**hello_view(self._log, self._guard, title), "shared": self._shared is not None},
            self._state,
            self._shared,
        )

    async def _routes_of_app(self, request: Request) -> Response:
        now = self._guard.monotonic()
        if now - self._routes_at >= ROUTES_SECONDS:
            # A large app takes a second or two.
            self._routes = await run_in_threadpool(routes_view, request.scope.get("app"), self._guard)
            self._routes_at = now
        return Response(json.dumps(self._routes), media_type="application/json", headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    """The content of a file of the page."""
    return (files("authguard.inspector") / "static" / name).read_bytes()
