"""Optional login: nobody is let by, somebody is known, and what is no good is refused."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import hash_of, reasons
from tests.examples.conftest import Start

ALICE = ("alice", "correct horse")
CHALLENGE = 'Basic realm="shop", charset="UTF-8"'


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of the shop."""
    return TestClient(start("optional_login", ALICE_HASH=hash_of(ALICE[1])).app)


def test_who_presents_nothing_is_anonymous(client: TestClient) -> None:
    """The endpoint gets None, and the price is everybody's."""
    assert client.get("/products/tea").json() == {"product": "tea", "price": 1000, "for": None}


def test_who_logs_in_is_known(client: TestClient) -> None:
    """The same path, with the price of a member."""
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
def test_what_is_no_good_is_not_anonymous(
    client: TestClient, caplog: pytest.LogCaptureFixture, field: str, reason: str
) -> None:
    """401 with a challenge: who mistyped a password is told, and does not shop on as a stranger."""
    response = client.get("/products/tea", headers={"Authorization": field})

    assert (response.status_code, response.headers["www-authenticate"]) == (401, CHALLENGE)
    assert reasons(caplog) == [reason]


def test_two_sets_of_credentials_are_refused(client: TestClient) -> None:
    """400: a proxy and the app could each go by another one."""
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
def test_nothing_beside_the_pattern_is_open(client: TestClient, path: str, status: int) -> None:
    """The pattern is one segment below /products: neither more, nor another spelling, nor a way round."""
    assert client.get(path).status_code == status


def test_public_asks_nothing(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """On PUBLIC a wrong password is not even read; the basket takes the right one."""
    assert client.get("/health", auth=("alice", "x")).status_code == 200
    assert client.get("/basket", auth=ALICE).json() == {"basket of": "alice"}
    assert reasons(caplog) == []


def test_what_is_not_for_sale_is_404(client: TestClient) -> None:
    """The app's own answers pass."""
    assert client.get("/products/gold").status_code == 404
