"""Two servers and a Sentinel that makes the replica the master."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.asyncio.sentinel import Sentinel

from authguard.errors import BackendUnavailable
from authguard.state.redis import RedisBackend, Script
from tests.state.redis.servers import KINDS, PATIENCE, command, running_server, server_program, wait_for
from tests.support.servers.ports import free_port

pytestmark = [pytest.mark.peer, pytest.mark.parametrize("kind", KINDS)]

EPOCH = Script("epoch", "return epoch")
COUNT = Script("count", "return redis.call('INCR', KEYS[2])")


@contextmanager
def running_sentinel(program: str, master: int, folder: Path) -> Iterator[int]:
    """The port of a Sentinel that decides alone, two seconds after the master was last heard of."""
    port = free_port()
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds shop 2000\nsentinel failover-timeout shop 3000\n"
    )
    with subprocess.Popen([program, settings, "--sentinel"], stdout=subprocess.DEVNULL) as sentinel:
        try:
            wait_until_it_knows_the_replica(port)
            # It would take ten seconds to make the old master a replica.
            faster = ("info-period", "200", "publish-period", "200")
            assert command(port, "SENTINEL", "DEBUG", *faster) == b"+OK\r\n"
            yield port
        finally:
            sentinel.kill()


def wait_until_it_knows_the_replica(sentinel: int) -> None:
    """A Sentinel learns of replicas from the master."""

    def knows() -> bool:
        try:
            return b"slaves=1" in command(sentinel, "INFO", "sentinel")
        except OSError:
            return False

    wait_for(knows)


def backend_of(sentinel: int) -> RedisBackend:
    """A backend that asks a Sentinel that is down before it asks the one that is not."""
    dead = free_port()
    sentinel_class: Any = Sentinel
    return RedisBackend(
        lambda: sentinel_class([("127.0.0.1", dead), ("127.0.0.1", sentinel)]).master_for("shop"), deadline=5.0
    )


async def test_a_promoted_replica_is_found(kind: str, tmp_path: Path) -> None:
    """The master is killed: calls are 503 until the Sentinel names the replica, which begins an epoch."""
    program = _program(kind)
    with (
        running_server(program) as master,
        running_server(program, "--replicaof", "127.0.0.1", str(master)),
        running_sentinel(program, master, tmp_path) as sentinel,
    ):
        backend = backend_of(sentinel)
        assert await backend.run(COUNT, b"p", [b"c"]) == 1
        before = await backend.run(EPOCH, b"p", [])
        assert command(master, "SHUTDOWN", "NOSAVE", "NOW", "FORCE") == b""
        assert await _until_answered(backend) != before
        await backend.aclose()
    gc.collect()


async def test_a_master_that_was_demoted_is_left(kind: str, tmp_path: Path) -> None:
    """The old master still answers, but as a replica: the next call goes to the new one."""
    program = _program(kind)
    with (
        running_server(program) as master,
        running_server(program, "--replicaof", "127.0.0.1", str(master)),
        running_sentinel(program, master, tmp_path) as sentinel,
    ):
        backend = backend_of(sentinel)
        before = await backend.run(EPOCH, b"p", [])
        wait_for(lambda: command(sentinel, "SENTINEL", "FAILOVER", "shop") == b"+OK\r\n")
        wait_for(lambda: b"role:slave" in command(master, "INFO", "replication"))
        assert await _until_answered(backend) != before
        assert backend.health()["state"] == "ok"
        assert [server["server"] for server in _servers(backend)] == ["the master shop"]
        await backend.aclose()


def _servers(backend: RedisBackend) -> list[dict[str, object]]:
    servers = backend.health()["servers"]
    assert isinstance(servers, list)
    return servers


async def _until_answered(backend: RedisBackend) -> Any:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await backend.run(EPOCH, b"p", [])
            except BackendUnavailable:
                await asyncio.sleep(0.05)


def _program(kind: str) -> str:
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    return program
