"""Two workers and a server, to which everything happens: nobody gets in by it, and all is well again by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from authguard import AuthGuardMiddleware, Bearer, Digest, Guard, MemoryDigests, Revocation
from authguard.state.redis import RedisBackend, RedisNonces, RedisRevocations
from authguard.testing import TestIssuer, digest_auth
from tests.state.redis.proxy import Proxy, proxy_to
from tests.state.redis.servers import KINDS, command, running_server, server_program
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

#: How many rounds of requests are made while something is wrong, and how long it may take until all is well again.
ROUNDS, PATIENCE = 8, 40.0


class Environment:
    """A server behind a proxy, and what can happen to it."""

    def __init__(self, program: str, folder: Path, proxy: Proxy) -> None:
        self.program, self.folder, self.proxy = program, folder, proxy
        self.port = proxy.target
        self._running = ExitStack()

    def start(self) -> None:
        self._running.enter_context(
            running_server(self.program, "--dbfilename", "kept.rdb", port=self.port, folder=self.folder)
        )

    def kill(self) -> None:
        """By SIGKILL."""
        self._running.close()


@asynccontextmanager
async def environment(kind: str, folder: Path) -> AsyncIterator[Environment]:
    """A server that runs, until the end of the block."""
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    async with proxy_to(free_port()) as proxy:
        server = Environment(program, folder, proxy)
        server.start()
        try:
            yield server
        finally:
            server.kill()


class Workers:
    """Two workers that share a server; a client of Digest; and a token that is good, and one that was revoked."""

    def __init__(self, port: int) -> None:
        issuer = TestIssuer()
        self.good = issuer.token("alice", jti="good")
        self.revoked = issuer.token("alice", jti="bad")
        self.backends = [RedisBackend(lambda: Redis(port=port), deadline=0.5) for _ in range(2)]
        users = MemoryDigests.of_cleartext({"alice": "wonderland"}, realm="shop")
        self.apps = [
            AuthGuardMiddleware(
                RecordingApp(),
                guard=Guard(
                    Digest(users, realm="shop", secret="s" * 32, nonces=RedisNonces(backend)),
                    Bearer(issuer.as_issuer(), realm="shop"),
                    revocations=RedisRevocations(backend, source=self.revocations),
                    log=False,
                ),
            )
            for backend in self.backends
        ]
        self.accepted: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.challenge = ""
        self.count = 0

    async def revocations(self) -> AsyncIterator[Revocation]:
        """All that was revoked."""
        yield Revocation.token("bad", expires_at=time.time() + 3600)

    async def send(self, worker: int, field: str | None) -> int:
        """The status of a request to this worker."""
        exchange = await run_app(self.apps[worker], http_scope(headers=header_list(field)))
        self.statuses[exchange.status] += 1
        for line in exchange.lines(b"www-authenticate"):
            if line.startswith("Digest") and (field is None or "stale=true" in line):
                self.challenge, self.count = line, 0
        return exchange.status

    async def answer(self, worker: int, field: str) -> int:
        """The status of a request once all is well: on a busy machine a call may still miss its deadline."""
        with anyio.fail_after(PATIENCE):
            while (status := await self.send(worker, field)) == 503:  # noqa: ASYNC110 - a server makes it true
                await asyncio.sleep(0.02)
        return status

    async def visit(self, worker: int) -> int:
        """The client makes its next request, as a browser does: with a new nonce if it is told to."""
        if not self.challenge:
            await self.send(worker, None)
        status = 401
        for _ in range(2):
            self.count += 1
            field = digest_auth(self.challenge, "alice", "wonderland", count=self.count)["Authorization"]
            status = await self.send(worker, field)
            if status == 200:
                self.accepted.append(field)
            if status != 401:
                break
        return status

    async def attack(self) -> None:
        """Repeat some of what was accepted, at both workers, and use the token that was revoked."""
        for field in random.sample(self.accepted, min(len(self.accepted), 4)):
            for worker in range(2):
                assert await self.send(worker, field) in {401, 503}
        for worker in range(2):
            assert await self.send(worker, f"Bearer {self.revoked}") in {401, 503}

    async def round(self) -> bool:
        """Requests of all kinds, the attacks first. Returns whether all who should get in have got in."""
        await self.attack()
        statuses = [await self.visit(0), await self.visit(1)]
        statuses += await asyncio.gather(*[self.send(worker, f"Bearer {self.good}") for worker in range(2)])
        return statuses == [200] * 4

    async def until_all_is_well(self) -> float:
        """Seconds until everybody who should get in does."""
        began = time.monotonic()
        with anyio.fail_after(PATIENCE):
            while not await self.round():  # noqa: ASYNC110 - a server elsewhere makes it true
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def rounds(self) -> None:
        """Requests while something is wrong."""
        for _ in range(ROUNDS):
            await self.round()


async def killed_and_back_empty(server: Environment, workers: Workers) -> None:
    """It is killed by SIGKILL, and comes back without data."""
    server.kill()
    await workers.rounds()
    assert workers.statuses[503]
    server.start()


async def killed_and_back_with_old_data(server: Environment, workers: Workers) -> None:
    """It comes back with what it saved before the last requests."""
    assert command(server.port, "SAVE") == b"+OK\r\n"
    await workers.rounds()
    server.kill()
    await workers.rounds()
    server.start()


async def flushed(server: Environment, workers: Workers) -> None:
    """Somebody deletes everything, several times."""
    for _ in range(3):
        command(server.port, "FLUSHALL")
        await workers.rounds()


async def failed_over(server: Environment, workers: Workers) -> None:
    """A replica becomes the master, and later an empty server."""
    with running_server(server.program, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        await _until(lambda: b"master_link_status:up" in command(replica, "INFO", "replication"))
        await workers.rounds()
        server.kill()
        await workers.rounds()
        command(replica, "REPLICAOF", "NO", "ONE")
        server.proxy.target = replica
        await workers.until_all_is_well()
        # And back again, to a server that is empty.
        server.start()
        server.proxy.target = server.port
    await workers.rounds()


async def demoted(server: Environment, workers: Workers) -> None:
    """The master becomes a replica, and the master again."""
    command(server.port, "REPLICAOF", "127.0.0.1", str(free_port()))
    await workers.rounds()
    assert workers.statuses[503]
    command(server.port, "REPLICAOF", "NO", "ONE")


async def slow(server: Environment, workers: Workers) -> None:
    """Each answer comes two seconds late, which is later than the deadline."""
    server.proxy.delay = 2.0
    await workers.rounds()
    assert workers.statuses[503]
    server.proxy.delay = 0.0


async def half_open(server: Environment, workers: Workers) -> None:
    """Connections are open, and nothing comes; those of then stay so for ever."""
    server.proxy.gate.clear()
    await workers.rounds()
    assert workers.statuses[503]
    server.proxy.silence()


async def broken(server: Environment, workers: Workers) -> None:
    """Connections break in the middle of calls."""
    for _ in range(ROUNDS):
        await asyncio.gather(workers.round(), server.proxy.drop_all())


async def disk_full(server: Environment, workers: Workers) -> None:
    """The server cannot save its data, and refuses to write."""
    command(server.port, "CONFIG", "SET", "save", "3600 1000000")
    in_the_way = server.folder / "kept.rdb"
    in_the_way.mkdir()
    command(server.port, "BGSAVE")
    await _until(lambda: b"rdb_last_bgsave_status:err" in command(server.port, "INFO", "persistence"))
    await workers.rounds()
    assert workers.statuses[503]
    in_the_way.rmdir()
    command(server.port, "BGSAVE")


async def memory_full(server: Environment, workers: Workers) -> None:
    """The server has no memory left, and refuses to write."""
    command(server.port, "CONFIG", "SET", "maxmemory", "100kb")
    await workers.rounds()
    assert workers.statuses[503]
    command(server.port, "CONFIG", "SET", "maxmemory", "0")


async def evicting(server: Environment, workers: Workers) -> None:
    """Somebody lets the server drop keys. The workers find out by their next connection."""
    for name, value in (("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-random")):
        command(server.port, "CONFIG", "SET", name, value)
    await server.proxy.drop_all()
    await workers.rounds()
    assert workers.statuses[503]
    command(server.port, "CONFIG", "SET", "maxmemory-policy", "noeviction")


FAULTS: list[Callable[[Environment, Workers], Awaitable[None]]] = [
    killed_and_back_empty,
    killed_and_back_with_old_data,
    flushed,
    failed_over,
    demoted,
    slow,
    half_open,
    broken,
    disk_full,
    memory_full,
    evicting,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_nobody_gets_in_by_a_fault(
    fault: Callable[[Environment, Workers], Awaitable[None]],
    kind: str,
    tmp_path: Path,
) -> None:
    """No response is accepted twice and no revoked token once; each answer is 200, 401 or 503; and all who should get
    in do so again, without a restart of a worker."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(environment(kind, tmp_path))
        workers = Workers(server.proxy.port)
        await workers.until_all_is_well()
        workers.statuses.clear()

        await fault(server, workers)
        seconds = await workers.until_all_is_well()
        print(f"{fault.__name__}, {kind}: all was well after {seconds:.2f} s; {dict(workers.statuses)}")  # noqa: T201

        for field in workers.accepted:
            assert [await workers.answer(worker, field) for worker in range(2)] == [401, 401]
        assert set(workers.statuses) <= {200, 401, 503}
        for backend in workers.backends:
            await backend.aclose()


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)
