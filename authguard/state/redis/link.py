"""A client of redis-py and its connections, as one event loop has them.

redis-py is imported here, so nothing imports this module before there is a client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis.asyncio import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from authguard.state.redis.cluster import Cluster
from authguard.state.redis.script import Script
from authguard.state.redis.server import Limits, Server


class Link(Protocol):
    """The servers that one client leads to."""

    client: Any
    is_cluster: bool

    async def call(self, key: bytes, script: Script, arguments: Sequence[bytes]) -> Any:
        """The reply of the script, from the server that has the key. Raises ``BackendUnavailable``."""
        ...

    def health(self) -> Sequence[Mapping[str, object]]:
        """The health of each server."""
        ...

    async def close(self) -> None:
        """Close the connections, and the client if it was made here."""
        ...


class SingleLink:
    """To one server, or to the one that a Sentinel names."""

    is_cluster = False

    def __init__(self, client: Any, limits: Limits, *, is_own: bool) -> None:
        self.client, self._is_own = client, is_own
        pool = client.connection_pool
        self._server = Server(pool.make_connection, _address(pool), limits)
        if is_own:
            for sentinel in self._sentinels():
                # They are asked one after the other, and one that is down must not use up the deadline.
                sentinel.set_retry(Retry(NoBackoff(), 0))
                _hurry(sentinel.connection_pool.connection_kwargs, limits)

    def _sentinels(self) -> Iterable[Any]:
        return getattr(getattr(self.client.connection_pool, "sentinel_manager", None), "sentinels", ())

    async def call(self, key: bytes, script: Script, arguments: Sequence[bytes]) -> Any:
        """The reply of the script."""
        return await self._server.call(script, arguments)

    def health(self) -> Sequence[Mapping[str, object]]:
        """The health of the server."""
        return [self._server.health()]

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()
        if self._is_own:
            for client in (self.client, *self._sentinels()):
                with suppress(Exception):
                    await client.aclose()


class ClusterLink:
    """To the servers of a Cluster."""

    is_cluster = True

    def __init__(self, client: Any, limits: Limits, *, is_own: bool) -> None:
        self.client, self._cluster = client, Cluster(client, limits, is_own=is_own)
        if is_own:
            manager = client.nodes_manager
            manager.require_full_coverage = False  # the rest of a cluster is better than nothing
            for kwargs in (manager.connection_kwargs, *(node.connection_kwargs for node in client.get_nodes())):
                _hurry(kwargs, limits)

    async def call(self, key: bytes, script: Script, arguments: Sequence[bytes]) -> Any:
        """The reply of the script."""
        return await self._cluster.call(key, script, arguments)

    def health(self) -> Sequence[Mapping[str, object]]:
        """The health of each server that was called."""
        return self._cluster.health()

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()


def open_link(client: Any, limits: Limits, *, is_own: bool) -> Link:
    """The link over this client. ``is_own``: it was made for this event loop, so its settings may be changed."""
    kind = ClusterLink if isinstance(client, RedisCluster) else SingleLink
    return kind(client, limits, is_own=is_own)


def _address(pool: Any) -> str:
    """Where the connections of a pool lead to. It has no user name and no password."""
    if hasattr(pool, "service_name"):
        return f"the master {pool.service_name}"
    path = pool.connection_kwargs.get("path")
    return path or "{}:{}".format(pool.connection_kwargs.get("host"), pool.connection_kwargs.get("port"))


def _hurry(kwargs: dict[str, Any], limits: Limits) -> None:
    """Give up a server that does not answer while there is time for another one."""
    most = limits.deadline / 4
    for name in ("socket_timeout", "socket_connect_timeout"):
        kwargs[name] = min(kwargs.get(name) or most, most)
