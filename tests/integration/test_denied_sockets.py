"""Denials under real servers, and in a browser: a status before the handshake, and 1008 after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.integration.handshakes import SERVER_KINDS, handshake
from tests.support.servers.app_server import Answer, AppServer, app_token, bearer_field, request_bytes, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page

pytestmark = pytest.mark.peer

HYPERCORN = ("--keep-alive", "1")
STARTS = {
    **{ws: partial(AppServer, "denials:app", "--ws", ws, "--http", http) for ws, http in SERVER_KINDS},
    "hypercorn": partial(AppServer, "denials:app", *HYPERCORN, program="hypercorn"),
    "hypercorn on trio": partial(AppServer, "denials:app", *HYPERCORN, "--worker-class", "trio", program="hypercorn"),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A server of each kind."""
    with running_servers(*STARTS.values()) as started:
        yield dict(zip(STARTS, started, strict=True))


@pytest.fixture(params=STARTS)
def server(request: pytest.FixtureRequest, servers: dict[str, AppServer]) -> AppServer:
    """Each server in turn."""
    return servers[request.param]


def reached(server: AppServer) -> dict[str, int]:
    """How often the endpoints behind a rule or a lock were reached."""
    counted: dict[str, int] = json.loads(server.send(request_bytes("/reached")).raw.rpartition(b"\r\n\r\n")[2])
    return counted


def records_since(server: AppServer, before: int, reason: str) -> list[str]:
    """The denials since then, once there is one with this reason, because a record may arrive after the response."""
    server.wait_for(f"denied {reason}:", before)
    server.settle()
    lines = [line.partition("denied ")[2] for line in server.lines[before:] if "/settled-" not in line]
    return [line.partition(":")[0] for line in lines if line]


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/rule", 401, "credentials.missing"),
        ("/lock", 401, "credentials.missing"),
        ("/denied", 401, "session.over"),
    ],
)
def test_a_handshake_is_refused_with_a_status(server: AppServer, target: str, status: int, reason: str) -> None:
    """Denials by a rule, a lock and an endpoint have a challenge, a body and one record, and nothing of the app's."""
    before, calls = server.settle(), reached(server)

    answer = handshake(server, target)

    assert answer.statuses == [status]
    assert answer.lines("www-authenticate") == ['Bearer realm="orders"']
    assert answer.contains('"code": "unauthenticated"')
    assert not answer.contains("LEAK")
    assert records_since(server, before, reason) == [reason]
    assert reached(server) == calls


def test_a_handshake_without_the_role_gets_a_403(server: AppServer) -> None:
    """The lock verifies the caller behind the public rule, and the record says what is missing."""
    before = server.settle()

    answer = handshake(server, "/lock", bearer_field(app_token("bob", "user")))

    assert answer.statuses == [403]
    assert answer.lines("www-authenticate") == ['Bearer realm="orders", error="insufficient_scope"']
    assert records_since(server, before, "role.missing") == ["role.missing"]


@pytest.mark.parametrize("target", ["/ended", "/vain"])
def test_an_accepted_websocket_is_closed_with_1008(server: AppServer, target: str) -> None:
    """Messages before the denial arrive, and messages of the app after it do not."""
    before, texts = server.settle(), list[str | bytes]()

    with connect(f"ws://127.0.0.1:{server.port}{target}", proxy=None) as client:
        texts.append(client.recv())
        client.send("more")
        with pytest.raises(ConnectionClosedError) as closed:
            texts.append(client.recv())

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, texts) == (1008, ["hello"])
    assert records_since(server, before, "session.over") == ["session.over"]


def test_a_denial_keeps_the_connection_open(server: AppServer) -> None:
    """After a denial the next request on the same connection is answered as usual."""
    first = request_bytes("/page").replace(b"Connection: close\r\n", b"")
    answer: Answer = server.send(first + request_bytes("/empty"))

    assert answer.statuses == [401, 200]
    assert not answer.contains("LEAK")


def test_a_response_that_has_begun_is_broken_off() -> None:
    """The server gets the exception, so that no client takes a part for the whole response."""
    server = STARTS["websockets"]()  # apart from the others, which must not log a traceback
    try:
        answer = server.send(request_bytes("/begun"))
        line = server.wait_for("Traceback")
    finally:
        server.stop()

    assert line
    assert answer.statuses == [200]
    assert answer.contains("piece")
    assert not answer.raw.endswith(b"0\r\n\r\n")
    assert len([line for line in server.lines if "denied session.over" in line]) == 1


# --- In a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests of this file."""
    with Browser() as started:
        yield started


SCRIPT = """new Promise(done => {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '%s'), texts = []
    socket.onmessage = event => { texts.push(event.data); socket.send('more') }
    socket.onclose = event => done([event.code, event.wasClean, texts])
})"""


@pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")
@pytest.mark.parametrize(
    ("target", "closed"),
    [
        ("/rule", [1006, False, []]),
        ("/lock", [1006, False, []]),
        ("/denied", [1006, False, []]),
        ("/ended", [1008, True, ["hello"]]),
        ("/vain", [1008, True, ["hello"]]),
    ],
)
def test_a_page_sees_the_close(server: AppServer, browser: Browser, target: str, closed: list[object]) -> None:
    """A page sees 1006 for a denied handshake of any status, and 1008 after a handshake, and no message after that."""
    page: Page = browser.page()
    page.open(f"{server.url}/empty")

    assert page.evaluate(SCRIPT % target) == closed
