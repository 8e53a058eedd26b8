"""Paths that the router behind the guard would parse differently from the rules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, Secret, role
from authguard.asgi.router_paths import RouterPaths, chain
from tests.support.asgi import header_list, http_scope, run_app
from tests.support.call_count import count_calls
from tests.support.opentelemetry_patch import instrument_app

SCHEME = Bearer(Issuer("i", audience="a", algorithms=["HS256"], keys=Secret(bytes(range(64)))), realm="r")
RULES = [Rule("/**", PUBLIC), Rule("/admin/**", role("admin")), Rule("/a/{x}/secret", role("one"))]


async def secret(request: Request) -> PlainTextResponse:
    """A response for one role only."""
    return PlainTextResponse("SECRET")


def inner() -> FastAPI:
    """An app with a root path of its own, which it removes from every path."""
    app = FastAPI()
    app.root_path = "/api"  # the argument is deprecated, but its effect is not
    app.add_route("/admin", secret)
    app.add_route("/free", secret)
    return app


async def status(app: Any, path: str, root_path: str = "") -> tuple[int, bool]:
    """The status, and whether the secret was in the response."""
    guarded = AuthGuardMiddleware(app, guard=Guard(SCHEME, rules=RULES, log=False))
    answer = await run_app(guarded, http_scope(path, root_path=root_path, headers=header_list()))
    return answer.status, b"SECRET" in answer.body


class OwnRouter(Router):
    """A router that nobody knows; it shows its routes."""


APPS: dict[str, ASGIApp] = {
    "mounted at the top": Starlette(routes=[Mount("/", inner())]),
    "mounted behind a middleware": Starlette(routes=[Mount("/", GZipMiddleware(inner()))]),
    "behind a host": Starlette(routes=[Host("testserver", inner())]),
    "in a router of another class": Starlette(routes=[Mount("/", OwnRouter(routes=[Mount("/", inner())]))]),
}


@pytest.mark.parametrize("name", APPS)
async def test_an_app_inside_with_a_root_path_of_its_own_has_one_spelling(name: str) -> None:
    """If an inner app would remove its own root path, a path with that prefix is refused."""
    assert await status(APPS[name], "/api/admin") == (400, False)
    assert await status(APPS[name], "/admin") == (401, False)
    assert await status(APPS[name], "/free") == (200, True)
    assert await status(APPS[name], "/apis") == (404, False)


@pytest.mark.parametrize("path", ["/sub/admin", "/sub/free"])
async def test_below_a_mount_such_an_app_parses_the_whole_path_again(path: str) -> None:
    """Below a mount, an app with a root path of its own parses another path than the mount left."""
    assert await status(Starlette(routes=[Mount("/sub", inner())]), path) == (400, False)


@pytest.mark.parametrize("wrap", [lambda app: app, GZipMiddleware, lambda app: GZipMiddleware(GZipMiddleware(app))])
async def test_a_mount_is_found_behind_middleware(wrap: Any) -> None:
    """A mount is found in an app that is wrapped in middleware."""
    app = Starlette(routes=[Mount("/a", routes=[Route("/{x}/secret", secret)])])
    for found in (
        wrap(app),
        Starlette(routes=[Mount("/", wrap(app))]),
        Starlette(routes=[Host("testserver", wrap(app))]),
    ):
        assert await status(found, "/a/secret", "/api") == (400, False)
        assert await status(found, "/a/secret") == (404, False)


async def test_an_opaque_app_is_refused_outside_of_the_root_path() -> None:
    """A function around the app shows no routes, so a path outside of the root path is refused."""
    app = Starlette(routes=[Mount("/a", routes=[Route("/{x}/secret", secret)])])

    async def opaque(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    assert await status(opaque, "/a/secret", "/api") == (400, False)
    assert (await status(opaque, "/api/a/b/secret", "/api"))[0] == 401


# --- A path outside of root_path must not reach a route that the rules were not matched against -----------------------

PUB_RULES = [Rule("/pub/**", PUBLIC), Rule("/pub/{x}/secret", AUTHENTICATED), Rule("/open", PUBLIC)]


def pub() -> Mount:
    """The mount whose router reads ``/pub/secret`` anew, as the path of its one route."""
    return Mount("/pub", routes=[Route("/{x}/secret", secret)])


class Asgi:
    """An ASGI app of a user's own, which hands each request on."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inner(scope, receive, send)


class Dispatching:
    """A middleware that hands some requests to another app than the one that it shows."""

    def __init__(self, app: ASGIApp, other: ASGIApp) -> None:
        self.app, self._other = app, other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._other if scope["type"] == "http" and scope["path"].startswith("/pub") else self.app
        await app(scope, receive, send)


class OwnRoute(Route):
    """A route class of a user's own, which may match anything."""


def with_default() -> Starlette:
    """A router whose default handler is a second app."""
    app = Starlette(routes=[Route("/open", secret)])
    app.router.default = Starlette(routes=[pub()])
    return app


def included() -> FastAPI:
    """A mount in a router that FastAPI includes behind a prefix."""
    router, app = APIRouter(), FastAPI()
    router.mount("/pub", Starlette(routes=[Route("/{x}/secret", secret)]))
    app.include_router(router)
    return app


HIDDEN: dict[str, Callable[[], ASGIApp]] = {
    "in plain sight": lambda: Starlette(routes=[pub()]),
    "behind a function": lambda: hidden(Starlette(routes=[pub()])),
    "behind a mounted function": lambda: Starlette(routes=[Mount("/", hidden(Starlette(routes=[pub()])))]),
    "behind a host": lambda: Starlette(routes=[Host("testserver", Starlette(routes=[pub()]))]),
    "behind a function of a host": lambda: Starlette(routes=[Host("testserver", hidden(Starlette(routes=[pub()])))]),
    "behind a route to an ASGI object": lambda: Starlette(
        routes=[Route("/pub/{rest:path}", Asgi(Starlette(routes=[pub()])))]
    ),
    "behind a route class of one's own": lambda: Starlette(
        routes=[OwnRoute("/pub/{rest:path}", Asgi(Starlette(routes=[pub()])))]
    ),
    "behind the router's default": with_default,
    "behind a dispatching middleware": lambda: Dispatching(
        Starlette(routes=[Route("/open", secret)]), Starlette(routes=[pub()])
    ),
    "behind a dispatching middleware of the app": lambda: Starlette(
        routes=[Route("/open", secret)], middleware=[Middleware(Dispatching, other=Starlette(routes=[pub()]))]
    ),
    "behind a dispatching middleware of a router": lambda: Router(
        routes=[Route("/open", secret)], middleware=[Middleware(Dispatching, other=Starlette(routes=[pub()]))]
    ),
    "in a router that FastAPI includes": included,
}


def hidden(app: ASGIApp) -> ASGIApp:
    """A function round an app, which shows nothing of it."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return call


def guarded(app: ASGIApp) -> ASGIApp:
    """The app behind a guard with the rules of the public mount."""
    return AuthGuardMiddleware(app, guard=Guard(SCHEME, rules=PUB_RULES, log=False))


async def anonymous(app: ASGIApp, path: str, root_path: str = "/api") -> tuple[int, bool]:
    """The answer to nobody, and whether the secret was in it."""
    answer = await run_app(app, http_scope(path, root_path=root_path, headers=header_list()))
    return answer.status, b"SECRET" in answer.body


# FastAPI up to 0.136 leaves a mount out when it copies the routes of a router.
NEWEST = pytest.param("in a router that FastAPI includes", marks=pytest.mark.newest)


@pytest.mark.parametrize("name", [*sorted(HIDDEN.keys() - {NEWEST.values[0]}), NEWEST])
async def test_no_hidden_mount_evades_the_rules(name: str) -> None:
    """Outside of the root path, the router inside a mount parses the whole path again, so that path is refused."""
    app = guarded(HIDDEN[name]())

    assert await anonymous(app, "/pub/secret") == (400, False)
    assert await anonymous(app, "/api/pub/x/secret") == (401, False)
    assert await anonymous(app, "/pub/x/secret", "") == (401, False)


async def test_an_app_with_a_root_path_of_its_own_is_no_way_round_either() -> None:
    """``FastAPI(root_path=...)`` has the effect of a server's ``--root-path``, and opens no path either."""
    app = FastAPI()
    app.root_path = "/api"
    app.mount("/pub", hidden(Starlette(routes=[Route("/{x}/secret", secret)])))

    assert await anonymous(guarded(app), "/pub/secret", "") == (400, False)


async def test_the_root_path_of_the_wrapped_app_itself_is_removed_once() -> None:
    """A guard round ``FastAPI(root_path=...)`` knows that prefix: with it and without it the path is the same."""
    app = FastAPI()
    app.root_path = "/api"
    app.add_route("/open", secret)

    assert await anonymous(guarded(app), "/api/open", "") == (200, True)
    assert await anonymous(guarded(app), "/open", "") == (200, True)


async def test_a_mount_that_is_added_later_is_found() -> None:
    """The routes are looked at again when they have changed, also where one took another's place."""
    app = Starlette(routes=[Route("/open", secret), Route("/gone", secret)])
    asgi = guarded(app)
    assert await anonymous(asgi, "/open") == (200, True)

    app.router.routes.append(pub())
    added = await anonymous(asgi, "/pub/secret")
    app.router.routes[1:] = [Route("/pub/other", secret)]
    removed = await anonymous(asgi, "/pub/secret")
    app.router.routes[1] = pub()
    replaced = await anonymous(asgi, "/pub/secret")
    app.router.routes[1:] = []
    app.router.default = Starlette(routes=[pub()])
    default = await anonymous(asgi, "/pub/secret")

    assert (added, removed[1], replaced, default) == ((400, False), False, (400, False), (400, False))


@pytest.mark.parametrize(("where", "path"), [(0, "/api/x"), (1, "/a/x"), (2, "/b/x"), (3, "/c/x")])
def test_an_app_that_is_added_to_any_router_later_is_found(where: int, path: str) -> None:
    """Each request notices a route that was added or removed, in whatever router."""
    routers = [Router(), Router(), Router()]
    app = Starlette(routes=[Mount(f"/{name}", routers[index]) for index, name in enumerate("abc")])
    paths, scope = RouterPaths(app), {"path": path, "root_path": ""}
    before = paths.read(scope)
    routes = [app.router, *routers][where].routes

    routes.append(Host("testserver", inner()))
    added = paths.read(scope)
    routes.pop()

    assert (before, added) == ((path, None), (path, "an app inside has a root_path of its own"))
    assert paths.read(scope) == (path, None)


def test_each_request_asks_for_the_lengths_of_all_routers_in_one_step() -> None:
    """An app may have many routers. Their routes are not looked at for each request."""

    def steps(number: int) -> int:
        mounts = [Mount(f"/a{index}", routes=[Route(f"/b{index}", secret)]) for index in range(number)]
        paths = RouterPaths(Starlette(routes=mounts))
        scope = {"path": "/a1/b1", "root_path": ""}
        paths.read(scope)
        return count_calls(lambda: paths.read(scope))

    assert steps(200) == steps(2)


class SlowRoutes(list[BaseRoute]):
    """A list of routes that takes as long to read as the test wants."""

    def __init__(self, routes: list[BaseRoute]) -> None:
        super().__init__(routes)
        self.reading, self.go = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[BaseRoute]:
        self.reading.set()
        self.go.wait(10)
        return super().__iter__()


def test_a_second_thread_of_a_cold_start_refuses_too() -> None:
    """While the first thread still reads the routes, a second one must not take the mounts for none."""
    app = Starlette()
    routes = app.router.routes = SlowRoutes([pub()])
    paths = RouterPaths(app)
    problems: list[str | None] = []

    def read() -> None:
        problems.append(paths.read({"path": "/pub/secret", "root_path": "/api"})[1])

    threads = [threading.Thread(target=read) for _ in range(2)]
    threads[0].start()
    routes.reading.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    routes.go.set()
    for thread in threads:
        thread.join()

    assert len(problems) == 2
    assert None not in problems


async def test_a_proxy_that_strips_the_prefix_reaches_all_other_paths(tmp_path: Path) -> None:
    """With files mounted, known middleware and a host in the app, only the paths of the mount are refused."""
    (tmp_path / "a.txt").write_text("file")
    inner = [Route("/open", secret), Mount("/static", StaticFiles(directory=tmp_path))]
    apps: list[ASGIApp] = [
        Starlette(routes=inner),
        Starlette(routes=inner, middleware=[Middleware(GZipMiddleware), Middleware(CORSMiddleware)]),
        Starlette(routes=[Host("testserver", Router(routes=inner))]),
        Starlette(routes=[Mount("/", routes=inner)]),
    ]

    for app in apps:
        assert await anonymous(guarded(app), "/open") == (200, True)
        assert (await anonymous(guarded(app), "/static/a.txt"))[0] == 400


async def test_an_app_that_is_traced_reads_paths_as_before() -> None:
    """R003: OpenTelemetry replaces a method of one app. Another method of that name may do anything."""
    traced, other = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    for app in (traced, other):
        app.add_route("/free", secret)
    instrument_app(traced)
    instrument_app(other, module="shop.telemetry")

    assert await status(Starlette(routes=[Mount("/", traced)]), "/free", "/api") == (200, True)
    assert await status(Starlette(routes=[Mount("/", other)]), "/free", "/api") == (400, False)


def test_a_chain_of_wrappers_ends() -> None:
    """The search through wrapped apps ends, even if each wrapper makes another one, or if one wraps itself."""
    itself = MagicMock()
    itself.app = itself

    assert chain(itself) == [itself]
    assert len(chain(MagicMock())) == 64
    assert chain(None) == []
