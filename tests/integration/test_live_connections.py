"""On a real server, a response that ends with its credentials does not look complete, and a WebSocket is closed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from authguard import AuthGuardMiddleware, Guard, MemoryRevocations, Principal, Revocation
from authguard.model import Accepted
from tests.support.asgi import response_start
from tests.support.schemes.badge import Badge

pytestmark = pytest.mark.peer

#: How long a server may take, in seconds.
TIMEOUT = 120


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Begin a response or accept a WebSocket, and wait."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "one"})
    else:
        await send(response_start())
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await anyio.sleep_forever()


@pytest.fixture(name="served", params=["h11", "httptools"])
def _served(request: pytest.FixtureRequest) -> Iterator[tuple[int, MemoryRevocations]]:
    """The port of uvicorn with this parser, and the revocations of its guard."""
    store = MemoryRevocations()
    table = {"alice": Accepted(Principal("alice", claims={"jti": "t-1"}))}
    guard = Guard(Badge(table=table), revocations=store, end_with_credentials=True)
    config = uvicorn.Config(
        AuthGuardMiddleware(app, guard=guard), port=0, http=request.param, lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + TIMEOUT
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], store
    server.should_exit = True
    thread.join(TIMEOUT)


def _revoke(store: MemoryRevocations) -> None:
    store.revoke_now(Revocation.token("t-1", expires_at=time.time() + 60))


def test_a_response_that_is_cut_off_does_not_look_complete(served: tuple[int, MemoryRevocations]) -> None:
    """The connection is closed without the last chunk, which is what tells a client that the body is whole."""
    port, store = served
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: Badge alice\r\n\r\n")
        received = b""
        while b"one\r\n" not in received:
            received += connection.recv(1000)
        _revoke(store)
        while piece := connection.recv(1000):
            received += piece

    assert received.endswith(b"\r\n3\r\none\r\n")


def test_a_websocket_is_closed_with_a_reason(served: tuple[int, MemoryRevocations]) -> None:
    """The client gets 1008 and the public text of the reason."""
    port, store = served
    with connect(f"ws://127.0.0.1:{port}/", additional_headers={"Authorization": "Badge alice"}) as client:
        assert client.recv(TIMEOUT) == "one"
        _revoke(store)
        with pytest.raises(ConnectionClosed):
            client.recv(TIMEOUT)

        assert (client.close_code, client.close_reason) == (1008, "Not authenticated")
