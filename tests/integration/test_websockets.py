"""WebSocket handshakes with each of uvicorn's three implementations: a denial is a real HTTP response."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest
from websockets.sync.client import connect

from tests.integration.handshakes import SERVER_KINDS, handshake
from tests.support.servers.app_server import AppServer, app_token, bearer_field, request_bytes, running_servers

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A server of each kind."""
    with running_servers(
        *(partial(AppServer, "sockets:app", "--ws", ws, "--http", http) for ws, http in SERVER_KINDS)
    ) as started:
        yield {ws: server for (ws, _), server in zip(SERVER_KINDS, started, strict=True)}


@pytest.fixture(params=[ws for ws, _ in SERVER_KINDS])
def server(request: pytest.FixtureRequest, servers: dict[str, AppServer]) -> AppServer:
    """Each server in turn."""
    return servers[request.param]


def calls(server: AppServer) -> dict[str, int]:
    """How often each endpoint was reached."""
    body = server.send(request_bytes("/calls")).raw.partition(b"\r\n\r\n")[2]
    counted: dict[str, int] = json.loads(body)
    return counted


@pytest.mark.parametrize("target", ["/mine", "/feed", "/admin/feed", "/nowhere"])
def test_a_handshake_without_credentials_gets_a_401_with_its_challenge(server: AppServer, target: str) -> None:
    """RFC 6455 section 4.2.2 allows a 401 with WWW-Authenticate for a handshake. The app is not called."""
    before = calls(server)

    answer = handshake(server, target)

    assert answer.status == 401
    assert answer.lines("www-authenticate") == ['Bearer realm="orders"']
    assert answer.lines("content-type") == ["application/problem+json"]
    assert answer.lines("cache-control") == ["no-store"]
    assert answer.contains('"code": "unauthenticated"')
    assert calls(server) == before


def test_a_handshake_with_a_bad_token_gets_invalid_token(server: AppServer) -> None:
    """The challenge has ``invalid_token``, as for a plain request."""
    before = calls(server)

    answer = handshake(server, "/mine", bearer_field(app_token(exp=0)))

    assert answer.status == 401
    assert answer.lines("www-authenticate") == [
        'Bearer realm="orders", error="invalid_token", error_description="The access token expired"'
    ]
    assert calls(server) == before


def test_a_handshake_without_the_role_gets_a_403(server: AppServer) -> None:
    """A caller without the role gets a 403, and the app is not called."""
    before = calls(server)

    answer = handshake(server, "/admin/feed", bearer_field(app_token("bob", "user")))

    assert answer.status == 403
    assert answer.lines("www-authenticate") == ['Bearer realm="orders", error="insufficient_scope"']
    assert calls(server) == before


@pytest.mark.parametrize(
    "target",
    [
        "//mine",
        "/open/../mine",
        "/open%0a",
        "/mine%00",
        "/./mine",
        "/open\\..\\mine",
        "http://app.example/mine",
        "*",
        "mine",
    ],
)
def test_a_handshake_with_an_ambiguous_path_is_refused(server: AppServer, target: str) -> None:
    """An ambiguous path is a 400 for a handshake too, for every caller, and the app is not called."""
    before = calls(server)

    answer = handshake(server, target, bearer_field(app_token("alice", "admin")))

    assert answer.status == 400
    assert calls(server) == before


@pytest.mark.parametrize("target", ["/mine?x=/open", "/mine#/open", "/open#/mine", "/mine;x", "/%6dine", "/open/mine"])
def test_no_disguise_makes_a_handshake_public(server: AppServer, target: str) -> None:
    """Two parsers read the target of a handshake, and neither takes a protected endpoint for a public one."""
    before = calls(server)

    answer = handshake(server, target)

    assert answer.status == 401
    assert calls(server) == before


@pytest.mark.parametrize("method", ["POST", "get", "WEBSOCKET"])
def test_a_handshake_by_another_method_reaches_nothing(server: AppServer, method: str) -> None:
    """RFC 6455 section 4.1: a handshake is a GET. Servers answer other methods differently, and none accepts one."""
    before = calls(server)

    answer = handshake(server, "/mine", method=method)

    assert answer.status in {400, 401, 405}
    assert calls(server) == before


@pytest.mark.parametrize(("path", "roles"), [("/mine", []), ("/feed", []), ("/admin/feed", ["admin"])])
def test_a_handshake_with_a_good_token_is_accepted(server: AppServer, path: str, roles: list[str]) -> None:
    """A client that sends its token reaches the endpoint, which knows the caller."""
    before = calls(server)
    fields = {"Authorization": f"Bearer {app_token('alice', *roles)}"}

    with connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=fields, proxy=None) as client:
        greeting = client.recv()

    assert greeting == "hello alice"
    assert calls(server) == {**before, path: before.get(path, 0) + 1}


def test_a_public_handshake_needs_no_credentials(server: AppServer) -> None:
    """A public rule admits handshakes without credentials, as an anonymous user."""
    with connect(f"ws://127.0.0.1:{server.port}/open", proxy=None) as client:
        greeting = client.recv()

    assert greeting == "hello nobody"


def test_a_denied_handshake_is_recorded_once(server: AppServer) -> None:
    """A denied handshake has one record, with the method on the wire."""
    before = server.settle()

    handshake(server, "/mine?x=1", bearer_field("no.token.here"))

    (line,) = (line for line in server.lines_since(before) if "denied" in line)
    assert line.startswith("denied token.malformed: GET /mine 401 bearer problem=")
