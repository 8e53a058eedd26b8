"""Locks without a guard, below two guards, behind copies of the scope, and with a scheme's headers."""

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
from tests.asgi.locked_apps import ALICE_BODY, WITH_EACH_RULE, locked_app
from tests.support.asgi import function_app, header_list, http_scope, run_app, send_response
from tests.support.guards import PUBLIC_RULES, RecordingGuard, denial
from tests.support.schemes.badge import BADGE_WRONG, Badge, InfoBadge, PlainBadge

# --- No guard --------------------------------------------------------------------------------------------------------


async def test_without_a_guard_a_lock_raises() -> None:
    """Without a guard a lock raises, and the message says how to fix it."""
    with pytest.raises(ConfigurationError, match=r"^app: no guard .*AuthGuardMiddleware"):
        await run_app(locked_app(AUTHENTICATED), http_scope(headers=header_list("Badge alice")))


@pytest.mark.parametrize("marker", [None, "proven", True, Principal("root")])
async def test_a_forged_marker_opens_no_lock(marker: object) -> None:
    """A lock raises if the marker in the scope was not written by a guard."""
    with pytest.raises(ConfigurationError, match="no guard"):
        await run_app(locked_app(AUTHENTICATED), http_scope(authguard=marker, user=Principal("root")))


async def test_an_app_without_a_guard_borrows_none() -> None:
    """An app without a guard that is called inside a request has no guard."""
    inner = locked_app(AUTHENTICATED)

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await run_app(inner, http_scope(headers=header_list("Badge alice")))

    with pytest.raises(ConfigurationError, match="no guard"):
        await RecordingGuard().request(function_app(act))


@pytest.mark.parametrize("odd", [PUBLIC, "admin", None, role, Principal])
def test_a_lock_needs_a_requirement_that_closes(odd: Any) -> None:
    """PUBLIC and a bare role name raise as a lock."""
    with pytest.raises(ConfigurationError, match=r"^requirement: "):
        lock(odd, report_only=False)


def test_a_lock_has_its_source_location() -> None:
    """A lock knows the file and the line of the code that called ``requires``."""

    def requires_of_ones_own() -> Lock:
        return lock(role("admin"), report_only=False)

    assert requires_of_ones_own().location.startswith(__file__)
    assert requires_of_ones_own() == requires_of_ones_own()


# --- Two guards ------------------------------------------------------------------------------------------------------


def mounted(inner: RecordingGuard, app: ASGIApp) -> ASGIApp:
    """The app behind a guard of its own, inside another guard."""
    return Starlette(routes=[Mount("/in", inner.wrap(app)), Route("/", Response)])


@pytest.mark.parametrize("outer", [PUBLIC_RULES, []])
@pytest.mark.parametrize("inner", [PUBLIC_RULES, []])
async def test_a_lock_below_two_guards_asks_the_inner_one(outer: Any, inner: Any) -> None:
    """A lock below two guards is decided by the inner one, which takes over the principal of the outer one."""
    out, within = RecordingGuard(rules=outer), RecordingGuard(rules=inner)

    answer = await out.request(mounted(within, locked_app(role("admin"))), "/in/")
    denied = await out.request(mounted(within, locked_app(role("boss"))), "/in/")

    assert (answer.status, answer.body, denied.status) == (200, ALICE_BODY, 403)
    assert within.denial_reasons == ["role.missing"]
    assert out.denial_reasons == []
    assert len(out.badge.presented + within.badge.presented) == 2


async def test_of_two_guards_the_inner_one_answers() -> None:
    """The inner guard's challenges and body are sent, and the outer guard's scheme adds its headers."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise denial()

    out = RecordingGuard(InfoBadge(), render=lambda request, denied: ("text/plain", b"outer"))
    within = RecordingGuard(Badge(), render=lambda request, denied: ("text/plain", b"inner"))

    answer = await out.request(within.wrap(function_app(act)))

    assert (answer.status, answer.body, answer.lines(b"x-info")) == (403, b"inner", ["from badge"])
    assert (out.denial_reasons, within.denial_reasons) == ([], ["order.not_owner"])


async def test_a_denial_between_two_guards_belongs_to_the_outer_one() -> None:
    """Before and after the inner app, ``AccessDenied`` is answered by the outer guard."""
    within = RecordingGuard()

    async def fine(scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, b"fine")

    inner = within.wrap(function_app(fine))

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/before":
            denial()
        await inner(scope, receive, _drop if scope["path"] == "/after" else send)
        if scope["path"] == "/after":
            await Lock(role("boss")).open(Request(scope))

    async def _drop(message: Any) -> None:
        pass

    out = RecordingGuard()

    answers = [await out.request(function_app(act), path) for path in ("/before", "/after", "/")]

    assert [answer.status for answer in answers] == [403, 403, 200]
    assert (out.denial_reasons, within.denial_reasons) == (["order.not_owner", "role.missing"], [])


async def test_a_lock_of_a_guard_that_is_done_denies_by_the_one_that_is_not() -> None:
    """If a copied scope keeps the marker of an inner guard that is done, a denial by its lock reaches the outer
    guard."""
    copies: list[Scope] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        copies.append(dict(scope))

    inner = RecordingGuard().wrap(function_app(keep))

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)
        with pytest.raises(AccessDenied):
            await Lock(role("boss")).open(Request(copies[0]))
        await send_response(send)

    out = RecordingGuard()

    answer = await out.request(function_app(act))

    assert (answer.status, out.denial_reasons) == (403, ["role.missing"])


async def test_the_checks_of_an_inner_guard_apply_to_its_locks() -> None:
    """A principal of the outer guard still has to pass the checks of the inner guard, where only a lock asks too."""

    async def refuse(request: AuthRequest, principal: Principal) -> Rejected:
        return Rejected(BADGE_WRONG)

    within = RecordingGuard(rules=PUBLIC_RULES, checks=[refuse])

    answer = await RecordingGuard().request(within.wrap(locked_app(OPTIONAL)))

    assert (answer.status, within.denial_reasons) == (401, ["badge.wrong"])


# --- What the app finds ----------------------------------------------------------------------------------------------


class CopyingMiddleware:
    """A middleware that passes on a copy of the scope, as many do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "copied": True}, receive, send)


@WITH_EACH_RULE
async def test_the_user_is_there_in_a_copy_of_the_scope(rules: Any) -> None:
    """A lock fills in the user of the route's scope and of the middleware's scope."""
    answer = await RecordingGuard(rules=rules).request(CopyingMiddleware(locked_app(AUTHENTICATED)))

    assert answer.body == ALICE_BODY


@pytest.mark.parametrize("rules", [PUBLIC_RULES, []])
async def test_a_copy_keeps_what_the_app_put_there(rules: Any) -> None:
    """If the rule verified the caller, a lock does not overwrite a user that the app set."""

    class Own(CopyingMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "user": Principal("row-7")}, receive, send)

    answer = await RecordingGuard(rules=rules).request(Own(locked_app(AUTHENTICATED)))

    assert answer.body.startswith(b'["alice"' if rules else b'["row-7"')


@WITH_EACH_RULE
@pytest.mark.parametrize(("requirement", "status"), [(role("admin"), 200), (role("boss"), 403)])
async def test_the_headers_of_the_scheme_are_sent_once(rules: Any, requirement: Requirement, status: int) -> None:
    """The headers of the scheme are sent once, with a granted response and with a denial."""
    answer = await RecordingGuard(InfoBadge(), rules=rules).request(locked_app(requirement))

    assert (answer.status, answer.lines(b"x-info")) == (status, ["from badge"])


# --- Browsers --------------------------------------------------------------------------------------------------------

FOREIGN = {"sec_fetch_site": "cross-site", "origin": "https://app.example"}


@pytest.mark.parametrize(
    ("told", "origins", "status"),
    [(FOREIGN, [], 403), (FOREIGN, ["https://app.example"], 200), ({"sec_fetch_site": "same-origin"}, [], 200)],
)
async def test_a_lock_checks_the_origin_of_browser_credentials(
    told: dict[str, str], origins: list[str], status: int
) -> None:
    """Behind a public rule, the lock makes the CSRF check for credentials that browsers send by themselves."""

    class Sent(PlainBadge):
        sent_by_browsers = True

    @requires(AUTHENTICATED)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine")

    guard = RecordingGuard(Sent("pass"), rules=PUBLIC_RULES)
    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    app.add_middleware(AuthGuardMiddleware, guard=guard.guard, origins=origins)

    answer = await run_app(app, http_scope(method="POST", headers=header_list("Pass alice", **told)))

    assert (answer.status, guard.denial_reasons) == (status, ["origin.foreign"] if status == 403 else [])


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
    """A 401 behind locks has challenges only of the schemes that they accept, so that a client is not sent in
    circles."""

    async def endpoint(request: Request) -> Response:
        raise AccessDenied(Reason("session.over", 401))

    guarded: Any = endpoint
    for one in reversed(locks):
        guarded = requires(one)(guarded)
    guard = RecordingGuard(Badge(), PlainBadge("pass"), rules=PUBLIC_RULES)

    answer = await guard.request(Starlette(routes=[Route("/", guarded)]), field="Pass alice")

    assert (answer.status, answer.lines(b"www-authenticate")) == (401, challenges)
    assert guard.records[-1].requirement == requirement
