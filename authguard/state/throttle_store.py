"""Where a login throttle counts: the interface, and the store in the memory of one process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from authguard.caching import BoundedCache
from authguard.concurrency.token_bucket import Rate
from authguard.fork import ForkSafeLock
from authguard.model import Clock
from authguard.validation import check_int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One token bucket of an attempt. ``label`` names it in the record.

    ``strangers_only``: whether it counts only attempts of pairs that have not logged in before.
    """

    key: bytes = field(repr=False)
    rate: Rate
    label: str
    strangers_only: bool = False


@dataclass(frozen=True, slots=True)
class Exceeded:
    """No attempt is left: the seconds to wait, and the bucket that is empty."""

    retry_after: int
    bucket: str

    def facts(self) -> dict[str, object]:
        """The facts for the record."""
        return {"retry_after": self.retry_after, "bucket": self.bucket}


class ThrottleStore(Protocol):
    """Counts attempts in token buckets, and remembers which pairs of account and network have logged in.

    ``pair`` and the keys of the buckets are keyed hashes of 16 bytes. Each method is one step: of two attempts at the
    same time that want the last token, one gets it. Raises ``BackendUnavailable``.
    """

    @property
    def is_idle(self) -> bool:
        """Whether no bucket is known to have been touched, so that nothing can be exceeded."""
        ...

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """Take a token from each bucket that counts this attempt, and return these; or take none."""
        ...

    async def remaining(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``Exceeded`` if ``acquire`` would return it. Takes nothing."""
        ...

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Put a token back into each bucket."""
        ...

    async def remember(self, pair: bytes) -> None:
        """Remember that the pair has logged in."""
        ...


class MemoryThrottleStore:
    """Counts in the memory of this process.

    At most ``most`` buckets are kept. The least recently used are forgotten, and count as full again. Raises
    ``ConfigurationError``.
    """

    def __init__(self, *, most: int = 100_000, clock: Clock = time.monotonic) -> None:
        check_int("most", most, least=1_000, most=10_000_000)
        self._clock = clock
        self._lock = ForkSafeLock()
        #: For each bucket that is not full, the time at which it will be.
        self._full_at = BoundedCache[float](most)
        self._logged_in = BoundedCache[bool](most)

    @property
    def is_idle(self) -> bool:
        """Whether every bucket is full."""
        return not self._full_at

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """Take a token from each bucket that counts this attempt, and return these; or take none."""
        with self._lock:
            now = self._clock()
            counted = self._counting(pair, buckets)
            if exceeded := self._exceeded(counted, now):
                return exceeded
            for bucket in counted:
                full_at = self._full_at.get(bucket.key)
                self._full_at.put(bucket.key, bucket.rate.spend(now if full_at is None else full_at, now))
            return counted

    async def remaining(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``Exceeded`` if ``acquire`` would return it."""
        with self._lock:
            return self._exceeded(self._counting(pair, buckets), self._clock())

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Put a token back into each bucket."""
        with self._lock:
            now = self._clock()
            for bucket in buckets:
                full_at = self._full_at.get(bucket.key)
                refunded = now if full_at is None else bucket.rate.refund(full_at)
                if refunded > now:
                    self._full_at.put(bucket.key, refunded)
                else:
                    self._full_at.discard(bucket.key)  # a full bucket needs no entry

    async def remember(self, pair: bytes) -> None:
        """Remember that the pair has logged in."""
        with self._lock:
            self._logged_in.put(pair, True)

    def _counting(self, pair: bytes, buckets: Sequence[Bucket]) -> list[Bucket]:
        known = pair in self._logged_in
        return [bucket for bucket in buckets if not (known and bucket.strangers_only)]

    def _exceeded(self, buckets: Sequence[Bucket], now: float) -> Exceeded | None:
        waits = [
            (bucket.rate.wait(full_at, now), bucket.label)
            for bucket in buckets
            if (full_at := self._full_at.get(bucket.key)) is not None
        ]
        wait, label = max(waits, default=(0.0, ""))
        return Exceeded(math.ceil(wait), label) if wait > 0 else None
