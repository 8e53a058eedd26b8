"""The role hierarchy example: a role implies all roles below it, and no others."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError, Guard
from tests.examples.callers import hash_of, reasons, recorded
from tests.examples.conftest import Start

ALICE, BOB, CAROL = ("alice", "a pass phrase"), ("bob", "another one"), ("carol", "a third one")
REQUESTS = [("GET", "/articles/tea"), ("PUT", "/articles/tea"), ("POST", "/articles/tea/publish")]


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    hashes = {f"{name.upper()}_HASH": hash_of(password) for name, password in (ALICE, BOB, CAROL)}
    return TestClient(start("hierarchy", **hashes).app)


@pytest.mark.parametrize(
    ("user", "statuses"),
    [(ALICE, [200, 200, 200]), (BOB, [200, 200, 403]), (CAROL, [200, 403, 403])],
)
def test_a_role_implies_the_roles_below_it(client: TestClient, user: tuple[str, str], statuses: list[int]) -> None:
    """A publisher may read because an editor may; a reader may not publish."""
    assert [client.request(method, path, auth=user).status_code for method, path in REQUESTS] == statuses


def test_without_a_login_every_request_is_a_401(client: TestClient) -> None:
    """The login is checked before the roles."""
    assert [client.request(method, path).status_code for method, path in REQUESTS] == [401, 401, 401]


def test_the_app_sees_implied_roles(client: TestClient) -> None:
    """An endpoint that reads ``roles`` itself need not know the hierarchy."""
    assert client.get("/me", auth=ALICE).json() == {"roles": ["editor", "publisher", "reader"]}
    assert client.get("/me", auth=CAROL).json() == {"roles": ["reader"]}


def test_the_record_names_the_missing_role(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """It also names the roles that the user has, including the implied ones."""
    client.post("/articles/tea/publish", auth=BOB)

    assert recorded(caplog, "missing", "offered") == [(("publisher",), ("editor", "reader"))]


def test_the_rule_applies_to_methods_without_a_route(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """PATCH has no route: the rule is checked first, and then the router answers 405."""
    caplog.set_level("INFO", "authguard")

    assert client.patch("/articles/tea").status_code == 401
    assert client.patch("/articles/tea", auth=CAROL).status_code == 405
    assert reasons(caplog) == ["credentials.missing"]


def test_another_site_cannot_make_a_browser_publish(client: TestClient) -> None:
    """A browser sends the password by itself, but its ``Origin`` header names the other site."""
    response = client.post("/articles/tea/publish", auth=ALICE, headers={"Origin": "https://evil.example"})

    assert response.status_code == 403


def test_a_cycle_is_refused_while_the_guard_is_built() -> None:
    """Two roles that imply each other would be the same role."""
    with pytest.raises(ConfigurationError):
        Guard(role_hierarchy={"editor": {"reader"}, "reader": {"editor"}})
