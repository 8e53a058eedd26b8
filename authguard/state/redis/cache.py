"""A cache in Redis, whose values nobody can read or make without its secret."""

from __future__ import annotations

import hmac
import logging
import math
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authguard.state.redis.backend import RedisBackend, check_backend
from authguard.state.redis.script import Script
from authguard.state.shared_cache import SharedCache
from authguard.validation import check_int, check_secret

_log = logging.getLogger("authguard")

#: The longest life of a value, in seconds: a day.
MOST_SECONDS = 86_400.0
_NONCE = 12

_GET = Script("cache.get", "return redis.call('GET', KEYS[2])\n")
_PUT = Script("cache.put", "return redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n")


class RedisCache(SharedCache):
    """A ``SharedCache`` in Redis: ``Introspection(..., shared_cache=RedisCache(redis, secret=...))``.

    - ``redis``: the ``RedisBackend``. Values may be dropped, so one of a server with ``maxmemory`` and
      ``allow_eviction=True`` will do, and keeps the other stores from a full server.
    - ``secret``: at least 32 bytes that all processes share; ``authguard secret`` makes some. Values are encrypted and
      authenticated with keys that are made of it (AES-GCM). With another secret the cache is empty.
    - ``most_bytes``: the longest value that is kept, in bytes.

    Raises ``ConfigurationError``.
    """

    def __init__(self, redis: RedisBackend, *, secret: str | bytes, most_bytes: int = 64 * 1024) -> None:
        self._redis = check_backend(redis)
        self._secret = check_secret(secret)
        self._most_bytes = check_int("most_bytes", most_bytes, least=1024, most=16 * 1024 * 1024, unit="bytes")
        self._has_warned = False

    def __repr__(self) -> str:
        return f"RedisCache({self._redis!r})"

    async def get(self, key: bytes) -> bytes | None:
        """The value; None also for one that was not made with this secret. Raises ``BackendUnavailable``."""
        name, seal = self._name(key), self._seal(key)
        sealed = await self._redis.run(_GET, name, [b"c:" + name])
        if not isinstance(sealed, bytes):
            return None
        try:
            return seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], name)
        except (InvalidTag, ValueError):
            pass
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "RedisCache: a value was not made with our secret, and is ignored; somebody may have forged it"
            )
        return None

    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds, at most a day. Raises ``BackendUnavailable``."""
        if len(value) > self._most_bytes or not seconds > 0:
            return
        name, nonce = self._name(key), os.urandom(_NONCE)
        sealed = nonce + self._seal(key).encrypt(nonce, value, name)
        life = math.ceil(min(seconds, MOST_SECONDS) * 1000)
        await self._redis.run(_PUT, name, [b"c:" + name], [sealed, life])

    def _name(self, key: bytes) -> bytes:
        """The name in Redis. Without the secret nobody can try whether a token has one."""
        return hmac.digest(self._secret, b"name\0" + key, "sha256")[:16]

    def _seal(self, key: bytes) -> AESGCM:
        """The cipher of this key alone, so that no value of one key passes for that of another."""
        return AESGCM(hmac.digest(self._secret, b"seal\0" + key, "sha256"))
