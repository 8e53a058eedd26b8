"""The walk trusts the framework's own code; a method that an app overrides makes that part of it opaque."""

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
from authguard.audit.route_discovery import discover_endpoints
from authguard.fastapi import requires
from authguard.starlette import requires as locked
from tests.audit.endpoints import GUARD, only_endpoint, requirements, summary


@locked(role("any"))
async def page(request: Request) -> None:
    """An endpoint behind a lock."""


class OwnApp(Starlette):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class OwnRouter(Router):
    async def app(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@pytest.mark.parametrize("kind", [OwnApp, OwnRouter])
def test_an_app_or_router_with_its_own_call_is_opaque(kind: Any) -> None:
    """It may answer before one of its routes does. Its routes are endpoints all the same."""
    assert summary(Mount("/in", kind(routes=[Route("/a", page)]))) == [
        ("opaque", "*", "/in/**"),
        ("http", "GET", "/in/a"),
    ]


def test_a_method_replaced_on_the_app_itself_makes_it_opaque() -> None:
    """A method replaced on the framework's class, as tracing does it, concerns all apps and does not."""
    app = Starlette(routes=[Route("/a", page)])
    app.build_middleware_stack = lambda: app.router  # type: ignore[method-assign]

    assert summary(app) == [("opaque", "*", "/**"), ("http", "GET", "/a")]


async def test_a_method_replaced_on_the_frameworks_class_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing does this. It would make every app opaque."""

    async def traced(self: Starlette, scope: Scope, receive: Receive, send: Send) -> None: ...

    monkeypatch.setattr(Starlette, "__call__", traced)

    assert summary(FastAPI(openapi_url=None, routes=[Route("/a", page)])) == [("http", "GET", "/a")]


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
def test_a_route_class_of_the_app_is_opaque(kind: Any, path: str) -> None:
    """It is opaque on its path if it handles requests itself, and on any path if it matches them itself.

    Its lock does not count.
    """
    endpoint = only_endpoint(Mount("/in", routes=[kind("/a", page)]))

    assert (endpoint.kind, endpoint.methods, endpoint.path, endpoint.locks) == ("opaque", ("*",), path, ())


def test_the_locks_of_a_custom_route_handler_do_not_count() -> None:
    """The handler may answer from a cache before they run."""

    class Cached(APIRoute):
        def get_route_handler(self) -> Any:
            async def answer(request: Request) -> Response:
                return PlainTextResponse("cached")

            return answer

    app, router = FastAPI(openapi_url=None), APIRouter(route_class=Cached)
    app.add_api_route("/plain", page, dependencies=[requires(role("any"))])
    router.add_api_route("/cached", page, methods=["PUT"], dependencies=[requires(role("any"))])
    app.include_router(router)

    assert [(endpoint.methods, endpoint.path, bool(endpoint.locks)) for endpoint in discover_endpoints(app)] == [
        (("GET",), "/plain", True),
        (("PUT",), "/cached", False),
    ]


def test_a_staticfiles_class_of_the_app_is_opaque() -> None:
    """It may serve anything."""

    class Files(StaticFiles):
        async def get_response(self, path: str, scope: Scope) -> Response:
            return PlainTextResponse("")

    assert summary(Mount("/f", Files(directory="."))) == [("opaque", "*", "/f/**")]


def test_a_guard_middleware_with_its_own_call_is_not_a_guard_layer() -> None:
    """It may ask nobody. A subclass that overrides nothing is a guard layer."""

    class Asking(AuthGuardMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)

    class Unchanged(AuthGuardMiddleware):
        """With other defaults."""

    for kind, guard in ((Asking, None), (Unchanged, GUARD)):
        app = Starlette(routes=[Route("/a", page)], middleware=[Middleware(kind, guard=GUARD)])
        assert [[layer.guard for layer in endpoint.layers] for endpoint in discover_endpoints(app)] == [[guard]]


class Purging(HTTPEndpoint):
    async def get(self, request: Request) -> None: ...
    @locked(role("purger"))
    async def purge(self, request: Request) -> None: ...


def test_a_class_serves_every_method_it_has_on_older_starlettes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no list of methods that they dispatch."""
    for older, methods in ((False, [("GET",)]), (True, [("GET",), ("PURGE",)])):
        monkeypatch.setattr("authguard.audit.route_discovery._DISPATCHES_ANY_METHOD", older)
        endpoints = discover_endpoints(
            Starlette(routes=[Route("/u", Purging), Route("/v", Purging, methods=["PURGE"])])
        )

        assert [endpoint.methods for endpoint in endpoints if endpoint.path == "/u"] == methods
        assert [requirements(endpoint) for endpoint in endpoints if endpoint.path == "/v"] == [["role(purger)"]][
            : int(older)
        ]


class Keeping:
    """A middleware that holds the next app under another name than ``.app``."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.inner(scope, receive, send)


def keeping(inner: ASGIApp) -> ASGIApp:
    """A function that does not show the next app at all."""

    async def kept(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return kept


@pytest.mark.parametrize(("implementation", "name"), [(Keeping, "Keeping"), (keeping, "kept")])
def test_a_middleware_that_hides_the_next_is_the_last_layer(implementation: Any, name: str) -> None:
    """It may be around a router or around a route."""
    gzip, hiding = Middleware(GZipMiddleware), Middleware(implementation)

    for app in (
        Router(routes=[Route("/a", page)], middleware=[gzip, hiding, gzip]),
        Route("/a", page, middleware=[gzip, hiding, gzip]),
    ):
        assert [[layer.name for layer in endpoint.layers] for endpoint in discover_endpoints(app)] == [
            ["GZipMiddleware", name]
        ]


def test_a_middleware_function_has_its_own_name() -> None:
    """The name is not that of the class that calls it."""
    app = FastAPI(openapi_url=None, routes=[Route("/a", page)])

    @app.middleware("http")
    async def timed(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("")

    (endpoint,) = discover_endpoints(app)

    assert [(layer.name, layer.implementation) for layer in endpoint.layers] == [("timed", timed)]
