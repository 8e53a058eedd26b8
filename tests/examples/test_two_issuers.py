"""The example with two issuers: each has its own keys, audience and roles, and one can be removed."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PARTNER_KEY, PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("two_issuers", ISSUER_PUBLIC_KEY=PUBLIC_KEY, PARTNER_PUBLIC_KEY=PARTNER_KEY).app)


def staff(*roles: str, **changes: Any) -> Any:
    """A header with a token of our own issuer."""
    return bearer(aud="stock", realm_access={"roles": list(roles)}, **changes)


def partner(*departments: str, **changes: Any) -> Any:
    """A header with a token of the partner."""
    claims = {"iss": "https://id.partner.example", "aud": "https://stock.example", "departments": list(departments)}
    return bearer("admin", **{"which": 1, **claims, **changes})


def test_each_issuer_has_its_own_claims(client: TestClient) -> None:
    """We use nested roles, the partner uses departments. Two users with the same name stay separate."""
    users = [client.get("/stock", headers=headers).json() for headers in (staff("buyer"), partner("purchasing"))]

    assert users == [
        {"asked by": "https://login.example/ alice"},
        {"asked by": "https://id.partner.example alice"},
    ]


def test_a_partner_cannot_make_admins(client: TestClient) -> None:
    """The roles in the partner's tokens are ignored."""
    forged = partner("purchasing", roles=["admin"], realm_access={"roles": ["admin"]})

    assert client.get("/admin/clocks", headers=forged).status_code == 403
    assert client.get("/stock", headers=partner("cleaning")).status_code == 403


def test_the_key_of_one_verifies_no_token_of_the_other(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The audience of one issuer is not accepted from the other either."""
    statuses = [
        client.get("/stock", headers=headers).status_code
        for headers in (
            staff("buyer", which=1),
            partner("purchasing", which=0),
            partner("purchasing", aud="stock"),
            staff("buyer", iss="https://elsewhere.example"),
        )
    ]

    assert statuses == [401] * 4
    assert reasons(caplog) == [
        "token.signature_invalid",
        "token.signature_invalid",
        "token.audience_mismatch",
        "token.issuer_unknown",
    ]


def test_the_partner_can_be_removed_and_added_again(client: TestClient) -> None:
    """The change takes effect at run time, from the next request on."""

    def switched(enabled: str) -> int:
        assert client.put(f"/admin/partner/{enabled}", headers=staff("admin")).status_code == 200
        return client.get("/stock", headers=partner("purchasing")).status_code

    assert [switched("false"), switched("true")] == [401, 200]


def test_the_clocks_are_reported_by_issuer(client: TestClient) -> None:
    """A token that was issued a minute ago is reported with an age of a minute."""
    client.get("/stock", headers=partner("purchasing"))

    clocks = client.get("/admin/clocks", headers=staff("admin")).json()["clocks"]

    assert {name: figures["tokens"] for name, figures in clocks.items()} == {
        "https://login.example/": 1,
        "https://id.partner.example": 1,
    }
    assert clocks["https://id.partner.example"]["smallest"] == pytest.approx(60, abs=5)
