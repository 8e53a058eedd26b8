"""The walk through an app ends, and reports what it has not inspected as opaque."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from authguard import AuthGuardMiddleware
from authguard.asgi.router_paths import RouterPaths
from authguard.audit.route_discovery import discover_endpoints
from authguard.policy.path_pattern import parse_pattern
from tests.audit.endpoints import GUARD, only_endpoint, summary
from tests.support.asgi import header_list, http_scope, run_app


async def page(request: Request) -> None:
    """An endpoint."""


class Extension:
    """A part of an app that points back at the app."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def doubled(depth: int) -> Starlette:
    """An app that is mounted twice in one that is mounted twice, and so on."""
    app = Starlette(routes=[Route("/x", page)])
    for _ in range(depth):
        app = Starlette(routes=[Mount("/a", app), Mount("/b", app)])
    return app


async def test_apps_that_point_back_are_walked_once() -> None:
    """Several parts may do so: each is opaque, and requests are served as usual."""
    app = Starlette(routes=[Route("/x", page)])
    for number in range(8):
        app.mount(f"/{number}", Extension(app))
    app.mount("", Extension(app))

    assert summary(app)[:3] == [("http", "GET", "/x"), ("opaque", "*", "/0/**"), ("opaque", "*", "/1/**")]
    assert len(discover_endpoints(app)) == 10
    assert (await run_app(AuthGuardMiddleware(app, guard=GUARD), http_scope("/x", headers=header_list()))).status == 401


def test_the_walk_through_an_app_with_a_million_paths_is_cut_off() -> None:
    """The rest is opaque. ``RouterPaths`` looks at each mount once."""
    started = time.monotonic()

    endpoints = discover_endpoints(doubled(20))

    assert {endpoint.kind for endpoint in endpoints} == {"http", "opaque"}
    assert len(endpoints) < 10_000
    assert RouterPaths(doubled(20)).read({"path": "/a/x", "root_path": "/api"})[1] is not None
    assert time.monotonic() - started < 30


def test_with_too_many_routers_any_path_outside_root_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not looked at may match anything."""
    app = Starlette(routes=[Mount("", Router(routes=[Route("/x", page)])) for _ in range(8)])
    scope = {"path": "/x", "root_path": "/api"}

    assert RouterPaths(app).read(scope)[1] is None
    monkeypatch.setattr("authguard.asgi.router_paths._MAX_PARTS", 4)
    assert RouterPaths(app).read(scope)[1] is not None


@pytest.mark.parametrize("make", [AsyncMock, lambda: Extension(None)])
def test_an_endpoint_in_endless_wrappers_is_opaque(make: Any) -> None:
    """It may also wrap itself. It is not known whether its locks run."""
    wrapper = make()
    if isinstance(wrapper, Extension):
        wrapper.app = wrapper

    endpoint = only_endpoint(Route("/a", wrapper, methods=["POST"]))

    assert (endpoint.kind, endpoint.methods, endpoint.path, endpoint.locks) == ("opaque", ("*",), "/a", ())
    paths = RouterPaths(Starlette(routes=[Route("/a", wrapper)]))
    assert paths.read({"path": "/a", "root_path": "/api"})[1] is not None
    assert paths.read({"path": "/b", "root_path": "/api"})[1] is None


def test_a_router_in_endless_middleware_is_opaque() -> None:
    """It is not known what is in front of its routes."""
    router = Router(routes=[Route("/x", page)])
    router.middleware_stack = MagicMock()

    assert summary(router) == [("opaque", "*", "/**")]


async def test_a_guard_around_a_route_reads_the_path_of_the_router() -> None:
    """A route takes nothing off the path, unlike a mount."""
    route = Route("/admin", page, middleware=[Middleware(AuthGuardMiddleware, guard=GUARD)])

    endpoint = only_endpoint(Mount("/in", routes=[route]))

    (layer,) = endpoint.layers
    assert (layer.guard, layer.path, endpoint.below(layer)) == (GUARD, "/in", parse_pattern("/admin")[0])


def test_a_path_with_an_empty_segment_is_all_below() -> None:
    """A guard may read such a path without the empty segment."""
    assert [only_endpoint(Route(path, page)).pattern for path in ("/a//b", "//b", "/a//")] == [
        parse_pattern(pattern)[0] for pattern in ("/a/**", "/**", "/a/**")
    ]
