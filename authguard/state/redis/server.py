"""One server of Redis, as one event loop sees it: its connections, and whether it answers.

redis-py is imported here, so nothing imports this module before there is a client.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from authguard.errors import BackendUnavailable
from authguard.http_client import cause_of
from authguard.reasons import STORE_TIMEOUT, STORE_UNAVAILABLE, Reason
from authguard.state.redis.script import Script
from authguard.value_types import frozen, value

_log = logging.getLogger("authguard")

# In seconds: a connection that nobody has used for so long is replaced, because a firewall or a load balancer may have
# dropped it without a word. The request that used it next would wait for the deadline.
_MAX_IDLE = 60.0
# How often the server is asked whether it may drop keys. An operator may change that while it runs.
_POLICY_PAUSE = 60.0
# The pauses between two probes of a server that does not answer, each twice as long as the one before. Each process
# waits for half of it or more, by chance: all at once would be a burst for a server that has just started.
FIRST_PAUSE, MAX_PAUSE = 0.1, 2.0
# A call that was cancelled after so many seconds may have waited for a server that does not answer: the one that it was
# made for may have an earlier deadline.
_SUSPICIOUS = 0.1

_REPLICA = "the server is a replica; give the address of the master, or the client of a Sentinel"
_FORBIDDEN = "the user may not run a command; docs/shared-state.md lists what its ACL needs"
# How Redis and Valkey say that of a command in a script.
_FORBIDDEN_IN_SCRIPT = ("The user executing the script", "ACL failure in script")
#: What the replies mean that are known, by their class, and what to do.
_MEANINGS: Sequence[tuple[type[RedisError], str]] = (
    (MasterNotFoundError, "no Sentinel names a master"),
    (AuthenticationError, "the server refuses the user name or the password"),
    (BusyLoadingError, "the server is loading its data"),
    (NoPermissionError, _FORBIDDEN),
    (OutOfMemoryError, "the memory of the server is full; raise maxmemory"),
    (ReadOnlyError, _REPLICA),
    (ClusterDownError, "a part of the cluster is down"),
    (MasterDownError, "the server is a replica without a master"),
    (TryAgainError, "the cluster is moving these keys"),
)
#: The same by their first word.
_CODES: Mapping[str, str] = {
    "AUTHGUARD_REPLICA": _REPLICA,
    "AUTHGUARD_HISTORY": "INFO replication has no master_replid; the server is no Redis or Valkey",
    "BUSY": "the server runs a script of somebody else",
    "MISCONF": "the server cannot save its data, so it accepts no more; look at its disk",
    "NOREPLICAS": "the server has fewer replicas than min-replicas-to-write",
}
_EVICTION = (
    "maxmemory-policy is {policy}, so the server may drop what must be remembered; set it to noeviction, or give "
    "RedisBackend(..., allow_eviction=True)"
)


@frozen
class Limits:
    """What the calls of one backend have in common."""

    deadline: float
    max_connections: int
    allow_eviction: bool


@value
class _Failure:
    """Why a call failed. ``lost``: there was no reply, so the server may be down."""

    detail: str
    reason: Reason = STORE_UNAVAILABLE
    lost: bool = False


class Server:
    """The connections to one server, and a circuit that is open while the server does not answer.

    ``make`` makes a connection of redis-py to ``address``. Its pool and its client are not used, because they would
    send a command a second time if it timed out.

    What clients send cannot open the circuit. A call that ends without a reply makes this class send a PING over a
    new connection, in a task of its own, and only if that fails too, calls fail at once until another PING succeeds.
    """

    def __init__(self, make: Callable[[], Any], address: str, limits: Limits) -> None:
        self._make, self._limits = make, limits
        #: For messages. It has no user name and no password.
        self._address = address
        #: Those that no call uses, with the time since when. The last one was used last.
        self._idle: list[tuple[Any, float]] = []
        self._is_closed = False
        self._turns = asyncio.Semaphore(limits.max_connections)
        self._policy_read_at = -math.inf
        #: How many probes failed since the circuit opened; 0 while it is closed.
        self._failed_probes = 0
        self._next_probe = 0.0
        self._down_since = 0.0
        #: The task that sends a PING.
        self._pinging: asyncio.Task[None] | None = None
        self._next_ping = -math.inf
        self._latency: float | None = None
        self._failures = 0
        self._last_failure: _Failure | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._failed_probes > 0

    @property
    def is_due(self) -> bool:
        """Whether the next call makes a probe."""
        return self.is_open and self._pinging is None and _now() >= self._next_probe

    async def call(self, script: Script, arguments: Sequence[bytes], *, asking: bool = False) -> Any:
        """The reply of the script, which was sent once. ``asking``: the cluster is moving its keys to this server.

        Raises ``BackendUnavailable``, and ``MovedError`` and ``AskError`` if another server has the keys: then the
        script has not run.
        """
        if self._failed_probes:
            await self._probe()
        began = _now()
        try:
            async with asyncio.timeout(self._limits.deadline):
                async with self._turns:
                    return await self._evaluate(script, arguments, asking=asking)
        except (MovedError, AskError):
            raise
        except asyncio.CancelledError:
            if _now() - began >= _SUSPICIOUS:
                self._suspect()
            raise
        except TimeoutError:
            failure = self._timed_out()
        except BackendUnavailable as error:
            failure = _Failure(error.detail)
        except Exception as error:  # noqa: BLE001 - whatever fails, the store cannot answer
            failure = _explained(error)
        self._failures += 1
        self._last_failure = failure
        if failure.lost:
            self._suspect()
        raise self._outage(failure)

    async def _evaluate(self, script: Script, arguments: Sequence[bytes], *, asking: bool) -> Any:
        began = _now()
        connection = await self._take(began)
        is_clean = False
        try:
            await self._check_policy(connection, began)
            if asking:
                await _ask(connection, b"ASKING")
            try:
                reply = await _ask(connection, b"EVALSHA", script.sha, *arguments)
            except NoScriptError:
                # The server keeps it from now on.
                reply = await _ask(connection, b"EVAL", script.source, *arguments)
            is_clean = True
        except ResponseError as error:
            is_clean = True
            if isinstance(error, ReadOnlyError | MasterDownError) or _code(error) == "AUTHGUARD_REPLICA":
                # A new connection may lead to the new master.
                is_clean = False
                await self._drop_idle()
            raise
        except BackendUnavailable:
            is_clean = True
            raise
        finally:
            if is_clean and not self._is_closed:
                self._idle.append((connection, _now()))
            else:
                # Another call would read the answer of one that was cancelled.
                await _drop(connection)
        self._latency, self._failures = _now() - began, 0
        if isinstance(reply[-1], ResponseError):
            raise reply[-1]
        return reply

    async def _take(self, now: float) -> Any:
        """A connection that is ready for a command."""
        while self._idle:
            connection, since = self._idle.pop()
            if now - since < _MAX_IDLE and not await _has_ended(connection):
                return connection
            await _drop(connection)
        return await self._connect()

    async def _connect(self) -> Any:
        connection = self._make()
        connection.retry = Retry(NoBackoff(), 0)  # a request is waiting
        try:
            await connection.connect()
        except BaseException:
            # It may be in the middle of its handshake.
            await _drop(connection)
            raise
        # A call has its own deadline. With this one, redis-py would make a task to send each command.
        connection.socket_timeout = None
        self._policy_read_at = -math.inf  # it may be another server
        return connection

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await _drop(connection)

    async def _check_policy(self, connection: Any, now: float) -> None:
        """Raise ``BackendUnavailable`` if the server drops keys when its memory is full."""
        if self._limits.allow_eviction or now - self._policy_read_at < _POLICY_PAUSE:
            return
        memory = _fields(await _ask(connection, b"INFO", b"memory"))
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and memory.get("maxmemory") != "0":
            raise BackendUnavailable(_EVICTION.format(policy=policy))
        self._policy_read_at = now

    # --- the circuit --------------------------------------------------------------------------------------------------

    async def _probe(self) -> None:
        """Close the circuit if the server answers now. Raise ``BackendUnavailable`` if not, or if it is too early."""
        if self.is_due:
            await asyncio.wait([self._start_ping()])
        if self.is_open:
            raise self._outage(self._last_failure or _Failure("no answer"))

    def _suspect(self) -> None:
        """Find out whether the server answers, unless that is under way or was done a moment ago."""
        if not self.is_open and self._pinging is None and _now() >= self._next_ping:
            _ = self._start_ping()

    def _start_ping(self) -> asyncio.Task[None]:
        self._next_ping = _now() + FIRST_PAUSE
        # It belongs to no request: it goes on if that is cancelled, and has none of its context variables.
        task = self._pinging = asyncio.get_running_loop().create_task(self._ping(), context=Context())
        task.add_done_callback(self._end_ping)  # a task that is cancelled before it begins runs nothing of its own
        return task

    def _end_ping(self, _: asyncio.Task[None]) -> None:
        self._pinging = None

    async def _ping(self) -> None:
        """Ask the server for a sign of life. Only one task does so at a time."""
        try:
            async with asyncio.timeout(self._limits.deadline):
                connection = await self._connect()
                try:
                    await _ask(connection, b"PING")
                finally:
                    await _drop(connection)
        except TimeoutError:
            self._open(self._timed_out())
        except Exception as error:  # noqa: BLE001 - whatever fails, the server cannot be reached
            failure = _explained(error)
            if failure.lost:
                self._open(failure)
            else:
                self._close()  # a server that refuses a command is alive
        else:
            self._close()

    def _open(self, failure: _Failure) -> None:
        if not self.is_open:
            self._down_since = _now()
            _log.error("redis: %s does not answer: %s", self._address, failure.detail)
        self._last_failure = failure
        self._next_probe = _now() + pause(self._failed_probes)
        self._failed_probes += 1

    def _close(self) -> None:
        if self.is_open:
            _log.warning("redis: %s answers again after %.1f s", self._address, _now() - self._down_since)
        self._failed_probes = 0

    def _timed_out(self) -> _Failure:
        return _Failure(f"no answer within {self._limits.deadline:g} s", STORE_TIMEOUT, lost=True)

    def _outage(self, failure: _Failure) -> BackendUnavailable:
        retry_after = max(1, math.ceil(self._next_probe - _now())) if self.is_open else None
        return BackendUnavailable(f"redis: {failure.detail}", reason=failure.reason, retry_after=retry_after)

    # --- for operators ------------------------------------------------------------------------------------------------

    def health(self) -> Mapping[str, object]:
        """``state`` is ``ok`` or ``unavailable``; ``latency`` is that of the last call, in seconds."""
        failure = self._last_failure
        return {
            "state": "unavailable" if self.is_open else "ok",
            "server": self._address,
            "latency": self._latency,
            "failures": self._failures,
            "last_failure": None if failure is None else failure.detail,
        }

    async def close(self) -> None:
        """Close the connections: those that no call uses now, the others when their calls have ended."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            # The other side may take its time to end TLS.
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await connection.disconnect()


async def _ask(connection: Any, *command: bytes) -> Any:
    await connection.send_command(*command)
    return await connection.read_response(disable_decoding=True)


async def _has_ended(connection: Any) -> bool:
    """Whether the server has closed the connection, or has sent what no call has read."""
    can_read = getattr(connection, "can_read", None) or connection.can_read_destructive  # redis-py 8 has renamed it
    try:
        return not connection.is_connected or bool(await can_read())
    except (RedisError, OSError):
        return True


async def _drop(connection: Any) -> None:
    """Close it without waiting for the other side."""
    with suppress(Exception):
        await connection.disconnect(nowait=True)


def pause(failures: int) -> float:
    """How many seconds to leave a server alone after so many failures in a row."""
    seconds = min(FIRST_PAUSE * 2.0 ** min(failures, 16), MAX_PAUSE)
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - it keeps no secret


def _now() -> float:
    return asyncio.get_running_loop().time()


def _fields(text: bytes) -> Mapping[str, str]:
    """The answer to INFO."""
    lines = text.decode("latin-1").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _code(error: BaseException) -> str:
    word = str(error).split(" ", 1)[0]
    return word if word.isupper() and word.replace("_", "").isalpha() else ""


def _explained(error: Exception) -> _Failure:
    """What an error means. Its text may hold a key or a password: of a reply, only the first word is shown."""
    meaning = next((meaning for kind, meaning in _MEANINGS if isinstance(error, kind)), None)
    if isinstance(error, ResponseError):
        code = _code(error)
        if str(error).startswith(_FORBIDDEN_IN_SCRIPT):
            meaning = _FORBIDDEN
        return _Failure(meaning or _CODES.get(code) or f"the server answered {code or 'with an error'}")
    kind = "the connection broke" if isinstance(error, RedisConnectionError) else type(error).__name__
    return _Failure(meaning or cause_of(error) or kind, lost=True)
