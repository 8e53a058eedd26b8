"""What the stores of nonces and of proofs have in common: the times of clocks that differ, and what an outage means."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
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
_BEGIN: Final = Script("epochs.begin", "return string.sub(redis.sha1hex(epoch), 1, 8)")
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

    def _arguments(self, *, made_at: float, expires_at: float, now: float) -> tuple[float, int]:
        """What a script is told of the times: an age in seconds, and how many milliseconds to keep the key.

        The clocks of hosts differ from each other and from the server's, so it gets no times. The age is too large by
        the skew, because what looks as if it was made after the server has begun to remember may be older: the host
        that made it was ahead, or the request has waited. A key is kept longer by the skew, because a host whose clock
        is behind accepts it for so long.
        """
        kept = min(max(0.0, expires_at - now) + self.clock_skew, _LONGEST)
        return now - made_at + self.clock_skew, max(1, math.ceil(kept * 1000))

    async def _begin_epochs(self) -> Mapping[bytes, bytes]:
        """Have all partitions of a Cluster begin their epochs, after one of them may have forgotten something.

        Otherwise a client whose next nonce is in another partition would be the first one there, and be told again to
        use a new nonce, and so on. Returns the mark of each epoch.
        """
        if not self._redis.is_cluster() or time.monotonic() < self._next_begin:
            return {}
        self._next_begin = time.monotonic() + _PAUSE
        partitions = [bytes([partition]) for partition in range(256)]
        begun = (self._redis.run(_BEGIN, partition, []) for partition in partitions)
        # A part of the Cluster may be down. It begins an epoch when it is back.
        marks = await asyncio.gather(*begun, return_exceptions=True)
        return {key: mark for key, mark in zip(partitions, marks, strict=True) if isinstance(mark, bytes)}
