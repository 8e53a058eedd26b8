"""Whatever happens to the server of two workers, no Digest response passes twice, and all is well again by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from authguard.state.redis import RedisBackend, RedisNonces
from tests.state.redis.proxy import Proxy
from tests.state.redis.servers import KINDS, PATIENCE, command, running_server, server_program, wait_for
from tests.support.guards import RecordingGuard
from tests.support.schemes.digest import answer_challenge, challenge, digest_scheme, serialize
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

DEADLINE = 0.3
#: Within so many seconds the service must be back by itself.
BACK_WITHIN = 20.0


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Service:
    """Two workers, each with connections of its own through one proxy, and the server behind it."""

    def __init__(self, program: str, folder: Path, proxy: Proxy, servers: AsyncExitStack) -> None:
        self.program, self.folder, self.proxy, self.servers = program, folder, proxy, servers
        self.workers = [self._worker() for _ in range(2)]
        self.scheme = digest_scheme()
        self.opaque_offer = challenge(self.scheme)
        #: What was accepted, and the statuses of all answers.
        self.accepted: list[str] = []
        self.statuses: Counter[int] = Counter()

    def _worker(self) -> RecordingGuard:
        backend = RedisBackend(lambda: Redis(port=self.proxy.port), deadline=DEADLINE)
        scheme = digest_scheme(nonces=RedisNonces(backend))
        return RecordingGuard(scheme, clock=time.time)

    def start_server(self, *options: str, port: int | None = None) -> int:
        """Start an empty server, by default at the port that the proxy leads to."""
        return self.servers.enter_context(
            running_server(self.program, *options, port=port or self.proxy.target, folder=self.folder)
        )

    async def send(self, field: str | None, worker: int) -> tuple[int, str | None]:
        """The status of one request, and the nonce of its challenge if it has one."""
        answer = await self.workers[worker].request(_app, field=field)
        self.statuses[answer.status] += 1
        found = [value for name, value in answer.headers if name == b"www-authenticate"]
        return answer.status, found[0].split(b'nonce="')[1].split(b'"')[0].decode() if found else None

    def field(self, nonce: str, count: int) -> str:
        """The field of alice for this nonce and count."""
        return "Digest " + serialize(answer_challenge(self.opaque_offer, nonce=nonce, count=count)).decode("latin-1")

    async def use(self, field: str) -> tuple[int, str | None]:
        """Send the same response to both workers at the same time, and some that were accepted before. Of all these, at
        most one may pass. Returns the best status, and a nonce if one was offered."""
        old = random.sample(self.accepted, min(4, len(self.accepted)))
        answers = await asyncio.gather(
            self.send(field, 0), self.send(field, 1), *(self.send(each, random.randrange(2)) for each in old)
        )
        passed = [status == 200 for status, _ in answers]
        assert not any(passed[2:])
        assert sum(passed[:2]) <= 1
        if any(passed):
            self.accepted.append(field)
        return min(status for status, _ in answers[:2]), next((nonce for _, nonce in answers[:2] if nonce), None)

    async def run_client(self, *, until: Callable[[], bool]) -> None:
        """A client that uses one nonce after the other, as it is told."""
        nonce, count = None, 0
        while not until():
            if nonce is None:
                _, nonce = await self.send(None, random.randrange(2))
                count = 0
                continue
            count += 1
            status, offered = await self.use(self.field(nonce, count))
            if status == 401:
                nonce, count = offered, 0
            elif status == 503:
                await asyncio.sleep(0.02)

    async def accept(self, number: int) -> None:
        """Wait until so many responses were accepted."""
        async with asyncio.timeout(PATIENCE):
            while len(self.accepted) < number:  # noqa: ASYNC110 - clients elsewhere make it true
                await asyncio.sleep(0.01)

    async def log_in(self) -> None:
        """Wait until a client can log in."""
        seen = len(self.accepted)
        async with asyncio.timeout(BACK_WITHIN):
            await self.run_client(until=lambda: len(self.accepted) > seen)


@asynccontextmanager
async def running_service(kind: str, folder: Path) -> AsyncIterator[Service]:
    """A service whose server is empty."""
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    proxy = Proxy(free_port())
    await proxy.start()
    async with AsyncExitStack() as servers:
        servers.push_async_callback(proxy.stop)
        service = Service(program, folder, proxy, servers)
        service.start_server()
        yield service


async def flush(service: Service) -> None:
    """All data are deleted, several times."""
    for _ in range(20):
        command(service.proxy.target, "FLUSHALL")
        await asyncio.sleep(0.02)


async def promote(service: Service) -> None:
    """A replica that may miss the last uses becomes the master, behind the same address."""
    old = service.proxy.target
    replica = service.start_server("--replicaof", "127.0.0.1", str(old), port=free_port())
    wait_for(lambda: b"master_link_status:up" in command(replica, "INFO", "replication"))
    await asyncio.sleep(0.3)
    service.proxy.target = replica
    command(replica, "REPLICAOF", "NO", "ONE")
    await service.proxy.drop_all()


async def delay(service: Service) -> None:
    """Answers take two seconds."""
    service.proxy.gate.clear()
    await asyncio.sleep(2)
    service.proxy.gate.set()


async def half_open(service: Service) -> None:
    """Connections stay open, and nothing comes any more."""
    service.proxy.silence()
    await asyncio.sleep(0.5)


async def fill(service: Service) -> None:
    """The memory of the server is full for a while."""
    command(service.proxy.target, "CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(0.5)
    command(service.proxy.target, "CONFIG", "SET", "maxmemory", "0")


async def restart(service: Service) -> None:
    """The server is killed, and comes back empty after half a second."""
    command(service.proxy.target, "SHUTDOWN", "NOSAVE", "NOW", "FORCE")
    await service.proxy.drop_all()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(service.start_server)


EVENTS = (restart, flush, promote, delay, half_open, fill)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
async def test_no_response_passes_twice(event: Callable[[Service], Awaitable[None]], kind: str, tmp_path: Path) -> None:
    """Four clients send each response to both workers, and what was accepted before, while it happens."""
    async with running_service(kind, tmp_path) as service:
        await service.log_in()
        is_over = False
        async with asyncio.TaskGroup() as clients:
            for _ in range(4):
                clients.create_task(service.run_client(until=lambda: is_over))
            await service.accept(20)
            await event(service)
            is_over = True
        await service.log_in()
        for field in service.accepted[:40]:
            assert (await service.send(field, 0))[0] != 200

    assert set(service.statuses) <= {200, 401, 503}
