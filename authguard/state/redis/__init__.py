"""State that several processes and hosts share, in Redis or Valkey (the extra ``redis``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from authguard.state.redis.backend import RedisBackend
    from authguard.state.redis.cache import RedisCache
    from authguard.state.redis.nonces import RedisNonces
    from authguard.state.redis.proofs import RedisProofs
    from authguard.state.redis.revocations import RedisRevocations
    from authguard.state.redis.script import Script
    from authguard.state.redis.throttle import RedisThrottleStore
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.state.redis.backend": ("RedisBackend",),
            "authguard.state.redis.cache": ("RedisCache",),
            "authguard.state.redis.nonces": ("RedisNonces",),
            "authguard.state.redis.proofs": ("RedisProofs",),
            "authguard.state.redis.revocations": ("RedisRevocations",),
            "authguard.state.redis.script": ("Script",),
            "authguard.state.redis.throttle": ("RedisThrottleStore",),
        },
    )

__all__ = [
    "RedisBackend",
    "RedisCache",
    "RedisNonces",
    "RedisProofs",
    "RedisRevocations",
    "RedisThrottleStore",
    "Script",
]
