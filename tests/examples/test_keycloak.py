"""The example for Keycloak, with a server on loopback that publishes keys where Keycloak does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from authguard import ConfigurationError
from tests.examples.callers import reasons
from tests.examples.conftest import Start
from tests.support.servers.key_server import KeyServer, respond_with, running_key_server
from tests.support.tokens import key_set, raw_token, rsa_key

CERTS = "/realms/shop/protocol/openid-connect/certs"


@pytest.fixture(name="server")
def _server() -> Iterator[KeyServer]:
    with running_key_server() as server:
        server.behaviour = respond_with(b"not found", 404)
        server.pages[CERTS] = respond_with(key_set(k1=rsa_key()))
        yield server


@pytest.fixture(name="client")
def _client(start: Start, server: KeyServer) -> Iterator[TestClient]:
    app = start("keycloak", KEYCLOAK_URL=f"http://127.0.0.1:{server.port}").app
    with TestClient(app) as client:
        yield client


def bearer(server: KeyServer, **changes: Any) -> Mapping[str, str]:
    """A header with an access token of a user, with these changes."""
    now = int(time.time())
    claims = {
        "iss": f"http://127.0.0.1:{server.port}/realms/shop",
        "aud": ["orders", "account"],
        "sub": "alice-id",
        "typ": "Bearer",
        "azp": "web",
        "preferred_username": "alice",
        "realm_access": {"roles": ["default-roles-shop"]},
        "resource_access": {"orders": {"roles": ["refund"]}, "stock": {"roles": ["manager"]}},
        "iat": now - 60,
        "exp": now + 300,
        **changes,
    }
    return {"Authorization": f"Bearer {raw_token({'alg': 'RS256', 'typ': 'JWT', 'kid': 'k1'}, claims, rsa_key())}"}


def test_users_and_machines_are_told_apart(client: TestClient, server: KeyServer) -> None:
    """A machine has the user name of a service account."""
    machine = bearer(server, azp="batch", sub="batch-id", preferred_username="service-account-batch")

    assert client.get("/orders", headers=bearer(server)).json() == {"orders of": "alice-id", "machine": False}
    assert client.get("/orders", headers=machine).json() == {"orders of": "batch-id", "machine": True}
    assert [path for path, _ in server.requests] == [CERTS]


def test_roles_of_realm_and_client_are_used(client: TestClient, server: KeyServer) -> None:
    """The role refund of this client counts, and the role manager of another client does not."""
    manager = bearer(server, realm_access={"roles": ["manager"]})

    assert client.post("/orders/5/refund", headers=bearer(server)).json() == {"refunded": 5, "by": "alice-id"}
    assert client.get("/admin/keys", headers=bearer(server)).status_code == 403
    assert client.get("/admin/keys", headers=manager).json()[0]["keys"] == 1
    assert client.get("/health").json() == {"status": "up"}


def test_what_is_for_others_is_refused(client: TestClient, server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """An ID token, a refresh token, a token for the account console, and one of an unlisted client are all 401."""
    others = [{"typ": "ID", "aud": "web"}, {"typ": "Refresh"}, {"aud": "account"}, {"azp": "game"}]
    statuses = [client.get("/orders", headers=bearer(server, **changes)).status_code for changes in others]

    assert statuses == [401] * 4
    assert reasons(caplog) == [
        "token.type_refused",
        "token.type_refused",
        "token.audience_mismatch",
        "token.claim_invalid",
    ]
    assert "claim=azp found=game wanted=[batch, web]" in caplog.messages[-1]


def test_the_url_of_a_realm_is_refused(start: Start) -> None:
    """The error has the two arguments to write."""
    with pytest.raises(ConfigurationError, match=r'write Issuer.keycloak\("https://login.example", "shop", ...\)'):
        start("keycloak", KEYCLOAK_URL="https://login.example/realms/shop")
