"""The optional login example: without credentials a visit is anonymous, and wrong credentials are refused."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import hash_of, reasons
from tests.examples.conftest import Start

ALICE = ("alice", "correct horse")
CHALLENGE = 'Basic realm="shop", charset="UTF-8"'


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the example."""
    return TestClient(start("optional_login", ALICE_HASH=hash_of(ALICE[1])).app)


def test_a_visitor_without_credentials_is_anonymous(client: TestClient) -> None:
    """The endpoint gets None, and the price is the normal one."""
    assert client.get("/products/tea").json() == {"product": "tea", "price": 1000, "for": None}


def test_a_member_gets_the_price_of_members(client: TestClient) -> None:
    """The same path has another price for a member who logs in."""
    assert client.get("/products/tea", auth=ALICE).json() == {"product": "tea", "price": 900, "for": "alice"}


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("Basic YWxpY2U6eA==", "password.wrong"),
        ("Basic ZXZlOng=", "user.unknown"),
        ("Basic ???", "credentials.malformed"),
        ("Bearer YWxpY2U6eA==", "scheme.unsupported"),
    ],
)
def test_wrong_credentials_are_not_anonymous(
    client: TestClient, caplog: pytest.LogCaptureFixture, field: str, reason: str
) -> None:
    """A user who mistypes the password gets a 401 with a challenge, and does not silently become anonymous."""
    response = client.get("/products/tea", headers={"Authorization": field})

    assert (response.status_code, response.headers["www-authenticate"]) == (401, CHALLENGE)
    assert reasons(caplog) == [reason]


def test_two_sets_of_credentials_are_refused(client: TestClient) -> None:
    """The response is a 400, because a proxy and the app could each use another set."""
    good = client.build_request("GET", "/products/tea").headers
    fields = [("Authorization", "Basic YWxpY2U6eA=="), ("Authorization", "Basic ZXZlOng=")]

    assert client.get("/products/tea", headers=[*good.items(), *fields]).status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/basket", 401),
        ("/products", 401),
        ("/products/tea/stock", 401),
        ("/Products/tea", 401),
        ("/docs", 401),
        ("/products/%2e%2e/basket", 400),
        ("/products//tea", 400),
        ("/products/tea%0a", 400),
    ],
)
def test_only_the_pattern_is_open(client: TestClient, path: str, status: int) -> None:
    """The pattern matches one segment below /products, and no other depth or spelling."""
    assert client.get(path).status_code == status


def test_public_ignores_credentials(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """On a PUBLIC path a wrong password is not even read. The basket needs the right one."""
    assert client.get("/health", auth=("alice", "x")).status_code == 200
    assert client.get("/basket", auth=ALICE).json() == {"basket of": "alice"}
    assert reasons(caplog) == []


def test_an_unknown_product_is_404(client: TestClient) -> None:
    """Responses of the app itself pass unchanged."""
    assert client.get("/products/gold").status_code == 404
