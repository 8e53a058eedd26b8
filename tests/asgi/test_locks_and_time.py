"""A lock is decided at the moment at which it is asked."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from authguard import (
    AUTHENTICATED,
    Accepted,
    AuthRequest,
    Credentials,
    Principal,
    Rejected,
    Requirement,
    allows,
    step_up,
)
from authguard.asgi.locks import Lock
from authguard.reasons import TOKEN_EXPIRED
from authguard.schemes import Outcome
from authguard.testing import ManualClock
from tests.asgi.locked_apps import locked_app
from tests.support.clock import NOW
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.schemes.badge import Badge


def passing(clock: ManualClock, seconds: float, requirement: Requirement) -> ASGIApp:
    """An app in which time passes between the guard and a lock."""

    async def endpoint(request: Request) -> Response:
        clock.move(seconds)
        await Lock(requirement).open(request)
        return JSONResponse([await allows(request, step_up(max_age=600))])

    return Starlette(routes=[Route("/", endpoint)])


FRESH = {"alice": Accepted(Principal("alice", claims={"auth_time": NOW - 540}, expires_at=NOW + 300))}


@pytest.mark.parametrize(
    ("seconds", "status", "body"),
    [(0.5, 200, b"[true]"), (100, 200, b"[true]"), (130, 200, b"[false]"), (360, 401, None)],
)
async def test_a_lock_is_decided_at_its_own_moment(seconds: float, status: int, body: bytes | None) -> None:
    """A login may become too old, and credentials may expire, while a request or a WebSocket is open."""
    clock = ManualClock(NOW)
    guard = RecordingGuard(Badge(table=FRESH, reports_login_time=True), clock=clock, monotonic=clock)

    answer = await guard.request(passing(clock, seconds, AUTHENTICATED))

    assert answer.status == status
    if body is None:
        assert guard.denial_reasons == ["credentials.expired"]
        assert guard.records[-1].facts == {"expired_by": 60.0, "leeway": 60.0, "while_waiting": True}
    else:
        assert answer.body == body


async def test_a_verification_that_took_long_reads_the_clock_again() -> None:
    """A token that expired while its keys were fetched is denied, behind a public rule too."""
    clock, ticks = ManualClock(NOW), ManualClock(0)

    class Slow(Badge):
        async def authenticate(self, request: AuthRequest, credentials: Any) -> Any:
            clock.move(400)
            ticks.move(400)
            return await super().authenticate(request, credentials)

    guard = RecordingGuard(Slow(table=FRESH), rules=PUBLIC_RULES, clock=clock, monotonic=ticks)

    answer = await guard.request(locked_app(AUTHENTICATED))

    assert (answer.status, guard.denial_reasons) == (401, ["credentials.expired"])


async def test_an_open_route_reads_the_clock_when_its_lock_is_asked() -> None:
    """On a public route the clock is read for the lock, and not for the request."""
    clock = ManualClock(NOW)
    guard = RecordingGuard(
        Badge(table=FRESH, reports_login_time=True), rules=PUBLIC_RULES, clock=clock, monotonic=clock
    )

    answer = await guard.request(passing(clock, 130, AUTHENTICATED))

    assert answer.body == b"[false]"


async def test_a_lock_that_is_asked_again_is_decided_at_the_new_moment() -> None:
    """If the first call was cancelled while it verified, the second one is decided at its own moment."""
    clock = ManualClock(NOW)

    class Judges(Badge):
        async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
            outcome = await super().authenticate(request, credentials)
            if len(self.presented) == 1:
                await anyio.sleep_forever()
            return Rejected(TOKEN_EXPIRED) if request.moment.expired(NOW) else outcome

    async def endpoint(request: Request) -> Response:
        with anyio.move_on_after(0.01):
            await Lock(AUTHENTICATED).open(request)
        clock.move(100)
        await Lock(AUTHENTICATED).open(request)
        return Response()

    guard = RecordingGuard(Judges(), rules=PUBLIC_RULES, clock=clock, monotonic=clock)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]))

    assert (answer.status, guard.denial_reasons) == (401, ["token.expired"])
