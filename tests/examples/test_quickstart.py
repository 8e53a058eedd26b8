"""The quickstart does what the README says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.examples.conftest import Start
from tests.support.tokens import mint, public_pem, rsa_key

BARE = 'Bearer realm="orders"'


@pytest.fixture
def client(start: Start) -> TestClient:
    """A test client of the quickstart, whose issuer has the key of ``mint``."""
    quickstart = start("quickstart", ISSUER_PUBLIC_KEY=public_pem(rsa_key()).decode())
    return TestClient(quickstart.app)


def token(**changes: Any) -> Mapping[str, str]:
    """A header with a token that is valid by the real clock."""
    now = time.time()
    return {"Authorization": f"Bearer {mint(**{'iat': now - 60, 'exp': now + 600, **changes})}"}


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reasons of the decision records, in order."""
    return [vars(record)["authguard.reason"] for record in caplog.records if record.name == "authguard"]


def test_health_is_public(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its rule is PUBLIC: nothing is verified, and nothing is recorded."""
    response = client.get("/health", headers={"Authorization": "Bearer nonsense"})

    assert (response.status_code, response.json()) == (200, {"status": "up"})
    assert reasons(caplog) == []


@pytest.mark.parametrize("path", ["/orders", "/admin/users", "/docs", "/openapi.json", "/nothing/here"])
def test_everything_else_is_closed(client: TestClient, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """Without credentials every other path is a 401, including FastAPI's own pages and paths that do not exist."""
    response = client.get(path)

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == [BARE]
    assert reasons(caplog) == ["credentials.missing"]


def test_the_app_gets_the_principal_of_a_valid_token(client: TestClient) -> None:
    """``CurrentPrincipal`` is the user of the token."""
    response = client.get("/orders", headers=token(sub="bob", roles=[]))

    assert (response.status_code, response.json()) == (200, {"orders of": "bob"})


def test_the_role_opens_the_admin_pages(client: TestClient) -> None:
    """A user with the role admin is let in."""
    response = client.get("/admin/users", headers=token())

    assert (response.status_code, response.json()) == (200, {"users": ["alice", "bob"], "asked by": ["alice"]})


def test_without_the_role_it_is_403(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The user is authenticated but not allowed, and the record names the missing role."""
    response = client.get("/admin/users", headers=token(sub="bob", roles=["cashier"]))

    assert response.status_code == 403
    assert response.headers.get_list("www-authenticate") == [f'{BARE}, error="insufficient_scope"']
    assert reasons(caplog) == ["role.missing"]
    assert vars(caplog.records[-1])["authguard.missing"] == ("admin",)


@pytest.mark.parametrize(("leeway", "status"), [("0", 401), ("60", 200), (None, 200)])
def test_the_leeway_is_a_setting(start: Start, leeway: str | None, status: int) -> None:
    """LEEWAY is the tolerance for other clocks, in seconds; the default is a minute."""
    settings = {"ISSUER_PUBLIC_KEY": public_pem(rsa_key()).decode()}
    client = TestClient(start("quickstart", **settings, **({} if leeway is None else {"LEEWAY": leeway})).app)

    response = client.get("/orders", headers=token(exp=time.time() - 4))

    assert response.status_code == status


@pytest.mark.parametrize(("settings", "levels"), [({}, []), ({"LOG_LEVEL": "DEBUG"}, ["DEBUG"])])
def test_grants_are_logged_at_debug(
    start: Start, caplog: pytest.LogCaptureFixture, settings: dict[str, str], levels: list[str]
) -> None:
    """The default LOG_LEVEL is INFO, which hides them."""
    client = TestClient(start("quickstart", ISSUER_PUBLIC_KEY=public_pem(rsa_key()).decode(), **settings).app)

    client.get("/orders", headers=token())

    assert [record.levelname for record in caplog.records if record.name == "authguard"] == levels


def test_without_a_key_it_does_not_start(start: Start) -> None:
    """There is no default key."""
    with pytest.raises(KeyError, match="ISSUER_PUBLIC_KEY"):
        start("quickstart")
