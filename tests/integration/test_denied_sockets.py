"""Denials behind the guard under real servers, and in a browser: a status before the handshake is made, 1008 after."""

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


def told(server: AppServer, before: int, reason: str) -> list[str]:
    """The denials since then, once there is one for this reason: a record may come after the answer."""
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
    """By a rule, by a lock and by the endpoint alike: the challenge, the body, one record, and nothing of the app's."""
    before, calls = server.settle(), reached(server)

    answer = handshake(server, target)

    assert answer.statuses == [status]
    assert answer.lines("www-authenticate") == ['Bearer realm="orders"']
    assert answer.contains('"code": "unauthenticated"')
    assert not answer.contains("LEAK")
    assert told(server, before, reason) == [reason]
    assert reached(server) == calls


def test_a_handshake_without_the_role_gets_a_403(server: AppServer) -> None:
    """The lock verifies behind the open rule, and says what is missing."""
    before = server.settle()

    answer = handshake(server, "/lock", bearer_field(app_token("bob", "user")))

    assert answer.statuses == [403]
    assert answer.lines("www-authenticate") == ['Bearer realm="orders", error="insufficient_scope"']
    assert told(server, before, "role.missing") == ["role.missing"]


@pytest.mark.parametrize("target", ["/ended", "/vain"])
def test_an_accepted_websocket_is_closed_with_1008(server: AppServer, target: str) -> None:
    """What was said before stands; what the app says after it never leaves."""
    before, texts = server.settle(), list[str | bytes]()

    with connect(f"ws://127.0.0.1:{server.port}{target}", proxy=None) as client:
        texts.append(client.recv())
        client.send("more")
        with pytest.raises(ConnectionClosedError) as closed:
            texts.append(client.recv())

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, texts) == (1008, ["hello"])
    assert told(server, before, "session.over") == ["session.over"]


def test_a_page_behind_a_lock_is_refused_on_a_connection_that_stays(server: AppServer) -> None:
    """The denial is that request's alone: the next one on the same connection is answered as ever."""
    first = request_bytes("/page").replace(b"Connection: close\r\n", b"")
    answer: Answer = server.send(first + request_bytes("/empty"))

    assert answer.statuses == [401, 200]
    assert not answer.contains("LEAK")


def test_what_had_begun_is_broken_off() -> None:
    """The server sees the exception: no client takes a part for the whole."""
    server = STARTS["websockets"]()  # not among the others, of which none may tell a traceback
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
    """A browser for all that follows."""
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
    """1006 where no handshake was made, whatever its status; 1008 where there was one. No message comes late."""
    page: Page = browser.page()
    page.open(f"{server.url}/empty")

    assert page.evaluate(SCRIPT % target) == closed
