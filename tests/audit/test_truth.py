"""The audit tells the truth: each principal gets in exactly where the audit says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from authguard import (
    OPTIONAL,
    PUBLIC,
    Accepted,
    AuthGuardMiddleware,
    Guard,
    Moment,
    Principal,
    Requirement,
    Rule,
    all_roles,
    any_role,
    role,
)
from authguard import starlette as on_starlette
from authguard.audit.audit import audit
from authguard.audit.endpoint import ANY_METHOD
from authguard.audit.rows import RouteEntry
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, requires
from authguard.policy.path_pattern import parse_pattern
from tests.support.asgi import header_list, http_scope, run_app, websocket_scope
from tests.support.schemes.badge import Badge

WHO = {
    name: Principal(name, roles=roles) for name, roles in {"anne": set(), "ed": {"editor"}, "root": {"admin"}}.items()
}
SCHEME = Badge(table={name: Accepted(principal) for name, principal in WHO.items()})
ROOT = {"admin": {"editor"}}
RULES = [
    Rule("/open", PUBLIC),
    Rule("/open/**", PUBLIC, methods={"GET", "WEBSOCKET"}),
    Rule("/open/**", role("editor"), methods={"POST"}),
    Rule("/either/{x:int}", OPTIONAL),
    Rule("/either/7", role("admin")),
    Rule("/edit/**", role("editor")),
    Rule("/edit/all", any_role("admin", "owner")),
    Rule("/sub/**", PUBLIC),
    Rule("/sub/closed", role("admin")),
]
#: The paths of the routes, narrow ones first. Narrower rules exist for some of the paths that ``{x}`` matches.
PATHS = ["/open", "/either/7", "/either/{x:int}", "/edit/all", "/else", "/sub/closed", "/open/{x}", "/edit/{x}", "/{x}"]


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard that authenticates each request as the person that its badge names."""
    return Guard(SCHEME, rules=rules or RULES, role_hierarchy=ROOT, log=False, **options)


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    """An endpoint over a WebSocket."""
    await socket.accept()
    await socket.close()


class Pages(HTTPEndpoint):
    """A class with two handlers, one of them locked."""

    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    @on_starlette.requires(role("editor"))
    async def post(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")


class Talks(WebSocketEndpoint):
    """A class whose ``on_connect`` is locked."""

    @on_starlette.requires(role("admin"))
    async def on_connect(self, websocket: WebSocket) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await websocket.accept()


def routes() -> list[Route | WebSocketRoute]:
    """Every path as a page, as a WebSocket, and locked."""
    locked = on_starlette.requires(role("editor"))
    every_route: list[Route | WebSocketRoute] = [Route("/open/post", page, methods=["POST"])]
    every_route += [
        Route("/open/locked", locked(page)),
        Route("/open/a/pages", Pages),
        WebSocketRoute("/open/a/talks", Talks),
    ]
    for path in PATHS:
        every_route += [Route(path, page), WebSocketRoute(path, talk)]
    return every_route


def plain() -> Starlette:
    """An app of routes."""
    return Starlette(routes=routes())


def mounted() -> Starlette:
    """The same routes below a mount and below another one, and files."""
    inner = Mount("/sub", routes=[Mount("/open/deep", routes=routes()), *routes()])
    return Starlette(routes=[Mount("/open/files", StaticFiles(directory="tests/keys")), inner])


def hosted() -> Starlette:
    """The same routes behind a host."""
    return Starlette(routes=[Host("testserver", Starlette(routes=[Mount("/open", routes=routes())])), *routes()])


def nested() -> Starlette:
    """An app with an inner guard, behind what the outer guard leaves open."""
    inner = guard(Rule("/open", role("admin")), Rule("/edit/**", PUBLIC), default=OPTIONAL)
    guarded = Starlette(routes=routes(), middleware=[Middleware(AuthGuardMiddleware, guard=inner)])
    return Starlette(routes=[Mount("/sub", guarded), Mount("/edit", AuthGuardMiddleware(plain(), guard=inner))])


def fast() -> FastAPI:
    """Routers in routers, with locks on each."""
    inner, outer, app = APIRouter(prefix="/sub"), APIRouter(), FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def nothing(who: Annotated[Principal, requires(role("editor"))]) -> None: ...

    for number, locks in enumerate(([], [requires(role("editor"))], [requires(role("admin"))], [Depends(nothing)])):

        @inner.get(f"/locked/{number}", dependencies=locks)
        @inner.post(f"/locked/{number}", dependencies=locks)
        def endpoint() -> str:
            return "in"

        @inner.websocket(f"/locked/{number}", dependencies=locks)
        async def socket(websocket: WebSocket) -> None:
            await talk(websocket)

    @inner.get("/who")
    def who(principal: CurrentPrincipal) -> str:
        return "in"

    @inner.get("/maybe")
    def maybe(principal: MaybePrincipal) -> str:
        return "in"

    outer.include_router(inner, prefix="/a")
    outer.include_router(inner, prefix="/b", dependencies=[requires(all_roles("editor"))])
    app.include_router(outer, prefix="/open")
    app.include_router(outer, prefix="/sub", dependencies=[requires(role("admin"))])
    app.include_router(inner)
    return app


APPS: list[Callable[[], Any]] = [plain, mounted, hosted, nested, fast]


def samples(row: RouteEntry) -> Iterator[str]:
    """A path of the row, which as far as possible no other route serves."""
    path = row.path.replace("/**", "/test_source.py")
    path = re.sub(r"\{\w+:int\}", "5", path)
    yield re.sub(r"\{\w+\}", "whatever", path)


def meets(principal: Principal | None, requirements: list[Requirement]) -> bool:
    """Whether a principal satisfies all these requirements."""
    if principal is None:
        return all(requirement in {PUBLIC, OPTIONAL} for requirement in requirements)
    moment = Moment(0, 0)
    return all(requirement.unmet(principal, {}, moment) is None for requirement in requirements)


async def gets_in(app: Any, row: RouteEntry, path: str, name: str | None) -> bool:
    """Whether the app serves a request of this principal."""
    authorization = [] if name is None else header_list(f"Badge {name}")[1:]
    headers = [(b"host", row.endpoint.hosts[0].encode() if row.endpoint.hosts else b"other"), *authorization]
    if row.method == "WEBSOCKET":
        exchange = await run_app(app, websocket_scope(path, headers), {"type": "websocket.connect"})
        return bool(exchange.sent[0]["type"] == "websocket.accept")
    exchange = await run_app(app, http_scope(path, row.method, headers))
    assert exchange.status in {200, 401, 403}, (row.method, path, exchange.status)
    return exchange.status == 200


def implied_roles(principal: Principal | None) -> Principal | None:
    """The principal with the roles that the guard adds."""
    if principal is None or "admin" not in principal.roles:
        return principal
    return Principal(principal.subject, roles={"admin", "editor"})


@pytest.mark.parametrize("make_app", APPS)
@pytest.mark.parametrize("options", [{}, {"default": OPTIONAL}, {"default": role("admin")}], ids=str)
async def test_requests_get_in_where_the_audit_says_so(make_app: Callable[[], Any], options: dict[str, Any]) -> None:
    """Tried for an anonymous request, a user, an editor and an administrator, on each method and path of each app."""
    app, front = make_app(), guard(**options)
    guarded = AuthGuardMiddleware(app, guard=front)
    rows = audit(guarded, front).rows
    first = {
        (row.method, row.path, row.endpoint.hosts): row for row in reversed(rows)
    }  # a router serves the first that fits

    expected, actual = {}, {}
    for row in first.values():
        requirements = [requirement for requirement, _ in row.requirements]
        for path in samples(row):
            for name in [None, *WHO]:
                expected[row.about, row.endpoint.hosts, name] = meets(
                    implied_roles(None if name is None else WHO[name]), requirements
                )
                actual[row.about, row.endpoint.hosts, name] = await gets_in(guarded, row, path, name)
            assert expected[row.about, row.endpoint.hosts, None] == row.open

    assert ANY_METHOD not in {row.method for row in rows}
    assert len(expected) > 30
    assert actual == expected


@pytest.mark.parametrize("make_app", APPS)
async def test_anonymous_requests_get_in_at_the_public_accesses_only(make_app: Callable[[], Any]) -> None:
    """Paths that narrower rules name are tried too."""
    app, front = make_app(), guard()
    guarded = AuthGuardMiddleware(app, guard=front)
    first = {(row.method, row.path, row.endpoint.hosts): row for row in reversed(audit(guarded, front).rows)}
    public_accesses = {
        (row.method, parse_pattern(access.path)[0]) for row in first.values() for access in row.public_accesses
    }
    missed, entered = [], 0

    for row in first.values():
        for word, number in (("whatever", "5"), ("open", "7"), ("all", "8")):
            path = re.sub(r"\{\w+:int\}", number, row.path.replace("/**", "/test_source.py"))
            path = re.sub(r"\{\w+\}", word, path)
            if await gets_in(guarded, row, path, None):
                entered += 1
                here = parse_pattern(path)[0]
                missed += (
                    []
                    if any(row.method == method and here.is_subset_of(pattern) for method, pattern in public_accesses)
                    else [path]
                )

    assert missed == []
    assert entered > 10


def test_an_app_has_the_same_rows_with_and_without_its_guard() -> None:
    """Without a guard in the app, the audit takes the given one to be in front of all routes."""
    front = guard()
    bare, installed = fast(), fast()
    installed.add_middleware(AuthGuardMiddleware, guard=front)

    audits = [[(row.about, row.requirements, row.open) for row in audit(app, front).rows] for app in (bare, installed)]

    assert audits[0] == audits[1]


async def test_a_route_without_a_guard_is_open() -> None:
    """The given guard is further in, around other routes."""
    inner = guard(Rule("/**", role("admin")))
    app = Starlette(routes=[Route("/bare", page), Mount("/in", AuthGuardMiddleware(plain(), guard=inner))])

    bare, *others = audit(app, inner).rows

    assert (bare.about, bare.open, bare.requirements, [access.path for access in bare.public_accesses]) == (
        "GET /bare",
        True,
        (),
        ["/bare"],
    )
    assert not any(row.open for row in others)
    assert (await run_app(app, http_scope("/bare"))).status == 200


def test_a_lock_comes_before_a_default_with_the_same_requirement() -> None:
    """The row shows the location of the lock."""
    app = Starlette(routes=[Route("/a", on_starlette.requires(role("admin"))(page))])

    (row,) = audit(app, guard(Rule("/b", PUBLIC), default=role("admin"))).rows

    assert row.requirements == ((role("admin"), row.locks[0].location),)
    assert row.locks[0].location


def test_a_part_opened_by_the_inner_guard_alone_has_its_path() -> None:
    """The outer guard opens the whole mount."""
    inner = Guard(SCHEME, rules=[Rule("/x", PUBLIC)], log=False)
    app = Starlette(routes=[Mount("/sub", AuthGuardMiddleware(Starlette(routes=[Route("/{x}", page)]), guard=inner))])

    front = guard()
    (row,) = audit(AuthGuardMiddleware(app, guard=front), front).rows

    assert (row.open, [(access.path, str(access.rule)) for access in row.public_accesses]) == (
        False,
        [("/sub/x", "/x PUBLIC")],
    )


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that cannot be inspected."""
    await PlainTextResponse("in")(scope, receive, send)


def test_an_opaque_app_is_a_row() -> None:
    """The row shows what applies to every path that it serves."""
    app = Starlette(routes=[Mount("/open/in", opaque), Mount("/edit", opaque)])

    rows = audit(app, guard()).rows

    assert [(row.about, row.endpoint.kind) for row in rows] == [("* /open/in/**", "opaque"), ("* /edit/**", "opaque")]
    assert [sorted({str(access.rule) for access in row.public_accesses}) for row in rows] == [
        ["GET WEBSOCKET /open/** PUBLIC"],
        [],
    ]
    assert rows[1].narrower[0][1] == "/edit/all"
