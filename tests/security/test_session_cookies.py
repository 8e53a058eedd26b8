"""Attacks on the cookie of a session by a neighbouring host."""

from __future__ import annotations

from base64 import b64encode
from json import dumps
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

from authguard import AuthGuardMiddleware, Guard, Record, Rule, Session
from authguard.policy.requirements import PUBLIC
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, RecordingApp, http_scope, run_app

SECRET = "a secret of the app alone"
BLANKS = sorted(octet for octet in range(256) if not chr(octet).strip())


class Shop:
    """An app behind Starlette's session, and the cookies that it has set for two of its users."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.records: list[Record] = []
        self.app = RecordingApp()
        rules = [Rule("/login", PUBLIC)]
        session = Session(realm="shop", **options)
        guard = Guard(session, rules=rules, clock=self.clock, log=False, hooks=[self.records.append])
        self.asgi = SessionMiddleware(AuthGuardMiddleware(self.app, guard=guard), secret_key=SECRET)

    def cookie_of(self, subject: str) -> bytes:
        """The value of the cookie of a user who has just logged in."""
        now = self.clock.now
        entry = {"id": f"id of {subject}", "sub": subject, "began": now, "seen": now, "auth_time": int(now)}
        data = b64encode(dumps({"authguard": entry}).encode())
        return TimestampSigner(SECRET).sign(data)

    async def send(self, *lines: bytes, path: str = "/orders", **scope: Any) -> Exchange:
        headers = [(b"cookie", line) for line in lines]
        return await run_app(self.asgi, http_scope(path, headers=[*headers, *scope.pop("headers", [])], **scope))


async def test_the_cookie_of_a_login_lets_its_user_in() -> None:
    """The cookie that the other tests attack is a good one."""
    shop = Shop()

    assert (await shop.send(b"session=" + shop.cookie_of("alice"))).status == 200


@pytest.mark.parametrize("octet", BLANKS, ids=hex)
@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_cookie_whose_name_differs_by_a_blank_is_a_second_one(octet: int, place: str) -> None:
    """Starlette strips more than spaces from a name, so a neighbouring host could put its session over the user's."""
    shop, blank = Shop(), bytes([octet])
    name = blank + b"session" if place == "before" else b"session" + blank

    answer = await shop.send(b"session=" + shop.cookie_of("alice") + b"; " + name + b"=" + shop.cookie_of("mallory"))

    assert (answer.status, shop.records[-1].reason) == (400, "credentials.ambiguous")


@pytest.mark.parametrize("name", [b"\xa0session", b"session\x85"])
async def test_a_cookie_that_only_another_host_could_set_is_refused(name: bytes) -> None:
    """Alone it would log the user in as somebody else, although no other host can set a name with ``__Host-``."""
    shop = Shop()

    answer = await shop.send(name + b"=" + shop.cookie_of("mallory"))

    assert (answer.status, shop.records[-1].facts["cookies"]) == (400, 1)


async def test_another_cookie_may_be_outside_ascii() -> None:
    """What other cookies hold is not the session's concern."""
    shop = Shop()

    assert (await shop.send(b"name=\xc3\xa9\xa0; session=" + shop.cookie_of("alice"))).status == 200
