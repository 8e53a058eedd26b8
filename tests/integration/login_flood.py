"""Owners that log in regularly, and a stranger who floods the same server with logins. All on the loopback."""

from __future__ import annotations

import base64
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

#: The field in which a request says its client address.
ADDRESS = "X-Client-Address"
#: How long the server's only thread takes for a hash: its capacity is 20 logins a second.
HASH_SECONDS = 0.05
CAPACITY = 1 / HASH_SECONDS
PASSWORD = "correct horse battery"
OWNERS = tuple(f"owner{number}" for number in range(10))
#: In seconds, how often each owner logs in: together they need a quarter of the capacity.
OWNER_PAUSE = 2.0
#: The most connections that a stranger holds open.
MOST_CONNECTIONS = 300
#: How long a request waits for its answer: longer than the server does.
PATIENCE = 20.0


class FloodLogin(NamedTuple):
    """One login of the stranger. ``behaviour``: how the request is sent."""

    username: str
    password: str
    address: str
    behaviour: str = "complete"


@dataclass
class Tally:
    """The answers to the owners and to the stranger, by status; 0 is no answer. ``waits``: the owners', in seconds."""

    owners: Counter[int] = field(default_factory=Counter)
    strangers: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    @property
    def success(self) -> float:
        """The share of the owners' logins that were accepted."""
        return self.owners[200] / max(self.owners.total(), 1)

    def line(self, name: str) -> str:
        """The figures in one line."""
        waits = sorted(self.waits) or [0.0]
        middle, longest = waits[len(waits) // 2], waits[-1]
        return (
            f"{name:44} owners {self.success:7.1%} of {self.owners.total():3}, wait {middle:5.2f} s, at most "
            f"{longest:5.2f} s; strangers {dict(sorted(self.strangers.items()))}\n"
        )


def request(username: str, password: str, address: str) -> bytes:
    """A login as it is sent."""
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    lines = ["GET / HTTP/1.1", "Host: flood", "Connection: close", f"{ADDRESS}: {address}"]
    return "\r\n".join([*lines, f"Authorization: Basic {credentials}", "", ""]).encode()


async def status_of(port: int, data: bytes, behaviour: str = "complete") -> int:
    """The status of the response; 0 if none came.

    ``behaviour``: "slow" sends half of the request and holds the connection; "gone" closes it without reading.
    """
    received = b""
    with anyio.move_on_after(PATIENCE):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            if behaviour == "slow":
                await stream.send(data[: len(data) // 2])
                await anyio.sleep_forever()
            await stream.send(data)
            if behaviour == "gone":
                return 0
            while b"\r\n" not in received:
                received += await stream.receive()
    return int(received.split()[1]) if received else 0


class LoginFlood:
    """``seconds`` of logins: those of the owners, each from an address of its own, and those of a stranger.

    The stranger sends three times as many as the server can verify. ``address_of`` is where an owner comes from.
    """

    def __init__(self, port: int, seconds: float, *, address_of: Callable[[str], str] = "127.0.1.{}".format) -> None:
        self._port, self._seconds, self._address_of = port, seconds, address_of
        self.tally = Tally()
        self._connections = anyio.CapacityLimiter(MOST_CONNECTIONS)

    async def run(self, stranger: Iterator[FloodLogin] | None, *, newcomers: int = 0) -> Tally:
        """Run it. ``newcomers`` of the owners have not logged in before the flood begins."""
        for owner in OWNERS[newcomers:]:
            await self._log_in(owner)
        self.tally = Tally()
        async with anyio.create_task_group() as tasks:
            end = time.monotonic() + self._seconds
            if stranger is not None:
                tasks.start_soon(self._flood, tasks, stranger, end)
                await anyio.sleep(1)  # until the queue is as long as it gets
            async with anyio.create_task_group() as owners:
                for number, owner in enumerate(OWNERS):
                    owners.start_soon(self._owner, owners, owner, end, number * OWNER_PAUSE / len(OWNERS))
            tasks.cancel_scope.cancel()  # nobody waits for the stranger's last answers
        return self.tally

    async def _owner(self, owners: TaskGroup, owner: str, end: float, offset: float) -> None:
        due = time.monotonic() + offset
        while due < end:
            await anyio.sleep(max(0.0, due - time.monotonic()))
            owners.start_soon(self._log_in, owner)
            due += OWNER_PAUSE

    async def _log_in(self, owner: str) -> None:
        began = time.monotonic()
        data = request(owner, PASSWORD, self._address_of(owner.removeprefix("owner")))
        status = 0
        with suppress(OSError, anyio.EndOfStream):
            status = await status_of(self._port, data)
        self.tally.owners[status] += 1
        self.tally.waits.append(time.monotonic() - began)

    async def _flood(self, tasks: TaskGroup, stranger: Iterator[FloodLogin], end: float) -> None:
        began = time.monotonic()
        for sent in itertools.count():
            due = began + sent / (3 * CAPACITY)
            if due >= end:
                return
            await anyio.sleep(max(0.0, due - time.monotonic()))
            if self._connections.available_tokens:
                tasks.start_soon(self._stranger, next(stranger))

    async def _stranger(self, login: FloodLogin) -> None:
        data = request(login.username, login.password, login.address)
        async with self._connections:
            status = 0
            with suppress(OSError, anyio.EndOfStream):
                status = await status_of(self._port, data, login.behaviour)
            self.tally.strangers[status] += 1
