"""Attacks on the fetches of keys: tokens with invented key ids, before and while the issuer rotates its keys."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest

from authguard import Bearer, RemoteJWKS
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, RecordingApp
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.key_source import JWKS_URL, KeyServerStub
from tests.support.schemes.bearer import issuer
from tests.support.tokens import claims, mint, unsigned_token, with_signature

pytestmark = pytest.mark.once

OWNERS, STRANGER = "192.0.2.7", "198.51.100.1"


class RotatingApp:
    """An app whose keys come from a key server, with one clock for the time and for durations."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(NOW)
        self.server = KeyServerStub("old")
        keys = RemoteJWKS(JWKS_URL, fetch=self.server, clock=self.clock)
        self.guard = RecordingGuard(
            Bearer(issuer(keys), realm="orders", clock=self.clock), clock=self.clock, monotonic=self.clock, **options
        )
        self.app = RecordingApp()
        self.number = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a token that was made just now."""
        return claims(**{"iat": int(self.clock()), "exp": int(self.clock()) + 600, **changes})

    async def send(self, token: str, client: str) -> Exchange:
        """Send this token."""
        return await self.guard.request(self.app, field=f"Bearer {token}", client=(client, 40000))

    async def get(self, kid: str, client: str) -> Exchange:
        """Send a good token that names this key. All keys of the server are the same one."""
        return await self.send(mint(headers={"kid": kid}, **self.claims()), client)

    async def invent_keys(self, number: int, client: str, **changes: Any) -> None:
        """Send so many tokens whose key ids do not exist. None of them passes."""
        for _ in range(number):
            self.number += 1
            header = {"alg": "RS256", "kid": f"invented-{self.number}"}
            forged = with_signature(unsigned_token(header, self.claims(**changes)), bytes(256))
            assert (await self.send(forged.decode(), client)).status in {401, 503}


@pytest.mark.rfc("limits-6")
@pytest.mark.parametrize(
    ("stranger", "quick"),
    [("198.51.100.1", True), ("198.51.100.{}", True), (OWNERS, False)],
    ids=["from another network", "from a hundred networks", "from the owners' network"],
)
@pytest.mark.parametrize("changes", [{}, {"exp": NOW - 600}], ids=["good claims", "expired"])
async def test_A05_a_rotation_during_a_flood_refuses_no_good_token(  # noqa: N802
    stranger: str, quick: bool, changes: dict[str, Any]
) -> None:
    """A05: two tokens a second with invented key ids, then a rotation. Good tokens are 200, or 503 with Retry-After
    until the next fetch; never 401. Where the stranger has another address, they are 200 at once."""
    app = RotatingApp()
    before, after = [], []

    for second in range(120):
        if second == 61:  # just after the stranger has used up the fetch that each cooldown brings
            app.server.publish("old", "new")
        await app.invent_keys(2, stranger.format(second % 100), **changes)
        if second < 61:
            before.append((await app.get("old", OWNERS)).status)
        else:
            after.append(await app.get("new", OWNERS))
        app.clock.move(1)

    statuses = [answer.status for answer in after]
    assert before == [200] * 61
    assert set(statuses) <= ({200} if quick else {200, 503})
    assert statuses[30:] == [200] * 29
    for answer in after:
        assert answer.status == 200 or 1 <= int(answer.lines(b"retry-after")[0]) <= 30
    assert app.server.count <= 1 + 2 * (4 + 4)


async def test_A05_a_first_login_after_the_rotation_is_not_refused() -> None:  # noqa: N802
    """A05: from a network that was never seen before, a token with the new key passes while a stranger floods."""
    app = RotatingApp()
    for _ in range(32):
        await app.invent_keys(2, STRANGER)
        app.clock.move(1)
    app.server.publish("old", "new")
    await app.invent_keys(2, STRANGER)

    assert (await app.get("new", OWNERS)).status == 200


@pytest.mark.rfc("limits-6")
async def test_no_stranger_raises_an_alarm_with_key_ids() -> None:
    """A network with invented key ids gets ten 503 and then ten a minute, at WARNING. All else is 401, and both are
    aggregated in the log."""
    app = RotatingApp()

    for _ in range(600):
        await app.invent_keys(2, STRANGER)
        app.clock.move(1)

    reasons = Counter(app.guard.denial_reasons)
    assert reasons["keys.busy"] <= 10 + 10 * 10
    assert reasons["key.unknown"] == 1200 - reasons["keys.busy"]


async def test_the_log_of_a_flood_of_key_ids_is_short(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand invented key ids in one minute make at most 30 log records of each reason, none of them an ERROR."""
    caplog.set_level(logging.INFO, "authguard")
    app = RotatingApp(log=True)

    await app.invent_keys(1000, STRANGER)

    levels = {record.levelno for record in caplog.records}
    assert levels == {logging.WARNING}
    counts = Counter(vars(record)["authguard.reason"] for record in caplog.records)
    assert set(counts) == {"keys.busy", "key.unknown"}
    assert max(counts.values()) <= 30
