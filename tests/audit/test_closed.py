"""``assert_closed`` fails for each open route that is not named, and for each route that no rule or lock names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from authguard import AUTHENTICATED, OPTIONAL, PUBLIC, AuthGuardMiddleware, ConfigurationError, Guard, Rule, role
from authguard import fastapi as on_fastapi
from authguard import starlette as on_starlette
from authguard.audit import report
from authguard.audit.audit import assert_closed, audit
from authguard.fastapi import CurrentPrincipal, install, requires
from tests.audit.installed import assert_closed as closed
from tests.audit.installed import installed
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)
HEALTH = Rule("/health", PUBLIC)


async def page(request: Request) -> None:
    """An endpoint."""


LOCATION = f"{page.__code__.co_filename}:{page.__code__.co_firstlineno}"


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard with one scheme."""
    return Guard(Badge(), rules=rules, log=False, **options)


def app(*routes: Any) -> Starlette:
    """An app of these routes; a string is the path of a page."""
    return Starlette(routes=[Route(route, page) if isinstance(route, str) else route for route in routes])


def problems(served: object, front: Guard, *public: str, ignore: Collection[str] = ()) -> list[str]:
    """The problems that ``assert_closed`` reports."""
    with pytest.raises(AssertionError) as caught:
        closed(served, front, public=public, ignore=ignore)
    head, *lines = str(caught.value).split("\n  ")
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert head == f"the app is not known to be closed: {count}:"
    return lines


def test_an_app_with_every_opening_named_passes() -> None:
    """Methods, patterns, narrower rules and WebSockets can each be named."""
    served = app(
        "/health",
        "/items/{id:int}",
        Route("/login", page, methods=["GET", "POST"]),
        WebSocketRoute("/live", page),
        "/{x}",
    )
    opened = [Rule("/items/{n:int}", OPTIONAL), Rule("/login", PUBLIC), Rule("/live", PUBLIC), Rule("/x", PUBLIC)]
    public = [
        "/health",
        "/items/{number:int}",
        "GET /login",
        "POST /login/",
        "WEBSOCKET /live",
        "/x",
        "/login",
        "/live",
    ]

    closed(served, guard(CLOSED, HEALTH, *opened), public=public)


def test_an_opening_that_is_not_named_is_reported() -> None:
    """The line has the rule, its location and the fix.

    If a default opens the route, the location is that of the endpoint.
    """
    rule = Rule("/items/**", OPTIONAL)

    location = short_location(rule.location)
    assert problems(app("/items/{id}"), guard(rule)) == [
        f"GET /items/{{id}}: it is open by /items/** OPTIONAL ({location}). Close it, or name it in public"
    ]
    assert problems(app("/a"), guard(default=OPTIONAL)) == [
        f"GET /a: it is open by default ({short_location(LOCATION)}). Close it, or name it in public"
    ]
    assert problems(app("/a"), guard(), "/a")[0].startswith("GET /a: no rule names it and no lock is on it")


def short_location(location: str) -> str:
    """The location as the message shows it."""
    return report.short_location(location)


def test_one_method_may_be_named_and_another_not() -> None:
    """An entry with a method accepts that method alone."""
    served = app(Route("/a", page, methods=["GET", "POST"]))

    (line,) = problems(served, guard(Rule("/a", PUBLIC)), "GET /a")

    assert line.startswith("POST /a: it is open by /a PUBLIC")


def test_an_opening_by_a_narrower_rule_is_reported() -> None:
    """It has the path of the rule."""
    (line,) = problems(app("/{x}"), guard(CLOSED, HEALTH))

    assert line.startswith("GET /health: it is open by /health PUBLIC")


def test_an_entry_that_matches_no_open_route_is_reported() -> None:
    """The route may be gone or closed by now, or may never have had the method."""
    assert problems(app("/health", "/a"), guard(CLOSED, HEALTH), "/health", "/gone", "POST /health", "/a") == [
        "/a: it is in public, and it matches no open route. Remove it",
        "/gone: it is in public, and it matches no open route. Remove it",
        "POST /health: it is in public, and it matches no open route. Remove it",
    ]


@pytest.mark.parametrize("public", ["/health", [3], ["health"], ["GET"], ["GET health"]])
def test_an_entry_that_can_match_nothing_is_refused(public: Any) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match="public"):
        closed(app(), guard(), public=public)


def test_a_path_that_no_rule_could_be_written_for_can_be_named() -> None:
    """It is written as its router writes it."""
    served = app("/files/{name}.json")

    closed(served, guard(Rule("/files/{name}", PUBLIC)), public=["/files/{name}.json"])
    assert problems(served, guard(Rule("/files/{name}", PUBLIC)), "/files/{name}")


def test_a_lock_closes_what_a_rule_opens() -> None:
    """A lock with OPTIONAL does not."""
    locked = app(Route("/health", on_starlette.requires(role("any"))(page)))
    optional = app(Route("/health", on_starlette.requires(OPTIONAL)(page)))

    closed(locked, guard(HEALTH))
    assert problems(optional, guard(HEALTH))[0].startswith("GET /health: it is open by")


def included(inner: APIRouter) -> FastAPI:
    """The router in a router of an app."""
    served, outer = FastAPI(openapi_url=None), APIRouter()
    outer.include_router(inner, prefix="/in")
    served.include_router(outer, prefix="/out")
    return served


def in_router(*locks: Any) -> FastAPI:
    """A route of a router in a router."""
    inner = APIRouter()

    @inner.put("/late", dependencies=locks)
    def late() -> None: ...

    return included(inner)


def in_socket(*locks: Any) -> FastAPI:
    """A WebSocket of a router in a router."""
    inner = APIRouter(dependencies=locks)

    @inner.websocket("/late")
    async def late(socket: WebSocket) -> None: ...

    return included(inner)


def in_mount(*locks: Any) -> Starlette:
    """A route of an app in a mount in a mount."""
    inner = FastAPI(openapi_url=None, dependencies=locks)

    @inner.get("/late")
    def late() -> None: ...

    return Starlette(routes=[Mount("/out", routes=[Mount("/in", inner)])])


@pytest.mark.parametrize("make", [in_router, in_socket, in_mount])
@pytest.mark.parametrize("early", [True, False])
def test_a_new_route_without_a_rule_fails(make: Callable[..., Any], early: bool) -> None:
    """It fails wherever the route is added and however the guard is put in front. A rule or a lock fixes it."""

    def served(front: Guard, *locks: Any) -> Any:
        new_app = make(*locks)
        if early and isinstance(new_app, FastAPI):
            install(new_app, front)
        return new_app

    bare, ruled = guard(), guard(CLOSED)

    (line,) = problems(served(bare), bare)
    assert "/out/in/late: no rule names it and no lock is on it" in line
    assert __name__.rpartition(".")[2] in line
    closed(served(ruled), ruled)
    closed(served(bare, requires(role("any"))), bare)


def test_a_route_that_takes_a_principal_is_locked() -> None:
    """``CurrentPrincipal`` closes it, even if the default is open."""
    served = FastAPI(openapi_url=None)

    @served.get("/me")
    def me(who: CurrentPrincipal) -> None: ...

    closed(served, guard(default=OPTIONAL))


@pytest.mark.parametrize("module", [on_starlette, on_fastapi])
def test_both_adapters_export_the_same_functions(module: Any) -> None:
    """``__all__`` names nothing that the module does not have."""
    names: Collection[str] = module.__all__

    assert (module.audit, module.assert_closed) == (audit, assert_closed)
    assert [name for name in names if not hasattr(module, name)] == []


def test_an_app_whose_guard_was_forgotten_fails() -> None:
    """It fails however well the rules fit; and so does an app with another guard, and one that serves nothing."""

    def problem(served: Any, front: Guard) -> str:
        with pytest.raises(AssertionError) as caught:
            assert_closed(served, front)
        return str(caught.value).split("\n  ")[1]

    assert problem(app("/a"), guard(CLOSED)).startswith("Starlette: no guard is in front of it yet")
    assert problem(installed(app("/a"), guard(CLOSED)), guard(CLOSED)).startswith(
        "AuthGuardMiddleware: it holds another guard than the given one"
    )
    assert problem(app(), guard(CLOSED)) == "the app serves nothing. Call assert_closed when its routes are there"


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that cannot be inspected."""


class Hiding:
    """A middleware that nobody knows."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@pytest.mark.parametrize("code", ["middleware.outside", "middleware.inside"])
def test_a_middleware_that_may_answer_is_a_problem(code: str) -> None:
    """The message has its file and line, and the entry that accepts it."""
    front = guard(CLOSED)
    middleware = [Middleware(Hiding), Middleware(AuthGuardMiddleware, guard=front)]
    if code == "middleware.inside":
        middleware.reverse()
    served = Starlette(routes=[Route("/a", page)], middleware=middleware)
    entry = f"{code} Hiding"

    (line,) = problems(served, front)

    assert line.startswith("Hiding: it is ")
    assert line.endswith(f'. To accept it: ignore=["{entry}"]')
    assert short_location(f"{__file__}:") in line
    for accepted in (entry, code):
        closed(served, front, ignore=[accepted])
    with pytest.raises(ConfigurationError, match="'middleware' does not begin with the code of a finding"):
        closed(served, front, ignore=["middleware"])


def test_an_open_part_that_cannot_be_inspected_is_a_problem() -> None:
    """That its path is open is one statement, and that nobody can see what it serves is another."""
    opened, entry = guard(Rule("/in/**", PUBLIC)), "opaque * /in/**"
    served = app(Mount("/in", opaque))

    first, second = problems(served, opened)
    assert (first.endswith(f'ignore=["{entry}"]'), second.endswith("Close it, or name it in public")) == (True, True)
    assert problems(served, opened, "/in/**") == [first]
    closed(served, opened, public=["/in/**"], ignore=[entry])
    closed(served, guard(Rule("/in/**", role("any"))))


def test_a_part_without_a_guard_that_cannot_be_inspected_is_a_problem() -> None:
    """It is beside the guard, or in front of it: an app with a ``__call__`` of its own may answer anything."""

    class OwnApp(Starlette):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    front = guard(CLOSED)
    beside = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=front)), Mount("/out", opaque))
    above = OwnApp(routes=[Route("/a", page)], middleware=[Middleware(AuthGuardMiddleware, guard=front)])

    assert [line.partition(":")[0] for line in problems(beside, front)] == ["* /out/**", "* /out/**"]
    assert [line.partition(":")[0] for line in problems(above, front)] == ["* /**", "* /**"]
    assert problems(beside, front, "/out/**")[0].startswith("* /out/**: it is open by default, and what it serves")


def test_a_way_in_for_preflights_is_a_problem() -> None:
    """``preflight="pass"`` opens what answers OPTIONS, and no entry of ``public`` says so."""
    front = guard(CLOSED)
    served = AuthGuardMiddleware(app(Route("/a", page, methods=["OPTIONS"])), guard=front, preflight="pass")

    (line,) = problems(served, front)

    assert line.endswith('To accept it: ignore=["open.preflight OPTIONS /a"]')
    closed(served, front, ignore=["open.preflight OPTIONS /a"])


def test_findings_about_rules_are_no_problem() -> None:
    """An app may be closed with a rule that matches nothing, and with an open rule that reaches far."""
    closed(app("/a"), guard(CLOSED, Rule("/gone", role("any"))))
    closed(app("/a/b"), guard(CLOSED, Rule("/a/**", PUBLIC)), public=["/a/b"])


def test_an_unnamed_route_can_be_accepted() -> None:
    """By its code, or one by one; FastAPI's own pages by one entry."""
    closed(app("/a"), guard(), ignore=["route.unnamed GET /a"])
    closed(app("/a", "/b"), guard(), ignore=["route.unnamed"])
    closed(FastAPI(), guard(), ignore=["route.unnamed FastAPI's own pages"])
    assert [line.partition(":")[0] for line in problems(app("/a", "/b"), guard(), ignore=["route.unnamed GET /a"])] == [
        "GET /b"
    ]


def test_an_entry_that_accepts_no_finding_is_a_problem() -> None:
    """The finding was fixed, or the entry is misspelt."""
    assert problems(app("/a"), guard(CLOSED), ignore=["middleware.outside Gone"]) == [
        "middleware.outside Gone: there is no finding for it to accept. Remove it"
    ]


def test_an_opening_by_two_guards_is_reported_once() -> None:
    """The line names the rule of the inner guard if it has one, else that of the outer."""
    outer = guard(Rule("/in/a", PUBLIC))
    for rules, by in (([Rule("/a", OPTIONAL)], "/a OPTIONAL"), ([], "/in/a PUBLIC")):
        served = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=guard(*rules, default=OPTIONAL))))

        assert problems(served, outer)[0].startswith(f"GET /in/a: it is open by {by} (")
        assert len(problems(served, outer)) == 1
