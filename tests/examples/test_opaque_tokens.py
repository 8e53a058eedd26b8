"""The example with opaque tokens and JWTs, with a real introspection server."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start

pytestmark = pytest.mark.peer

GOOD = "2YotnFZFEjr1zCsicMWpAA"


class Login(HTTPServer):
    """An introspection endpoint (RFC 7662) that knows the token ``GOOD`` until it is revoked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.asked: list[tuple[str, str]] = []
        self.active: dict[str, dict[str, Any]] = {GOOD: {"sub": "alice", "scope": "read", "client_id": "web"}}
        self.status = 200


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        login = self.server
        assert isinstance(login, Login)
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        client = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        (token,) = form["token"]
        login.asked.append((client, token))
        known = login.active.get(token)
        about = {"iss": "https://login.example/", "aud": "orders", "exp": time.time() + 600, "token_type": "Bearer"}
        body = json.dumps({"active": False} if known is None else {"active": True, **about, **known}).encode()
        self.send_response(login.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the library
        """Log nothing, to keep the output of the tests clean."""


@pytest.fixture
def login() -> Iterator[Login]:
    """A running introspection server."""
    with Login() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(30)


@pytest.fixture
def example(start: Start, login: Login) -> ModuleType:
    """The example, configured for this server."""
    url = f"http://127.0.0.1:{login.server_port}/introspect"
    return start("opaque_tokens", INTROSPECTION_URL=url, CLIENT_SECRET="s:3cret", ISSUER_PUBLIC_KEY=PUBLIC_KEY)


@pytest.fixture
def client(example: ModuleType) -> TestClient:
    """A test client of the example."""
    return TestClient(example.app)


def opaque(token: str = GOOD) -> dict[str, str]:
    """A header with an opaque token."""
    return {"Authorization": f"Bearer {token}"}


def test_both_kinds_of_tokens_are_accepted(client: TestClient, login: Login) -> None:
    """Only the opaque token is sent to the server, once, and with the credentials of the client."""
    jwt = bearer(iss="https://login.example/", scope="read", sub="bob")

    assert client.get("/orders", headers=opaque()).json() == {"orders of": "alice", "by": "web"}
    assert client.get("/orders", headers=opaque()).status_code == 200
    assert client.get("/orders", headers=jwt).json() == {"orders of": "bob", "by": None}
    assert login.asked == [("orders:s%3A3cret", GOOD)]


def test_a_token_unknown_to_the_server_is_refused(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The error is ``invalid_token``, so the client discards the token."""
    response = client.get("/orders", headers=opaque("unknown"))

    assert (response.status_code, reasons(caplog)) == (401, ["token.inactive"])
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_an_outage_of_the_server_invalidates_no_token(
    client: TestClient, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is a 503 with ``Retry-After``. A token that was checked a moment ago is still accepted."""
    client.get("/orders", headers=opaque())
    login.status = 500

    response = client.get("/orders", headers=opaque("another"))

    assert (response.status_code, "retry-after" in response.headers) == (503, True)
    assert "www-authenticate" not in response.headers
    assert client.get("/orders", headers=opaque()).status_code == 200
    assert reasons(caplog) == ["introspection.unavailable"]


def test_roles_come_from_the_server_too(client: TestClient, login: Login) -> None:
    """Only an admin may see the health of the server."""
    login.active["root"] = {"sub": "root", "roles": ["admin"]}

    assert client.get("/admin/server", headers=opaque()).status_code == 403
    health = client.get("/admin/server", headers=opaque("root")).json()

    assert (health["asked"], health["open"], health["last_error"]) == (2, False, None)


def test_the_example_works_under_a_lifespan_too(example: ModuleType, login: Login) -> None:
    """Connections are then kept open, and closed with the app."""
    with TestClient(example.app) as client:
        assert [client.get("/orders", headers=opaque(token)).status_code for token in (GOOD, "x", "y")] == [
            200,
            401,
            401,
        ]

    assert len(login.asked) == 3
