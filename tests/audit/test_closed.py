"""``assert_closed`` fails for whatever is open without being named, and for whatever nobody has thought of."""

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
from authguard.audit.audit import assert_closed, audit
from authguard.fastapi import CurrentPrincipal, install, requires
from tests.audit.installed import assert_closed as closed
from tests.audit.installed import installed
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)
HEALTH = Rule("/health", PUBLIC)


async def page(request: Request) -> None:
    """An endpoint."""


PLACE = f"{page.__code__.co_filename}:{page.__code__.co_firstlineno}"


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard of one scheme."""
    return Guard(Badge(), rules=rules, log=False, **options)


def app(*routes: Any) -> Starlette:
    """An app of these routes; a text is the path of a page."""
    return Starlette(routes=[Route(one, page) if isinstance(one, str) else one for one in routes])


def told(served: object, front: Guard, *public: str) -> list[str]:
    """What ``assert_closed`` says of each route or entry."""
    with pytest.raises(AssertionError) as caught:
        closed(served, front, public=public)
    head, *lines = str(caught.value).split("\n  ")
    assert head == ("1 route or entry is" if len(lines) == 1 else f"{len(lines)} routes or entries are") + (
        " not as they should be:" if len(lines) > 1 else " not as it should be:"
    )
    return lines


def test_what_is_open_by_name_and_closed_by_name_passes() -> None:
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


def test_what_is_open_is_told() -> None:
    """With the rule, its place and the mend; where a default opens it, with the place of the endpoint."""
    rule = Rule("/items/**", OPTIONAL)

    at = short_location(rule.location)
    assert told(app("/items/{id}"), guard(rule)) == [
        f"GET /items/{{id}}: it is open by /items/** OPTIONAL ({at}). Close it, or name it in public"
    ]
    assert told(app("/a"), guard(default=OPTIONAL)) == [
        f"GET /a: it is open by default ({short_location(PLACE)}). Close it, or name it in public"
    ]
    assert told(app("/a"), guard(), "/a")[0].startswith("GET /a: no rule names it and no lock is on it")


def short_location(said: str) -> str:
    """As a person at the root of the project reads it."""
    from authguard.audit.report import short_location as shown

    return shown(said)


def test_one_method_may_be_named_and_another_not() -> None:
    """An entry with a method speaks for that alone."""
    served = app(Route("/a", page, methods=["GET", "POST"]))

    (line,) = told(served, guard(Rule("/a", PUBLIC)), "GET /a")

    assert line.startswith("POST /a: it is open by /a PUBLIC")


def test_what_a_narrower_rule_opens_is_told() -> None:
    """By the rule's own path."""
    (line,) = told(app("/{x}"), guard(CLOSED, HEALTH))

    assert line.startswith("GET /health: it is open by /health PUBLIC")


def test_an_entry_that_no_open_route_meets_is_told() -> None:
    """A route that is gone, a method that it never had, or one that was closed meanwhile."""
    assert told(app("/health", "/a"), guard(CLOSED, HEALTH), "/health", "/gone", "POST /health", "/a") == [
        "/a: public names it, and no open route meets it. Leave it out",
        "/gone: public names it, and no open route meets it. Leave it out",
        "POST /health: public names it, and no open route meets it. Leave it out",
    ]


@pytest.mark.parametrize("public", ["/health", [3], ["health"], ["GET"], ["GET health"]])
def test_an_entry_that_could_never_be_met_is_refused(public: Any) -> None:
    """It is told as what it is."""
    with pytest.raises(ConfigurationError, match="public"):
        closed(app(), guard(), public=public)


def test_a_path_that_no_rule_could_be_written_for_can_be_named() -> None:
    """As its router writes it."""
    served = app("/files/{name}.json")

    closed(served, guard(Rule("/files/{name}", PUBLIC)), public=["/files/{name}.json"])
    assert told(served, guard(Rule("/files/{name}", PUBLIC)), "/files/{name}")


def test_a_lock_closes_what_a_rule_opens() -> None:
    """One that needs somebody; one that takes anybody does not."""
    locked = app(Route("/health", on_starlette.requires(role("any"))(page)))
    ajar = app(Route("/health", on_starlette.requires(OPTIONAL)(page)))

    closed(locked, guard(HEALTH))
    assert told(ajar, guard(HEALTH))[0].startswith("GET /health: it is open by")


def included(inner: APIRouter) -> FastAPI:
    """A router in a router."""
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


@pytest.mark.parametrize("made", [in_router, in_socket, in_mount])
@pytest.mark.parametrize("early", [True, False])
def test_a_route_that_is_added_without_a_thought_fails(made: Callable[..., Any], early: bool) -> None:
    """Wherever it was added, and however the guard was put in front; a rule or a lock mends it."""

    def served(front: Guard, *locks: Any) -> Any:
        found = made(*locks)
        if early and isinstance(found, FastAPI):
            install(found, front)
        return found

    bare, ruled = guard(), guard(CLOSED)

    (line,) = told(served(bare), bare)
    assert "/out/in/late: no rule names it and no lock is on it" in line
    assert __name__.rpartition(".")[2] in line
    closed(served(ruled), ruled)
    closed(served(bare, requires(role("any"))), bare)


def test_a_route_that_takes_a_principal_is_locked() -> None:
    """That is what ``CurrentPrincipal`` means, also where the default is open."""
    served = FastAPI(openapi_url=None)

    @served.get("/me")
    def me(who: CurrentPrincipal) -> None: ...

    closed(served, guard(default=OPTIONAL))


@pytest.mark.parametrize("module", [on_starlette, on_fastapi])
def test_both_adapters_hand_it_out(module: Any) -> None:
    """As the same function."""
    names: Collection[str] = module.__all__

    assert (module.audit, module.assert_closed) == (audit, assert_closed)
    assert [name for name in names if not hasattr(module, name)] == []


def test_an_app_whose_guard_was_forgotten_fails() -> None:
    """However well its rules fit; and so does one with another guard, and one that serves nothing."""

    def problem(served: Any, front: Guard) -> str:
        with pytest.raises(AssertionError) as caught:
            assert_closed(served, front)
        return str(caught.value).split("\n  ")[1]

    assert problem(app("/a"), guard(CLOSED)).startswith("Starlette: no guard is in front of it yet")
    assert problem(installed(app("/a"), guard(CLOSED)), guard(CLOSED)).startswith(
        "AuthGuardMiddleware: it holds a guard, and not the one given"
    )
    assert problem(app(), guard(CLOSED)) == "it serves nothing. Ask when its routes are there"


def test_what_two_guards_open_is_told_once() -> None:
    """By the rule of the inner one, or else of the outer."""
    outer = guard(Rule("/in/a", PUBLIC))
    for rules, by in (([Rule("/a", OPTIONAL)], "/a OPTIONAL"), ([], "/in/a PUBLIC")):
        served = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=guard(*rules, default=OPTIONAL))))

        assert told(served, outer)[0].startswith(f"GET /in/a: it is open by {by} (")
        assert len(told(served, outer)) == 1
