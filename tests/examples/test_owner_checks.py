"""Owners: what is theirs is theirs by every spelling, and what is not there looks like what is somebody else's."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer, reasons, told
from tests.examples.conftest import Start


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of the orders."""
    return TestClient(start("owner_checks", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)


def test_an_owner_gets_in(client: TestClient) -> None:
    """By the path, and by what the database says."""
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
def test_no_spelling_reaches_anothers_files(client: TestClient, path: str, status: int) -> None:
    """What the rule compares is what the router reads, or the path is refused."""
    assert client.get(path, headers=bearer()).status_code == status


def test_the_check_is_named_in_the_record(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """With who asked, and proved it."""
    client.get("/users/bob/files/a.txt", headers=bearer("support"))

    facts = told(caplog, "reason", "missing", "subject", "subject_proven")
    assert facts == [("check.refused", ("owner",), "alice", True)]


def test_an_endpoints_own_denial_is_told_like_the_guards(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its reason and facts are in the record, and not in the answer."""
    response = client.get("/orders/6", headers=bearer())

    assert response.status_code == 403
    assert response.headers["www-authenticate"].startswith('Bearer realm="orders"')
    assert "not_owner" not in response.text
    assert told(caplog, "reason", "order") == [("order.not_owner", 6)]


def test_nobody_can_count_the_orders(client: TestClient) -> None:
    """The answers to an order of somebody else's and to one that is not there are one, but for the date."""
    others, missing = (client.get(f"/orders/{number}", headers=bearer()) for number in (6, 7))

    assert (others.status_code, others.headers, others.content) == (
        missing.status_code,
        missing.headers,
        missing.content,
    )


def test_support_sees_every_order(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """``allows`` asks without denying: what is not there is 404 to them, and nothing is recorded as refused."""
    answers = [client.get(f"/orders/{number}", headers=bearer("support")) for number in (5, 6, 7)]

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert reasons(caplog) == []


def test_the_anonymous_are_asked_who_they_are(client: TestClient) -> None:
    """401 before any check, and before any look at the database."""
    answers = [client.get(path) for path in ("/users/alice/files/a.txt", "/orders/5", "/orders/7")]

    assert {(answer.status_code, answer.headers["www-authenticate"]) for answer in answers} == {
        (401, 'Bearer realm="orders"')
    }
