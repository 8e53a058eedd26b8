"""Logins at a steady rate, on persistent connections."""

from __future__ import annotations

import base64
import http.client
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import bcrypt

from tests.support.servers.app_server import TIMEOUT

CONNECTIONS = 8


class Login(NamedTuple):
    user: str
    password: str

    @property
    def credentials(self) -> str:
        """The credentials as the field carries them."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def line(self) -> str:
        """The line of the password file."""
        return f"{self.user}:{bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(4)).decode()}\n"


class LoginAnswer(NamedTuple):
    """A response, with the times of its request and its arrival. Status 0 means none, and the text says why."""

    login: Login
    status: int
    text: str
    asked: float
    came: float


class LoginLoad:
    """``rate`` logins a second. Each connection cycles through all logins.

    A login is sent at its time even if earlier ones were not answered in time. A late one is sent at once.
    """

    def __init__(self, port: int, target: str, logins: Sequence[Login], *, rate: float) -> None:
        self._port, self._target, self._logins, self._rate = port, target, logins, rate
        self._stopped = threading.Event()
        self._arrived = threading.Condition()
        self.answers: list[LoginAnswer] = []
        self.began = time.monotonic()

    def _run_connection(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        due = self.began + number / self._rate
        for login in itertools.cycle([*self._logins[number:], *self._logins[:number]]):
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                break
            due += CONNECTIONS / self._rate
            answered = self._send_request(connection, login)
            with self._arrived:
                self.answers.append(answered)
                self._arrived.notify_all()
        connection.close()

    def _send_request(self, connection: http.client.HTTPConnection, login: Login) -> LoginAnswer:
        sent_at = time.monotonic()
        try:
            # http.client connects with the first request, and never repeats a request.
            connection.request("GET", self._target, headers={"Authorization": login.credentials})
            response = connection.getresponse()
            text = response.read().decode()
            status = 0 if response.will_close else response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, text = 0, repr(error)
        return LoginAnswer(login, status, text, sent_at, time.monotonic())

    def _wait(self, holds: Callable[[], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(holds, TIMEOUT), self.answers[-20:]

    def wait_for_more(self, count: int) -> None:
        """Wait for so many more responses."""
        wanted = len(self.answers) + count
        self._wait(lambda: len(self.answers) >= wanted)

    def wait_for_status(self, login: Login, status: int) -> float:
        """Wait for the first login, of those sent from now on, that gets this status, and return the time of its
        response."""
        now, at = time.monotonic(), len(self.answers)

        def shown() -> Iterator[LoginAnswer]:
            return (answer for answer in self.answers[at:] if answer[:2] == (login, status) and answer.asked >= now)

        self._wait(lambda: any(shown()))
        return next(shown()).came

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send logins while the block runs. After it no request is in progress."""
        threads = [threading.Thread(target=self._run_connection, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(TIMEOUT)
