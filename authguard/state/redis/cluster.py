"""The servers of a Redis Cluster: which of them has which keys.

redis-py is imported here, so nothing imports this module before there is a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import AskError, MovedError, SlotNotCoveredError

from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_UNAVAILABLE
from authguard.state.redis.script import Script
from authguard.state.redis.server import Limits, Server, pause

# A script that has not run, because another server has its keys, is sent to that one. So many times, because the keys
# may move on.
_MOST_REDIRECTS = 4


class Cluster:
    """The servers of one cluster, as one event loop sees them.

    redis-py reads the layout: which server has which keys. It is read again when a server says that keys have moved,
    and at each probe of a server that does not answer, because a replica may have taken its place.
    """

    def __init__(self, client: Any, limits: Limits, *, is_own: bool) -> None:
        self._client, self._layout, self._limits = client, client.nodes_manager, limits
        #: Whether the client was made for this loop: nobody else uses it or closes it.
        self._is_own = is_own
        self._servers: dict[str, Server] = {}
        self._reading = asyncio.Lock()
        #: How often the layout was read, and how often in a row it could not be.
        self._version = self._failures = 0
        self._next_reading = 0.0

    async def call(self, key: bytes, script: Script, arguments: Sequence[bytes]) -> Any:
        """The reply of the script from the server that has the key. Raises ``BackendUnavailable``."""
        version = self._version
        server, is_asking = await self._find(key), False
        for _ in range(_MOST_REDIRECTS):
            try:
                return await server.call(script, arguments, asking=is_asking)
            except MovedError as error:
                server, is_asking = self._server(*self._layout.remap_host_port(error.host, error.port)), False
                await self._read_layout(version)
            except AskError as error:
                server, is_asking = self._server(*self._layout.remap_host_port(error.host, error.port)), True
        raise BackendUnavailable("redis: the cluster is moving these keys", reason=STORE_UNAVAILABLE)

    async def _find(self, key: bytes) -> Server:
        server = self._server_of(key)
        if server is None or server.is_due:
            await self._read_layout(self._version)
            server = self._server_of(key)
        if server is None:
            missing = "no server of the cluster has these keys" if self._version else "the cluster does not answer"
            raise BackendUnavailable(f"redis: {missing}", reason=STORE_UNAVAILABLE)
        return server

    def _server_of(self, key: bytes) -> Server | None:
        try:
            node = self._client.get_node_from_key(key)
        except SlotNotCoveredError:
            return None
        return self._server(node.host, node.port)

    def _server(self, host: str, port: int) -> Server:
        name = f"{host}:{port}"
        if name not in self._servers:
            # All servers of a cluster are reached in the same way.
            node = self._layout.default_node
            make = partial(node.connection_class, **{**node.connection_kwargs, "host": host, "port": port})
            self._servers[name] = Server(make, name, self._limits)
        return self._servers[name]

    async def _read_layout(self, version: int) -> None:
        """Learn which server has which keys, unless another call has done so since ``version``, or has just tried."""
        now = asyncio.get_running_loop().time
        if now() < self._next_reading:
            return
        try:
            async with asyncio.timeout(self._limits.deadline), self._reading:
                if self._version != version or now() < self._next_reading:
                    return
                # A client that the app has given knows then that there is something to close. It also asks for the
                # list of all commands, which an ACL may forbid.
                first: Any = self._layout if self._is_own or self._version else self._client
                await first.initialize()
        except Exception:  # noqa: BLE001 - whatever fails, the layout is as it was
            self._failures += 1
        else:
            self._version, self._failures = self._version + 1, 0
            await self._forget_servers()
        self._next_reading = now() + pause(self._failures)

    async def _forget_servers(self) -> None:
        """Close the connections to those that have left the cluster."""
        names = {f"{node.host}:{node.port}" for node in self._client.get_nodes()}
        for name in [name for name in self._servers if name not in names]:
            await self._servers.pop(name).close()

    def health(self) -> Sequence[Mapping[str, object]]:
        """The health of each server that was called."""
        return [server.health() for server in self._servers.values()]

    async def close(self) -> None:
        """Close the connections."""
        for server in self._servers.values():
            await server.close()
        for nodes in ("nodes_cache", "startup_nodes") if self._is_own else ():
            with suppress(Exception):
                await self._layout.aclose(nodes)
