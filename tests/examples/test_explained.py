"""The example of the support desk: the cause of a refusal and what to do, for those who may see it."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from tests.examples.conftest import Start
from tests.support.tokens import mint, public_pem, rsa_key


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("explained", ISSUER_PUBLIC_KEY=public_pem(rsa_key()).decode()).app)


def fields(subject: str, *roles: str, age: float = 0) -> dict[str, str]:
    """The field of a token that was good for a minute, so many seconds ago."""
    now = time.time() - age
    return {"Authorization": f"Bearer {mint(sub=subject, roles=list(roles), iat=now, exp=now + 60)}"}


def test_the_support_desk_sees_why_a_customer_was_refused(client: TestClient) -> None:
    """A token that expired an hour ago is explained by its cause and by what to do."""
    assert client.get("/orders", headers=fields("alice", age=3600)).status_code == 401

    found = client.get("/support/refusals/alice", headers=fields("carol", "support"))

    assert found.json() == [
        {
            "request": "GET /orders",
            "cause": "The token has ended.",
            "what to do": "Nothing: the client gets a new one. If many end at once, compare the clocks.",
        }
    ]


def test_a_customer_does_not_see_it(client: TestClient) -> None:
    """The route is for the support desk, and a name that nothing proves is nobody's refusal."""
    assert client.get("/support/refusals/alice", headers=fields("alice")).status_code == 403
    token = fields("alice")["Authorization"].rpartition(".")[0]
    assert client.get("/orders", headers={"Authorization": f"{token}.{'A' * 342}"}).status_code == 401
    seen = client.get("/support/refusals/alice", headers=fields("carol", "support")).json()
    assert [refusal["request"] for refusal in seen] == ["GET /support/refusals/alice"]
