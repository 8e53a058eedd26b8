"""A cache that several processes share, by choice: for answers of introspection endpoints, and for fetched key sets."""

from __future__ import annotations

import logging
import struct
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Protocol

import anyio

from authguard.caching import BoundedCache
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.model import Clock, wall_clock
from authguard.validation import check_int

_log = logging.getLogger("authguard")

#: The default of ``most`` and of ``most_bytes``.
MOST, MOST_BYTES = 10_000, 16 * 1024 * 1024
#: How long an answer of the cache is waited for, in seconds.
CACHE_DEADLINE = 0.5
#: How long the cache is not asked after a failure, in seconds.
PAUSE = 2.0
#: A stored value begins with the time of its end, in seconds since the epoch.
_END = struct.Struct(">d")


class SharedCache(Protocol):
    """Where several processes keep answers for each other: ``RedisCache``, ``MemoryCache``, or one of your own.

    Whoever can write into it decides what is found there: who a token belongs to, and with which keys it is verified.
    ``RedisCache`` therefore seals what it stores. Write ``get`` and ``put``::

        class Memcached(SharedCache):
            async def get(self, key: bytes) -> bytes | None:
                return await client.get(key.hex())

            async def put(self, key: bytes, value: bytes, seconds: float) -> None:
                await client.set(key.hex(), value, ttl=seconds)

    If it cannot answer, it raises ``BackendUnavailable``. The server that has the answer is asked then.
    """

    @abstractmethod
    async def get(self, key: bytes) -> bytes | None:
        """The value of this key of 32 bytes; None if there is none any more."""
        ...

    @abstractmethod
    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds at most. A value that is too long for the cache is not kept."""
        ...


class MemoryCache(SharedCache):
    """A ``SharedCache`` in the memory of this process, which the event loops and the schemes in it share.

    ``most``: how many values are kept. ``most_bytes``: how many bytes they have together. ``clock`` is monotonic.
    Raises ``ConfigurationError``.
    """

    def __init__(self, *, most: int = MOST, most_bytes: int = MOST_BYTES, clock: Clock = time.monotonic) -> None:
        check_int("most", most, least=2, most=1_000_000)
        check_int("most_bytes", most_bytes, least=1024, most=MOST_BYTES * 256, unit="bytes")
        self._clock, self._lock = clock, ForkSafeLock()
        self._values = BoundedCache[tuple[bytes, float]](most, most_bytes=most_bytes, size=_size)

    async def get(self, key: bytes) -> bytes | None:
        """The value; None if its time is over, or other values have taken its place."""
        found = self._values.get(key)
        return None if found is None or self._clock() >= found[1] else found[0]

    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep the value."""
        with self._lock:
            self._values.put(key, (value, self._clock() + seconds))


def _size(stored: tuple[bytes, float]) -> int:
    return len(stored[0])


class LookAside:
    """A ``SharedCache`` as its users need it: each value ends at its time, and a cache that fails has no value.

    ``clock`` is the time in seconds since the epoch, which all processes share. Raises ``ConfigurationError``.
    """

    def __init__(self, cache: SharedCache, *, clock: Clock = wall_clock) -> None:
        for method in ("get", "put"):
            if isinstance(cache, type) or not callable(getattr(cache, method, None)):
                raise ConfigurationError("shared_cache", f"{cache!r} has no async {method}(...); give RedisCache(...)")
        self._cache, self._clock = cache, clock
        #: Which method failed last, until it succeeds again.
        self._failing: str | None = None
        self._retry_at = 0.0

    async def get(self, key: bytes, *, most: float) -> tuple[bytes, float] | None:
        """The value, and for how many more seconds it is good: at most so many. None if there is none."""
        found: object = None
        if time.monotonic() < self._retry_at:
            return None
        with self._reported("get"):
            found = await self._cache.get(key)
        if not isinstance(found, bytes) or len(found) < _END.size:
            return None
        left = min(_END.unpack_from(found)[0] - self._clock(), most)
        return (found[_END.size :], left) if left > 0 else None

    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds, if the cache takes it."""
        if not seconds > 0 or time.monotonic() < self._retry_at:
            return
        with self._reported("put"):
            await self._cache.put(key, _END.pack(self._clock() + seconds) + value, seconds)

    @contextmanager
    def _reported(self, method: str) -> Iterator[None]:
        """Give a call so much time, and let no failure out: whatever fails, the server has the answer.

        When the cache begins to fail, that is logged, and when the same method succeeds again: a full cache finds
        values and takes none. After a failure it is left alone for a time.
        """
        problem: str | None = None
        with anyio.move_on_after(CACHE_DEADLINE) as waiting:
            try:
                yield
            except Exception as error:  # noqa: BLE001 - as above
                problem = _problem_of(error)
        if waiting.cancelled_caught:
            problem = f"no answer within {CACHE_DEADLINE:g} s"
        if problem is not None:
            self._retry_at = time.monotonic() + PAUSE
            if self._failing is None:
                _log.warning("the shared cache cannot answer, and servers are asked instead: %s", problem)
            self._failing = method
        elif self._failing == method:
            self._failing = None
            _log.warning("the shared cache answers again")


def cache_key(*texts: str) -> bytes:
    """The key of what these texts name, in 32 bytes. None of them can be read from it."""
    return sha256(repr(texts).encode()).digest()


def _problem_of(error: Exception) -> str:
    """What failed. The text of any other error may hold a value."""
    return str(error) if isinstance(error, BackendUnavailable) else type(error).__name__
