"""The app of the example finds the keys of a certified OpenID provider by its name, and the roles where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError
from tests.examples.callers import reasons
from tests.examples.conftest import Start
from tests.support.servers.oidc_provider import ALGORITHMS, OIDC_PROVIDER, Provider, providing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not OIDC_PROVIDER, reason="oidc-provider is not here")]


@pytest.fixture(name="provider", scope="module")
def _provider() -> Iterator[Provider]:
    with providing(0) as provider:
        yield provider


@pytest.fixture(name="client")
def _client(start: Start, provider: Provider) -> Iterator[TestClient]:
    app = start("discovery", ISSUER=provider.url).app
    with TestClient(app) as client:
        yield client


def bearer(token: str) -> Mapping[str, str]:
    """The field that carries it."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_whom_the_provider_knows_is_in(client: TestClient, provider: Provider, algorithm: str) -> None:
    """Whichever of its keys signed."""
    response = client.get("/orders", headers=bearer(provider.token(algorithm)))

    assert (response.status_code, response.json()) == (200, {"orders of": f"batch-{algorithm}"})


def test_the_roles_of_the_realm_open_what_asks_for_them(
    client: TestClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Alice has both roles by ``realm_access``; a machine has neither."""
    alice, machine = bearer(provider.person().token()), bearer(provider.token())

    refunded = client.post("/orders/5/refund", headers=alice)
    statuses = [client.post("/orders/5/refund", headers=machine).status_code]
    statuses += [client.get("/admin/keys", headers=who).status_code for who in (alice, machine)]

    assert refunded.json() == {"refunded": 5, "by": "alice"}
    assert statuses == [403, 200, 403]
    assert reasons(caplog) == ["role.missing"] * 2


def test_its_health_tells_of_the_keys(client: TestClient, provider: Provider) -> None:
    """Of all four, fetched once."""
    (told,) = client.get("/admin/keys", headers=bearer(provider.person().token())).json()

    assert (told["source"], told["keys"], told["fetches"], told["last_error"]) == (provider.url, 4, 1, None)


def test_the_app_starts_and_is_up_while_the_provider_is_down(start: Start, provider: Provider) -> None:
    """What needs a key is 503 until then, and nothing else is."""
    token = provider.token()
    with provider.down():
        app = start("discovery", ISSUER=provider.url).app
        with TestClient(app) as client:
            statuses = [client.get(path, headers=bearer(token)).status_code for path in ("/health", "/orders")]

    assert statuses == [200, 503]


def test_keys_come_over_https_from_anywhere_else(start: Start) -> None:
    """Over http anybody on the way could put in keys of his own, and the app is not built."""
    with pytest.raises(ConfigurationError, match="use https"):
        start("discovery", ISSUER="http://login.example/realms/shop")
