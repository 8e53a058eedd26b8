"""Roles by method: each method has its rule, and what has none is closed."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start

PATH = "/reports/7"


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of the reports."""
    return TestClient(start("per_method_roles", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("analyst", ["GET", "HEAD"]), ("editor", ["GET", "HEAD", "PUT"]), ("admin", ["DELETE"]), ("guest", [])],
)
def test_each_role_has_its_methods(client: TestClient, role: str, allowed: list[str]) -> None:
    """The others are 403; HEAD goes with GET."""
    methods = ["GET", "HEAD", "PUT", "DELETE"]
    statuses = {
        method: client.request(method, PATH, headers=bearer(role, aud="reports")).status_code for method in methods
    }

    assert statuses == {method: 200 if method in allowed else 403 for method in methods}


@pytest.mark.parametrize("method", ["PATCH", "POST", "OPTIONS", "TRACE", "PURGE", "WEBSOCKET"])
def test_an_unlisted_method_is_nobodys(client: TestClient, caplog: pytest.LogCaptureFixture, method: str) -> None:
    """403 for every role, though the app would route PATCH; 401 for who presents nothing."""
    caplog.set_level("INFO", "authguard")
    everything = bearer("analyst", "editor", "admin", aud="reports")

    assert client.request(method, PATH, headers=everything).status_code == 403
    assert client.request(method, PATH).status_code == 401
    assert reasons(caplog) == ["method.unlisted", "credentials.missing"]


def test_a_field_does_not_change_the_method(client: TestClient) -> None:
    """What some frameworks take for the method is none here, for the rules or for the app."""
    fields = {**bearer("analyst", aud="reports"), "X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}

    assert client.get(PATH, headers=fields).json() == {"report": "7", "GET": "alice"}


def test_a_trailing_slash_is_the_same_path(client: TestClient) -> None:
    """It does not fall under the default, which would take any token."""
    response = client.delete(f"{PATH}/", headers=bearer("analyst", aud="reports"), follow_redirects=False)

    assert response.status_code == 403


def test_a_handshake_has_a_rule_of_its_own(client: TestClient) -> None:
    """Its role opens it, and another's is 403 before the app sees it."""
    with client.websocket_connect("/live", headers=bearer("analyst", aud="reports")) as socket:
        watched = socket.receive_json()
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/live", headers=bearer("editor", aud="reports")),
    ):
        pass

    assert watched == {"watched by": "alice"}
    assert caught.value.status_code == 403


def test_a_handshake_is_no_get(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """GET's rule opens no WebSocket, and the WebSocket's opens no GET."""
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(PATH, headers=bearer("analyst", aud="reports")),
    ):
        pass

    assert caught.value.status_code == 403
    assert client.get("/live", headers=bearer("analyst", aud="reports")).status_code == 403
    assert reasons(caplog) == ["method.unlisted", "method.unlisted"]


def test_a_token_for_another_api_has_no_role_here(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """401, whatever its roles: they were given for somewhere else."""
    assert client.delete(PATH, headers=bearer("admin", aud="orders")).status_code == 401
    assert reasons(caplog) == ["token.audience_mismatch"]
