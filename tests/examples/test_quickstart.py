"""The quickstart does what its README says."""

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
    """A client of the quickstart, whose issuer has the key of ``mint``."""
    quickstart = start("quickstart", ISSUER_PUBLIC_KEY=public_pem(rsa_key()).decode())
    return TestClient(quickstart.app)


def token(**changes: Any) -> Mapping[str, str]:
    """A field with a token that is good by the real clock, which is the quickstart's."""
    now = time.time()
    return {"Authorization": f"Bearer {mint(**{'iat': now - 60, 'exp': now + 600, **changes})}"}


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reasons of the records, in order."""
    return [vars(record)["authguard.reason"] for record in caplog.records if record.name == "authguard"]


def test_health_is_open(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A rule says PUBLIC, and nothing is asked, verified or recorded."""
    response = client.get("/health", headers={"Authorization": "Bearer nonsense"})

    assert (response.status_code, response.json()) == (200, {"status": "up"})
    assert reasons(caplog) == []


@pytest.mark.parametrize("path", ["/orders", "/admin/users", "/docs", "/openapi.json", "/nothing/here"])
def test_all_else_is_closed(client: TestClient, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """What no rule opens is closed to who presents nothing: FastAPI's own pages too, and paths that do not exist."""
    response = client.get(path)

    assert response.status_code == 401
    assert response.headers.get_list("www-authenticate") == [BARE]
    assert reasons(caplog) == ["credentials.missing"]


def test_a_good_token_tells_who_is_asking(client: TestClient) -> None:
    """The app finds the principal in `request.user`."""
    response = client.get("/orders", headers=token(sub="bob", roles=[]))

    assert (response.status_code, response.json()) == (200, {"orders of": "bob"})


def test_the_role_opens_the_corner(client: TestClient) -> None:
    """Who has the role gets in."""
    response = client.get("/admin/users", headers=token())

    assert (response.status_code, response.json()) == (200, {"users": ["alice", "bob"], "asked by": ["alice"]})


def test_without_the_role_it_is_403(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Authenticated and not allowed is 403, and the record names the role."""
    response = client.get("/admin/users", headers=token(sub="bob", roles=["cashier"]))

    assert response.status_code == 403
    assert response.headers.get_list("www-authenticate") == [f'{BARE}, error="insufficient_scope"']
    assert reasons(caplog) == ["role.missing"]
    assert vars(caplog.records[-1])["authguard.missing"] == ("admin",)


@pytest.mark.parametrize(("leeway", "status"), [("0", 401), ("60", 200), (None, 200)])
def test_the_leeway_is_a_setting(start: Start, leeway: str | None, status: int) -> None:
    """LEEWAY is what the guard grants to other clocks; without it that is a minute."""
    settings = {"ISSUER_PUBLIC_KEY": public_pem(rsa_key()).decode()}
    client = TestClient(start("quickstart", **settings, **({} if leeway is None else {"LEEWAY": leeway})).app)

    response = client.get("/orders", headers=token(exp=time.time() - 4))

    assert response.status_code == status


@pytest.mark.parametrize(("settings", "levels"), [({}, []), ({"LOG_LEVEL": "DEBUG"}, ["DEBUG"])])
def test_grants_are_told_where_one_asks_for_them(
    start: Start, caplog: pytest.LogCaptureFixture, settings: dict[str, str], levels: list[str]
) -> None:
    """LOG_LEVEL is that of the records, INFO without it; what is granted is told at DEBUG."""
    client = TestClient(start("quickstart", ISSUER_PUBLIC_KEY=public_pem(rsa_key()).decode(), **settings).app)

    client.get("/orders", headers=token())

    assert [record.levelname for record in caplog.records if record.name == "authguard"] == levels


def test_without_a_key_it_does_not_start(start: Start) -> None:
    """There is no key to fall back on."""
    with pytest.raises(KeyError, match="ISSUER_PUBLIC_KEY"):
        start("quickstart")
