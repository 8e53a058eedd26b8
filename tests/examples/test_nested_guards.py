"""The nested guards example: each issuer has its own part, and no guard opens what another one closes."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PARTNER_KEY, PUBLIC_KEY, bearer, reasons, recorded
from tests.examples.conftest import Start

OUR_REALM, THEIR_REALM = 'Bearer realm="https://login.example/"', 'Bearer realm="https://partner.example/"'
PARTNER = "https://partner.example/"


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the whole app."""
    return TestClient(start("nested_guards", ISSUER_PUBLIC_KEY=PUBLIC_KEY, PARTNER_PUBLIC_KEY=PARTNER_KEY).app)


def test_tokens_are_accepted_only_in_their_own_part(client: TestClient) -> None:
    """In the other part they get a 401 with the challenge of that part."""
    own, partners = bearer("staff", "admin"), bearer("staff", "admin", which=1, iss=PARTNER)

    assert client.get("/orders", headers=own).json() == {"orders of": "alice"}
    assert client.get("/partner/orders", headers=partners).json() == {"orders of partner": "alice"}
    crossed = [client.get("/orders", headers=partners), client.get("/partner/orders", headers=own)]
    assert [answer.status_code for answer in crossed] == [401, 401]
    assert [
        answer.headers["www-authenticate"].startswith(realm)
        for answer, realm in zip(crossed, (OUR_REALM, THEIR_REALM), strict=True)
    ] == [True, True]


@pytest.mark.parametrize(("which", "issuer"), [(1, "https://login.example/"), (0, PARTNER)])
def test_a_key_signs_for_its_own_issuer_alone(
    client: TestClient, caplog: pytest.LogCaptureFixture, which: int, issuer: str
) -> None:
    """The partner cannot sign tokens of our issuer, and we cannot sign tokens of the partner."""
    forged = bearer("staff", which=which, iss=issuer)

    answers = [client.get(path, headers=forged) for path in ("/orders", "/partner/orders", "/staff/status")]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert set(reasons(caplog)) == {"token.signature_invalid", "token.issuer_unknown"}


@pytest.mark.parametrize(
    ("path", "status", "challenge"),
    [
        ("/partner/health", 200, None),
        ("/partner/orders", 401, THEIR_REALM),
        ("/partner", 307, None),  # to /partner/
        ("/partner/", 401, THEIR_REALM),
        ("/partner/docs", 401, THEIR_REALM),
        ("/partner/nothing/here", 401, THEIR_REALM),
        ("/staff/status", 401, OUR_REALM),
        ("/partners", 401, OUR_REALM),
        ("/partner/%2e%2e/orders", 400, None),
        ("/partner//orders", 400, None),
    ],
)
def test_public_outside_is_closed_inside(client: TestClient, path: str, status: int, challenge: str | None) -> None:
    """The outer rule is PUBLIC, but the inner guard closes everything that it does not open itself."""
    response = client.get(path, follow_redirects=False)

    assert (response.status_code, response.headers.get("www-authenticate")) == (status, challenge)


@pytest.mark.parametrize(
    ("roles", "statuses"),
    [((), [200, 403]), (("admin",), [200, 403]), (("staff",), [200, 403]), (("staff", "admin"), [200, 200])],
)
def test_a_mount_tightens(client: TestClient, roles: tuple[str, ...], statuses: list[int]) -> None:
    """Behind the inner PUBLIC any of our tokens is enough; everything else needs staff, and the audit admin too."""
    assert [
        client.get(path, headers=bearer(*roles)).status_code for path in ("/staff/status", "/staff/audit")
    ] == statuses


def test_the_inner_guard_records_the_missing_role(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Each denial is one record, with the role that this part requires."""
    client.get("/staff/audit", headers=bearer("admin"))
    client.get("/staff/audit", headers=bearer("staff"))

    assert recorded(caplog, "reason", "missing") == [("role.missing", ("staff",)), ("role.missing", ("admin",))]


def test_a_request_with_two_tokens_is_refused(client: TestClient) -> None:
    """It is not accepted by the guard that finds a matching token among them."""
    fields = [*bearer("staff").items(), *bearer("staff", which=1, iss=PARTNER).items()]

    assert [client.get(path, headers=fields).status_code for path in ("/orders", "/partner/orders")] == [400, 400]
