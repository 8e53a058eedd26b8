"""A Redis Cluster of three servers, of Redis and of Valkey."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from redis.asyncio import RedisCluster

from authguard.errors import BackendUnavailable
from authguard.state.redis import RedisBackend, Script
from tests.state.redis.servers import (
    KINDS,
    PATIENCE,
    ClusterServers,
    command,
    running_cluster,
    server_program,
    wait_for,
)
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

ECHO = Script("echo", "return {KEYS[2], epoch, tostring(floor), tostring(now)}")
COUNT = Script("count", "return redis.call('INCR', KEYS[2])")
PARTITIONS = [bytes([first]) for first in range(256)]


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterServers]:
    """Three masters. Tests use partitions of their own, or delete everything."""
    with running_cluster(_program(request.param)) as servers:
        yield servers


@pytest.fixture
def backend(cluster: ClusterServers) -> RedisBackend:
    """A backend of empty servers."""
    for port in cluster.ports:
        command(port, "FLUSHALL")
    return backend_of(cluster)


def backend_of(cluster: ClusterServers, **options: Any) -> RedisBackend:
    """A backend that knows one of the servers, and learns of the others from it."""
    return RedisBackend(lambda: RedisCluster(host="127.0.0.1", port=cluster.ports[1]), **{"deadline": 30.0, **options})


async def test_each_partition_is_on_one_server(cluster: ClusterServers, backend: RedisBackend) -> None:
    """The 256 partitions are spread over all servers, and the keys of one have the same tag."""
    assert backend.is_cluster()
    keys = [(await backend.run(ECHO, partition, [b"n:1"]))[0] for partition in PARTITIONS]
    assert keys[:2] == [b"authguard:{00}:n:1", b"authguard:{01}:n:1"]
    sizes = [int(command(port, "DBSIZE")[1:]) for port in cluster.ports]
    assert sum(sizes) == 256  # the epoch of each
    assert min(sizes) > 50
    assert backend.health()["state"] == "ok"
    assert {server["server"] for server in _servers(backend)} == {f"127.0.0.1:{port}" for port in cluster.ports}


async def test_calls_of_several_partitions_run_side_by_side(backend: RedisBackend) -> None:
    """Each counts once, whichever server counts."""
    calls = [backend.run(COUNT, partition, [b"c"]) for partition in PARTITIONS for _ in range(4)]
    assert sorted(await asyncio.gather(*calls)) == sorted([1, 2, 3, 4] * 256)


async def test_a_partition_begins_an_epoch_by_itself(cluster: ClusterServers, backend: RedisBackend) -> None:
    """A server that was flushed has forgotten its own partitions, and no others."""
    before = [(await backend.run(ECHO, partition, [b"n"]))[1] for partition in PARTITIONS]
    flushed = cluster.ports[0]
    command(flushed, "FLUSHALL")
    after = [(await backend.run(ECHO, partition, [b"n"]))[1] for partition in PARTITIONS]
    changed = {f"{number:02x}" for number in range(256) if before[number] != after[number]}
    assert changed == {f"{number:02x}" for number in range(256) if cluster.owner(f"{{{number:02x}}}") == flushed}


async def test_keys_that_move_are_followed(
    cluster: ClusterServers, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a slot moves and after it, each call counts once; and the new server begins an epoch."""
    monkeypatch.setattr("authguard.state.redis.server.FIRST_PAUSE", 0.0)  # the layout is read at once
    partition, tag = b"\x07", "{07}"
    old = cluster.owner(tag)
    new = next(port for port in cluster.ports if port != old)
    slot, old_id, new_id = cluster.slot(tag), cluster.id(old), cluster.id(new)
    assert await backend.run(COUNT, partition, [b"c"]) == 1
    epoch = (await backend.run(ECHO, partition, [b"c"]))[1]
    try:
        command(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        command(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        # Not all keys of the call are there any more, and not all are at the other server yet.
        moved = command(old, "MIGRATE", "127.0.0.1", str(new), f"authguard:{tag}:epoch", "0", "1000")
        assert moved == b"+OK\r\n"
        with pytest.raises(BackendUnavailable, match="redis: the cluster is moving these keys"):
            await backend.run(COUNT, partition, [b"c"])
        assert command(old, "MIGRATE", "127.0.0.1", str(new), f"authguard:{tag}:c", "0", "1000") == b"+OK\r\n"
        assert await backend.run(COUNT, partition, [b"c"]) == 2  # ASK
        for port in (new, old):
            command(port, "CLUSTER", "SETSLOT", slot, "NODE", new_id)
        before = _redirects(old)
        assert await backend.run(COUNT, partition, [b"c"]) == 3
        assert await backend.run(COUNT, partition, [b"c"]) == 4
        assert _redirects(old) == before + 1  # and then the new layout is known
        assert (await backend.run(ECHO, partition, [b"c"]))[1] != epoch
        assert backend.health()["state"] == "ok"
    finally:
        for port in cluster.ports:
            command(port, "FLUSHALL")
        wait_for(partial(_give_back, cluster, slot, old))


async def test_servers_that_send_a_call_to_and_fro_are_an_outage(
    cluster: ClusterServers, backend: RedisBackend
) -> None:
    """Two servers that each take the other one for the owner are asked a few times, and not for ever."""
    tag = "{09}"
    old = cluster.owner(tag)
    new = next(port for port in cluster.ports if port != old)
    slot, new_id = cluster.slot(tag), cluster.id(new)
    await backend.warm()
    command(old, "CLUSTER", "SETSLOT", slot, "NODE", new_id)
    try:
        with pytest.raises(BackendUnavailable, match="redis: the cluster is moving these keys"):
            await backend.run(COUNT, b"\x09", [b"c"])
        assert backend.health()["state"] == "ok"
    finally:
        wait_for(partial(_give_back, cluster, slot, old))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replica_takes_over(kind: str) -> None:
    """The partitions of a server that dies are 503 until its replica is the master; the others answer all the time."""
    with running_cluster(_program(kind), replica=True) as servers:
        backend = backend_of(servers)
        dead = servers.ports[0]
        lost = next(first for first in PARTITIONS if servers.owner(f"{{{first.hex()}}}") == dead)
        kept = next(first for first in PARTITIONS if servers.owner(f"{{{first.hex()}}}") != dead)
        assert await backend.run(COUNT, lost, [b"c"]) == 1
        epoch = (await backend.run(ECHO, lost, [b"c"]))[1]
        wait_for(lambda: b"offset=" in command(dead, "INFO", "replication"))
        servers.processes[0].kill()
        servers.processes[0].wait()
        outages, later = 0, None
        with anyio.fail_after(PATIENCE):
            while later is None:
                await backend.run(COUNT, kept, [b"c"])
                try:
                    later = await backend.run(ECHO, lost, [b"c"])
                except BackendUnavailable:
                    outages += 1
                    await asyncio.sleep(0.05)
        assert outages > 0
        assert later[1] != epoch
        await backend.aclose()


async def test_servers_that_cannot_be_reached_are_an_outage() -> None:
    """At first none of them is known, and each call says so until one answers."""
    port = free_port()
    backend = RedisBackend(lambda: RedisCluster(host="127.0.0.1", port=port), deadline=30.0)
    for _ in range(3):
        with pytest.raises(BackendUnavailable, match="redis: the cluster does not answer"):
            await backend.run(COUNT, b"p", [b"c"])
    await backend.aclose()


async def test_a_slot_without_a_server_is_an_outage(cluster: ClusterServers, backend: RedisBackend) -> None:
    """The server says that no one has the slot, and the other partitions go on."""
    await backend.warm()
    owner = cluster.owner("{07}")
    slot = cluster.slot("{07}")
    command(owner, "CLUSTER", "DELSLOTS", slot)
    try:
        with pytest.raises(BackendUnavailable, match="redis: a part of the cluster is down"):
            await backend.run(COUNT, b"\x07", [b"c"])
        fresh = backend_of(cluster)
        with pytest.raises(BackendUnavailable, match=r"redis: (a part|no server) of the cluster"):
            await fresh.run(COUNT, b"\x07", [b"c"])
        assert await backend.run(COUNT, b"\x08", [b"c"]) == 1
    finally:
        command(owner, "CLUSTER", "ADDSLOTS", slot)
        wait_for(lambda: b"cluster_slots_ok:16384" in command(owner, "CLUSTER", "INFO"))


def test_the_connections_of_a_cluster_are_closed_with_their_loop(cluster: ClusterServers) -> None:
    """Nothing complains, and the next loop has connections of its own."""
    backend = backend_of(cluster)

    async def use() -> None:
        await asyncio.gather(*[backend.run(ECHO, partition, [b"n"]) for partition in PARTITIONS[:20]])

    for _ in range(2):
        anyio.run(use)
        gc.collect()
    assert backend.health()["servers"] == []


async def test_a_client_of_a_cluster_can_be_given(cluster: ClusterServers) -> None:
    """It stays open, and is the app's to close."""
    async with RedisCluster(host="127.0.0.1", port=cluster.ports[0]) as client:
        backend = RedisBackend(client)
        await backend.warm()
        await backend.aclose()
        assert await client.ping(target_nodes=RedisCluster.ALL_NODES)


def _servers(backend: RedisBackend) -> list[dict[str, object]]:
    servers = backend.health()["servers"]
    assert isinstance(servers, list)
    return servers


def _redirects(port: int) -> int:
    """How often this server has answered MOVED."""
    found = re.search(rb"errorstat_MOVED:count=(\d+)", command(port, "INFO", "errorstats"))
    return int(found[1]) if found else 0


def _give_back(cluster: ClusterServers, slot: str, owner: int) -> bool:
    """Tell all servers that this one owns the slot, and say whether they believe it.

    A message that was under way may have told them otherwise meanwhile, so it may take a second time.
    """
    for port in cluster.ports:
        command(port, "CLUSTER", "SETSLOT", slot, "NODE", cluster.id(owner))
    # Of two servers that say they have a slot, the others believe the one with the higher epoch.
    command(owner, "CLUSTER", "BUMPEPOCH")
    return all(f":{owner}@" in _line_of_slot(cluster, port, slot) for port in cluster.ports)


def _line_of_slot(cluster: ClusterServers, port: int, slot: str) -> str:
    """The line of CLUSTER NODES for the server that has the slot."""
    for line in cluster.text(port, "CLUSTER", "NODES").splitlines():
        for first, last in re.findall(r" (\d+)(?:-(\d+))?(?= |$)", " " + " ".join(line.split()[8:])):
            if int(first) <= int(slot) <= int(last or first):
                return line
    return ""


def _program(kind: str) -> str:
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    return program
