"""The example with tokens that are bound to a key of the client."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from authguard.testing import DpopKey
from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start

URL = "https://api.example/shop"
ORIGIN = "https://app.example"


@pytest.fixture(name="client")
def _client(start: Start) -> TestClient:
    app = start("dpop", ISSUER_PUBLIC_KEY=PUBLIC_KEY, PUBLIC_URL=URL, DPOP_SECRET="s" * 32).app
    return TestClient(app)


class Script:
    """A script in a browser, with a key of its own, a token of alice, and the nonce that the app has sent last."""

    def __init__(self, client: TestClient) -> None:
        self._client, self.key, self.nonce = client, DpopKey(), ""
        self.token = bearer(cnf=self.key.cnf, iss="https://login.example/")["Authorization"].removeprefix("Bearer ")

    def send(self, method: str, path: str) -> int:
        """The status of one request."""
        headers = self.key.headers(self.token, method, URL + path, nonce=self.nonce or None)
        response = self._client.request(method, path, headers={**headers, "Origin": ORIGIN})
        self.nonce = response.headers["dpop-nonce"]
        assert response.headers["access-control-expose-headers"] == "WWW-Authenticate, DPoP-Nonce"
        return response.status_code


def test_a_client_gets_a_nonce_and_goes_on_with_it(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The first request is refused, and its answer has the nonce. Each later answer has the next one."""
    script = Script(client)

    statuses = [script.send("GET", "/orders") for _ in range(2)]
    statuses += [script.send("POST", "/transfers") for _ in range(2)]

    assert (statuses, reasons(caplog)) == ([401, 200, 200, 200], ["proof.nonce_missing"])


def test_the_token_alone_is_of_no_use(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither as a bearer token, nor with the key of the thief."""
    alice, thief = Script(client), Script(client)
    thief.token = alice.token
    thief.send("GET", "/orders")

    as_bearer = client.get("/orders", headers={"Authorization": f"Bearer {alice.token}"})

    assert (as_bearer.status_code, thief.send("GET", "/orders")) == (401, 401)
    assert reasons(caplog)[1:] == ["token.bound", "token.key_mismatch"]


def test_a_bearer_token_reads_orders_and_moves_no_money(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The rule of the transfers asks for a bound token, and its challenge offers DPoP alone."""
    headers = bearer(iss="https://login.example/")

    read, moved = client.get("/orders", headers=headers), client.post("/transfers", headers=headers)

    assert read.json()["by"] == "bearer"
    assert (moved.status_code, reasons(caplog)) == (401, ["scheme.unsupported"])
    assert [line.split()[0] for line in moved.headers.get_list("www-authenticate")] == ["DPoP"]


def test_a_browser_may_send_the_proof(client: TestClient) -> None:
    """The preflight of another origin allows the field DPoP."""
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "dpop"}

    assert client.options("/transfers", headers=asked).status_code == 200
