"""Two workers of uvicorn and a real server: of many equal Digest responses at the same time, one passes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.integration.apps.common import REDIS
from tests.support.schemes.digest import answer_challenge, challenge, digest_scheme, serialize
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = pytest.mark.peer

#: How often, with a count of its own each time.
TIMES = 50
AT_ONCE = 200


class Connection:
    """A connection to a worker, which stays open."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def send(self, field: bytes) -> tuple[int, bytes]:
        """The status of one request, and the head of the response."""
        self._writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n" + field + b"\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head.split()[1]), head

    def close(self) -> None:
        self._writer.close()


async def race(ports: list[int]) -> list[Counter[int]]:
    """How often each status was answered, for each of so many counts of one nonce."""
    connections = [await Connection(ports[index % len(ports)]).open() for index in range(AT_ONCE)]
    offer = challenge(digest_scheme())

    def field(nonce: str, count: int) -> bytes:
        return b"authorization: Digest " + serialize(answer_challenge(offer, nonce=nonce, count=count)) + b"\r\n"

    def nonce_in(head: bytes) -> str:
        return head.split(b'nonce="')[1].split(b'"')[0].decode()

    # The first response begins the epoch of the server, and brings a nonce of it.
    _, head = await connections[0].send(b"")
    _, head = await connections[0].send(field(nonce_in(head), 1))
    nonce, found = nonce_in(head), []
    for count in range(1, TIMES + 1):
        line = field(nonce, count)
        answers = await asyncio.gather(*(connection.send(line) for connection in connections))
        found.append(Counter(status for status, _ in answers))
    for connection in connections:
        connection.close()
    return found


def test_of_200_equal_requests_at_two_workers_one_passes(redis_url: str) -> None:
    """Fifty times: half of the requests go to each worker, all over connections that are open already."""

    def start() -> AppServer:
        return AppServer("shared_nonces:app", **{REDIS: redis_url})

    with running_servers(start, start) as workers:
        found = asyncio.run(race([worker.port for worker in workers]))

    assert found == [Counter({200: 1, 401: AT_ONCE - 1})] * TIMES
