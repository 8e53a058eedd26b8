"""Attacks on sessions, against Starlette's SessionMiddleware with real signed cookies.

Each test plays a victim's browser, an attacker, or both. What the app's own session cannot prevent is held here too, so
that the documentation says what is true.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import itsdangerous
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import PUBLIC, AuthGuardMiddleware, Guard, MemoryRevocations, Principal, Record, Rule, Session
from authguard.testing import ManualClock

SECRET, OTHER_SECRET = "s" * 32, "o" * 32


class Shop:
    """An app with a session, which keeps its records."""

    def __init__(self, **options: Any) -> None:
        self.records: list[Record] = []
        self.clock = ManualClock()
        self.sessions = Session(realm="shop", **options)
        open_rules = [Rule(f"/{name}", PUBLIC, methods={"POST"}) for name in ("login", "logout", "cart")]
        hooks = [self.records.append]
        self.guard = Guard(self.sessions, rules=open_rules, clock=self.clock, log=False, hooks=hooks)
        routes = [
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/cart", self.cart, methods=["POST"]),
            Route("/", self.page),
        ]
        middleware = [
            Middleware(SessionMiddleware, secret_key=SECRET, https_only=True),
            Middleware(AuthGuardMiddleware, guard=self.guard),
        ]
        self.app = Starlette(routes=routes, middleware=middleware)

    async def login(self, request: Request) -> Response:
        await self.sessions.login(request, Principal(request.query_params.get("name", "alice")))
        return PlainTextResponse("in")

    async def logout(self, request: Request) -> Response:
        await self.sessions.logout(request)
        return PlainTextResponse("out")

    async def cart(self, request: Request) -> Response:
        request.session["cart"] = request.query_params["item"]
        return PlainTextResponse("added")

    async def page(self, request: Request) -> Response:
        return PlainTextResponse(f"{request.user.subject} {request.session.get('cart')}")

    def browser(self, *cookies: str) -> TestClient:
        """A browser, with these cookies in this order."""
        fields = {"cookie": "; ".join(f"session={cookie}" for cookie in cookies)} if cookies else {}
        return TestClient(self.app, base_url="https://shop.example", headers=fields)

    def cookie_of(self, name: str) -> str:
        """The cookie of somebody who has logged in."""
        browser = self.browser()
        browser.post(f"/login?name={name}")
        return browser.cookies["session"]


@pytest.fixture(name="shop")
def _shop() -> Shop:
    return Shop()


def signed(document: object, secret: str = SECRET) -> str:
    """A cookie as SessionMiddleware writes it."""
    return itsdangerous.TimestampSigner(secret).sign(b64encode(json.dumps(document).encode())).decode()


def entry(**changes: object) -> dict[str, object]:
    """What a login looks like."""
    good = {"id": "x", "sub": "admin", "began": 1_800_000_000.0, "seen": 1_800_000_000.0, "auth_time": 1_800_000_000}
    return {"authguard": {**good, **changes}}


def test_a_planted_session_is_nobodys_after_the_login(shop: Shop) -> None:
    """Session fixation: the attacker has planted the cookie, and the victim logs in with it. The cookie of before stays
    without a login."""
    attacker = shop.browser()
    attacker.post("/cart?item=bomb")
    planted = attacker.cookies["session"]

    answer = shop.browser(planted).post("/login")

    assert shop.browser(answer.cookies["session"]).get("/").status_code == 200
    assert shop.browser(planted).get("/").status_code == 401


def test_what_was_planted_is_gone_after_the_login(shop: Shop) -> None:
    """The cart of the attacker is not the victim's."""
    attacker = shop.browser()
    attacker.post("/cart?item=bomb")

    answer = shop.browser(attacker.cookies["session"]).post("/login")

    assert shop.browser(answer.cookies["session"]).get("/").text == "alice None"


@pytest.mark.parametrize("first", [True, False])
def test_a_tossed_cookie_does_not_decide(shop: Shop, first: bool) -> None:
    """Another host of the domain has set a cookie with the attacker's own session: neither order of the two makes the
    victim act as the attacker."""
    cookies = [shop.cookie_of("mallory"), shop.cookie_of("alice")]

    answer = shop.browser(*(cookies if first else reversed(cookies))).get("/")

    assert (answer.status_code, shop.records[-1].reason) == (400, "credentials.ambiguous")


@pytest.mark.parametrize(
    "cookie",
    [
        signed(entry(), OTHER_SECRET),
        signed(entry()).rpartition(".")[0],
        signed(entry())[:-2] + "AA",
        b64encode(json.dumps(entry()).encode()).decode(),
        "",
        "null",
        "a" * 4096,
    ],
)
def test_a_cookie_that_this_site_has_not_signed_is_none(shop: Shop, cookie: str) -> None:
    """The middleware gives an empty session, so nobody has logged in."""
    answer = shop.browser(cookie).get("/")

    assert (answer.status_code, shop.records[-1].reason) == (401, "credentials.missing")


def test_a_changed_cookie_is_none(shop: Shop) -> None:
    """Whoever changes the name in the own cookie has none any more."""
    data, *signature = shop.cookie_of("mallory").split(".")
    changed = ".".join([b64encode(json.dumps(entry()).encode()).decode(), *signature])

    assert len(data) > 0
    assert shop.browser(changed).get("/").status_code == 401


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (entry(), None),
        (entry(roles="admin"), "session.malformed"),
        (entry(sub=["admin"]), "session.malformed"),
        (entry(seen=1e300), "session.malformed"),
        (entry(seen=float("inf")), "session.malformed"),
        (entry(seen=1_800_000_061.0), "session.not_yet"),
        (entry(began=1_800_000_061.0), "session.not_yet"),
        (entry(began=0), "session.expired"),
        (entry(seen=0), "session.idle"),
        ({"authguard": []}, "session.malformed"),
    ],
)
def test_a_session_that_another_part_of_the_app_has_written_is_judged(
    shop: Shop, document: object, reason: str | None
) -> None:
    """The same secret may sign more than this app's sessions: nothing in one raises, and no type is trusted."""
    answer = shop.browser(signed(document)).get("/")

    assert (answer.status_code, shop.records[-1].reason) == (401 if reason else 200, reason)


def test_an_old_cookie_is_good_after_the_log_out_without_revocations(shop: Shop) -> None:
    """A signed cookie cannot be recalled: it ends with its time-outs, and no later."""
    copy = shop.cookie_of("alice")
    shop.browser(copy).post("/logout")
    assert shop.browser(copy).get("/").status_code == 200
    shop.clock.move(1800)

    assert shop.browser(copy).get("/").status_code == 401


def test_an_old_cookie_is_refused_after_the_log_out_with_revocations() -> None:
    """So is one that a late response has set again, because the session keeps its id."""
    clock = ManualClock()
    shop = Shop(revocations=MemoryRevocations(clock=clock, monotonic=clock))
    copy = shop.cookie_of("alice")
    shop.clock.move(200)
    late = shop.browser(copy).get("/").cookies["session"]
    shop.browser(copy).post("/logout")

    for cookie in (copy, late):
        assert shop.browser(cookie).get("/").status_code == 401
        assert shop.records[-1].reason == "session.revoked"


def test_a_clock_that_goes_back_makes_no_session_longer(shop: Shop) -> None:
    """Used after a clock was set back, a session ends no later than it would have."""
    copy = shop.cookie_of("alice")
    shop.clock.move(-50)
    assert shop.browser(copy).get("/").status_code == 200
    shop.clock.move(50 + 1800)

    assert shop.browser(copy).get("/").status_code == 401


@pytest.mark.parametrize("path", ["/login?name=mallory", "/logout", "/"])
def test_another_site_changes_nothing(shop: Shop, path: str) -> None:
    """A login, a log-out and a form that another site sends are refused, with a cookie or without one."""
    for cookies in ([], [shop.cookie_of("alice")]):
        answer = shop.browser(*cookies).post(path, headers={"sec-fetch-site": "cross-site"})

        assert answer.status_code == (401 if path == "/" and not cookies else 403)
        assert "set-cookie" not in answer.headers
