"""The examples with credentials outside ``Authorization``, and the one that makes its own tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer, hash_of, reasons, recorded
from tests.examples.conftest import Start

COOKIE = "__Host-session-token"
SECRET = "5f8c1de0a7b94e3d9c6b2f1a08e7d4c35f8c1de0a7b94e3d9c6b2f1a08e7d4c3"


def issued(**changes: Any) -> Mapping[str, str]:
    """A header with a token of the examples' issuer."""
    return bearer(iss="https://login.example/", aud="orders", sub="alice", **changes)


@pytest.fixture(name="shop")
def _shop(start: Start) -> TestClient:
    app = start("token_cookie", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app
    return TestClient(app, base_url="https://orders.example")


def test_the_cookie_takes_the_place_of_the_token(shop: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The page hands in the token once; from then on the browser sends the cookie, until it logs out."""
    answer = shop.post("/session", headers=issued())

    assert (answer.status_code, shop.get("/orders").json()) == (204, {"orders of": "alice", "by": "cookie"})
    assert shop.get("/orders").headers["cache-control"] == "private"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert shop.delete("/session").status_code == 204
    assert shop.get("/orders").status_code == 401
    assert [message for message in caplog.messages if "does not set it safely" in message] == []


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_another_site_cannot_use_the_cookie(
    shop: TestClient, site: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The browser adds the cookie to a foreign form too, and the guard refuses that. A link of a foreign site works."""
    shop.post("/session", headers=issued())

    assert shop.post("/orders", headers={"Sec-Fetch-Site": site}).status_code == status
    assert shop.get("/orders", headers={"Sec-Fetch-Site": site}).status_code == 200
    assert reasons(caplog) == (["origin.foreign"] if status == 403 else [])


def test_a_session_begins_with_a_token_alone(shop: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A cookie cannot make another cookie, and a token ends no session."""
    shop.post("/session", headers=issued())

    assert shop.post("/session").status_code == 401
    assert TestClient(shop.app).delete("/session", headers=issued()).status_code == 401
    assert reasons(caplog) == ["scheme.unsupported"]


def test_two_cookies_are_ambiguous(shop: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Cookie tossing: a second cookie of the name logs nobody in, and an explicit token still does."""
    good = issued()["Authorization"].removeprefix("Bearer ")
    tossed = {"Cookie": f"{COOKIE}={good}; {COOKIE}=x"}

    assert shop.get("/orders", headers=tossed).status_code == 400
    assert shop.get("/orders", headers={**tossed, **issued()}).json()["by"] == "bearer"
    assert reasons(caplog) == ["credentials.ambiguous"]


def test_an_expired_cookie_says_so(shop: TestClient) -> None:
    """The page learns that it needs a new token, as with ``Authorization``."""
    old = issued(iat=time.time() - 7200, exp=time.time() - 3600)["Authorization"].removeprefix("Bearer ")
    answer = shop.get("/orders", headers={"Cookie": f"{COOKIE}={old}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "expired")
    place = f'Cookie realm="orders", cookie-name="{COOKIE}"'
    error = 'error="invalid_token", error_description="The access token expired"'
    assert answer.headers.get_list("www-authenticate") == ['Bearer realm="orders"', f"{place}, {error}"]


@pytest.fixture(name="orders")
def _orders(start: Start) -> ModuleType:
    return start("token_endpoint", ALICE_HASH=hash_of("wonderland"), TOKEN_SECRET=SECRET)


def login(client: TestClient, password: str = "wonderland", **more: str) -> Any:
    """What the token endpoint answers to this password."""
    return client.post("/token", data={"grant_type": "password", "username": "alice", "password": password, **more})


def test_a_password_is_exchanged_for_a_token(orders: ModuleType) -> None:
    """The token that the form gives is accepted by the other routes, and no cache stores it."""
    client = TestClient(orders.app)
    answer = login(client)

    assert (answer.status_code, answer.json()["token_type"], answer.headers["cache-control"]) == (
        200,
        "bearer",
        "no-store",
    )
    token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/orders", headers=token).json() == {"orders of": "alice"}
    assert client.get("/orders").status_code == 401


def test_a_wrong_login_is_recorded_as_that_of_basic(orders: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """The record says why, and the client learns no more than with Basic."""
    client = TestClient(orders.app)
    wrong, unknown = login(client, "builder"), client.post("/token", data={"username": "bob", "password": "x"})

    assert (wrong.status_code, wrong.content) == (401, unknown.content) == (unknown.status_code, unknown.content)
    assert wrong.headers.get_list("www-authenticate") == ['PasswordForm realm="orders"']
    assert recorded(caplog, "reason", "scheme") == [
        ("password.wrong", "password-form"),
        ("user.unknown", "password-form"),
    ]


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 401, "credentials.malformed"),
        (b"username=alice", 401, "password.empty"),
        (b"password=wonderland", 401, "credentials.malformed"),
        (b"username=alice&password=wonderland&username=bob", 401, "credentials.malformed"),
        (b"username=al%00ice&password=x", 401, "credentials.malformed"),
        (b"x" * 5000, 413, "body.too_large"),
        (b"&".join([b"a=1"] * 20), 401, "credentials.malformed"),
        (b"username=%ff&password=x", 401, "credentials.malformed"),
        (b"username=\xff&password=x", 401, "credentials.malformed"),
    ],
    ids=["empty", "no password", "no name", "two names", "NUL", "long", "many fields", "not UTF-8", "not ASCII"],
)
def test_a_form_that_is_no_login_is_refused(
    orders: ModuleType, content: bytes, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A form without one name and one password is malformed, and none is an outage."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = TestClient(orders.app).post("/token", content=content, headers=form)

    assert (answer.status_code, reasons(caplog)) == (status, [reason])


def test_guessing_is_slowed_down(orders: ModuleType) -> None:
    """The form counts attempts as Basic does."""
    client = TestClient(orders.app)

    assert [login(client, f"guess {number}").status_code for number in range(11)][-2:] == [401, 429]


def test_swagger_has_the_password_form(orders: ModuleType) -> None:
    """OpenAPI has the flow with which Swagger UI shows the form, and which routes want its token."""
    document = TestClient(orders.app).get("/openapi.json").json()

    flow = {"password": {"tokenUrl": "token", "scopes": {}}}
    assert document["components"]["securitySchemes"]["bearer"] == {"type": "oauth2", "flows": flow}
    assert document["paths"]["/orders"]["get"]["security"] == [{"bearer": []}]
    assert "429" in document["paths"]["/token"]["post"]["responses"]


def test_a_socket_of_a_browser_is_opened(start: Start) -> None:
    """The subprotocol logs in, and the answer names ``bearer`` alone."""
    app = start("browser_socket", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app
    token = issued()["Authorization"].removeprefix("Bearer ")

    with TestClient(app).websocket_connect("/feed", subprotocols=["bearer", token]) as socket:
        assert [socket.accepted_subprotocol, socket.receive_text()] == ["bearer", "hello alice"]
