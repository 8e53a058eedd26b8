"""A server of each kind for the whole run, which is empty at the begin of each test.

A test that asks for ``redis_url`` carries the marker ``peer``, and ``anyio_backend = "asyncio"`` where it is async:
redis-py does not run on trio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.state.redis.servers import KINDS, command, running_server, server_program


class Servers:
    """Starts the server of each kind when the first test asks for it."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self.stack = ExitStack()

    def port(self, kind: str) -> int:
        if kind not in self._ports:
            program = server_program(kind)
            if program is None:
                pytest.skip(f"{kind}-server is not installed")
            self._ports[kind] = self.stack.enter_context(running_server(program))
        return self._ports[kind]


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[Servers]:
    servers = Servers()
    with servers.stack:
        yield servers


@pytest.fixture(params=KINDS)
def redis_port(request: pytest.FixtureRequest, redis_servers: Servers) -> int:
    """The port of an empty server, once of each kind."""
    port = redis_servers.port(request.param)
    command(port, "FLUSHALL")
    return port


@pytest.fixture
def redis_url(redis_port: int) -> str:
    """The URL of an empty server, once of each kind."""
    return f"redis://127.0.0.1:{redis_port}"


@pytest.fixture(scope="session")
def cluster_of_one() -> Iterator[int]:
    """The port of a Cluster of one server, which has all slots."""
    program = server_program("redis")
    if program is None:
        pytest.skip("redis-server is not installed")
    with running_server(program, "--cluster-enabled", "yes") as port:
        command(port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while b"cluster_state:ok" not in command(port, "CLUSTER", "INFO"):
            pass
        yield port


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
