"""The example with roles by method: a method without a rule is closed."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start

PATH = "/reports/7"


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("per_method_roles", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("analyst", ["GET", "HEAD"]), ("editor", ["GET", "HEAD", "PUT"]), ("admin", ["DELETE"]), ("guest", [])],
)
def test_each_role_has_its_methods(client: TestClient, role: str, allowed: list[str]) -> None:
    """All other methods get a 403. A rule for GET applies to HEAD too."""
    methods = ["GET", "HEAD", "PUT", "DELETE"]
    statuses = {
        method: client.request(method, PATH, headers=bearer(role, aud="reports")).status_code for method in methods
    }

    assert statuses == {method: 200 if method in allowed else 403 for method in methods}


@pytest.mark.parametrize("method", ["PATCH", "POST", "OPTIONS", "TRACE", "PURGE", "WEBSOCKET"])
def test_an_unlisted_method_is_refused(client: TestClient, caplog: pytest.LogCaptureFixture, method: str) -> None:
    """Every role gets a 403, even for PATCH, which has a route. Without credentials it is a 401."""
    caplog.set_level("INFO", "authguard")
    all_roles = bearer("analyst", "editor", "admin", aud="reports")

    assert client.request(method, PATH, headers=all_roles).status_code == 403
    assert client.request(method, PATH).status_code == 401
    assert reasons(caplog) == ["method.unlisted", "credentials.missing"]


def test_a_header_does_not_change_the_method(client: TestClient) -> None:
    """Headers that override the method in some frameworks are ignored by the rules and by the app."""
    fields = {**bearer("analyst", aud="reports"), "X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}

    assert client.get(PATH, headers=fields).json() == {"report": "7", "GET": "alice"}


def test_a_trailing_slash_is_the_same_path(client: TestClient) -> None:
    """The path with a slash has the same rule. The default would accept any token."""
    response = client.delete(f"{PATH}/", headers=bearer("analyst", aud="reports"), follow_redirects=False)

    assert response.status_code == 403


def test_a_handshake_has_a_rule_of_its_own(client: TestClient) -> None:
    """The right role is let in; another role gets a 403 before the app sees the handshake."""
    with client.websocket_connect("/live", headers=bearer("analyst", aud="reports")) as socket:
        watched = socket.receive_json()
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/live", headers=bearer("editor", aud="reports")),
    ):
        pass

    assert watched == {"watched by": "alice"}
    assert caught.value.status_code == 403


def test_a_handshake_is_not_a_get(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A rule for GET does not open a WebSocket, and a rule for WEBSOCKET does not open GET."""
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(PATH, headers=bearer("analyst", aud="reports")),
    ):
        pass

    assert caught.value.status_code == 403
    assert client.get("/live", headers=bearer("analyst", aud="reports")).status_code == 403
    assert reasons(caplog) == ["method.unlisted", "method.unlisted"]


def test_a_token_for_another_api_has_no_role_here(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The response is a 401, whatever the roles in the token, because they belong to the other API."""
    assert client.delete(PATH, headers=bearer("admin", aud="orders")).status_code == 401
    assert reasons(caplog) == ["token.audience_mismatch"]
