"""What the stores of nonces and of proofs have in common: the times of clocks that differ, and what an outage means."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from authguard.state.redis.backend import RedisBackend, check_backend, check_on_outage
from authguard.state.redis.script import Script
from authguard.validation import check_seconds
from authguard.wire.nonce import RANDOM

#: What a scheme does while the store cannot answer: refuse all with 503, or accept without the check.
OnOutage: TypeAlias = Literal["deny", "allow"]

# A time to live of Redis is a whole number. A nonce lives for a day at most.
_LONGEST = 366 * 86_400.0

#: The length in bytes of the mark of an epoch, and how a script computes it.
_MARK = 4
LUA_MARK: Final = f"string.sub(redis.sha1hex(epoch), 1, {2 * _MARK})"

# On a Cluster each partition begins an epoch when a script first runs there.
_BEGIN: Final = Script("epochs.begin", f"return {LUA_MARK}")
# Once in so many seconds a process has all of them begin.
_PAUSE = 10.0


class OneUseStore:
    """A store in Redis of what may be used once, which is made at a time and expires."""

    def __init__(self, redis: RedisBackend, *, on_outage: OnOutage, clock_skew: float) -> None:
        self._redis = check_backend(redis)
        self.on_outage: OnOutage = check_on_outage(on_outage, "deny", "allow")
        self.clock_skew = check_seconds("clock_skew", clock_skew, most=60, may_be_zero=True)
        self._next_begin = -math.inf
        #: The mark of the epoch that each partition was last found in; a single server has one, under b"".
        self._marks: dict[bytes, bytes] = {}

    def health(self) -> Mapping[str, object]:
        """That of the ``RedisBackend``."""
        return self._redis.health()

    async def warm(self) -> None:
        """Reach the server. Raises ``BackendUnavailable``."""
        await self._redis.warm()

    def _marked(self, random: bytes) -> bytes:
        """The random bytes of a new nonce, which begin with the mark of the epoch."""
        mark = self._marks.get(b"") or self._marks.get(random[-1:])
        return random if mark is None else mark + random[_MARK:]

    async def _run(
        self,
        script: Script,
        key: bytes,
        nonce: bytes,
        *arguments: int,
        made_at: float,
        expires_at: float,
        now: float,
        forgotten: int,
    ) -> int:
        """The reply of the script, which is a number and the mark of the epoch. ``forgotten`` is one of these numbers.

        The arguments of the script are an age in seconds, how many milliseconds to keep the key, the mark in the nonce,
        and ``arguments``. The partition is that of the last byte of the nonce, so that it is known when the nonce is
        minted.

        The clocks of hosts differ from each other and from the server's, so it gets no times. The age is too large by
        the skew, because what looks as if it was made after the server has begun to remember may be older: the host
        that made it was ahead, or the request has waited. A key is kept longer by the skew, because a host whose clock
        is behind accepts it for so long.
        """
        skew, partition = self.clock_skew, nonce[-1:]
        kept = math.ceil(min(max(0.0, expires_at - now) + skew, _LONGEST) * 1000)
        mark = nonce[-RANDOM:][:_MARK].hex()
        reply: int
        reply, current = await self._redis.run(
            script, partition, [key], [now - made_at + skew, max(1, kept), mark, *arguments]
        )
        self._marks[partition if self._redis.is_cluster() else b""] = bytes.fromhex(current.decode("ascii"))
        if reply == forgotten:
            await self._begin_epochs()
        return reply

    async def _begin_epochs(self) -> None:
        """Have all partitions of a Cluster begin their epochs, after one of them may have forgotten something.

        Otherwise a client whose next nonce is in another partition would be the first one there, and be told again to
        use a new nonce, and so on.
        """
        if not self._redis.is_cluster() or time.monotonic() < self._next_begin:
            return
        self._next_begin = time.monotonic() + _PAUSE
        partitions = [bytes([partition]) for partition in range(256)]
        begun = (self._redis.run(_BEGIN, partition, []) for partition in partitions)
        # A part of the Cluster may be down. It begins an epoch when it is back.
        marks = await asyncio.gather(*begun, return_exceptions=True)
        for partition, mark in zip(partitions, marks, strict=True):
            if isinstance(mark, bytes):
                self._marks[partition] = bytes.fromhex(mark.decode("ascii"))
