"""Where a login throttle counts: the interface, and the store in the memory of one process."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from authguard.caching import BoundedCache
from authguard.concurrency.token_bucket import Rate
from authguard.fork import ForkSafeLock
from authguard.model import Clock
from authguard.validation import check_int
from authguard.value_types import value


@value
class Bucket:
    """One token bucket of an attempt. ``label`` names it in the record.

    - ``strangers_only``: whether it counts only attempts of pairs that have not logged in before.
    - ``known_only``: whether it counts only attempts of pairs that have logged in before. These it counts although
      another bucket is empty, and credentials that are known to be right need a token of no other bucket.
    """

    key: bytes = field(repr=False)
    rate: Rate
    label: str
    strangers_only: bool = False
    known_only: bool = False


@value
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

    A store that counts in memory may also have ``acquire_now``, ``remaining_now``, ``allow_now``, ``refund_now`` and
    ``knows_now``, which are not async: the same steps for a request that awaits nothing. ``allow_now`` is
    ``remaining_now`` with ``authenticated``, and ``remember`` if that is not exceeded. ``refund_now`` remembers the
    pair too, if it is given one.

    A store that has to be asked over a network may have the methods of ``CombinedSteps``. The keys of one account begin
    with the same byte, so that such a store can keep them at one place.
    """

    @property
    def is_idle(self) -> bool:
        """Whether all buckets are known to be full, so that nothing can be exceeded."""
        ...

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """Take a token from each bucket that counts this attempt, and return these.

        If one of them is empty, take none but from ``known_only`` buckets that have one.
        """
        ...

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        """``Exceeded`` if ``acquire`` would return it. Takes nothing.

        If the credentials are known to be right (``authenticated``), a pair that has logged in before is not held to
        buckets other than ``known_only``. If one of these is empty, the answer is that of wrong credentials.
        """
        ...

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Put a token back into each bucket."""
        ...

    async def remember(self, pair: bytes) -> None:
        """Remember that the pair has logged in."""
        ...

    async def knows(self, pair: bytes) -> bool:
        """Whether the pair is remembered."""
        ...


class CombinedSteps(Protocol):
    """Optional methods of a ``ThrottleStore``: each does in one step, and one round trip, what else takes two."""

    async def acquire_known(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Sequence[Bucket] | Exceeded, bool]:
        """``acquire``, and whether the pair was remembered before."""
        ...

    async def check(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Exceeded | None, bool]:
        """``remaining`` with ``authenticated``, and whether the pair is remembered. If so, that is renewed."""
        ...

    async def allow(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``remaining`` with ``authenticated``; unless it is exceeded, ``remember``."""
        ...

    async def refund_and_remember(self, pair: bytes, buckets: Sequence[Bucket]) -> None:
        """``refund`` and ``remember``."""
        ...


class SeparateSteps:
    """``CombinedSteps`` of a store that has none, by two calls each."""

    def __init__(self, store: ThrottleStore) -> None:
        self._store = store

    async def acquire_known(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Sequence[Bucket] | Exceeded, bool]:
        """``acquire`` after ``knows``."""
        known = await self._store.knows(pair)
        return await self._store.acquire(pair, buckets), known

    async def check(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Exceeded | None, bool]:
        """``remaining`` and ``knows``. What is remembered is renewed."""
        known = await self._store.knows(pair)
        exceeded = await self._store.remaining(pair, buckets, authenticated=True)
        if known and exceeded is None:
            await self._store.remember(pair)
        return exceeded, known

    async def allow(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``remaining``, and then ``remember``."""
        exceeded = await self._store.remaining(pair, buckets, authenticated=True)
        if exceeded is None:
            await self._store.remember(pair)
        return exceeded

    async def refund_and_remember(self, pair: bytes, buckets: Sequence[Bucket]) -> None:
        """``refund``, and then ``remember``."""
        await self._store.refund(buckets)
        await self._store.remember(pair)


class MemoryThrottleStore:
    """Counts in the memory of this process.

    At most ``most`` buckets are kept. The least recently used are forgotten, and count as full again. Raises
    ``ConfigurationError``.
    """

    #: Start-up warns of it if several processes serve the app.
    is_per_process = True

    def __init__(self, *, most: int = 100_000, clock: Clock = time.monotonic) -> None:
        self._most = check_int("most", most, least=1_000, most=10_000_000)
        self._clock = clock
        self._lock = ForkSafeLock()
        #: For each bucket that is not full, the time at which it will be.
        self._full_at = BoundedCache[float](most)
        #: When all of them will be full.
        self._idle_at = -math.inf
        self._logged_in = BoundedCache[bool](most)

    @property
    def is_idle(self) -> bool:
        """Whether every bucket is full."""
        return not self._full_at or self._clock() >= self._idle_at

    def health(self) -> Mapping[str, object]:
        """How many ``buckets`` are kept, because attempts were taken from them lately, and how many at ``most``."""
        return {"buckets": 0 if self.is_idle else len(self._full_at), "most": self._most}

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """Take a token from each bucket that counts this attempt, and return these; or refuse it."""
        return self.acquire_now(pair, buckets)

    def acquire_now(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """The same."""
        with self._lock:
            now = self._clock()
            if now >= self._idle_at and self._full_at:
                self._full_at.clear()  # a full bucket needs no entry
            counted = self._counting(pair, buckets, now)
            exceeded = _exceeded(counted, now)
            for bucket, full_at in counted:
                if exceeded is None or (bucket.known_only and bucket.rate.wait(full_at, now) <= 0):
                    spent = bucket.rate.spend(full_at, now)
                    self._full_at.put(bucket.key, spent)
                    self._idle_at = max(self._idle_at, spent)
            return [bucket for bucket, _ in counted] if exceeded is None else exceeded

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        """``Exceeded`` if ``acquire`` would return it."""
        return self.remaining_now(pair, buckets, authenticated=authenticated)

    def remaining_now(self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False) -> Exceeded | None:
        """The same."""
        with self._lock:
            now = self._clock()
            counted = self._counting(pair, buckets, now)
            if authenticated:
                needed = [(bucket, full_at) for bucket, full_at in counted if bucket.known_only]
                if needed and _exceeded(needed, now) is None:
                    return None
            return _exceeded(counted, now)

    def allow_now(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``remaining_now`` with ``authenticated``; unless it is exceeded, remember that the pair has logged in."""
        if self.passes_now(pair, buckets):
            return None
        exceeded = self.remaining_now(pair, buckets, authenticated=True)
        if exceeded is None:
            self._remember(pair)
        return exceeded

    def passes_now(self, pair: bytes, buckets: Sequence[Bucket]) -> bool:
        """Whether ``allow_now`` would return None and change nothing.

        That is so nearly always: the pair is remembered, and is not held to be guessing. It is found out without the
        lock: a bucket that another thread is just changing has a token before the change, or after it.
        """
        return self._logged_in.is_young(pair) and self._has_known_token(buckets)

    def _has_known_token(self, buckets: Sequence[Bucket]) -> bool:
        """Whether there are buckets for known pairs, and all of them have a token."""
        has_token = False
        for bucket in buckets:
            if bucket.known_only:
                full_at = self._full_at.get(bucket.key)
                has_token = full_at is None or bucket.rate.wait(full_at, self._clock()) <= 0
                if not has_token:
                    break
        return has_token

    def holds_any(self, buckets: Sequence[Bucket]) -> bool:
        """Whether one of these buckets is not full."""
        if self.is_idle:  # nearly always
            return False
        now = self._clock()
        return any((self._full_at.get(bucket.key) or -math.inf) > now for bucket in buckets)

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Put a token back into each bucket."""
        self.refund_now(None, buckets)

    def refund_now(self, pair: bytes | None, buckets: Sequence[Bucket]) -> None:
        """The same; and remember that the pair has logged in, if one is given."""
        with self._lock:
            now = self._clock()
            for bucket in buckets:
                full_at = self._full_at.get(bucket.key)
                refunded = now if full_at is None else bucket.rate.refund(full_at)
                if refunded > now:
                    self._full_at.put(bucket.key, refunded)
                else:
                    self._full_at.discard(bucket.key)  # a full bucket needs no entry
            if pair is not None:
                self._logged_in.put(pair, True)

    async def remember(self, pair: bytes) -> None:
        """Remember that the pair has logged in."""
        self._remember(pair)

    def _remember(self, pair: bytes) -> None:
        with self._lock:
            self._logged_in.put(pair, True)

    async def knows(self, pair: bytes) -> bool:
        """Whether the pair is remembered."""
        return self.knows_now(pair)

    def knows_now(self, pair: bytes) -> bool:
        """The same."""
        return pair in self._logged_in

    def _counting(self, pair: bytes, buckets: Sequence[Bucket], now: float) -> list[tuple[Bucket, float]]:
        """The buckets that count this pair, each with the time at which it is full: ``now`` if it is full already."""
        known, counted = pair in self._logged_in, []
        for bucket in buckets:
            if not (bucket.strangers_only if known else bucket.known_only):
                full_at = self._full_at.get(bucket.key)
                counted.append((bucket, now if full_at is None else full_at))
        return counted


def _exceeded(counted: Sequence[tuple[Bucket, float]], now: float) -> Exceeded | None:
    """The longest wait for a token of one of these buckets; None if all of them have one."""
    return longest_wait(
        [(bucket.rate.wait(full_at, now), bucket.label) for bucket, full_at in counted if full_at > now]
    )


def longest_wait(waits: Sequence[tuple[float, str]]) -> Exceeded | None:
    """The longest of waits in seconds, and the label of its bucket; None if nobody has to wait."""
    wait, label = max(waits, default=(0.0, ""))
    return Exceeded(math.ceil(wait), label) if wait > 0 else None
