"""The walk through an app ends, and what it has not seen it says."""

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
from authguard.audit.route_discovery import endpoints
from authguard.policy.path_pattern import parse_pattern
from tests.audit.test_route_discovery import GUARD, one, shown
from tests.support.asgi import drive, fields, http


async def page(request: Request) -> None:
    """An endpoint."""


class Extension:
    """What is mounted in an app, and points back at it."""

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
    """Also where several do: what is behind is unseen, and a request is served as ever."""
    app = Starlette(routes=[Route("/x", page)])
    for number in range(8):
        app.mount(f"/{number}", Extension(app))
    app.mount("", Extension(app))

    assert shown(app)[:3] == [("http", "GET", "/x"), ("unseen", "*", "/0/**"), ("unseen", "*", "/1/**")]
    assert len(endpoints(app)) == 10
    assert (await drive(AuthGuardMiddleware(app, guard=GUARD), http("/x", headers=fields()))).status == 401


def test_an_app_with_more_ways_than_anybody_can_count_is_walked_for_a_while() -> None:
    """What is left is unseen; the mounts in it are looked at once each."""
    started = time.monotonic()

    found = endpoints(doubled(20))

    assert {one.kind for one in found} == {"http", "unseen"}
    assert len(found) < 10_000
    assert RouterPaths(doubled(20)).read({"path": "/a/x", "root_path": "/api"})[1] is not None
    assert time.monotonic() - started < 30


def test_more_routers_than_are_looked_at_may_read_anything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a path outside of root_path is refused, whatever it is."""
    app = Starlette(routes=[Mount("", Router(routes=[Route("/x", page)])) for _ in range(8)])
    scope = {"path": "/x", "root_path": "/api"}

    assert RouterPaths(app).read(scope)[1] is None
    monkeypatch.setattr("authguard.asgi.router_paths._MOST_ROUTERS", 4)
    assert RouterPaths(app).read(scope)[1] is not None


@pytest.mark.parametrize("made", [AsyncMock, lambda: Extension(None)])
def test_an_endpoint_that_wraps_without_end_is_unseen(made: Any) -> None:
    """Or that wraps itself: what it does is not known, nor whether it asks its locks."""
    endpoint = made()
    if isinstance(endpoint, Extension):
        endpoint.app = endpoint

    found = one(Route("/a", endpoint, methods=["POST"]))

    assert (found.kind, found.methods, found.path, found.locks) == ("unseen", ("*",), "/a", ())
    assert RouterPaths(Starlette(routes=[Route("/a", endpoint)])).read({"path": "/a", "root_path": "/api"})[1] is None


def test_a_router_in_middleware_without_end_is_unseen() -> None:
    """Nobody knows what stands in front of its routes."""
    router = Router(routes=[Route("/x", page)])
    router.middleware_stack = MagicMock()

    assert shown(router) == [("unseen", "*", "/**")]


async def test_a_guard_round_a_route_reads_the_path_that_the_router_reads() -> None:
    """A route takes nothing off the path, as a mount does."""
    route = Route("/admin", page, middleware=[Middleware(AuthGuardMiddleware, guard=GUARD)])

    found = one(Mount("/in", routes=[route]))

    (layer,) = found.layers
    assert (layer.guard, layer.path, found.below(layer)) == (GUARD, "/in", parse_pattern("/admin")[0])


def test_behind_an_empty_part_of_a_path_anything_may_follow() -> None:
    """A guard that lets such paths in reads them without it."""
    assert [one(Route(path, page)).pattern for path in ("/a//b", "//b", "/a//")] == [
        parse_pattern(pattern)[0] for pattern in ("/a/**", "/**", "/a/**")
    ]
