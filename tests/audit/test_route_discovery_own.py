"""Of the framework's own code it is known what it does; what an app puts in its place may do anything."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import AuthGuardMiddleware, role
from authguard.audit.route_discovery import endpoints
from authguard.fastapi import requires
from authguard.starlette import requires as locked
from tests.audit.test_route_discovery import GUARD, asked, one, shown


@locked(role("any"))
async def page(request: Request) -> None:
    """An endpoint behind a lock."""


class OwnApp(Starlette):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class OwnRouter(Router):
    async def app(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@pytest.mark.parametrize("kind", [OwnApp, OwnRouter])
def test_an_app_that_is_called_otherwise_may_answer_anything(kind: Any) -> None:
    """Before one of its routes does, which are told all the same."""
    assert shown(Mount("/in", kind(routes=[Route("/a", page)]))) == [
        ("unseen", "*", "/in/**"),
        ("http", "GET", "/in/a"),
    ]


def test_what_is_put_in_place_of_a_method_on_the_app_itself_is_seen() -> None:
    """Only what is put on the framework's class, as tracing does, stands for all apps and is let be."""
    app = Starlette(routes=[Route("/a", page)])
    app.build_middleware_stack = lambda: app.router  # type: ignore[method-assign]

    assert shown(app) == [("unseen", "*", "/**"), ("http", "GET", "/a")]


async def test_tracing_that_is_put_on_the_framework_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make every app unseen."""

    async def traced(self: Starlette, scope: Scope, receive: Receive, send: Send) -> None: ...

    monkeypatch.setattr(Starlette, "__call__", traced)

    assert shown(FastAPI(openapi_url=None, routes=[Route("/a", page)])) == [("http", "GET", "/a")]


class Answering(Route):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Matching(Route):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.FULL, {}


class Folding(Route):
    def __init__(self, path: str, endpoint: Any) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)


@pytest.mark.parametrize(("kind", "path"), [(Answering, "/in/a"), (Matching, "/in/**"), (Folding, "/in/**")])
def test_a_route_of_ones_own_is_unseen(kind: Any, path: str) -> None:
    """On its path where it answers otherwise, anywhere where it matches otherwise; its lock counts for nothing."""
    found = one(Mount("/in", routes=[kind("/a", page)]))

    assert (found.kind, found.methods, found.path, found.locks) == ("unseen", ("*",), path, ())


def test_a_handler_of_ones_own_may_answer_before_its_locks() -> None:
    """From a cache, say."""

    class Cached(APIRoute):
        def get_route_handler(self) -> Any:
            async def answer(request: Request) -> Response:
                return PlainTextResponse("cached")

            return answer

    app, router = FastAPI(openapi_url=None), APIRouter(route_class=Cached)
    app.add_api_route("/plain", page, dependencies=[requires(role("any"))])
    router.add_api_route("/cached", page, methods=["PUT"], dependencies=[requires(role("any"))])
    app.include_router(router)

    assert [(found.methods, found.path, bool(found.locks)) for found in endpoints(app)] == [
        (("GET",), "/plain", True),
        (("PUT",), "/cached", False),
    ]


def test_files_of_ones_own_are_unseen() -> None:
    """They may be anything."""

    class Files(StaticFiles):
        async def get_response(self, path: str, scope: Scope) -> Response:
            return PlainTextResponse("")

    assert shown(Mount("/f", Files(directory="."))) == [("unseen", "*", "/f/**")]


def test_a_guard_of_ones_own_is_none() -> None:
    """It may ask nobody; one that is only made otherwise is a guard."""

    class Asking(AuthGuardMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)

    class Made(AuthGuardMiddleware):
        """With other defaults."""

    for kind, guard in ((Asking, None), (Made, GUARD)):
        app = Starlette(routes=[Route("/a", page)], middleware=[Middleware(kind, guard=GUARD)])
        assert [[layer.guard for layer in found.layers] for found in endpoints(app)] == [[guard]]


class Purging(HTTPEndpoint):
    async def get(self, request: Request) -> None: ...
    @locked(role("purger"))
    async def purge(self, request: Request) -> None: ...


def test_a_class_serves_whatever_method_it_has_where_starlette_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones look for no list."""
    for older, methods in ((False, [("GET",)]), (True, [("GET",), ("PURGE",)])):
        monkeypatch.setattr("authguard.audit.route_discovery._ANY_ATTRIBUTE", older)
        found = endpoints(Starlette(routes=[Route("/u", Purging), Route("/v", Purging, methods=["PURGE"])]))

        assert [each.methods for each in found if each.path == "/u"] == methods
        assert [asked(each) for each in found if each.path == "/v"] == [["role(purger)"]][: int(older)]


class Keeping:
    """A middleware that calls the next by another name."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.inner(scope, receive, send)


def keeping(inner: ASGIApp) -> ASGIApp:
    """One that shows nothing of it."""

    async def kept(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return kept


@pytest.mark.parametrize(("made", "name"), [(Keeping, "Keeping"), (keeping, "kept")])
def test_a_middleware_that_shows_nothing_is_the_last_that_is_seen(made: Any, name: str) -> None:
    """Round a router and round a route."""
    gzip, odd = Middleware(GZipMiddleware), Middleware(made)

    for app in (
        Router(routes=[Route("/a", page)], middleware=[gzip, odd, gzip]),
        Route("/a", page, middleware=[gzip, odd, gzip]),
    ):
        assert [[layer.name for layer in found.layers] for found in endpoints(app)] == [["GZipMiddleware", name]]


def test_a_function_that_is_middleware_has_a_name() -> None:
    """Its own, and not that of the class that calls it."""
    app = FastAPI(openapi_url=None, routes=[Route("/a", page)])

    @app.middleware("http")
    async def timed(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("")

    (found,) = endpoints(app)

    assert [(layer.name, layer.made_by) for layer in found.layers] == [("timed", timed)]
