"""Many clients at once: a connection for each, which asks again when it has its answer."""

from __future__ import annotations

import base64
import heapq
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.answers import Answers

#: What a client may be answered: what it sent fits, does not fit, or could not be looked at.
EXPECTED = frozenset({200, 401, 503})
PASSWORD = "correct horse battery staple"


def login(number: int) -> bytes:
    """The login of one of the users. Every other password is wrong; no two are alike, so that none spares a hash."""
    password = PASSWORD if number % 2 == 0 else f"wrong-{number}"
    credentials = base64.b64encode(f"user-{number}:{password}".encode())
    return b"GET /orders HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Basic " + credentials + b"\r\n\r\n"


@dataclass(slots=True, eq=False)
class _Client:
    """One of them, and the connection that its requests go over, once it has one."""

    number: int
    socket: socket.socket | None = None
    answers: Answers = field(default_factory=Answers)


@dataclass(slots=True)
class Crowd:
    """``size`` clients, each with what ``ask`` makes for its number.

    Who has his answer asks again; who is refused comes again when he was told to. With a ``pause``, all come again so
    many seconds later, whatever they were told.
    """

    port: int
    size: int
    ask: Callable[[int], bytes] = login
    pause: float | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    _ready: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, *, arriving: float, until: float) -> None:
        """They arrive one by one, over so many seconds from now, and all leave at the end."""
        begun = time.monotonic()
        clients = [_Client(number) for number in range(self.size)]
        # Who sends next: by when, and by number where two send at once.
        due = [(begun + arriving * one.number / self.size, one.number) for one in clients]
        while (now := time.monotonic()) < until:
            while due and due[0][0] <= now:
                self._ask(clients[heapq.heappop(due)[1]])
            wake = min(until, due[0][0]) if due else until
            for key, _ in self._ready.select(max(0.0, wake - time.monotonic())):
                if (answer := key.data.answers.read(key.fileobj)) is not None:
                    if answer.status not in EXPECTED:
                        raise SystemExit(f"a client: answered {answer.status}")
                    self.statuses[answer.status] += 1
                    later = answer.retry_after if self.pause is None else self.pause
                    heapq.heappush(due, (time.monotonic() + later, key.data.number))
                    if self.pause is None and later:
                        self._leave(key.data)
        for client in clients:
            self._leave(client)
        self._ready.close()

    def _ask(self, client: _Client) -> None:
        if client.socket is None:
            client.socket = socket.create_connection(("127.0.0.1", self.port))
            self._ready.register(client.socket, selectors.EVENT_READ, client)
        client.socket.sendall(self.ask(client.number))

    def _leave(self, client: _Client) -> None:
        if client.socket is not None:
            self._ready.unregister(client.socket)
            client.socket.close()
            client.socket = None
