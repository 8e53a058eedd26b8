"""Login attempts that all workers and hosts count together, and who has logged in from where."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from authguard.errors import BackendUnavailable
from authguard.model import Clock
from authguard.state.redis.backend import RedisBackend, check_backend, check_on_outage
from authguard.state.redis.script import Script
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, longest_wait
from authguard.validation import check_seconds
from authguard.value_types import value

_log = logging.getLogger("authguard")

#: So many seconds lie between two warnings of outages, at least: a server may fail and answer in turns.
WARN_EVERY = 60.0

# A bucket is kept as the time at which it is full again, until a second after it (GCRA, as in ``Rate``). KEYS[2] says
# that the pair has logged in. The buckets follow it, with three arguments each: burst, seconds, and whom it counts: "s"
# in it is for strangers alone, "k" for known pairs alone.
#
# A number has 17 digits, so that it is the same when it is read again. The server's clock may be set back, or a replica
# with another one may become the master: nobody waits longer for it than an empty bucket takes to fill.
_BUCKETS = """\
local known = redis.call('GET', KEYS[2]) and true or false
local function write(index, full_at)
  local life = math.ceil((full_at - now) * 1000) + 1000
  redis.call('SET', KEYS[index], string.format('%.17g', full_at), 'PX', string.format('%.0f', life))
end
local function read(index)
  local burst, seconds = tonumber(ARGV[3 * index - 4]), tonumber(ARGV[3 * index - 3])
  local full_at = tonumber(redis.call('GET', KEYS[index]) or nil) or now
  if full_at - now > burst * seconds + 1 then
    full_at = now + burst * seconds
    write(index, full_at)
  end
  return burst, seconds, full_at
end
local function remember()
  if not known or redis.call('PTTL', KEYS[2]) < ARGV[4] / 2 then
    redis.call('SET', KEYS[2], 1, 'PX', ARGV[4])
  end
end
"""

# ARGV[2] is what to do, ARGV[3] whether the pair is known, if another partition has told, and ARGV[4] for how many
# milliseconds it is remembered. The reply is whether the pair is known, and the wait for a token of each bucket that
# counts: "acquire" takes these tokens; "check" and "allow" hold a known pair to the buckets of known pairs alone.
_COUNT = Script(
    "throttle.count",
    _BUCKETS
    + """\
local mode = ARGV[2]
if ARGV[3] ~= '' then
  known = ARGV[3] == '1'
end
local reply, counted, exceeded, known_exceeded, needed = {known and 1 or 0}, {}, false, false, false
for index = 3, #KEYS do
  local kind = ARGV[3 * index - 2]
  if not string.find(kind, known and 's' or 'k', 1, true) then
    local burst, seconds, full_at = read(index)
    local wait = math.max(full_at - now, 0) - (burst - 1) * seconds
    local is_empty = full_at > now and wait > 0
    exceeded = exceeded or is_empty
    if kind == 'k' then
      needed, known_exceeded = true, known_exceeded or is_empty
    end
    table.insert(counted, {index, math.max(full_at, now) + seconds, kind == 'k' and wait <= 0})
    table.insert(reply, is_empty and string.format('%.17g', wait) or '0')
  else
    table.insert(reply, '')
  end
end
if mode == 'acquire' then
  for _, bucket in ipairs(counted) do
    if not exceeded or bucket[3] then
      write(bucket[1], bucket[2])
    end
  end
elseif mode ~= 'remaining' and ((needed and not known_exceeded) or not exceeded) and (known or mode == 'allow') then
  remember()
end
return reply
""",
)

# ARGV[2] is whether the pair is to be remembered, ARGV[4] for how many milliseconds.
_REFUND = Script(
    "throttle.refund",
    _BUCKETS
    + """\
for index = 3, #KEYS do
  local burst, seconds, full_at = read(index)
  if full_at - seconds > now then
    write(index, full_at - seconds)
  else
    redis.call('DEL', KEYS[index])
  end
end
if ARGV[2] == '1' then
  remember()
end
return 1
""",
)

_Mode = Literal["acquire", "remaining", "check", "allow"]


@value
class _Counts:
    """What the buckets of an attempt say: which of them count it, with the wait for a token of each, 0 for none."""

    known: bool
    waits: Sequence[tuple[Bucket, float]]

    @property
    def buckets(self) -> Sequence[Bucket]:
        return [bucket for bucket, _ in self.waits]

    def exceeded(self, *, authenticated: bool = False) -> Exceeded | None:
        """The longest wait. Credentials that are known to be right need the buckets of known pairs alone."""
        if authenticated:
            needed = [wait for bucket, wait in self.waits if bucket.known_only]
            if needed and max(needed) <= 0:
                return None
        return longest_wait([(wait, bucket.label) for bucket, wait in self.waits])


class RedisThrottleStore:
    """Counts the attempts of all workers and hosts: ``LoginThrottle(store=RedisThrottleStore(redis))``.

    - ``redis``: the ``RedisBackend``.
    - ``on_outage``: what happens while Redis cannot answer. With ``"memory"`` each process counts for itself, and one
      WARNING says so; what it has counted goes on to count after the outage, until its buckets are full. With
      ``"deny"`` a login is a 503.
    - ``remember_for``: for how many seconds a pair of account and network that has logged in is remembered.
    - ``most``: how many buckets the memory of one process holds in an outage. ``clock`` is that of this memory.

    Throttles with one store and one secret count together. A bucket is kept until it is full, by the server's clock. If
    Redis loses its data, all buckets are full, and nobody has logged in before.

    On a Cluster the buckets of an account are in one partition, by the first byte of their keys. Those of a network
    (``trusted_client=True``), and of hashed names in Digest, are in others: these are asked side by side, and what one
    of them has taken is put back if another one refuses. Of two attempts that want the last token at the same time,
    both may be refused then.

    It needs asyncio. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        redis: RedisBackend,
        *,
        on_outage: Literal["memory", "deny"] = "memory",
        remember_for: float = 30 * 86_400.0,
        most: int = 100_000,
        clock: Clock = time.monotonic,
    ) -> None:
        self._redis = check_backend(redis)
        self.on_outage = check_on_outage(on_outage, "memory", "deny")
        self._life = math.ceil(check_seconds("remember_for", remember_for, most=10 * 365 * 86_400) * 1000)
        #: What is counted here in an outage, and which pairs are known to have logged in.
        self._memory = MemoryThrottleStore(most=most, clock=clock)
        self._clock = clock
        self._is_out = self._has_warned = False
        self._warn_at = -math.inf

    def health(self) -> Mapping[str, object]:
        """That of the ``RedisBackend``; ``counts_in`` is where attempts are counted, ``redis`` or ``memory``."""
        return {**self._redis.health(), "counts_in": "memory" if self._is_out else "redis"}

    async def warm(self) -> None:
        """Reach Redis. Raises ``BackendUnavailable`` with ``on_outage="deny"``."""
        try:
            await self._redis.warm()
        except BackendUnavailable as outage:
            self._note_outage(outage)

    @property
    def is_idle(self) -> bool:
        """Never known: another process may have counted something."""
        return False

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        """Take a token from each bucket that counts this attempt, and return these; or refuse it."""
        return (await self.acquire_known(pair, buckets))[0]

    async def acquire_known(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Sequence[Bucket] | Exceeded, bool]:
        """The same, and whether the pair is remembered."""
        memory = self._memory
        taken: Sequence[Bucket] | None = None
        if memory.holds_any(buckets):
            here = memory.acquire_now(pair, buckets)
            if isinstance(here, Exceeded):
                return here, memory.knows_now(pair)
            taken = here
        try:
            counts = await self._count("acquire", pair, buckets)
        except BackendUnavailable as outage:
            self._note_outage(outage)
            return memory.acquire_now(pair, buckets) if taken is None else taken, memory.knows_now(pair)
        exceeded = counts.exceeded()
        if exceeded is not None and taken is not None:
            memory.refund_now(None, [bucket for bucket in taken if not bucket.known_only])
        return exceeded or counts.buckets, counts.known

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        """``Exceeded`` if ``acquire`` would return it."""
        return (await self._ask("check" if authenticated else "remaining", pair, buckets))[0]

    async def check(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Exceeded | None, bool]:
        """``remaining`` with ``authenticated``, and whether the pair is remembered. If so, that is renewed."""
        return await self._ask("check", pair, buckets)

    async def allow(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        """``remaining`` with ``authenticated``; unless it is exceeded, remember that the pair has logged in."""
        return (await self._ask("allow", pair, buckets))[0]

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        """Put a token back into each bucket."""
        await self._put_back(None, buckets)

    async def refund_and_remember(self, pair: bytes, buckets: Sequence[Bucket]) -> None:
        """The same, and remember that the pair has logged in."""
        await self._put_back(pair, buckets)

    async def remember(self, pair: bytes) -> None:
        """Remember that the pair has logged in."""
        await self._put_back(pair, ())

    async def knows(self, pair: bytes) -> bool:
        """Whether the pair is remembered."""
        return (await self._ask("remaining", pair, ()))[1]

    # --- outages ------------------------------------------------------------------------------------------------------

    async def _ask(self, mode: _Mode, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Exceeded | None, bool]:
        """What is exceeded, and whether the pair is remembered. What was counted here in an outage counts, too."""
        memory, authenticated = self._memory, mode != "remaining"
        if memory.holds_any(buckets):
            exceeded = memory.remaining_now(pair, buckets, authenticated=authenticated)
            if exceeded is not None:
                return exceeded, memory.knows_now(pair)
        try:
            counts = await self._count(mode, pair, buckets)
        except BackendUnavailable as outage:
            self._note_outage(outage)
            exceeded = memory.remaining_now(pair, buckets, authenticated=authenticated)
            if exceeded is None and mode == "allow":
                memory.refund_now(pair, ())
            return exceeded, memory.knows_now(pair)
        return counts.exceeded(authenticated=authenticated), counts.known

    async def _put_back(self, pair: bytes | None, buckets: Sequence[Bucket]) -> None:
        if pair is not None or self._memory.holds_any(buckets):
            self._memory.refund_now(pair, buckets)
        try:
            await self._refund(pair, buckets)
        except BackendUnavailable as outage:
            # In Redis the attempt stays counted, and its buckets fill again by themselves.
            self._note_outage(outage)

    def _note_outage(self, outage: BackendUnavailable) -> None:
        """Warn that this process counts for itself now. Raises the exception if logins are to be denied."""
        if self.on_outage == "deny":
            raise outage
        now = self._clock()
        if not self._is_out and now >= self._warn_at:
            self._warn_at, self._has_warned = now + WARN_EVERY, True
            _log.warning("RedisThrottleStore: this process counts login attempts for itself meanwhile: %s", outage)
        self._is_out = True

    def _note_answer(self, pair: bytes | None, *, known: bool) -> None:
        """Redis has answered. What this process knows of a pair counts in an outage."""
        self._is_out = False
        if self._has_warned:
            self._has_warned = False
            _log.info("RedisThrottleStore: Redis counts login attempts again")
        if known and pair is not None and not self._memory.knows_now(pair):
            self._memory.refund_now(pair, ())

    # --- Redis --------------------------------------------------------------------------------------------------------

    async def _count(self, mode: _Mode, pair: bytes, buckets: Sequence[Bucket]) -> _Counts:
        """Run the script in each partition. Raises ``BackendUnavailable``."""
        home, parts = pair[:1], self._by_partition(pair, buckets)
        if len(parts) == 1:
            counts = _counts(buckets, await self._run(mode, home, pair, buckets))
        else:
            counts = await self._count_in_parts(mode, home, pair, parts)
        self._note_answer(pair, known=counts.known)
        return counts

    async def _count_in_parts(self, mode: _Mode, home: bytes, pair: bytes, parts: dict[bytes, list[Bucket]]) -> _Counts:
        others = [bucket for partition, group in parts.items() if partition != home for bucket in group]
        known = ""
        if any(bucket.strangers_only or bucket.known_only for bucket in others):
            # Only the pair's own partition knows. So it is with hashed names; a network counts everybody.
            known = str(int(_counts((), await self._run("remaining", home, pair, ())).known))
        counting: _Mode = "acquire" if mode == "acquire" else "remaining"
        at_home: _Mode = "check" if mode == "allow" else mode
        replies = await _all(
            [
                self._run(at_home, partition, pair, group, known)
                if partition == home
                else self._run(counting, partition, pair, group, known or "0")
                for partition, group in parts.items()
            ]
        )
        each = [_counts(group, reply) for group, reply in zip(parts.values(), replies, strict=True)]
        counts = _Counts(each[0].known, [wait for part in each for wait in part.waits])
        with suppress(BackendUnavailable):  # the answer is known
            if mode == "acquire" and counts.exceeded() is not None:
                # A part that refuses has taken nothing, but for the buckets of known pairs, which are not refunded.
                taking = [part for part in each if part.exceeded() is None]
                await self._refund(None, [b for part in taking for b in part.buckets if not b.known_only])
            if mode == "allow" and not counts.known and counts.exceeded(authenticated=True) is None:
                await self._refund(pair, ())
        return counts

    async def _refund(self, pair: bytes | None, buckets: Sequence[Bucket]) -> None:
        """Put tokens back, and remember the pair if one is given. Raises ``BackendUnavailable``."""
        parts = self._by_partition(pair, buckets)
        await _all(
            [
                self._redis.run(
                    _REFUND,
                    partition,
                    _names(pair or b"", group),
                    ["1" if pair is not None and partition == pair[:1] else "0", "", self._life, *_rates(group)],
                )
                for partition, group in parts.items()
            ]
        )
        self._note_answer(None, known=False)

    async def _run(self, mode: _Mode, partition: bytes, pair: bytes, buckets: Sequence[Bucket], known: str = "") -> Any:
        return await self._redis.run(
            _COUNT, partition, _names(pair, buckets), [mode, known, self._life, *_rates(buckets)]
        )

    def _by_partition(self, pair: bytes | None, buckets: Sequence[Bucket]) -> dict[bytes, list[Bucket]]:
        """The buckets by partition, that of the pair first. All are in one, unless Redis is a Cluster."""
        if not self._redis.is_cluster():
            return {(pair or b"\0")[:1]: list(buckets)}
        parts: dict[bytes, list[Bucket]] = {} if pair is None else {pair[:1]: []}
        for bucket in buckets:
            parts.setdefault(bucket.key[:1], []).append(bucket)
        return parts


def _names(pair: bytes, buckets: Iterable[Bucket]) -> list[bytes]:
    return [b"t:p:" + pair, *(b"t:b:" + bucket.key for bucket in buckets)]


def _rates(buckets: Iterable[Bucket]) -> list[str]:
    rates = []
    for bucket in buckets:
        kind = "s" * bucket.strangers_only + "k" * bucket.known_only
        rates += [str(bucket.rate.burst), repr(float(bucket.rate.seconds)), kind]
    return rates


def _counts(buckets: Sequence[Bucket], reply: Any) -> _Counts:
    known, *waits = reply
    counted = [(bucket, float(wait)) for bucket, wait in zip(buckets, waits, strict=True) if wait]
    return _Counts(known == 1, counted)


async def _all(calls: Sequence[Any]) -> list[Any]:
    """The answers of calls that are made side by side. A failure is raised when all have ended."""
    if len(calls) == 1:
        return [await calls[0]]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers
