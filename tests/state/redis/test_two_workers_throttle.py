"""Two workers of uvicorn and a real server: they allow the guesses that one of them would, and no others."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.integration.apps.common import REDIS
from tests.state.redis.servers import running_server, server_program
from tests.support.servers.app_server import AppServer, request_bytes, running_servers
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

GUESSES = 2_000
HASHED = "hashed "


class Workers:
    """Workers that share a server."""

    def __init__(self, apps: list[AppServer]) -> None:
        self.apps = apps

    def log_in(self, number: int, password: str | None = None) -> int:
        """The status of one login, at one worker after the other."""
        encoded = b64encode(f"alice:{password or f'guess-{number}'}".encode()).decode()
        app = self.apps[number % len(self.apps)]
        return app.send(request_bytes("/me", f"Authorization: Basic {encoded}")).status

    def hashed(self) -> Counter[str]:
        """How often each password was hashed. The last lines have arrived when the servers have ended."""
        lines = [line for app in self.apps for line in app.lines if HASHED in line]
        return Counter(line.partition(HASHED)[2] for line in lines)


@contextmanager
def running_workers(url: str, number: int) -> Iterator[Workers]:
    """So many workers."""

    def start() -> AppServer:
        return AppServer("shared_throttle:app", **{REDIS: url})

    with running_servers(*[start] * number) as apps:
        yield Workers(apps)


@pytest.mark.parametrize("number", [1, 2])
def test_two_workers_hash_the_ten_guesses_that_one_would(number: int, redis_url: str) -> None:
    """Of 2,000 guesses, one after the other at the two workers, the first ten are hashed, and the rest is a 429."""
    with running_workers(redis_url, number) as workers:
        statuses = [workers.log_in(guess) for guess in range(GUESSES)]

    assert statuses == [401] * 10 + [429] * (GUESSES - 10)
    assert workers.hashed() == {f"guess-{guess}": 1 for guess in range(10)}


def test_of_guesses_at_the_same_moment_ten_are_hashed(redis_url: str) -> None:
    """By two workers together, whichever they are; and the right password then waits as the others do."""
    with running_workers(redis_url, 2) as workers, ThreadPoolExecutor(16) as clients:
        statuses = Counter(clients.map(workers.log_in, range(400)))
        right = [workers.log_in(number, "wonderland") for number in range(2)]

    assert statuses == {401: 10, 429: 390}
    assert sum(workers.hashed().values()) == 10
    assert right == [429, 429]


def test_without_the_server_each_worker_counts_and_with_it_both_together_again() -> None:
    """Each allows ten in the outage. The server that comes back empty would allow ten more, but neither worker does. A
    password that one worker has verified passes there all the while, as with one worker."""
    program = server_program("redis")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    with running_workers(f"redis://127.0.0.1:{port}", 2) as workers:
        with running_server(program, port=port):
            first = workers.log_in(0, "wonderland")
            guesses = Counter(workers.log_in(number) for number in range(20))
            owner = workers.log_in(0, "wonderland")
        away = Counter(workers.log_in(number) for number in range(100, 140))
        with running_server(program, port=port):
            back = Counter(workers.log_in(number) for number in range(200, 220))

    assert (first, guesses, owner) == (200, {401: 10, 429: 10}, 200)
    assert away == {401: 20, 429: 20}
    assert back == {429: 20}
