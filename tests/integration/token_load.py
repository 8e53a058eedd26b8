"""Requests with tokens at a steady rate, on persistent connections."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.servers.app_server import TIMEOUT

CONNECTIONS = 4


class TokenUse(NamedTuple):
    """The response to a token, with its duration in seconds. Status 0 means none, and the text says why."""

    name: str
    status: int
    text: str
    seconds: float


class TokenLoad:
    """``rate`` requests a second, which cycle through the tokens that were added, each with a name.

    A request is sent at its time even if earlier ones were not answered in time. A late one is sent at once.
    """

    def __init__(self, port: int, target: str, *, rate: float) -> None:
        self._port, self._target, self._rate = port, target, rate
        self._tokens: list[tuple[str, str]] = []
        self._stopped = threading.Event()
        self._arrived = threading.Condition()
        self.uses: list[TokenUse] = []
        self.began = time.monotonic()

    def add(self, **tokens: str) -> None:
        """Use these tokens too from now on."""
        self._tokens = [*self._tokens, *tokens.items()]

    def wait_for_more(self, count: int) -> None:
        """Wait for so many more responses."""
        wanted = len(self.uses) + count
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.uses) >= wanted, TIMEOUT), self.uses[-20:]

    @property
    def names(self) -> list[str]:
        """The names of all tokens."""
        return [name for name, _ in self._tokens]

    def answers(self, name: str) -> list[int]:
        """The statuses of the responses to this token, in order."""
        return [use.status for use in self.uses if use.name == name]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests while the block runs. After it no request is in progress."""
        threads = [threading.Thread(target=self._run_connection, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(TIMEOUT)

    def _run_connection(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        due, turn = time.monotonic() + number / self._rate, number
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due, turn, tokens = due + CONNECTIONS / self._rate, turn + 1, self._tokens
            use = send_request(connection, self._target, *tokens[turn % len(tokens)])
            with self._arrived:
                self.uses.append(use)
                self._arrived.notify_all()
        connection.close()


def send_request(connection: http.client.HTTPConnection, target: str, name: str, token: str) -> TokenUse:
    """Send one request with a token."""
    sent_at = time.monotonic()
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        status, text = response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        status, text = 0, repr(error)
    return TokenUse(name, status, text, time.monotonic() - sent_at)
