"""The step-up example: which login each route needs, and what the challenge says if the login is not enough."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer
from tests.examples.conftest import Start

CHALLENGE = 'Bearer realm="bank", error="insufficient_user_authentication", '


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("step_up", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


def login(acr: str, ago: float, scope: str = "pay") -> Any:
    """A header with a token from a login of this class, this many seconds ago."""
    return bearer(aud="bank", acr=acr, auth_time=time.time() - ago, scope=scope)


def test_each_route_needs_its_login(client: TestClient) -> None:
    """Any login for the balance, a second factor for a payment, a recent one to close the account."""
    requests = [("GET", "/balance"), ("POST", "/payments"), ("DELETE", "/account")]
    logins = [login("pwd", 9000), login("mfa", 9000), login("phr", 9000), login("phr", 60)]

    statuses = [[client.request(*request, headers=headers).status_code for request in requests] for headers in logins]

    assert statuses == [[200, 401, 401], [200, 200, 401], [200, 200, 401], [200, 200, 200]]


def test_the_challenge_describes_the_required_login(client: TestClient) -> None:
    """RFC 9470 section 3: it names the classes, the age, and the scope that the route requires."""
    paid = client.post("/payments", headers=login("pwd", 0))
    closed = client.delete("/account", headers=login("mfa", 9000))

    assert paid.headers["www-authenticate"] == CHALLENGE + 'acr_values="mfa phr", scope="pay"'
    assert closed.headers["www-authenticate"] == CHALLENGE + 'acr_values="phr", max_age="300"'


def test_a_missing_scope_is_a_403(client: TestClient) -> None:
    """Logging in again would not help, so it is not a 401."""
    assert client.post("/payments", headers=login("pwd", 0, scope="read")).status_code == 403


def test_without_a_token_the_challenge_names_the_scope(client: TestClient) -> None:
    """The challenge has no error, because no token was wrong."""
    assert client.post("/payments").headers["www-authenticate"] == 'Bearer realm="bank", scope="pay"'
