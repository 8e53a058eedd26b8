"""Endpoints are found through routers, mounts, hosts, middleware, and both ways in which FastAPI includes a router."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.convertors import CONVERTOR_TYPES, Convertor, IntegerConvertor
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from authguard import AuthGuardMiddleware, Guard, role
from authguard.audit.route_discovery import discover_endpoints
from authguard.fastapi import CurrentPrincipal, requires
from authguard.policy.path_pattern import parse_pattern
from authguard.starlette import requires as locked
from tests.audit.endpoints import GUARD, only_endpoint, requirements, summary

HERE = Path(__file__)


async def page(request: Request) -> None:
    """An endpoint."""


async def opaque_app(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that cannot be inspected."""


def location_of(text: str) -> str:
    """``file:line`` of the first line that begins with this text."""
    lines = HERE.read_text(encoding="utf-8").splitlines()
    return f"{HERE}:{next(number for number, line in enumerate(lines, 1) if line.startswith(text))}"


def test_an_endpoint_has_methods_a_name_and_a_location() -> None:
    """GET stands for HEAD too; a WebSocket handshake is a method of its own."""
    endpoints = discover_endpoints(
        Starlette(routes=[Route("/a", page, methods=["GET", "post"]), WebSocketRoute("/b", page)])
    )

    assert [
        (endpoint.kind, endpoint.methods, endpoint.path, endpoint.name, endpoint.location) for endpoint in endpoints
    ] == [
        ("http", ("GET", "POST"), "/a", "page", location_of("async def page")),
        ("websocket", ("WEBSOCKET",), "/b", "page", location_of("async def page")),
    ]


def test_head_without_get_is_kept() -> None:
    """No GET stands for it."""
    route = Route("/a", page, methods=["HEAD"])

    assert only_endpoint(route).methods == ("HEAD",)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "/"),
        ("/a/", "/a"),
        ("/{x}/{n:int}/{f:float}/{u:uuid}", "/{x}/{n:int}/{f:float}/{u:uuid}"),
        ("/a/{rest:path}", "/a/**"),
        ("/a/{rest:path}/b", "/a/**"),
        ("/v{n}/{name}.json", "/{x}/{y}"),
        ("/v{rest:path}", "/**"),
        ("/{day:isoday}/x", "/{x}/x"),
        ("/{all:anything}/x", "/**"),
        ("/{n:odd}", "/{x}"),
    ],
)
def test_a_path_is_read_as_the_narrowest_pattern_that_holds_it(
    path: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is not a whole segment is any segment; a part that may match a slash is all below."""

    def convertor(name: str, kind: type, regex: str) -> None:
        monkeypatch.setitem(CONVERTOR_TYPES, name, type(name, (kind,), {"regex": regex})())

    convertor("isoday", Convertor, r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
    convertor("anything", Convertor, r"[+-9]+")
    convertor("odd", IntegerConvertor, r"(?:[13579]|\d[^/])")

    endpoint = only_endpoint(Route(path, page))

    assert (endpoint.path, endpoint.pattern) == (path, parse_pattern(pattern)[0])


@pytest.mark.parametrize(
    "regex",
    [".+", "[a-z]*", "(?:en|)", r"\S", "[^a]", "[!-~]", "[.-9]", r"[\.-9]", "[)-9]", "a/b", r"\x2f", "[a[^/]", "[+-9]"],
)
def test_a_converter_that_may_match_a_slash_is_all_below(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a converter of which that is not certain."""
    monkeypatch.setitem(CONVERTOR_TYPES, "odd", type("Odd", (Convertor,), {"regex": regex})())

    assert only_endpoint(Route("/{x:odd}", page)).pattern == parse_pattern("/**")[0]


@pytest.mark.parametrize(
    "regex", ["[^/]+", "[^/-9]", "[-a.]", r"\d{4}-\d+", "[a-z0-9_-]+", "(?:en|de)", r"\w+\.json", r"[A-F0-9]{1,8}"]
)
def test_a_converter_of_one_segment_matches_no_slash(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The regular expressions that are accepted as one segment are tried on texts with a slash."""
    monkeypatch.setitem(CONVERTOR_TYPES, "odd", type("Odd", (Convertor,), {"regex": regex})())

    assert only_endpoint(Route("/{x:odd}", page)).pattern == parse_pattern("/{x}")[0]
    assert not any(re.fullmatch(regex, text) for text in ("/", "a/", "1/", "1234/5", "en/de", "/.json"))


def test_mounts_hosts_and_files_are_walked_through() -> None:
    """A mount adds its path to that of an endpoint, and a host its name."""
    inner = Starlette(routes=[Route("/", page), Route("/x/{n:int}", page), Mount("/files", StaticFiles(directory="."))])
    app = Starlette(routes=[Mount("/a/{b}", inner), Mount("", routes=[Route("/top", page)]), Host("h.example", inner)])

    assert summary(app) == [
        ("http", "GET", "/a/{b}/"),
        ("http", "GET", "/a/{b}/x/{n:int}"),
        ("static", "GET", "/a/{b}/files/**"),
        ("http", "GET", "/top"),
        ("http", "GET", "/"),
        ("http", "GET", "/x/{n:int}"),
        ("static", "GET", "/files/**"),
    ]
    assert [endpoint.hosts for endpoint in discover_endpoints(app)] == [()] * 4 + [("h.example",)] * 3
    assert discover_endpoints(app)[1].pattern == parse_pattern("/a/{b}/x/{n:int}")[0]


def test_a_mount_with_a_path_parameter_is_all_below() -> None:
    """Its segments cannot be told from those of the routes in it."""
    (endpoint,) = discover_endpoints(Starlette(routes=[Mount("/a/{p:path}/b", routes=[Route("/c", page)])]))

    assert (endpoint.path, endpoint.pattern) == ("/a/{p:path}/b/c", parse_pattern("/a/**")[0])


@pytest.mark.parametrize(
    "hidden",
    [
        opaque_app,
        functools.partial(opaque_app),
        MagicMock(spec=[]),
        GZipMiddleware(opaque_app),
        GZipMiddleware(MagicMock()),
    ],
)
def test_an_app_without_routes_is_opaque(hidden: Any) -> None:
    """It may serve any path and any method."""
    assert summary(Starlette(routes=[Mount("/in", hidden)])) == [("opaque", "*", "/in/**")]


def test_a_route_of_an_unknown_class_is_opaque() -> None:
    """It may match any path."""

    class Odd(BaseRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return Match.NONE, {}

    endpoints = discover_endpoints(Starlette(routes=[Mount("/a", routes=[Odd(), BaseRoute()])]))

    assert [(endpoint.kind, endpoint.path, endpoint.name) for endpoint in endpoints] == [
        ("opaque", "/a/**", Odd.__qualname__.split(">.")[1]),
        ("opaque", "/a/**", "BaseRoute"),
    ]


def test_the_default_of_a_router_is_an_endpoint() -> None:
    """It answers every request that no route matches."""
    assert summary(Router(routes=[Route("/a", page)], default=opaque_app)) == [
        ("http", "GET", "/a"),
        ("opaque", "*", "/**"),
    ]


def test_a_route_is_an_app() -> None:
    """Starlette calls it."""
    assert summary(Mount("/x", Route("/a", page))) == [("http", "GET", "/x/a")]


def test_an_object_with_routes_may_serve_more() -> None:
    """Its class is not the framework's. A list that is empty shows nothing at all."""

    class Own:
        routes = (Route("/b", page),)

    assert summary(Own()) == [("opaque", "*", "/**"), ("http", "GET", "/b")]
    assert summary(MagicMock(spec=["routes"], routes=[])) == [("opaque", "*", "/**")]
    assert summary(MagicMock(spec=["routes"], routes=["/b"])) == [("opaque", "*", "/**")]


def test_an_asgi_app_on_a_route_accepts_any_method() -> None:
    """The route may name methods."""
    leaf = GZipMiddleware(opaque_app)

    assert only_endpoint(Route("/a", leaf)).methods == ("*",)
    assert only_endpoint(Route("/a", leaf, methods=["PUT"])).methods == ("PUT",)


class Users(HTTPEndpoint):
    @locked(role("reader"))
    async def get(self, request: Request) -> None: ...
    async def post(self, request: Request) -> None: ...
    async def query(self, request: Request) -> None: ...


class Dispatching(Users):
    async def dispatch(self) -> None: ...


def test_a_class_is_one_endpoint_for_each_handler() -> None:
    """Each has its own locks. Handlers that the route does not let through are left out."""
    endpoints = discover_endpoints(Starlette(routes=[Route("/u", Users), Route("/v", Users, methods=["POST"])]))

    assert [(endpoint.methods, endpoint.path, endpoint.name, requirements(endpoint)) for endpoint in endpoints] == [
        (("GET",), "/u", "Users.get", ["role(reader)"]),
        (("POST",), "/u", "Users.post", []),
        (("QUERY",), "/u", "Users.query", []),
        (("POST",), "/v", "Users.post", []),
    ]
    assert endpoints[0].location == location_of('    @locked(role("reader"))')


def test_a_class_with_its_own_dispatch_is_one_endpoint() -> None:
    """It is not known which of its methods it calls."""
    endpoint = only_endpoint(Route("/u", Dispatching))

    assert (endpoint.methods, requirements(endpoint), endpoint.location) == (
        ("*",),
        [],
        location_of("class Dispatching"),
    )


def test_a_websocket_class_is_locked_by_on_connect() -> None:
    """A later method runs when the connection is open already."""

    class Live(WebSocketEndpoint):
        @locked(role("in"))
        async def on_connect(self, websocket: WebSocket) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
        @locked(role("later"))
        async def on_receive(self, websocket: WebSocket, data: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    class Deaf(Live):
        async def dispatch(self) -> None: ...

    assert requirements(only_endpoint(WebSocketRoute("/l", Live))) == ["role(in)"]
    assert requirements(only_endpoint(WebSocketRoute("/l", Deaf))) == []


def test_the_locks_of_a_function_are_found_through_wrappers() -> None:
    """Through ``functools.partial``, and several locks on each other."""
    twice = locked(role("one"))(locked(role("two"))(page))

    for endpoint in (twice, functools.partial(twice), functools.partial(functools.partial(twice))):
        assert (requirements(only_endpoint(Route("/a", endpoint))), only_endpoint(Route("/a", endpoint)).location) == (
            ["role(one)", "role(two)"],
            location_of("async def page"),
        )


def test_a_lock_below_another_decorator_does_not_count() -> None:
    """The decorator may answer before the lock runs, though ``functools.wraps`` makes it look the same."""

    def decorated(function: Any) -> Any:
        @functools.wraps(function)
        async def answering(request: Request) -> None: ...

        return answering

    lock = locked(role("below"))
    below = decorated(lock(page))
    both = locked(role("above"))(below)
    endpoints = [
        only_endpoint(Route("/a", endpoint)) for endpoint in (below, both, decorated(both), lock(decorated(page)))
    ]

    assert [requirements(endpoint) for endpoint in endpoints] == [[], ["role(above)"], [], ["role(below)"]]
    assert [bool(endpoint.covered_lock) for endpoint in endpoints] == [True, True, True, False]
    assert endpoints[0].covered_lock == location_of('    lock = locked(role("below"))')


def test_the_locks_of_an_overridden_dependency_do_not_count() -> None:
    """FastAPI calls another function in its place, and none of its dependencies."""
    app = FastAPI(openapi_url=None)

    def service(who: CurrentPrincipal) -> None: ...

    @app.get("/x", dependencies=[requires(role("own"))])
    def served(given: None = Depends(service)) -> None: ...

    before = requirements(only_endpoint(Mount("/in", app)))
    app.dependency_overrides[service] = lambda: None

    assert (before, requirements(only_endpoint(Mount("/in", app)))) == (["role(own)", "AUTHENTICATED"], ["role(own)"])


def test_an_attribute_of_the_same_name_is_not_a_lock() -> None:
    """Other code may set it."""

    async def odd(request: Request) -> None: ...

    odd.__authguard__ = ("lock",)  # type: ignore[attr-defined]

    assert only_endpoint(Route("/a", odd)).locks == ()


def app_with_nested_routers() -> FastAPI:
    """Routers in routers, each with its own lock."""
    app = FastAPI(dependencies=[requires(role("app"))], docs_url=None, redoc_url=None, openapi_url=None)
    outer = APIRouter(prefix="/outer", dependencies=[requires(role("outer"))])
    inner = APIRouter(prefix="/inner", dependencies=[requires(role("inner"))])

    class Called:
        @locked(role("called"))
        async def __call__(self, request: Request) -> None: ...

    def depending(who: CurrentPrincipal) -> None: ...

    @inner.get("/{n:int}", dependencies=[Depends(Called()), Depends(depending)])
    async def numbered() -> None: ...

    @inner.websocket("/live")
    async def live(socket: WebSocket) -> None: ...

    async def bare(socket: WebSocket) -> None: ...

    inner.add_websocket_route("/bare", bare)
    outer.include_router(inner, prefix="/in", dependencies=[requires(role("including"))])
    app.include_router(outer, prefix="/p")
    return app


def test_a_route_of_nested_routers_has_every_lock() -> None:
    """Those of the app, of both routers, of the inclusion, of the route, and of the dependencies of dependencies."""
    numbered, live, bare = discover_endpoints(app_with_nested_routers())

    chain = ["role(app)", "role(outer)", "role(including)", "role(inner)"]
    assert (numbered.path, requirements(numbered)) == (
        "/p/outer/in/inner/{n:int}",
        [*chain, "role(called)", "AUTHENTICATED"],
    )
    assert numbered.pattern == parse_pattern("/p/outer/in/inner/{n:int}")[0]
    assert (live.path, live.methods, requirements(live)) == ("/p/outer/in/inner/live", ("WEBSOCKET",), chain)
    assert (bare.path.endswith("/bare"), requirements(bare)) == (True, [])


def test_a_route_added_to_an_included_router_is_found() -> None:
    """FastAPI serves it from 0.137 on, and did not before."""
    app, router = FastAPI(openapi_url=None), APIRouter()
    app.include_router(router, prefix="/p")
    before = discover_endpoints(app)

    router.add_api_route("/late", page)
    router.mount("/files", StaticFiles(directory="."))

    lazily = any(hasattr(route, "effective_candidates") for route in app.routes)
    assert before == ()
    assert [endpoint.path for endpoint in discover_endpoints(app)] == (["/p/late", "/p/files/**"] if lazily else [])


@pytest.mark.newest
def test_a_frontend_is_files(tmp_path: Path) -> None:
    """It is below its prefix and has the locks of its router."""
    app, router = FastAPI(openapi_url=None), APIRouter(prefix="/r", dependencies=[requires(role("r"))])
    router.frontend("/f", directory=tmp_path)
    app.frontend("/", directory=tmp_path)
    app.include_router(router, prefix="/p")

    assert [(endpoint.kind, endpoint.path, requirements(endpoint)) for endpoint in discover_endpoints(app)] == [
        ("static", "/**", []),
        ("static", "/p/r/f/**", ["role(r)"]),
    ]


def test_an_endpoint_has_the_middleware_on_the_way() -> None:
    """That of apps, routers, mounts and routes, the outermost first.

    A guard among them knows the path in front of it.
    """
    gzip, ours = Middleware(GZipMiddleware), Middleware(AuthGuardMiddleware, guard=GUARD)
    inner = Starlette(routes=[Mount("/c", Router(routes=[Route("/d", page, middleware=[gzip])], middleware=[ours]))])
    app = Starlette(routes=[Mount("/{a}/b", inner, middleware=[gzip])], middleware=[ours, gzip])

    endpoint = only_endpoint(Mount("/top", GZipMiddleware(app)))

    names = ["GZipMiddleware", "AuthGuardMiddleware"]
    assert [layer.name for layer in endpoint.layers] == [names[0], names[1], names[0], names[0], names[1], names[0]]
    first, second = (layer for layer in endpoint.layers if layer.guard is GUARD)
    assert (first.path, str(endpoint.below(first))) == ("/top", "/{str}/b/c/d")
    assert (second.path, str(endpoint.below(second))) == ("/top/{a}/b/c", "/d")


def test_another_middleware_with_a_guard_is_not_a_guard_layer() -> None:
    """Only ``AuthGuardMiddleware`` is known to ask its guard."""

    class Other:
        def __init__(self, app: Any, guard: Guard) -> None:
            self.app, self.guard = app, guard

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    for wrapped in (Other(Router(), GUARD), Starlette(middleware=[Middleware(Other, guard=GUARD)])):
        assert not any(
            layer.guard for endpoint in discover_endpoints(Mount("/x", wrapped)) for layer in endpoint.layers
        )


def test_a_guard_around_an_app_is_found() -> None:
    """It may wrap the app, or be in its list of middleware."""
    for wrapped in (
        AuthGuardMiddleware(Starlette(routes=[Route("/a", page)]), guard=GUARD),
        Starlette(routes=[Route("/a", page)], middleware=[Middleware(AuthGuardMiddleware, guard=GUARD)]),
    ):
        assert [layer.guard for endpoint in discover_endpoints(wrapped) for layer in endpoint.layers] == [GUARD]


def test_a_walk_ends() -> None:
    """An app may wrap itself, or other apps without end."""
    itself = MagicMock()
    itself.app = itself

    assert summary(itself) == summary(MagicMock()) == [("opaque", "*", "/**")]


def test_code_without_a_file_has_no_location() -> None:
    """It has a name."""
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("class Odd:\n    async def __call__(self, scope, receive, send): ...", names)

    endpoint = only_endpoint(Mount("/a", names["Odd"]()))

    assert (endpoint.name, endpoint.location) == ("Odd", "")
