"""The ownership example: no spelling of a path reaches another user's files, and nobody can probe for orders."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer, reasons, recorded
from tests.examples.conftest import Start


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("owner_checks", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


def test_an_owner_is_let_in(client: TestClient) -> None:
    """The rule compares the path, and the endpoint asks the database."""
    assert client.get("/users/alice/files/a.txt", headers=bearer()).json() == {"file": "a.txt", "of": "alice"}
    assert client.get("/orders/5", headers=bearer()).json() == {"order": 5, "of": "alice"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/users/bob/files/a.txt", 403),
        ("/users/Alice/files/a.txt", 403),
        ("/users/alice%20/files/a.txt", 403),
        ("/users/%D0%B0lice/files/a.txt", 403),  # a Cyrillic letter
        ("/users/bob%2Falice/files/a.txt", 403),
        ("/users/alice/%2e%2e/bob/files/a.txt", 400),
        ("/users/alice%5c..%5cbob/files/a.txt", 400),
        ("/users//alice/files/a.txt", 400),
        ("/users/alice%00/files/a.txt", 400),
    ],
)
def test_no_spelling_reaches_the_files_of_another_user(client: TestClient, path: str, status: int) -> None:
    """The rule compares what the router matches. An ambiguous path is refused."""
    assert client.get(path, headers=bearer()).status_code == status


def test_the_record_names_the_predicate(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """It also names the authenticated subject."""
    client.get("/users/bob/files/a.txt", headers=bearer("support"))

    facts = recorded(caplog, "reason", "missing", "subject", "subject_proven")
    assert facts == [("check.refused", ("owner",), "alice", True)]


def test_a_denial_by_an_endpoint_is_recorded_too(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its reason and facts are in the record, but not in the response."""
    response = client.get("/orders/6", headers=bearer())

    assert response.status_code == 403
    assert response.headers["www-authenticate"].startswith('Bearer realm="orders"')
    assert "not_owner" not in response.text
    assert recorded(caplog, "reason", "order") == [("order.not_owner", 6)]


def test_nobody_can_count_the_orders(client: TestClient) -> None:
    """An order of another user and a missing order get the same response."""
    others, missing = (client.get(f"/orders/{number}", headers=bearer()) for number in (6, 7))

    assert (others.status_code, others.headers, others.content) == (
        missing.status_code,
        missing.headers,
        missing.content,
    )


def test_support_sees_every_order(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """For support a missing order is a 404. ``allows`` only checks, so no denial is recorded."""
    responses = [client.get(f"/orders/{number}", headers=bearer("support")) for number in (5, 6, 7)]

    assert [response.status_code for response in responses] == [200, 200, 404]
    assert reasons(caplog) == []


def test_without_credentials_every_request_is_a_401(client: TestClient) -> None:
    """The login is checked before the predicate and before the database is asked."""
    responses = [client.get(path) for path in ("/users/alice/files/a.txt", "/orders/5", "/orders/7")]

    assert {(response.status_code, response.headers["www-authenticate"]) for response in responses} == {
        (401, 'Bearer realm="orders"')
    }
