"""What the stores of nonces and of proofs have in common: the times of clocks that differ, and what an outage means."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from authguard.errors import ConfigurationError
from authguard.state.redis.backend import RedisBackend
from authguard.state.redis.script import Script
from authguard.validation import check_seconds

#: What a scheme does while the store cannot answer: refuse all with 503, or accept without the check.
OnOutage: TypeAlias = Literal["deny", "allow"]

# A time to live of Redis is a whole number. A nonce lives for a day at most.
_LONGEST = 366 * 86_400.0

# On a Cluster each partition begins an epoch when a script first runs there.
_PARTITIONS = 256
_BEGIN: Final = Script("epochs.begin", "return 1")
# Once in so many seconds a process has all of them begin.
_PAUSE = 10.0


class OneUseStore:
    """A store in Redis of what may be used once, which is made at a time and expires."""

    def __init__(self, redis: RedisBackend, *, on_outage: OnOutage, clock_skew: float) -> None:
        if not isinstance(redis, RedisBackend):
            raise ConfigurationError("redis", f"give RedisBackend(...), not a {type(redis).__name__}")
        if on_outage not in ("deny", "allow"):
            raise ConfigurationError("on_outage", f'{on_outage!r} is not "deny" or "allow"')
        self.on_outage: OnOutage = on_outage
        self.clock_skew = check_seconds("clock_skew", clock_skew, most=60, may_be_zero=True)
        self._redis = redis
        self._next_begin = -math.inf

    def health(self) -> Mapping[str, object]:
        """That of the ``RedisBackend``."""
        return self._redis.health()

    async def warm(self) -> None:
        """Reach the server. Raises ``BackendUnavailable``."""
        await self._redis.warm()

    async def _run(
        self,
        script: Script,
        kind: bytes,
        name: bytes,
        *arguments: int,
        made_at: float,
        expires_at: float,
        now: float,
    ) -> int:
        """The reply of the script for this key.

        Its arguments are the age in seconds and the milliseconds to keep the key, and then ``arguments``. The clocks
        of hosts differ from each other and from the server's, so it gets no times. The age is too large by the skew,
        because what looks as if it was made after the server has begun to remember may be older. A key is kept longer
        by the skew, because a host whose clock is behind accepts it for so long.
        """
        # It was made by the guard or has been verified; the hash makes all keys as long.
        key = sha256(name).digest()[:16]
        skew = self.clock_skew
        kept = math.ceil(min(max(0.0, expires_at - now) + skew, _LONGEST) * 1000)
        reply: int = await self._redis.run(script, key, [kind + key], [now - made_at + skew, max(1, kept), *arguments])
        return reply

    async def _begin_epochs(self) -> None:
        """Have all partitions of a Cluster begin their epochs, after one of them may have forgotten something.

        Otherwise a client whose next nonce is in another partition would be the first one there, and be told again to
        use a new nonce, and so on.
        """
        if not self._redis.is_cluster() or time.monotonic() < self._next_begin:
            return
        self._next_begin = time.monotonic() + _PAUSE
        begun = [self._redis.run(_BEGIN, bytes([partition]), []) for partition in range(_PARTITIONS)]
        # A part of the Cluster may be down. It begins an epoch when it is back.
        await asyncio.gather(*begun, return_exceptions=True)
