"""Requests with tokens at a steady rate, on persistent connections."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.servers.app_server import PATIENCE

CONNECTIONS = 4


class Use(NamedTuple):
    """What a token was answered (status 0: nothing, and why), and within how many seconds."""

    of: str
    status: int
    text: str
    seconds: float


class InUse:
    """``rate`` requests a second with the tokens that are put in, in turn; each by a name.

    A request is due whether or not the ones before were answered in time; one that is late goes at once.
    """

    def __init__(self, port: int, target: str, *, rate: float) -> None:
        self._port, self._target, self._rate = port, target, rate
        self._tokens: list[tuple[str, str]] = []
        self._over = threading.Event()
        self._came = threading.Condition()
        self.uses: list[Use] = []
        self.began = time.monotonic()

    def put(self, **tokens: str) -> None:
        """These are in use from now on, beside the others."""
        self._tokens = [*self._tokens, *tokens.items()]

    def more(self, count: int) -> None:
        """Waits for so many answers more."""
        wanted = len(self.uses) + count
        with self._came:
            assert self._came.wait_for(lambda: len(self.uses) >= wanted, PATIENCE), self.uses[-20:]

    @property
    def names(self) -> list[str]:
        """Those of all the tokens."""
        return [name for name, _ in self._tokens]

    def answers(self, name: str) -> list[int]:
        """How this token was answered each time, by the status."""
        return [use.status for use in self.uses if use.of == name]

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the block lasts; no request is on its way after it."""
        threads = [threading.Thread(target=self._go_round, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE)

    def _go_round(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        due, turn = time.monotonic() + number / self._rate, number
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due, turn, tokens = due + CONNECTIONS / self._rate, turn + 1, self._tokens
            use = ask(connection, self._target, *tokens[turn % len(tokens)])
            with self._came:
                self.uses.append(use)
                self._came.notify_all()
        connection.close()


def ask(connection: http.client.HTTPConnection, target: str, name: str, token: str) -> Use:
    """What one request with a token is answered."""
    asked = time.monotonic()
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        status, text = response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        status, text = 0, repr(error)
    return Use(name, status, text, time.monotonic() - asked)
