"""Locks go by the time at which they are asked."""

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
async def test_a_lock_goes_by_the_time_at_which_it_is_asked(seconds: float, status: int, body: bytes | None) -> None:
    """A login grows stale and credentials expire while a request, or a WebSocket, is open."""
    clock = ManualClock(NOW)
    behind = RecordingGuard(Badge(table=FRESH, reports_login_time=True), clock=clock, monotonic=clock)

    answer = await behind.request(passing(clock, seconds, AUTHENTICATED))

    assert answer.status == status
    if body is None:
        assert behind.denial_reasons == ["credentials.expired"]
        assert behind.records[-1].facts == {"expired_by": 60.0, "leeway": 60.0, "while_waiting": True}
    else:
        assert answer.body == body


async def test_a_verification_that_took_long_reads_the_clock_again() -> None:
    """Behind an open rule too: what expired while its keys were fetched is not let in."""
    clock, ticks = ManualClock(NOW), ManualClock(0)

    class Slow(Badge):
        async def authenticate(self, request: AuthRequest, credentials: Any) -> Any:
            clock.move(400)
            ticks.move(400)
            return await super().authenticate(request, credentials)

    behind = RecordingGuard(Slow(table=FRESH), rules=PUBLIC_RULES, clock=clock, monotonic=ticks)

    answer = await behind.request(locked_app(AUTHENTICATED))

    assert (answer.status, behind.denial_reasons) == (401, ["credentials.expired"])


async def test_an_open_route_reads_the_clock_when_its_lock_is_asked() -> None:
    """Not when the request came."""
    clock = ManualClock(NOW)
    behind = RecordingGuard(
        Badge(table=FRESH, reports_login_time=True), rules=PUBLIC_RULES, clock=clock, monotonic=clock
    )

    answer = await behind.request(passing(clock, 130, AUTHENTICATED))

    assert answer.body == b"[false]"


async def test_a_lock_that_is_asked_again_goes_by_the_time_of_that() -> None:
    """The first asker gave up while it was verified, and came back when the credentials had expired."""
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

    behind = RecordingGuard(Judges(), rules=PUBLIC_RULES, clock=clock, monotonic=clock)

    answer = await behind.request(Starlette(routes=[Route("/", endpoint)]))

    assert (answer.status, behind.denial_reasons) == (401, ["token.expired"])
