"""Many concurrent clients. Each has its own connection, and sends a new request after each response."""

from __future__ import annotations

import base64
import heapq
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.http_responses import ResponseReader
from benchmarks.material import PASSWORD

#: The statuses that a client may get: credentials accepted, refused, or not checked because of overload.
EXPECTED = frozenset({200, 401, 503})


def login(number: int) -> bytes:
    """A login request of this user. Every second password is wrong, and unlike all others, so that each is hashed."""
    password = PASSWORD if number % 2 == 0 else f"wrong-{number}"
    credentials = base64.b64encode(f"user-{number}:{password}".encode())
    return b"GET /orders HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Basic " + credentials + b"\r\n\r\n"


@dataclass(slots=True, eq=False)
class _Client:
    """One client, and its connection, if it has one at the moment."""

    number: int
    socket: socket.socket | None = None
    reader: ResponseReader = field(default_factory=ResponseReader)


@dataclass(slots=True)
class Clients:
    """``size`` clients; ``request_of`` builds the requests of a client from its number.

    A client sends its next request as soon as it has the response, or after the ``Retry-After`` of the response. With
    a ``pause``, it always waits this many seconds and ignores ``Retry-After``.
    """

    port: int
    size: int
    request_of: Callable[[int], bytes] = login
    pause: float | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, *, arriving: float, until: float) -> None:
        """Let the clients arrive evenly over ``arriving`` seconds, and disconnect all of them at ``until``."""
        start = time.monotonic()
        clients = [_Client(number) for number in range(self.size)]
        # A heap of the next requests: the time, and the number of the client.
        due = [(start + arriving * client.number / self.size, client.number) for client in clients]
        while (now := time.monotonic()) < until:
            while due and due[0][0] <= now:
                self._send(clients[heapq.heappop(due)[1]])
            wake = min(until, due[0][0]) if due else until
            for key, _ in self._selector.select(max(0.0, wake - time.monotonic())):
                if (response := key.data.reader.read(key.fileobj)) is not None:
                    if response.status not in EXPECTED:
                        raise SystemExit(f"a client got the unexpected status {response.status}")
                    self.statuses[response.status] += 1
                    wait = response.retry_after if self.pause is None else self.pause
                    heapq.heappush(due, (time.monotonic() + wait, key.data.number))
                    if self.pause is None and wait:
                        self._disconnect(key.data)
        for client in clients:
            self._disconnect(client)
        self._selector.close()

    def _send(self, client: _Client) -> None:
        if client.socket is None:
            client.socket = socket.create_connection(("127.0.0.1", self.port))
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        client.socket.sendall(self.request_of(client.number))

    def _disconnect(self, client: _Client) -> None:
        if client.socket is not None:
            self._selector.unregister(client.socket)
            client.socket.close()
            client.socket = None
