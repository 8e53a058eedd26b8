"""The example with tokens that are bound to a certificate of the client."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from authguard.testing import ClientCertificate
from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start

SOCKET = "/run/app.sock"
ALICE, THIEF = ClientCertificate("alice"), ClientCertificate("thief")


@pytest.fixture(name="app")
def _app(start: Start) -> Any:
    return start("mutual_tls", ISSUER_PUBLIC_KEY=PUBLIC_KEY, APP_SOCKET=SOCKET).app


def sent(certificate: ClientCertificate | None, **claims: Any) -> dict[str, str]:
    """What nginx passes on for a client with this certificate."""
    passed_on = {} if certificate is None else {"X-Client-Cert": certificate.escaped_pem}
    return {**bearer(iss="https://login.example/", **claims), **passed_on}


def test_the_token_alone_is_of_no_use(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is it with the certificate of the thief, nor a token that is not bound."""

    async def behind_nginx(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": None, "server": (SOCKET, None)}, receive, send)

    client = TestClient(behind_nginx)
    requests = [sent(ALICE, cnf=ALICE.cnf), sent(THIEF, cnf=ALICE.cnf), sent(None, cnf=ALICE.cnf), sent(ALICE)]

    assert [client.get("/orders", headers=fields).status_code for fields in requests] == [200, 401, 401, 401]
    assert reasons(caplog) == ["certificate.mismatch", "certificate.missing", "token.unbound"]


def test_nobody_is_believed_past_the_proxy(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With the right certificate, over a port."""
    assert TestClient(app).get("/orders", headers=sent(ALICE, cnf=ALICE.cnf)).status_code == 401
    assert reasons(caplog) == ["certificate.sender_refused"]
