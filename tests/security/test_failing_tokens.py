"""Attacks on what all opaque tokens share: tokens on which the introspection endpoint fails, beside good ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from authguard import Bearer, Introspection
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp
from tests.support.guards import RecordingGuard
from tests.support.schemes.introspection import CLIENT_OPTIONS, active_response
from tests.support.servers.introspection_endpoint import (
    AnswerAbout,
    IntrospectionEndpoint,
    running_introspection_endpoint,
)
from tests.support.tokens import AUDIENCE, ISSUER

pytestmark = pytest.mark.once

STRANGER, OWNERS = "198.51.100.1", "192.0.2.7"


class IntrospectingApp:
    """An app with opaque tokens, whose endpoint is a real server and whose clocks stand still."""

    def __init__(self, endpoint: IntrospectionEndpoint) -> None:
        self.endpoint = endpoint
        self.clock = ManualClock(1000)
        self.introspection = Introspection(
            endpoint.url, issuer=ISSUER, audience=AUDIENCE, insecure_http=True, clock=self.clock, **CLIENT_OPTIONS
        )
        self.guard = RecordingGuard(Bearer(self.introspection, realm="orders"))
        self.app = RecordingApp()

    async def status(self, token: str, client: str) -> int:
        """The status of one request."""
        response = await self.guard.request(self.app, field=f"Bearer {token}", client=(client, 40000))
        return response.status

    @property
    def asked(self) -> int:
        """How many calls the endpoint got."""
        return sum(self.endpoint.calls.values())


@asynccontextmanager
async def running_app(answer_about: AnswerAbout) -> AsyncIterator[IntrospectingApp]:
    """The app and its endpoint, until the end of the block."""
    async with running_introspection_endpoint(answer_about) as endpoint:
        app = IntrospectingApp(endpoint)
        async with app.guard.guard.running():
            yield app


def failing_with(status: int) -> AnswerAbout:
    """Good tokens are active. The endpoint fails on all others with this status."""
    return lambda token: (200, active_response()) if token.startswith("good") else (status, {})


@pytest.mark.rfc("7662-4")
@pytest.mark.parametrize(
    ("status", "stranger", "bad_token"),
    [(500, STRANGER, "bad-{second}"), (401, OWNERS, "bad"), (429, OWNERS, "bad-{second}")],
    ids=["500, always another token", "401, one token from the owners' network", "429, from the owners' network"],
)
async def test_A03_one_failing_token_a_second_keeps_no_good_one_out(  # noqa: N802
    status: int, stranger: str, bad_token: str
) -> None:
    """A03: for ten minutes a stranger sends a token on which the endpoint fails, once a second. All 600 requests with
    good tokens pass: those of four owners, whose answers are cached for 30 s, and of a new login every 20 s."""
    async with running_app(failing_with(status)) as app:
        good = []
        for second in range(600):
            assert await app.status(bad_token.format(second=second), stranger) == 503
            token = f"good-new-{second}" if second % 20 == 0 else f"good-{second % 4}"
            good.append(await app.status(token, OWNERS))
            app.clock.move(1)

    assert good.count(200) == 600
    assert app.introspection.health() == {**app.introspection.health(), "open": False, "open_for_known": False}


async def test_failing_tokens_from_many_networks_keep_no_known_token_out() -> None:
    """A stranger with many networks opens the circuit for tokens that were never active. Those that were active pass
    all the time."""
    async with running_app(failing_with(500)) as app:
        for number in range(4):
            assert await app.status(f"good-{number}", OWNERS) == 200
        known = []
        for second in range(100):
            for number in range(6):
                assert await app.status(f"bad-{second}-{number}", f"198.51.100.{second % 30 * 6 + number}") == 503
            known.append(await app.status(f"good-{second % 4}", OWNERS))
            app.clock.move(1)
        assert app.introspection.health()["open"] is True

    assert known.count(200) == 100


async def test_a_server_that_is_down_is_left_alone_and_found_again() -> None:
    """An endpoint that fails for all owners gets a few calls a minute, and serves all as soon as it answers again."""
    down = False

    def answer_about(token: str) -> tuple[int, dict[str, object]]:
        return (503, {}) if down else (200, active_response())

    async def statuses(app: IntrospectingApp) -> set[int]:
        return {await app.status(f"good-{number}", f"192.0.2.{number}") for number in range(20)}

    async with running_app(answer_about) as app:
        assert await statuses(app) == {200}
        app.clock.move(60)
        down, before = True, app.asked
        for _ in range(30):
            assert await statuses(app) == {503}
            app.clock.move(1)
        assert app.asked - before <= 5 + 30 / 2
        down = False
        app.clock.move(2)
        assert await statuses(app) == {200}
