"""``assert_closed`` fails for each open route that is not named, and for each route that no rule or lock names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route, WebSocketRoute

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


def problems(served: object, front: Guard, *public: str) -> list[str]:
    """The problems that ``assert_closed`` reports."""
    with pytest.raises(AssertionError) as caught:
        closed(served, front, public=public)
    head, *lines = str(caught.value).split("\n  ")
    assert head == ("1 route or entry is" if len(lines) == 1 else f"{len(lines)} routes or entries are") + (
        " not as they should be:" if len(lines) > 1 else " not as it should be:"
    )
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


def test_an_opening_by_two_guards_is_reported_once() -> None:
    """The line names the rule of the inner guard if it has one, else that of the outer."""
    outer = guard(Rule("/in/a", PUBLIC))
    for rules, by in (([Rule("/a", OPTIONAL)], "/a OPTIONAL"), ([], "/in/a PUBLIC")):
        served = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=guard(*rules, default=OPTIONAL))))

        assert problems(served, outer)[0].startswith(f"GET /in/a: it is open by {by} (")
        assert len(problems(served, outer)) == 1
