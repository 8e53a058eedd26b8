"""The audit is held to the truth: who gets in where, as it says, is who gets in."""

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
from tests.support.asgi import drive, fields, http, websocket
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
#: Where the routes of an app stand, the narrow ones first; ``{x}`` reaches what narrower rules name.
PATHS = ["/open", "/either/7", "/either/{x:int}", "/edit/all", "/else", "/sub/closed", "/open/{x}", "/edit/{x}", "/{x}"]


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard whose badge is whoever presents it."""
    return Guard(SCHEME, rules=rules or RULES, role_hierarchy=ROOT, log=False, **options)


async def page(request: Request) -> PlainTextResponse:
    """What is served."""
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    """The same, over a WebSocket."""
    await socket.accept()
    await socket.close()


class Pages(HTTPEndpoint):
    """A class of methods, of which one is locked."""

    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    @on_starlette.requires(role("editor"))
    async def post(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")


class Talks(WebSocketEndpoint):
    """A class whose beginning is locked."""

    @on_starlette.requires(role("admin"))
    async def on_connect(self, websocket: WebSocket) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await websocket.accept()


def routes() -> list[Route | WebSocketRoute]:
    """Every path, as a page, as a WebSocket, and locked."""
    locked = on_starlette.requires(role("editor"))
    found: list[Route | WebSocketRoute] = [Route("/open/post", page, methods=["POST"])]
    found += [
        Route("/open/locked", locked(page)),
        Route("/open/a/pages", Pages),
        WebSocketRoute("/open/a/talks", Talks),
    ]
    for path in PATHS:
        found += [Route(path, page), WebSocketRoute(path, talk)]
    return found


def plain() -> Starlette:
    """Routes at the top."""
    return Starlette(routes=routes())


def mounted() -> Starlette:
    """The same routes below a mount, below another, and files."""
    inner = Mount("/sub", routes=[Mount("/open/deep", routes=routes()), *routes()])
    return Starlette(routes=[Mount("/open/files", StaticFiles(directory="tests/keys")), inner])


def hosted() -> Starlette:
    """The same behind hosts."""
    return Starlette(routes=[Host("testserver", Starlette(routes=[Mount("/open", routes=routes())])), *routes()])


def nested() -> Starlette:
    """With a guard inside, which is asked for what the outer one leaves open."""
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
    """Paths of the row that no other route serves, as far as it can be helped."""
    path = row.path.replace("/**", "/test_source.py")
    path = re.sub(r"\{\w+:int\}", "5", path)
    yield re.sub(r"\{\w+\}", "whatever", path)


def meets(principal: Principal | None, requirements: list[Requirement]) -> bool:
    """Whether somebody gets in where all this is asked, by the audit's own words."""
    if principal is None:
        return all(requirement in {PUBLIC, OPTIONAL} for requirement in requirements)
    moment = Moment(0, 0)
    return all(requirement.unmet(principal, {}, moment) is None for requirement in requirements)


async def gets_in(app: Any, row: RouteEntry, path: str, name: str | None) -> bool:
    """Whether a request is served."""
    authorization = [] if name is None else fields(f"Badge {name}")[1:]
    headers = [(b"host", row.endpoint.hosts[0].encode() if row.endpoint.hosts else b"other"), *authorization]
    if row.method == "WEBSOCKET":
        exchange = await drive(app, websocket(path, headers), {"type": "websocket.connect"})
        return bool(exchange.sent[0]["type"] == "websocket.accept")
    exchange = await drive(app, http(path, row.method, headers))
    assert exchange.status in {200, 401, 403}, (row.method, path, exchange.status)
    return exchange.status == 200


def implied_roles(principal: Principal | None) -> Principal | None:
    """With the roles that the guard adds."""
    if principal is None or "admin" not in principal.roles:
        return principal
    return Principal(principal.subject, roles={"admin", "editor"})


@pytest.mark.parametrize("made", APPS)
@pytest.mark.parametrize("options", [{}, {"default": OPTIONAL}, {"default": role("admin")}], ids=str)
async def test_who_gets_in_is_who_is_said_to(made: Callable[[], Any], options: dict[str, Any]) -> None:
    """Of the anonymous, a user, an editor and an administrator, on each method and path of each app."""
    app, front = made(), guard(**options)
    guarded = AuthGuardMiddleware(app, guard=front)
    rows = audit(guarded, front).rows
    first = {
        (row.method, row.path, row.endpoint.hosts): row for row in reversed(rows)
    }  # a router serves the first that fits

    told, seen = {}, {}
    for row in first.values():
        asked = [requirement for requirement, _ in row.asked]
        for path in samples(row):
            for name in [None, *WHO]:
                told[row.about, row.endpoint.hosts, name] = meets(
                    implied_roles(None if name is None else WHO[name]), asked
                )
                seen[row.about, row.endpoint.hosts, name] = await gets_in(guarded, row, path, name)
            assert told[row.about, row.endpoint.hosts, None] == row.open

    assert ANY_METHOD not in {row.method for row in rows}
    assert len(told) > 30
    assert seen == told


@pytest.mark.parametrize("made", APPS)
async def test_an_opening_is_open_and_there_is_no_other(made: Callable[[], Any]) -> None:
    """On paths that narrower rules name too: whatever lets the anonymous in stands among the openings."""
    app, front = made(), guard()
    guarded = AuthGuardMiddleware(app, guard=front)
    first = {(row.method, row.path, row.endpoint.hosts): row for row in reversed(audit(guarded, front).rows)}
    public_accesses = {
        (row.method, parse_pattern(one.path)[0]) for row in first.values() for one in row.public_accesses
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
                    [] if any(row.method == method and here.inside(one) for method, one in public_accesses) else [path]
                )

    assert missed == []
    assert entered > 10


def test_the_app_may_have_its_guard_already_or_not() -> None:
    """What is said is the same: where no guard is on any way, the given one is taken to be in front of all."""
    front = guard()
    bare, installed = fast(), fast()
    installed.add_middleware(AuthGuardMiddleware, guard=front)

    shown = [[(row.about, row.asked, row.open) for row in audit(app, front).rows] for app in (bare, installed)]

    assert shown[0] == shown[1]


async def test_what_no_guard_is_in_front_of_is_open() -> None:
    """Where the guard is asked about that sits further in, and elsewhere."""
    inner = guard(Rule("/**", role("admin")))
    app = Starlette(routes=[Route("/bare", page), Mount("/in", AuthGuardMiddleware(plain(), guard=inner))])

    bare, *others = audit(app, inner).rows

    assert (bare.about, bare.open, bare.asked, [one.path for one in bare.public_accesses]) == (
        "GET /bare",
        True,
        (),
        ["/bare"],
    )
    assert not any(row.open for row in others)
    assert (await drive(app, http("/bare"))).status == 200


def test_what_somebody_wrote_is_told_before_a_default() -> None:
    """Where both ask the same."""
    app = Starlette(routes=[Route("/a", on_starlette.requires(role("admin"))(page))])

    (row,) = audit(app, guard(Rule("/b", PUBLIC), default=role("admin"))).rows

    assert row.asked == ((role("admin"), row.locks[0].location),)
    assert row.locks[0].location


def test_each_of_two_guards_may_open_another_part() -> None:
    """What one opens as a whole is told by the path that the other opens of it."""
    inner = Guard(SCHEME, rules=[Rule("/x", PUBLIC)], log=False)
    app = Starlette(routes=[Mount("/sub", AuthGuardMiddleware(Starlette(routes=[Route("/{x}", page)]), guard=inner))])

    front = guard()
    (row,) = audit(AuthGuardMiddleware(app, guard=front), front).rows

    assert (row.open, [(one.path, str(one.rule)) for one in row.public_accesses]) == (False, [("/sub/x", "/x PUBLIC")])


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app of which nothing can be seen."""
    await PlainTextResponse("in")(scope, receive, send)


def test_what_cannot_be_seen_into_is_said_to_be_so() -> None:
    """With what applies to whatever it serves."""
    app = Starlette(routes=[Mount("/open/in", opaque), Mount("/edit", opaque)])

    rows = audit(app, guard()).rows

    assert [(row.about, row.endpoint.kind) for row in rows] == [("* /open/in/**", "unseen"), ("* /edit/**", "unseen")]
    assert [sorted({str(one.rule) for one in row.public_accesses}) for row in rows] == [
        ["GET WEBSOCKET /open/** PUBLIC"],
        [],
    ]
    assert rows[1].narrower[0][1] == "/edit/all"
