"""Locks in what surrounds them: no guard, two guards, copies of the scope, a scheme's headers."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AccessDenied,
    AuthGuardMiddleware,
    AuthRequest,
    ConfigurationError,
    Principal,
    Reason,
    Rejected,
    Requirement,
    role,
    via,
)
from authguard.asgi.locks import Lock, lock
from authguard.starlette import requires
from tests.asgi.locked_apps import ALICE, ROWS, locked
from tests.support.asgi import app_of, drive, fields, http, respond
from tests.support.guards import OPEN, Behind, denial
from tests.support.schemes.badge import WRONG, Badge, Plain, Speaking

# --- No guard --------------------------------------------------------------------------------------------------------


async def test_without_a_guard_a_lock_is_a_mistake() -> None:
    """And no pass. The message names the mend."""
    with pytest.raises(ConfigurationError, match=r"^app: no guard .*AuthGuardMiddleware"):
        await drive(locked(AUTHENTICATED), http(headers=fields("Badge alice")))


@pytest.mark.parametrize("marker", [None, "proven", True, Principal("root")])
async def test_what_no_guard_wrote_opens_no_lock(marker: object) -> None:
    """Whatever stands in its place."""
    with pytest.raises(ConfigurationError, match="no guard"):
        await drive(locked(AUTHENTICATED), http(authguard=marker, user=Principal("root")))


async def test_an_app_without_a_guard_borrows_none() -> None:
    """One that is called from within a request has no guard by that."""
    inner = locked(AUTHENTICATED)

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await drive(inner, http(headers=fields("Badge alice")))

    with pytest.raises(ConfigurationError, match="no guard"):
        await Behind().ask(app_of(act))


@pytest.mark.parametrize("odd", [PUBLIC, "admin", None, role, Principal])
def test_a_lock_is_a_requirement_that_closes(odd: Any) -> None:
    """PUBLIC opens nothing, and a role by its name alone is no requirement."""
    with pytest.raises(ConfigurationError, match=r"^requirement: "):
        lock(odd)


def test_a_lock_says_where_it_was_said() -> None:
    """In the file and the line of whoever called the function that made it."""

    def requires_of_ones_own() -> Lock:
        return lock(role("admin"))

    assert requires_of_ones_own().location.startswith(__file__)
    assert requires_of_ones_own() == requires_of_ones_own()


# --- Two guards ------------------------------------------------------------------------------------------------------


def mounted(inner: Behind, app: ASGIApp) -> ASGIApp:
    """The app behind a guard of its own, in another one."""
    return Starlette(routes=[Mount("/in", inner.wrap(app)), Route("/", Response)])


@pytest.mark.parametrize("outer", [OPEN, []])
@pytest.mark.parametrize("inner", [OPEN, []])
async def test_a_lock_below_two_guards_asks_the_inner_one(outer: Any, inner: Any) -> None:
    """Which takes over whom the outer has proved."""
    out, within = Behind(rules=outer), Behind(rules=inner)

    answer = await out.ask(mounted(within, locked(role("admin"))), "/in/")
    denied = await out.ask(mounted(within, locked(role("boss"))), "/in/")

    assert (answer.status, answer.body, denied.status) == (200, ALICE, 403)
    assert within.denied == ["role.missing"]
    assert out.denied == []
    assert len(out.badge.presented + within.badge.presented) == 2


async def test_of_two_guards_the_inner_one_answers() -> None:
    """With its own challenges and its own body; the outer one's scheme adds what it has to say."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise denial()

    out = Behind(Speaking(), render=lambda request, denied: ("text/plain", b"outer"))
    within = Behind(Badge(), render=lambda request, denied: ("text/plain", b"inner"))

    answer = await out.ask(within.wrap(app_of(act)))

    assert (answer.status, answer.body, answer.lines(b"x-info")) == (403, b"inner", ["from badge"])
    assert (out.denied, within.denied) == ([], ["order.not_owner"])


async def test_a_denial_between_two_guards_is_the_outer_ones() -> None:
    """Before the inner app and after it."""
    within = Behind()

    async def fine(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"fine")

    inner = within.wrap(app_of(fine))

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/before":
            denial()
        await inner(scope, receive, _drop if scope["path"] == "/after" else send)
        if scope["path"] == "/after":
            await Lock(role("boss")).open(Request(scope))

    async def _drop(message: Any) -> None:
        pass

    out = Behind()

    answers = [await out.ask(app_of(act), path) for path in ("/before", "/after", "/")]

    assert [answer.status for answer in answers] == [403, 403, 200]
    assert (out.denied, within.denied) == (["order.not_owner", "role.missing"], [])


async def test_a_lock_of_a_guard_that_is_done_denies_by_the_one_that_is_not() -> None:
    """A copy of the scope keeps the inner guard's marker, and what its lock denies is not lost."""
    copies: list[Scope] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        copies.append(dict(scope))

    inner = Behind().wrap(app_of(keep))

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)
        with pytest.raises(AccessDenied):
            await Lock(role("boss")).open(Request(copies[0]))
        await respond(send)

    out = Behind()

    answer = await out.ask(app_of(act))

    assert (answer.status, out.denied) == (403, ["role.missing"])


async def test_what_an_inner_guard_refuses_by_its_checks_is_refused_to_its_lock() -> None:
    """The outer guard's word is not the last, also where only a lock asks."""

    async def refuse(request: AuthRequest, principal: Principal) -> Rejected:
        return Rejected(WRONG)

    within = Behind(rules=OPEN, checks=[refuse])

    answer = await Behind().ask(within.wrap(locked(OPTIONAL)))

    assert (answer.status, within.denied) == (401, ["badge.wrong"])


# --- What the app finds ----------------------------------------------------------------------------------------------


class Copies:
    """A middleware that passes a copy of the scope on, as many do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "copied": True}, receive, send)


@ROWS
async def test_the_user_is_there_in_a_copy_of_the_scope(rules: Any) -> None:
    """It is the scope of the route that the lock fills in, and that of the middleware."""
    answer = await Behind(rules=rules).ask(Copies(locked(AUTHENTICATED)))

    assert answer.body == ALICE


@pytest.mark.parametrize("rules", [OPEN, []])
async def test_a_copy_keeps_what_the_app_put_there(rules: Any) -> None:
    """Where the rule has verified, a lock writes nothing over the app's own user."""

    class Own(Copies):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "user": Principal("row-7")}, receive, send)

    answer = await Behind(rules=rules).ask(Own(locked(AUTHENTICATED)))

    assert answer.body.startswith(b'["alice"' if rules else b'["row-7"')


@ROWS
@pytest.mark.parametrize(("requirement", "status"), [(role("admin"), 200), (role("boss"), 403)])
async def test_what_the_scheme_has_to_say_goes_out(rules: Any, requirement: Requirement, status: int) -> None:
    """Once, with what the lock lets by and with what it denies."""
    answer = await Behind(Speaking(), rules=rules).ask(locked(requirement))

    assert (answer.status, answer.lines(b"x-info")) == (status, ["from badge"])


# --- Browsers --------------------------------------------------------------------------------------------------------

FOREIGN = {"sec_fetch_site": "cross-site", "origin": "https://app.example"}


@pytest.mark.parametrize(
    ("told", "origins", "status"),
    [(FOREIGN, [], 403), (FOREIGN, ["https://app.example"], 200), ({"sec_fetch_site": "same-origin"}, [], 200)],
)
async def test_what_a_browser_sends_by_itself_is_held_against_the_origin(
    told: dict[str, str], origins: list[str], status: int
) -> None:
    """By the lock too: behind an open rule nobody else has looked."""

    class Sent(Plain):
        sent_by_browsers = True

    @requires(AUTHENTICATED)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine")

    behind = Behind(Sent("pass"), rules=OPEN)
    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    app.add_middleware(AuthGuardMiddleware, guard=behind.guard, origins=origins)

    answer = await drive(app, http(method="POST", headers=fields("Pass alice", **told)))

    assert (answer.status, behind.denied) == (status, ["origin.foreign"] if status == 403 else [])


# --- The endpoint's own denial behind locks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locks", "challenges", "requirement"),
    [
        ([via("pass")], ['Pass realm="tests"'], "via(pass)"),
        ([via("pass"), role("admin")], ['Pass realm="tests"'], "role(admin)"),
        ([OPTIONAL], ['Badge realm="tests"', 'Pass realm="tests"'], "PUBLIC"),
        ([role("admin"), role("admin")], ['Badge realm="tests"', 'Pass realm="tests"'], "role(admin)"),
    ],
)
async def test_a_denial_behind_locks_names_the_schemes_that_they_take(
    locks: list[Requirement], challenges: list[str], requirement: str
) -> None:
    """A 401 that invites to what the route then refuses would send the client round in circles."""

    async def endpoint(request: Request) -> Response:
        raise AccessDenied(Reason("session.over", 401))

    guarded: Any = endpoint
    for one in reversed(locks):
        guarded = requires(one)(guarded)
    behind = Behind(Badge(), Plain("pass"), rules=OPEN)

    answer = await behind.ask(Starlette(routes=[Route("/", guarded)]), field="Pass alice")

    assert (answer.status, answer.lines(b"www-authenticate")) == (401, challenges)
    assert behind.records[-1].requirement == requirement
