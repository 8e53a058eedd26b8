"""How the stores reach Redis or Valkey: connections, one script a call, deadlines and outages."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from authguard.app_code import plain_function, shown
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.event_loop import close_with_loop
from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.model import Clock
from authguard.reasons import STORE_TIMEOUT, STORE_UNAVAILABLE
from authguard.state.redis.script import Script
from authguard.validation import check_flag, check_seconds

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

#: A client of redis-py for asyncio.
Client: TypeAlias = "Redis | RedisCluster"

_FACTORY = 'give a function: RedisBackend(lambda: Redis.from_url("redis://..."))'
_TRIO = "redis-py does not run on trio; run the server on asyncio"


class RedisBackend:
    """The way to one Redis or Valkey, for all stores that are kept there.

    - ``redis``: a function that makes a client, which is called once for each event loop; or a client, which serves
      the event loop that first uses it. ``RedisCluster`` and the client of a ``Sentinel`` are clients too.
    - ``prefix``: what each key begins with. Apps that share a server have different ones.
    - ``deadline``: how many seconds a call may take, at most 60.
    - ``allow_eviction``: use a server that drops keys when its memory is full. It may forget which nonces were used.
    - ``clock``: for tests, the time in seconds in place of the server's.

    Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        redis: Client | Callable[[], Client],
        *,
        prefix: str = "authguard",
        deadline: float = 1.0,
        allow_eviction: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._given, self._make = _client_or_factory(redis)
        if not isinstance(prefix, str) or not prefix or not prefix.isascii() or set(prefix) & set("{} \r\n"):
            raise ConfigurationError("prefix", f"{prefix!r} must be ASCII text without spaces and braces")
        self._prefix = prefix.encode()
        self._deadline = check_seconds("deadline", deadline, most=60)
        self.allow_eviction = check_flag("allow_eviction", allow_eviction)
        self._clock = clock
        self._lock = ForkSafeLock()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = weakref.WeakKeyDictionary()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make new clients in a forked child, because the connections of the parent are open there."""
        self._clients = weakref.WeakKeyDictionary()

    async def run(
        self,
        script: Script,
        partition: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str | int | float] = (),
    ) -> Any:
        """The reply of the script. It runs at most once, so after an outage nobody knows whether it has run.

        ``keys`` begin with what names their store, such as ``b"n:"``. Keys of one call are in one ``partition``, named
        by its first byte: a Cluster keeps each of the 256 on one server. Raises ``BackendUnavailable`` only.
        """
        client = self._client()
        prefix = self._prefix + b":"
        if _is_cluster(client):
            prefix += b"{%02x}:" % partition[0]
        names = [prefix + b"epoch", *(prefix + key for key in keys)]
        now = "" if self._clock is None else repr(float(self._clock()))
        tail = (len(names), *names, now, *arguments)
        try:
            async with asyncio.timeout(self._deadline):
                return await _evaluate(client, script, names[0], tail)
        except TimeoutError:
            detail, reason = f"redis: no answer within {self._deadline:g} s", STORE_TIMEOUT
        except Exception as error:  # noqa: BLE001 - whatever fails, it is an outage
            detail, reason = f"redis: {_explained(error)}", STORE_UNAVAILABLE
        raise BackendUnavailable(detail, reason=reason)

    def is_cluster(self) -> bool:
        """Whether the keys of one call must be in one partition. Raises ``BackendUnavailable`` without asyncio."""
        return _is_cluster(self._client())

    def _client(self) -> Client:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise BackendUnavailable(_TRIO, reason=STORE_UNAVAILABLE) from None
        return self._clients.get(loop) or self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Client:
        """Make the client of this loop."""
        from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - an extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415 - an extra

        with self._lock:
            if self._given is not None:
                if self._clients:
                    raise BackendUnavailable(
                        f"redis: a client serves one event loop; {_FACTORY}", reason=STORE_UNAVAILABLE
                    )
                client: Client = self._given
            else:
                try:
                    client = self._make()
                except Exception as error:  # noqa: BLE001 - its text may hold a password
                    raise BackendUnavailable(
                        f"redis: {shown(self._make)} raised {type(error).__name__}", reason=STORE_UNAVAILABLE
                    ) from None
                problem = None
                if not isinstance(client, Redis | RedisCluster):
                    problem = f"returned {type(client).__name__}; return a new redis.asyncio.Redis at each call"
                elif client in self._clients.values():
                    problem = "returned the client of another event loop; make a new one at each call"
                elif client.get_encoder().decode_responses:
                    problem = "returned a client with decode_responses=True; leave it out"
                if problem is not None:
                    raise BackendUnavailable(f"redis: {shown(self._make)} {problem}", reason=STORE_UNAVAILABLE)
                # It connects once, because a request is waiting. A client that the app has made for itself, too, is
                # left as it is.
                client.set_retry(Retry(NoBackoff(), 0))
            self._clients[loop] = client
            close_with_loop(loop, client.aclose)
            return client


async def _evaluate(client: Any, script: Script, key: bytes, tail: Sequence[Any]) -> Any:
    from redis.exceptions import NoScriptError  # noqa: PLC0415 - an extra

    send = _send_to_cluster if _is_cluster(client) else _send
    try:
        return await send(client, key, "EVALSHA", script.sha, *tail)
    except NoScriptError:
        # The server has not run the script, and keeps it from now on.
        return await send(client, key, "EVAL", script.source, *tail)


async def _send(client: Any, key: bytes, *command: Any) -> Any:
    """The reply to a command. It is sent once: ``execute_command`` would send it again after a timeout."""
    pool = client.connection_pool
    connection = await pool.get_connection()
    is_clean = False
    try:
        if await (getattr(connection, "can_read", None) or connection.can_read_destructive)():
            # The server has closed it, or it holds an answer that nobody has read.
            await connection.disconnect(nowait=True)
            await connection.connect()
        await connection.send_command(*command)
        try:
            return await connection.read_response()
        finally:
            is_clean = True
    finally:
        if not is_clean:
            await connection.disconnect(nowait=True)
        await pool.release(connection)


async def _send_to_cluster(client: Any, key: bytes, *command: Any) -> Any:
    await client.initialize()
    # With a node that is named, the client does not send it again after a timeout. It follows MOVED all the same.
    return await client.execute_command(*command, target_nodes=client.get_node_from_key(key))


def _explained(error: BaseException) -> str:
    """What an error means. Its text may hold a key or a password, and is left out but for the code of a reply."""
    from redis.exceptions import ResponseError  # noqa: PLC0415 - an extra

    code = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else ""
    return f"the server answered {code}" if code.isupper() else type(error).__name__


def _is_cluster(client: Any) -> bool:
    return hasattr(client, "get_node_from_key")


def _client_or_factory(redis: Any) -> tuple[Any, Any]:
    try:
        from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError("redis", 'redis-py is not installed; run pip install "authguard[redis]"') from None
    if isinstance(redis, Redis | RedisCluster):
        if redis.get_encoder().decode_responses:
            raise ConfigurationError("redis", "a client with decode_responses=True cannot read bytes; leave it out")
        return redis, None
    if isinstance(redis, str | bytes):
        raise ConfigurationError("redis", f"a URL is no client; {_FACTORY}")
    if not callable(redis):
        raise ConfigurationError("redis", f"a {type(redis).__name__} is no client of redis.asyncio; {_FACTORY}")
    return None, plain_function("redis", redis, "make_client()")
