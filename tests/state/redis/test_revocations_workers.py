"""Two workers of uvicorn and a real server: who was revoked gets in by neither, whatever happens to the server."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from authguard import SqlRevocations
from tests.integration.apps.common import REDIS, REVOCATIONS
from tests.state.redis.servers import KINDS, command, running_server, server_program
from tests.support.servers.app_server import AppServer, app_token, bearer_field, request_bytes, running_servers
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

#: Within so many seconds the service must be back by itself.
BACK_WITHIN = 30.0


class Workers:
    """Two workers, their server, and a pool of clients."""

    def __init__(
        self, apps: list[AppServer], program: str, port: int, database: Path, clients: ThreadPoolExecutor
    ) -> None:
        self.apps, self.program, self.port, self.database, self.clients = apps, program, port, database, clients
        self.server = ExitStack()

    def start_server(self) -> None:
        """Start an empty server at the port of the last one."""
        self.server.enter_context(running_server(self.program, port=self.port))

    def status(self, worker: int, token: str, path: str = "/orders", method: str = "GET") -> int:
        """The status of one request to a worker."""
        return self.apps[worker].send(request_bytes(path, bearer_field(token), method=method)).status

    def statuses(self, tokens: list[str], times: int) -> Counter[int]:
        """The statuses of requests with each token to both workers, so many times, some of them at once."""
        asked = [(worker, token) for _ in range(times) for token in tokens for worker in (0, 1)]
        return Counter(self.clients.map(lambda each: self.status(*each), asked))

    def rename_table(self, old: str, new: str) -> None:
        """Rename the table of the source."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def wait_until_back(self, token: str) -> float:
        """The seconds until both workers let this token pass."""
        began = time.monotonic()
        while [self.status(worker, token) for worker in (0, 1)] != [200, 200]:
            assert time.monotonic() < began + BACK_WITHIN
        return time.monotonic() - began


@pytest.fixture(name="workers", scope="module", params=KINDS)
def _workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    program = server_program(request.param)
    if program is None:
        pytest.skip(f"{request.param}-server is not installed")
    database, port = tmp_path_factory.mktemp("source") / "revoked.db", free_port()
    url = f"sqlite+aiosqlite:///{database}"
    anyio.run(SqlRevocations(url).create_table)
    settings = {REDIS: f"redis://127.0.0.1:{port}", REVOCATIONS: url}

    def start() -> AppServer:
        return AppServer("shared_revocations:app", **settings)

    with running_servers(start, start) as apps, ThreadPoolExecutor(8) as clients:
        workers = Workers(apps, program, port, database, clients)
        with workers.server:
            workers.start_server()
            yield workers


def token(name: str) -> str:
    """A token with this ``jti``."""
    return app_token(jti=name)


def log_out(workers: Workers, *names: str) -> list[str]:
    """The tokens of these names, which were revoked at one worker or the other."""
    tokens = [token(name) for name in names]
    for index, each in enumerate(tokens):
        assert workers.status(index % 2, each, "/log-out", "POST") == 200
    return tokens


def test_a_revocation_on_one_worker_is_refused_by_the_next_request_on_the_other(workers: Workers) -> None:
    """Fifty times: the token passes on both, is revoked on one, and is a 401 on the other and on the same."""
    for index in range(50):
        each = token(f"each-{index}")
        one, other = index % 2, 1 - index % 2
        before = [workers.status(other, each), workers.status(one, each, "/log-out", "POST")]
        assert before == [200, 200]
        assert [workers.status(other, each), workers.status(one, each)] == [401, 401]


def test_after_a_flush_nobody_who_was_revoked_gets_in(workers: Workers) -> None:
    """Twenty times, with requests at the same moment: 401, or a 503 while the list is loaded. Others pass again."""
    revoked, good = log_out(workers, *(f"flushed-{index}" for index in range(4))), token("good")
    found: Counter[int] = Counter()
    for _ in range(20):
        running = workers.clients.submit(workers.statuses, revoked, 4)
        command(workers.port, "FLUSHALL")
        found += workers.statuses(revoked, 2) + running.result()
    workers.wait_until_back(good)

    assert set(found) <= {401, 503}
    assert workers.statuses(revoked, 1) == {401: 8}


def test_after_an_empty_restart_nobody_who_was_revoked_gets_in(workers: Workers) -> None:
    """While the server is away each request is a 503. After it is back, the workers go on by themselves."""
    revoked, good = log_out(workers, *(f"killed-{index}" for index in range(4))), token("good")
    workers.server.close()  # SIGKILL, and nothing was saved
    away = workers.statuses([*revoked, good], 2)
    workers.start_server()
    back = workers.statuses(revoked, 4)
    workers.wait_until_back(good)

    assert set(away) == {503}
    assert set(back) <= {401, 503}
    assert workers.statuses(revoked, 1) == {401: 8}


def test_without_the_source_an_empty_server_lets_nobody_in(workers: Workers) -> None:
    """All requests are a 503 until the table is back, and then the workers go on by themselves."""
    revoked, good = log_out(workers, "source-0", "source-1"), token("good")
    workers.rename_table("authguard_revocations", "hidden")
    command(workers.port, "FLUSHALL")
    away = workers.statuses([*revoked, good], 3)
    workers.rename_table("hidden", "authguard_revocations")
    workers.wait_until_back(good)

    assert set(away) == {503}
    assert workers.statuses(revoked, 1) == {401: 4}
