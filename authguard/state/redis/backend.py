"""The way to Redis or Valkey for all stores: one script a call, for each event loop its own connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from authguard.app_code import plain_function, shown
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.event_loop import close_with_loop
from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.model import Clock
from authguard.reasons import STORE_UNAVAILABLE
from authguard.state.redis.script import Script
from authguard.validation import check_flag, check_int, check_seconds

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

    from authguard.state.redis.link import Link

#: A client of redis-py for asyncio.
Client: TypeAlias = "Redis | RedisCluster"

T = TypeVar("T")

_log = logging.getLogger("authguard")

_FACTORY = 'give a function: RedisBackend(lambda: Redis.from_url("redis://..."))'
_TRIO = "redis: redis-py does not run on trio; run the server on asyncio"
_SECOND_LOOP = f"redis: a client serves one event loop of one process; {_FACTORY}"
# At most one warning of a new epoch in so many seconds: on a Cluster each of the 256 partitions has its own.
_WARNING_PAUSE = 10.0

_REACH = Script("reach", "return 1")


class RedisBackend:
    """The way to one Redis or Valkey, for all stores that are kept there.

    Several stores share one::

        redis = RedisBackend(lambda: Redis.from_url("redis://127.0.0.1:6379"))
        guard = Guard(Digest(..., nonces=RedisNonces(redis)))

    - ``redis``: a function that makes a client of ``redis.asyncio``. It is called once for each event loop. A client
      itself serves the event loop that first uses it. ``RedisCluster`` and the client of a ``Sentinel`` are clients.
    - ``prefix``: what each key begins with. Apps that share a server have different ones.
    - ``deadline``: how many seconds a call may take, at most 60.
    - ``max_connections``: how many connections an event loop has to one server, at most. More calls than that wait.
    - ``allow_eviction``: use a server that drops keys when its memory is full. It may forget which nonces were used.
    - ``clock``: for tests, the time in seconds in place of the server's.

    Connections are closed when their event loop ends. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        redis: Client | Callable[[], Client],
        *,
        prefix: str = "authguard",
        deadline: float = 1.0,
        max_connections: int = 64,
        allow_eviction: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._given, self._make = _client_or_factory(redis)
        if not isinstance(prefix, str) or not prefix or not prefix.isascii() or set(prefix) & set("{} \r\n"):
            raise ConfigurationError("prefix", f"{prefix!r} must be ASCII text without spaces and braces")
        self._prefix = prefix
        from authguard.state.redis.server import Limits  # noqa: PLC0415 - it imports redis-py, which is here now

        self._limits = Limits(
            check_seconds("deadline", deadline, most=60),
            check_int("max_connections", max_connections, least=1, most=1000),
            check_flag("allow_eviction", allow_eviction),
        )
        self._clock = None if clock is None else plain_function("clock", clock, "clock()")
        self._lock = ForkSafeLock()
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        #: Whether the client that was given has an event loop.
        self._is_bound = False
        self._of_parents: list[object] = []
        #: The id of the epoch of each partition that was used; a single server has one.
        self._epochs: dict[bytes, str] = {}
        self._next_warning = 0.0
        renew_after_fork(self)

    def __repr__(self) -> str:
        return f"RedisBackend(prefix={self._prefix!r})"

    def renew(self) -> None:
        """Connect anew in a forked child, and close nothing: the connections of the parent are open there."""
        # They are kept, because an object that nobody needs any more would close its connection.
        self._of_parents.append(self._links)
        self._links = {}

    async def run(
        self,
        script: Script,
        partition: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str | int | float] = (),
    ) -> Any:
        """The reply of the script. It is sent once, so after an outage nobody knows whether it has run.

        ``keys`` begin with what names their store, such as ``b"n:"``. On a Cluster, the keys of one call must be in one
        ``partition``, named by its first byte: all keys of a partition are on one server. Raises ``BackendUnavailable``
        only.
        """
        link = self._links.get(_running_loop()) or self._open()
        tag = partition[:1] if link.is_cluster else b""
        prefix = f"{self._prefix}:{{{tag.hex()}}}:" if tag else f"{self._prefix}:"
        start = prefix.encode()
        names = [start + b"epoch", *[start + key for key in keys]]
        now = b"" if self._clock is None else _encoded(float(self._clock()))
        reply = await link.call(
            names[0], script, [_encoded(len(names)), *names, now, *[_encoded(argument) for argument in arguments]]
        )
        epoch = reply[0].decode("latin-1")
        if self._epochs.get(tag) != epoch:
            self._begin_epoch(tag, epoch)
        return reply[1] if len(reply) > 1 else None

    def is_cluster(self) -> bool:
        """Whether the keys of one call must be in one partition. Raises ``BackendUnavailable`` without asyncio."""
        return (self._links.get(_running_loop()) or self._open()).is_cluster

    async def warm(self) -> None:
        """Reach the server now. An app may call it when it starts. Raises ``BackendUnavailable``."""
        await self.run(_REACH, b"\0", [])

    def health(self) -> Mapping[str, object]:
        """Figures for a person. They hold no secret.

        - ``state``: ``ok``, ``unavailable`` (a server does not answer), or ``unused``.
        - ``epoch``: the id of the time since which the server has forgotten nothing; None on a Cluster, which has one
          for each partition.
        - ``servers``: for each event loop and server its ``state``, its address, the seconds that the last call took,
          how many calls in a row have failed, and why the last one did.
        """
        servers = [health for link in list(self._links.values()) for health in link.health()]
        state = "unused"
        if servers:
            state = "ok" if all(server["state"] == "ok" for server in servers) else "unavailable"
        return {"state": state, "epoch": self._epochs.get(b""), "servers": servers}

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The next call opens new ones, unless a client was given in
        place of a function: that serves one event loop once.
        """
        link = self._links.pop(_running_loop(), None)
        if link is not None:
            await link.close()

    def _open(self) -> Link:
        """Make the client of the running loop."""
        from authguard.state.redis.link import open_link  # noqa: PLC0415 - it imports redis-py

        loop, problem = _running_loop(), None
        with self._lock:
            for ended in [known for known in self._links if known.is_closed()]:
                del self._links[ended]
            if self._given is None:
                client, problem = self._make_client()
            else:
                client, problem = self._given, _SECOND_LOOP if self._is_bound else None
                self._is_bound = True
            if problem is not None:
                raise BackendUnavailable(problem, reason=STORE_UNAVAILABLE)
            link = self._links[loop] = open_link(client, self._limits, is_own=self._given is None)
        close_with_loop(loop, self.aclose)
        return link

    def _make_client(self) -> tuple[Any, str | None]:
        """A client, or what is wrong with it."""
        from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - an extra

        try:
            client = self._make()
        except Exception as error:  # noqa: BLE001 - its text may hold a password
            return None, f"redis: {shown(self._make)} raised {type(error).__name__}"
        problem = None
        if not isinstance(client, Redis | RedisCluster):
            problem = f"returned {type(client).__name__}; return a redis.asyncio.Redis, a new one at each call"
        elif any(link.client is client for link in self._links.values()):
            problem = "returned the client of another event loop; make a new one at each call"
        return client, problem and f"redis: {shown(self._make)} {problem}"

    def _begin_epoch(self, tag: bytes, epoch: str) -> None:
        is_known = tag in self._epochs
        self._epochs[tag] = epoch
        if is_known and time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _WARNING_PAUSE
            _log.warning(
                "redis: the server has begun anew (a restart, a failover, or its data were deleted); what it may have "
                "forgotten is refused"
            )


def check_backend(redis: object) -> RedisBackend:
    """The argument ``redis`` of a store. Raises ``ConfigurationError``."""
    if not isinstance(redis, RedisBackend):
        raise ConfigurationError("redis", f"give RedisBackend(...), not a {type(redis).__name__}")
    return redis


def check_on_outage(on_outage: T, first: str, second: str) -> T:
    """The argument ``on_outage`` of a store, which is one of these two. Raises ``ConfigurationError``."""
    if on_outage not in (first, second):
        raise ConfigurationError("on_outage", f'{on_outage!r} is neither "{first}" nor "{second}"')
    return on_outage


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise BackendUnavailable(_TRIO, reason=STORE_UNAVAILABLE)


def _encoded(argument: bytes | str | float) -> bytes:
    if isinstance(argument, bytes):
        return argument
    return argument.encode("utf-8", "surrogatepass") if isinstance(argument, str) else repr(argument).encode("ascii")


def _client_or_factory(redis: Any) -> tuple[Any, Any]:
    if find_spec("redis") is None:
        raise ConfigurationError("redis", 'redis-py is not installed; run pip install "authguard[redis]"')
    from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - an extra

    if isinstance(redis, Redis | RedisCluster):
        return redis, None
    if isinstance(redis, str | bytes):
        raise ConfigurationError("redis", f"a URL is no client; {_FACTORY}")
    if not callable(redis):
        kind = type(redis)
        problem = f"{kind.__module__}.{kind.__qualname__} is no client of redis.asyncio; {_FACTORY}"
        raise ConfigurationError("redis", problem)
    return None, plain_function("redis", redis, "make_client()")
