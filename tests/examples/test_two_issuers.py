"""Two issuers: each with its own keys, audience and roles; one of them comes and goes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PARTNER_KEY, PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of the stock."""
    return TestClient(start("two_issuers", ISSUER_PUBLIC_KEY=PUBLIC_KEY, PARTNER_PUBLIC_KEY=PARTNER_KEY).app)


def staff(*roles: str, **changes: Any) -> Any:
    """A token of our own issuer."""
    return bearer(aud="stock", realm_access={"roles": list(roles)}, **changes)


def partner(*departments: str, **changes: Any) -> Any:
    """A token of the partner's."""
    said = {"iss": "https://id.partner.example", "aud": "https://stock.example", "departments": list(departments)}
    return bearer("admin", **{"which": 1, **said, **changes})


def test_each_issuer_speaks_its_own_language(client: TestClient) -> None:
    """Nested roles here, departments there; two people of one name are two."""
    told = [client.get("/stock", headers=fields).json() for fields in (staff("buyer"), partner("purchasing"))]

    assert told == [
        {"asked by": "https://login.example/ alice"},
        {"asked by": "https://id.partner.example alice"},
    ]


def test_a_partner_makes_no_admins(client: TestClient) -> None:
    """Whatever roles its tokens name."""
    tried = partner("purchasing", roles=["admin"], realm_access={"roles": ["admin"]})

    assert client.get("/admin/clocks", headers=tried).status_code == 403
    assert client.get("/stock", headers=partner("cleaning")).status_code == 403


def test_the_key_of_one_verifies_no_token_of_the_other(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does the audience of one do for the other."""
    statuses = [
        client.get("/stock", headers=fields).status_code
        for fields in (
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


def test_the_partner_can_be_let_go_and_taken_back(client: TestClient) -> None:
    """At run time, from the next request on."""

    def switched(state: str) -> int:
        assert client.put(f"/admin/partner/{state}", headers=staff("admin")).status_code == 200
        return client.get("/stock", headers=partner("purchasing")).status_code

    assert [switched("false"), switched("true")] == [401, 200]


def test_the_clocks_are_told_by_issuer(client: TestClient) -> None:
    """A token of a minute ago is a minute old."""
    client.get("/stock", headers=partner("purchasing"))

    told = client.get("/admin/clocks", headers=staff("admin")).json()["clocks"]

    assert {name: figures["tokens"] for name, figures in told.items()} == {
        "https://login.example/": 1,
        "https://id.partner.example": 1,
    }
    assert told["https://id.partner.example"]["smallest"] == pytest.approx(60, abs=5)
