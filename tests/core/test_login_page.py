"""``login_url``: which denials send a browser to the login page, and where it goes from there."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.middleware.sessions import SessionMiddleware
from starlette.testclient import TestClient

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AccessDenied,
    AuthGuardMiddleware,
    Bearer,
    ConfigurationError,
    Guard,
    Reason,
    Record,
    Rule,
    Session,
    role,
    step_up,
    via,
)
from authguard.openapi import Operation, describe
from authguard.reasons import LOGIN_REQUIRED
from authguard.testing import ManualClock, assert_denied, recording
from tests.support.asgi import Exchange, RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.schemes.bearer import bearer

NAVIGATE = {"sec_fetch_mode": "navigate"}
HTML = {"accept": "application/xml;q=0.9, text/html;q=0.8, */*"}
LOGIN = Rule("/login", PUBLIC)
ENTRY = {"id": "a", "sub": "alice", "began": 1_800_000_000.0, "seen": 1_800_000_000.0, "auth_time": 1_800_000_000}


class Site:
    """An app behind a guard with a login page."""

    def __init__(self, *others: Bearer, rules: tuple[Rule, ...] = (LOGIN,), app: Any = None, **options: Any) -> None:
        self.records: list[Record] = []
        self.clock = ManualClock()
        scheme = Session(realm="shop", login_url="/login")
        hooks = [self.records.append]
        self.guard = Guard(scheme, *others, rules=rules, clock=self.clock, log=False, hooks=hooks)
        self.app = AuthGuardMiddleware(app or RecordingApp(), guard=self.guard, **options)

    async def send(self, path: str = "/orders", method: str = "GET", session: Any = None, **more: Any) -> Exchange:
        fields = {name: more.pop(name) for name in list(more) if name not in {"root_path", "query_string", "raw_path"}}
        headers = header_list(fields.pop("authorization", None), **fields)
        return await run_app(self.app, http_scope(path, method, headers, session=session or {}, **more))


@pytest.mark.parametrize("fields", [NAVIGATE, HTML, {"accept": "Text/HTML"}, {**NAVIGATE, "accept": "*/*"}])
async def test_a_browser_that_opens_a_page_is_sent_to_the_login(fields: dict[str, str]) -> None:
    """303 with where it wanted to go, no challenge, and nothing that a cache keeps."""
    site = Site()

    answer = await site.send("/orders", query_string=b"a=1&b=/x", **fields)

    assert (answer.status, answer.lines(b"location")) == (303, ["/login?next=/orders%3Fa%3D1%26b%3D/x"])
    assert (answer.lines(b"cache-control"), answer.lines(b"www-authenticate")) == (["no-store"], [])
    assert (site.records[-1].reason, site.records[-1].status) == ("login.required", 303)
    assert site.records[-1].facts == {"cause": "credentials.missing"}


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("GET", {}),
        ("GET", {"accept": "*/*"}),
        ("GET", {"accept": "text/htmlx, application/json"}),
        ("GET", {**HTML, "sec_fetch_mode": "cors"}),
        ("POST", NAVIGATE),
        ("HEAD", NAVIGATE),
    ],
)
async def test_everything_else_is_told_401(method: str, fields: dict[str, str]) -> None:
    """A script, an API client and a form get the challenge of the session, which opens no dialog."""
    answer = await Site().send(method=method, **fields)

    assert (answer.status, answer.lines(b"www-authenticate")) == (401, ['Session realm="shop"'])
    assert answer.lines(b"location") == []


async def test_two_lines_are_no_navigation() -> None:
    """A browser sends ``Sec-Fetch-Mode`` once."""
    site = Site()
    headers = [*header_list(**HTML), (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-mode", b"navigate")]

    assert (await run_app(site.app, http_scope("/orders", headers=headers, session={}))).status == 401


async def test_a_websocket_is_not_sent_to_the_login() -> None:
    """A handshake cannot follow a redirect."""
    site = Site()
    scope = websocket_scope("/feed", header_list(**HTML), session={}, extensions={"websocket.http.response": {}})

    assert (await run_app(site.app, scope, {"type": "websocket.connect"})).status == 401


async def test_an_idle_session_is_sent_to_the_login_and_the_record_says_why() -> None:
    """The reason of the session is the ``cause``, with its own facts."""
    site = Site()
    site.clock.move(1860)

    answer = await site.send(session={"authguard": ENTRY}, **NAVIGATE)

    assert (answer.status, site.records[-1].subject) == (303, "alice")
    assert {**site.records[-1].facts, "session": ""} == {
        "cause": "session.idle",
        "idle_by": 60.0,
        "idle": 1800.0,
        "session": "",
    }


async def test_a_login_that_is_not_fresh_is_sent_to_the_login() -> None:
    """``step_up`` asks a browser for a new login there, since no browser reads its challenge."""
    site = Site(rules=(LOGIN, Rule("/danger", step_up(max_age=60))))
    site.clock.move(300)

    answer = await site.send("/danger", session={"authguard": ENTRY}, **NAVIGATE)

    assert (answer.status, site.records[-1].facts["cause"]) == (303, "step_up.required")


async def test_a_missing_role_stays_403() -> None:
    """Another login would change nothing that the guard knows of."""
    site = Site(rules=(LOGIN, Rule("/admin", role("admin"))))

    assert (await site.send("/admin", session={"authguard": ENTRY}, **NAVIGATE)).status == 403


async def test_a_refused_token_stays_401() -> None:
    """Who presents a token is no browser that opens a page."""
    site = Site(bearer())

    assert (await site.send(authorization="Bearer no", **NAVIGATE)).status == 401
    assert (await site.send(**NAVIGATE)).status == 303


@pytest.mark.parametrize(
    ("fields", "challenges"),
    [
        ({"sec_fetch_mode": "cors"}, ['Session realm="shop"']),
        ({}, ['Session realm="shop"', 'Bearer realm="orders"']),
        ({"sec_fetch_mode": "cors", "authorization": "Negotiate x"}, ['Session realm="shop"', 'Bearer realm="orders"']),
    ],
)
async def test_a_script_learns_of_the_session_alone(fields: dict[str, str], challenges: list[str]) -> None:
    """The challenge of Basic would open a dialog in front of the page. Other clients get all challenges, also after a
    script was answered, and also if they have presented something."""
    site = Site(bearer())
    for _ in range(2):
        await site.send(sec_fetch_mode="cors")
        await site.send()

        assert (await site.send(**fields)).lines(b"www-authenticate") == challenges


async def test_a_route_for_tokens_alone_stays_401() -> None:
    """A route that accepts no session has no login page."""
    site = Site(bearer(), rules=(LOGIN, Rule("/api/**", via("bearer"))))

    assert (await site.send("/api/x", **NAVIGATE)).status == 401


@pytest.mark.parametrize("target", [b"//evil.example", b"/a\\b", b"/" + b"a" * 2048, b"/\xff", b"http://evil.example/"])
async def test_a_target_that_may_lead_elsewhere_is_left_out(target: bytes) -> None:
    """The login page then has its default."""
    answer = await Site().send("/orders", raw_path=target, **NAVIGATE)

    assert (answer.status, answer.lines(b"location")) == (303, ["/login"])


async def test_the_login_page_is_below_root_path() -> None:
    """A guard that is mounted sends browsers to its own login page."""
    answer = await Site().send("/shop/orders", root_path="/shop", **NAVIGATE)

    assert answer.lines(b"location") == ["/shop/login?next=/shop/orders"]


async def test_a_root_path_that_leads_elsewhere_is_not_followed() -> None:
    """A proxy's prefix may come from a client: no redirect leads to another site."""
    answer = await Site().send("//evil/orders", root_path="//evil", raw_path=b"/x", **NAVIGATE)

    assert answer.lines(b"location") == []


async def test_a_lock_sends_a_browser_to_the_login() -> None:
    """What a route itself denies with 401 is answered like the guard's own denials."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AccessDenied(Reason("credentials.missing", 401) if scope["path"] == "/own" else LOGIN_REQUIRED)

    site = Site(app=app)

    answer = await site.send("/own", session={"authguard": ENTRY}, **NAVIGATE)
    assert (answer.status, site.records[-1].facts) == (303, {"cause": "credentials.missing"})
    assert (await site.send("/other", session={"authguard": ENTRY}, **NAVIGATE)).status == 503


@pytest.mark.parametrize("requirement", [OPTIONAL, AUTHENTICATED])
def test_a_login_page_that_is_not_open_raises(requirement: Any) -> None:
    """It would lead to itself for ever: an idle session is refused on an OPTIONAL route too."""
    with pytest.raises(ConfigurationError, match=r'login_url: GET /login requires .* Rule\("/login", PUBLIC'):
        Site(rules=(Rule("/login", requirement),))
    with pytest.raises(ConfigurationError, match="login_url"):
        Site(rules=())


def test_a_login_page_that_can_be_read_in_two_ways_raises() -> None:
    """No rule would open it."""
    with pytest.raises(ConfigurationError, match="two ways"):
        Guard(Session(realm="shop", login_url="/a/../login"), rules=[LOGIN])


@pytest.mark.parametrize(("method", "expected"), [("GET", True), ("POST", False)])
def test_openapi_lists_the_login_page(method: str, expected: bool) -> None:
    """A GET may be answered with 303 and ``Location``."""
    document = {"openapi": "3.1.0", "paths": {"/orders": {method.lower(): {}}}}

    described = describe(document, [Operation("/orders", method, [AUTHENTICATED])], Site().guard)

    responses = described["paths"]["/orders"][method.lower()]["responses"]
    assert ("303" in responses, "Location" in responses.get("303", {}).get("headers", {})) == (expected, expected)
    assert described["components"]["securitySchemes"] == {
        "session": {"type": "apiKey", "in": "cookie", "name": "session"}
    }


def test_a_reason_of_ones_own_cannot_be_303() -> None:
    """Only the guard knows where the login page is."""
    with pytest.raises(ValueError, match="303"):
        Reason("my.login", 303)


def test_assert_denied_knows_the_login_page() -> None:
    """A redirect of the guard is a denial, with its reason in the record."""
    site = Site()
    app = SessionMiddleware(site.app, secret_key="x")
    client = TestClient(app, follow_redirects=False, headers={"accept": "text/html"})

    with recording(site.guard):
        assert_denied(client.get("/orders"), 303, reason=LOGIN_REQUIRED)
