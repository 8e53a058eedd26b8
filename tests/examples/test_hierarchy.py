"""A hierarchy of roles: it goes downward, all the way, and nowhere else."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError, Guard
from tests.examples.callers import hash_of, reasons, told
from tests.examples.conftest import Start

ALICE, BOB, CAROL = ("alice", "a pass phrase"), ("bob", "another one"), ("carol", "a third one")
ASKED = [("GET", "/articles/tea"), ("PUT", "/articles/tea"), ("POST", "/articles/tea/publish")]


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of the articles."""
    hashes = {f"{name.upper()}_HASH": hash_of(password) for name, password in (ALICE, BOB, CAROL)}
    return TestClient(start("hierarchy", **hashes).app)


@pytest.mark.parametrize(
    ("who", "statuses"),
    [(ALICE, [200, 200, 200]), (BOB, [200, 200, 403]), (CAROL, [200, 403, 403])],
)
def test_a_role_has_what_is_below_it(client: TestClient, who: tuple[str, str], statuses: list[int]) -> None:
    """A publisher reads by way of editor; a reader does not publish."""
    assert [client.request(method, path, auth=who).status_code for method, path in ASKED] == statuses


def test_who_logs_in_as_nobody_has_no_role(client: TestClient) -> None:
    """401 before any role is looked at."""
    assert [client.request(method, path).status_code for method, path in ASKED] == [401, 401, 401]


def test_the_app_sees_what_is_implied(client: TestClient) -> None:
    """An endpoint that looks at the roles by itself needs to know nothing of the hierarchy."""
    assert client.get("/me", auth=ALICE).json() == {"roles": ["editor", "publisher", "reader"]}
    assert client.get("/me", auth=CAROL).json() == {"roles": ["reader"]}


def test_the_record_names_what_was_missing(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """And what was there, the implied roles among it."""
    client.post("/articles/tea/publish", auth=BOB)

    assert told(caplog, "missing", "offered") == [(("publisher",), ("editor", "reader"))]


def test_the_rule_holds_where_no_route_does(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A lock sits on PUT; who sends another method still meets the rule, and then the router."""
    caplog.set_level("INFO", "authguard")

    assert client.patch("/articles/tea").status_code == 401
    assert client.patch("/articles/tea", auth=CAROL).status_code == 405
    assert reasons(caplog) == ["credentials.missing"]


def test_another_site_cannot_make_a_browser_publish(client: TestClient) -> None:
    """A browser sends the password by itself, and says who made it."""
    response = client.post("/articles/tea/publish", auth=ALICE, headers={"Origin": "https://evil.example"})

    assert response.status_code == 403


def test_a_cycle_is_refused_while_the_guard_is_built() -> None:
    """Two roles that imply each other would be one."""
    with pytest.raises(ConfigurationError):
        Guard(role_hierarchy={"editor": {"reader"}, "reader": {"editor"}})
