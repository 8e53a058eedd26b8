"""The check of the origin behind two guards: the inner guard takes over the principal, and checks the origin itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Principal, Rule
from authguard.starlette import requires
from tests.support.asgi import Exchange, RecordingApp, header_list, http_scope, run_app
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.schemes.badge import Badge

APP, EVIL = "https://app.example", "https://evil.example"
CROSS_SITE = {"origin": EVIL, "sec_fetch_site": "cross-site"}


class SentByBrowsers(Badge):
    """A ``Badge`` that browsers send by themselves."""

    sent_by_browsers = True


class Nested:
    """An app behind two guards. ``between`` wraps the inner one, as a middleware of the outer app does."""

    def __init__(
        self,
        *,
        outer: Badge | None = None,
        outer_rules: Sequence[Rule] = (),
        inner_rules: Sequence[Rule] = (),
        outer_origins: Sequence[str] = (),
        inner_origins: Sequence[str] = (),
        endpoint: ASGIApp | None = None,
        between: Any = None,
    ) -> None:
        self.outer = RecordingGuard(outer or SentByBrowsers(), rules=outer_rules)
        self.inner = RecordingGuard(SentByBrowsers(), rules=inner_rules)
        app: ASGIApp = AuthGuardMiddleware(endpoint or RecordingApp(), guard=self.inner.guard, origins=inner_origins)
        app = app if between is None else between(app)
        self.app = AuthGuardMiddleware(
            Starlette(routes=[Mount("/in", app)]), guard=self.outer.guard, origins=outer_origins
        )

    async def post(self, method: str = "POST", **fields: str) -> Exchange:
        """Send one request with the credentials of alice and these header fields."""
        return await run_app(self.app, http_scope("/in/x", method, header_list("Badge alice", **fields)))


async def test_an_inner_guard_checks_what_the_outer_guard_does_not() -> None:
    """To the outer guard, no browser sends these credentials by itself. The inner guard, to which browsers do, does
    not rely on a check that was never made."""
    nested = Nested(outer=Badge())

    foreign, own = await nested.post(**CROSS_SITE), await nested.post(sec_fetch_site="same-origin")

    assert (foreign.status, own.status) == (403, 200)
    assert (nested.outer.outcomes, nested.inner.outcomes) == (["granted", "granted"], ["origin.foreign", "granted"])


async def test_an_inner_guard_checks_the_method_that_its_app_sees() -> None:
    """A middleware between the guards may turn a link that is safe for the outer guard into a DELETE."""

    def overriding(app: ASGIApp) -> ASGIApp:
        async def override(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "method": "DELETE"}, receive, send)

        return override

    nested = Nested(between=overriding)

    assert (await nested.post("GET", **CROSS_SITE)).status == 403
    assert nested.inner.denial_reasons == ["origin.foreign"]


async def test_an_origin_that_the_outer_guard_trusts_is_trusted_further_in() -> None:
    """The inner guard takes over the principal, and need not list the origin again."""
    nested = Nested(outer_origins=[APP])

    trusted, foreign = await nested.post(origin=APP), await nested.post(**CROSS_SITE)

    assert (trusted.status, foreign.status) == (200, 403)


async def test_an_inner_guard_that_verifies_itself_trusts_its_own_origins_alone() -> None:
    """Behind a PUBLIC rule it is the only guard, and a mounted app may trust fewer sites than the app around it."""
    nested = Nested(outer_rules=PUBLIC_RULES, outer_origins=[APP])

    assert (await nested.post(origin=APP)).status == 403
    assert nested.inner.denial_reasons == ["origin.foreign"]


async def test_an_origin_that_the_inner_guard_trusts_opens_no_outer_guard() -> None:
    """It counts where the outer guard is PUBLIC, and nowhere else."""
    closed = Nested(inner_origins=[APP])
    public = Nested(outer_rules=PUBLIC_RULES, inner_origins=[APP])

    assert [(await nested.post(origin=APP)).status for nested in (closed, public)] == [403, 200]
    assert (closed.outer.denial_reasons, closed.inner.outcomes) == (["origin.foreign"], [])


@pytest.mark.parametrize(("origin", "status"), [(APP, 200), (EVIL, 403)])
async def test_a_lock_behind_two_guards_checks_the_origin_too(origin: str, status: int) -> None:
    """The inner guard is PUBLIC, so that its lock decides, with the principal and the origins of the outer guard."""

    @requires(AUTHENTICATED)
    async def locked(request: Request) -> Response:
        return PlainTextResponse(request.user.subject)

    endpoint = Starlette(routes=[Route("/x", locked, methods=["POST"])])
    nested = Nested(outer=Badge(), outer_origins=[APP], inner_rules=[Rule("/**", PUBLIC)], endpoint=endpoint)

    answer = await nested.post(origin=origin)

    assert (answer.status, nested.inner.denial_reasons) == (status, [] if status == 200 else ["origin.foreign"])


async def test_a_user_of_another_middleware_is_not_taken_over() -> None:
    """What Starlette's own middleware, or anybody else, writes into the scope proves nothing: the guard verifies and
    checks as if it were not there."""

    class Everybody(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            return AuthCredentials(["authenticated"]), SimpleUser("root")

    guard, endpoint = RecordingGuard(SentByBrowsers()), RecordingApp()
    app = AuthenticationMiddleware(AuthGuardMiddleware(endpoint, guard=guard.guard), backend=Everybody())
    marked: dict[str, Any] = {"authguard": Principal("root", scheme="badge")}

    anonymous = await run_app(app, http_scope(headers=header_list(), **marked))
    foreign = await run_app(app, http_scope(method="POST", headers=header_list("Badge alice", **CROSS_SITE), **marked))

    assert (anonymous.status, foreign.status, endpoint.scopes) == (401, 403, [])
    assert guard.denial_reasons == ["credentials.missing", "origin.foreign"]
