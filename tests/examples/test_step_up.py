"""Step-up: what each door takes, and what a client is told that is not strong or fresh enough."""

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
    """A client of the bank."""
    return TestClient(start("step_up", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


def login(acr: str, ago: float, scope: str = "pay") -> Any:
    """A token of such a login, so many seconds ago."""
    return bearer(aud="bank", acr=acr, auth_time=time.time() - ago, scope=scope)


def test_each_door_takes_its_login(client: TestClient) -> None:
    """Any for a look, a second factor for a payment, a fresh one to close the account."""
    asked = [("GET", "/balance"), ("POST", "/payments"), ("DELETE", "/account")]
    logins = [login("pwd", 9000), login("mfa", 9000), login("phr", 9000), login("phr", 60)]

    statuses = [[client.request(*one, headers=fields).status_code for one in asked] for fields in logins]

    assert statuses == [[200, 401, 401], [200, 200, 401], [200, 200, 401], [200, 200, 200]]


def test_a_client_is_told_what_to_ask_the_login_for(client: TestClient) -> None:
    """RFC 9470 section 3: the classes, the age, and the scope that the same route asks."""
    paid = client.post("/payments", headers=login("pwd", 0))
    closed = client.delete("/account", headers=login("mfa", 9000))

    assert paid.headers["www-authenticate"] == CHALLENGE + 'acr_values="mfa phr", scope="pay"'
    assert closed.headers["www-authenticate"] == CHALLENGE + 'acr_values="phr", max_age="300"'


def test_a_scope_that_is_missing_is_another_matter(client: TestClient) -> None:
    """403: logging in again would not help."""
    assert client.post("/payments", headers=login("pwd", 0, scope="read")).status_code == 403


def test_who_presents_nothing_learns_what_the_route_asks(client: TestClient) -> None:
    """The scope, and no error."""
    assert client.post("/payments").headers["www-authenticate"] == 'Bearer realm="bank", scope="pay"'
