"""What an app can serve is found through routers, mounts, hosts, middleware and both ways to include a router."""

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
from authguard.audit.endpoint import Endpoint
from authguard.audit.route_discovery import endpoints
from authguard.fastapi import CurrentPrincipal, requires
from authguard.policy.path_pattern import parse_pattern
from authguard.starlette import requires as locked
from tests.support.schemes.badge import Badge

HERE = Path(__file__)
GUARD = Guard(Badge())


async def page(request: Request) -> None:
    """An endpoint."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An app of which nothing can be seen."""


def line_of(text: str) -> str:
    """The file and the line where this text stands first."""
    lines = HERE.read_text(encoding="utf-8").splitlines()
    return f"{HERE}:{next(number for number, line in enumerate(lines, 1) if line.startswith(text))}"


def one(route: Any) -> Endpoint:
    """The only endpoint of an app with this route."""
    (found,) = endpoints(Starlette(routes=[route]))
    return found


def shown(found: object) -> list[tuple[str, str, str]]:
    """Kind, methods and path of all that an app serves."""
    return [(one.kind, " ".join(one.methods), one.path) for one in endpoints(found)]


def asked(endpoint: Endpoint) -> list[str]:
    """What the locks ask, in their order."""
    return [str(here.requirement) for here in endpoint.locks]


def test_a_route_is_told_with_its_methods_its_name_and_its_place() -> None:
    """HEAD goes with GET; a WebSocket is a method of its own."""
    found = endpoints(Starlette(routes=[Route("/a", page, methods=["GET", "post"]), WebSocketRoute("/b", page)]))

    assert [(one.kind, one.methods, one.path, one.name, one.location) for one in found] == [
        ("http", ("GET", "POST"), "/a", "page", line_of("async def page")),
        ("websocket", ("WEBSOCKET",), "/b", "page", line_of("async def page")),
    ]


def test_head_alone_is_told() -> None:
    """Where no GET is beside it."""
    route = Route("/a", page, methods=["HEAD"])

    assert one(route).methods == ("HEAD",)


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
    """What is no whole segment is any segment; what may match a slash is all below."""

    def convertor(name: str, kind: type, regex: str) -> None:
        monkeypatch.setitem(CONVERTOR_TYPES, name, type(name, (kind,), {"regex": regex})())

    convertor("isoday", Convertor, r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
    convertor("anything", Convertor, r"[+-9]+")
    convertor("odd", IntegerConvertor, r"(?:[13579]|\d[^/])")

    found = one(Route(path, page))

    assert (found.path, found.pattern) == (path, parse_pattern(pattern)[0])


@pytest.mark.parametrize(
    "regex",
    [".+", "[a-z]*", "(?:en|)", r"\S", "[^a]", "[!-~]", "[.-9]", r"[\.-9]", "[)-9]", "a/b", r"\x2f", "[a[^/]", "[+-9]"],
)
def test_a_converter_that_may_match_a_slash_is_all_below(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one of which that is not sure."""
    monkeypatch.setitem(CONVERTOR_TYPES, "odd", type("Odd", (Convertor,), {"regex": regex})())

    assert one(Route("/{x:odd}", page)).pattern == parse_pattern("/**")[0]


@pytest.mark.parametrize(
    "regex", ["[^/]+", "[^/-9]", "[-a.]", r"\d{4}-\d+", "[a-z0-9_-]+", "(?:en|de)", r"\w+\.json", r"[A-F0-9]{1,8}"]
)
def test_a_converter_of_one_segment_matches_no_slash(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The regular expressions that are taken for one segment are held to it."""
    monkeypatch.setitem(CONVERTOR_TYPES, "odd", type("Odd", (Convertor,), {"regex": regex})())

    assert one(Route("/{x:odd}", page)).pattern == parse_pattern("/{x}")[0]
    assert not any(re.fullmatch(regex, text) for text in ("/", "a/", "1/", "1234/5", "en/de", "/.json"))


def test_mounts_hosts_and_files_are_walked_through() -> None:
    """Each adds what it takes off the path, or the host that it waits for."""
    inner = Starlette(routes=[Route("/", page), Route("/x/{n:int}", page), Mount("/files", StaticFiles(directory="."))])
    found = Starlette(
        routes=[Mount("/a/{b}", inner), Mount("", routes=[Route("/top", page)]), Host("h.example", inner)]
    )

    assert shown(found) == [
        ("http", "GET", "/a/{b}/"),
        ("http", "GET", "/a/{b}/x/{n:int}"),
        ("static", "GET", "/a/{b}/files/**"),
        ("http", "GET", "/top"),
        ("http", "GET", "/"),
        ("http", "GET", "/x/{n:int}"),
        ("static", "GET", "/files/**"),
    ]
    assert [one.hosts for one in endpoints(found)] == [()] * 4 + [("h.example",)] * 3
    assert endpoints(found)[1].pattern == parse_pattern("/a/{b}/x/{n:int}")[0]


def test_below_a_path_that_goes_on_everything_is_below() -> None:
    """A mount whose path has a path in it shows no borders."""
    (found,) = endpoints(Starlette(routes=[Mount("/a/{p:path}/b", routes=[Route("/c", page)])]))

    assert (found.path, found.pattern) == ("/a/{p:path}/b/c", parse_pattern("/a/**")[0])


@pytest.mark.parametrize(
    "hidden", [app, functools.partial(app), MagicMock(spec=[]), GZipMiddleware(app), GZipMiddleware(MagicMock())]
)
def test_what_shows_no_routes_is_unseen(hidden: Any) -> None:
    """It may serve whatever it likes, for whatever method."""
    assert shown(Starlette(routes=[Mount("/in", hidden)])) == [("unseen", "*", "/in/**")]


def test_a_route_of_an_unknown_kind_is_unseen() -> None:
    """Its path is nobody's business but its own."""

    class Odd(BaseRoute):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return Match.NONE, {}

    found = endpoints(Starlette(routes=[Mount("/a", routes=[Odd(), BaseRoute()])]))

    assert [(one.kind, one.path, one.name) for one in found] == [
        ("unseen", "/a/**", Odd.__qualname__.split(">.")[1]),
        ("unseen", "/a/**", "BaseRoute"),
    ]


def test_a_router_of_ones_own_default_is_told() -> None:
    """It answers whatever no route does."""
    assert shown(Router(routes=[Route("/a", page)], default=app)) == [("http", "GET", "/a"), ("unseen", "*", "/**")]


def test_a_route_may_be_an_app_and_so_may_whatever_has_routes() -> None:
    """Starlette calls both."""

    class Own:
        routes = (Route("/b", page),)

    assert shown(Mount("/x", Route("/a", page))) == [("http", "GET", "/x/a")]
    assert shown(Own()) == [("http", "GET", "/b")]
    assert shown(MagicMock(spec=["routes"], routes=["/b"])) == [("unseen", "*", "/**")]


def test_an_asgi_app_on_a_route_takes_any_method() -> None:
    """Unless the route names some."""
    leaf = GZipMiddleware(app)

    assert one(Route("/a", leaf)).methods == ("*",)
    assert one(Route("/a", leaf, methods=["PUT"])).methods == ("PUT",)


class Users(HTTPEndpoint):
    @locked(role("reader"))
    async def get(self, request: Request) -> None: ...
    async def post(self, request: Request) -> None: ...
    async def query(self, request: Request) -> None: ...


class Dispatching(Users):
    async def dispatch(self) -> None: ...


def test_a_class_is_told_by_its_methods() -> None:
    """Each with the locks on it, and those alone that the route lets through."""
    found = endpoints(Starlette(routes=[Route("/u", Users), Route("/v", Users, methods=["POST"])]))

    assert [(one.methods, one.path, one.name, asked(one)) for one in found] == [
        (("GET",), "/u", "Users.get", ["role(reader)"]),
        (("POST",), "/u", "Users.post", []),
        (("QUERY",), "/u", "Users.query", []),
        (("POST",), "/v", "Users.post", []),
    ]
    assert found[0].location == line_of('    @locked(role("reader"))')


def test_a_class_that_dispatches_by_itself_is_told_whole() -> None:
    """Nobody knows which of its methods it asks."""
    found = one(Route("/u", Dispatching))

    assert (found.methods, asked(found), found.location) == (("*",), [], line_of("class Dispatching"))


def test_a_socket_class_is_locked_by_its_beginning() -> None:
    """What is asked later is asked of who is in already."""

    class Live(WebSocketEndpoint):
        @locked(role("in"))
        async def on_connect(self, websocket: WebSocket) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
        @locked(role("later"))
        async def on_receive(self, websocket: WebSocket, data: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    class Deaf(Live):
        async def dispatch(self) -> None: ...

    assert asked(one(WebSocketRoute("/l", Live))) == ["role(in)"]
    assert asked(one(WebSocketRoute("/l", Deaf))) == []


def test_the_locks_of_a_function_are_found_behind_what_wraps_it() -> None:
    """A partial, several locks."""
    twice = locked(role("one"))(locked(role("two"))(page))

    for endpoint in (twice, functools.partial(twice), functools.partial(functools.partial(twice))):
        assert (asked(one(Route("/a", endpoint))), one(Route("/a", endpoint)).location) == (
            ["role(one)", "role(two)"],
            line_of("async def page"),
        )


def test_a_lock_below_a_decorator_is_none() -> None:
    """It may answer before the lock is asked, though ``functools.wraps`` makes it look the same."""

    def decorated(function: Any) -> Any:
        @functools.wraps(function)
        async def answering(request: Request) -> None: ...

        return answering

    lock = locked(role("below"))
    below = decorated(lock(page))
    both = locked(role("above"))(below)
    found = [one(Route("/a", endpoint)) for endpoint in (below, both, decorated(both), lock(decorated(page)))]

    assert [asked(each) for each in found] == [[], ["role(above)"], [], ["role(below)"]]
    assert [bool(each.covered) for each in found] == [True, True, True, False]
    assert found[0].covered == line_of('    lock = locked(role("below"))')


def test_a_dependency_that_is_overridden_asks_no_lock() -> None:
    """FastAPI calls another in its place, and nothing that it would have depended on."""
    app = FastAPI(openapi_url=None)

    def service(who: CurrentPrincipal) -> None: ...

    @app.get("/x", dependencies=[requires(role("own"))])
    def served(given: None = Depends(service)) -> None: ...

    before = asked(one(Mount("/in", app)))
    app.dependency_overrides[service] = lambda: None

    assert (before, asked(one(Mount("/in", app)))) == (["role(own)", "AUTHENTICATED"], ["role(own)"])


def test_what_only_looks_like_a_lock_is_none() -> None:
    """An attribute of the same name."""

    async def odd(request: Request) -> None: ...

    odd.__authguard__ = ("lock",)  # type: ignore[attr-defined]

    assert one(Route("/a", odd)).locks == ()


def included() -> FastAPI:
    """Routers in routers, each with a lock of its own."""
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


def test_included_routers_are_seen_with_every_lock() -> None:
    """Those of the app, of both routers, of the inclusion, of the route, and those that dependencies depend on."""
    numbered, live, bare = endpoints(included())

    chain = ["role(app)", "role(outer)", "role(including)", "role(inner)"]
    assert (numbered.path, asked(numbered)) == ("/p/outer/in/inner/{n:int}", [*chain, "role(called)", "AUTHENTICATED"])
    assert numbered.pattern == parse_pattern("/p/outer/in/inner/{n:int}")[0]
    assert (live.path, live.methods, asked(live)) == ("/p/outer/in/inner/live", ("WEBSOCKET",), chain)
    assert (bare.path.endswith("/bare"), asked(bare)) == (True, [])


def test_what_is_added_to_an_included_router_later_is_seen() -> None:
    """FastAPI serves it, from 0.137 on, and did not before."""
    app, router = FastAPI(openapi_url=None), APIRouter()
    app.include_router(router, prefix="/p")
    before = endpoints(app)

    router.add_api_route("/late", page)
    router.mount("/files", StaticFiles(directory="."))

    lazily = any(hasattr(route, "effective_candidates") for route in app.routes)
    assert before == ()
    assert [one.path for one in endpoints(app)] == (["/p/late", "/p/files/**"] if lazily else [])


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI serves no frontend")
def test_a_frontend_is_files(tmp_path: Path) -> None:
    """Below its prefix, with the locks of its router."""
    app, router = FastAPI(openapi_url=None), APIRouter(prefix="/r", dependencies=[requires(role("r"))])
    router.frontend("/f", directory=tmp_path)
    app.frontend("/", directory=tmp_path)
    app.include_router(router, prefix="/p")

    assert [(one.kind, one.path, asked(one)) for one in endpoints(app)] == [
        ("static", "/**", []),
        ("static", "/p/r/f/**", ["role(r)"]),
    ]


def test_the_middleware_on_the_way_is_told() -> None:
    """Of apps, routers, mounts and routes, the outermost first; a guard among them with what it has read before."""
    gzip, ours = Middleware(GZipMiddleware), Middleware(AuthGuardMiddleware, guard=GUARD)
    inner = Starlette(routes=[Mount("/c", Router(routes=[Route("/d", page, middleware=[gzip])], middleware=[ours]))])
    app = Starlette(routes=[Mount("/{a}/b", inner, middleware=[gzip])], middleware=[ours, gzip])

    found = one(Mount("/top", GZipMiddleware(app)))

    names = ["GZipMiddleware", "AuthGuardMiddleware"]
    assert [layer.name for layer in found.layers] == [names[0], names[1], names[0], names[0], names[1], names[0]]
    first, second = (layer for layer in found.layers if layer.guard is GUARD)
    assert (first.path, str(found.below(first))) == ("/top", "/{str}/b/c/d")
    assert (second.path, str(found.below(second))) == ("/top/{a}/b/c", "/d")


def test_another_middleware_with_a_guard_is_no_guard() -> None:
    """Only ours is known to ask it."""

    class Other:
        def __init__(self, app: Any, guard: Guard) -> None:
            self.app, self.guard = app, guard

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    for wrapped in (Other(Router(), GUARD), Starlette(middleware=[Middleware(Other, guard=GUARD)])):
        assert not any(layer.guard for found in endpoints(Mount("/x", wrapped)) for layer in found.layers)


def test_a_guard_round_an_app_is_seen() -> None:
    """However it was put there."""
    for wrapped in (
        AuthGuardMiddleware(Starlette(routes=[Route("/a", page)]), guard=GUARD),
        Starlette(routes=[Route("/a", page)], middleware=[Middleware(AuthGuardMiddleware, guard=GUARD)]),
    ):
        assert [layer.guard for found in endpoints(wrapped) for layer in found.layers] == [GUARD]


def test_a_walk_ends() -> None:
    """Also where an app wraps itself, or another without end."""
    itself = MagicMock()
    itself.app = itself

    assert shown(itself) == shown(MagicMock()) == [("unseen", "*", "/**")]


def test_code_without_a_file_has_no_place() -> None:
    """It is named, and that is all."""
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("class Odd:\n    async def __call__(self, scope, receive, send): ...", names)

    found = one(Mount("/a", names["Odd"]()))

    assert (found.name, found.location) == ("Odd", "")
