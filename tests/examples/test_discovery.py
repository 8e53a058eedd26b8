"""The discovery example, with a certified OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError
from tests.examples.callers import reasons
from tests.examples.conftest import Start
from tests.support.servers.oidc_provider import ALGORITHMS, OIDC_PROVIDER, Provider, running_provider

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not OIDC_PROVIDER, reason="oidc-provider is not here")]


@pytest.fixture(name="provider", scope="module")
def _provider() -> Iterator[Provider]:
    with running_provider(0) as provider:
        yield provider


@pytest.fixture(name="client")
def _client(start: Start, provider: Provider) -> Iterator[TestClient]:
    app = start("discovery", ISSUER=provider.url).app
    with TestClient(app) as client:
        yield client


def bearer(token: str) -> Mapping[str, str]:
    """A header with this token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_the_provider_are_accepted(client: TestClient, provider: Provider, algorithm: str) -> None:
    """The example accepts tokens signed by each of the provider's keys."""
    response = client.get("/orders", headers=bearer(provider.token(algorithm)))

    assert (response.status_code, response.json()) == (200, {"orders of": f"batch-{algorithm}"})


def test_the_roles_of_the_realm_are_used(
    client: TestClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The user alice has both roles through ``realm_access``; a machine token has no role."""
    alice, machine = bearer(provider.user().token()), bearer(provider.token())

    refunded = client.post("/orders/5/refund", headers=alice)
    statuses = [client.post("/orders/5/refund", headers=machine).status_code]
    statuses += [client.get("/admin/keys", headers=headers).status_code for headers in (alice, machine)]

    assert refunded.json() == {"refunded": 5, "by": "alice"}
    assert statuses == [403, 200, 403]
    assert reasons(caplog) == ["role.missing"] * 2


def test_health_describes_the_keys(client: TestClient, provider: Provider) -> None:
    """All four keys were fetched with one request."""
    (health,) = client.get("/admin/keys", headers=bearer(provider.user().token())).json()

    assert (health["source"], health["keys"], health["fetches"], health["last_error"]) == (provider.url, 4, 1, None)


def test_the_app_starts_and_is_up_while_the_provider_is_down(start: Start, provider: Provider) -> None:
    """Until the provider is back, only requests that need a key get a 503."""
    token = provider.token()
    with provider.down():
        app = start("discovery", ISSUER=provider.url).app
        with TestClient(app) as client:
            statuses = [client.get(path, headers=bearer(token)).status_code for path in ("/health", "/orders")]

    assert statuses == [200, 503]


def test_a_provider_without_https_is_refused(start: Start) -> None:
    """Over http, an attacker on the network could replace the keys, so building the app fails."""
    with pytest.raises(ConfigurationError, match="use https"):
        start("discovery", ISSUER="http://login.example/realms/shop")
