"""The used nonces of Digest in Redis, so that all workers and hosts accept each response once."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from authguard.state.nonce_store import WINDOW, WITHOUT_COUNT, NonceUse
from authguard.state.redis.backend import RedisBackend
from authguard.state.redis.one_use import OneUseStore, OnOutage
from authguard.state.redis.script import Script
from authguard.wire.nonce import RANDOM

# The value of a nonce is its highest count, and a ring with a bit for each of the 128 counts from there down: whether
# it was used. The bit of a count is at the remainder of its division by 128. Lua computes with bits in words of 32.
_CLAIM: Final = Script(
    "nonces.claim",
    f"""
local mark = string.sub(redis.sha1hex(epoch), 1, 8)
if ARGV[5] ~= mark and now - tonumber(ARGV[2]) <= floor then
  return {{3, mark}}
end
local function place(count)
  return math.floor(count / 32) % 4 + 1, bit.lshift(1, count % 32)
end
local count = tonumber(ARGV[4])
local highest, ring = count, {{0, 0, 0, 0}}
local held = redis.call('GET', KEYS[2])
if held then
  highest, ring[1], ring[2], ring[3], ring[4] = struct.unpack('>dI4I4I4I4', held)
end
local word, mask = place(count)
local above = count - highest
if above <= -{WINDOW} then
  return {{2, mark}}
elseif above <= 0 then
  if bit.band(ring[word], mask) ~= 0 then
    return {{1, mark}}
  end
elseif above < {WINDOW} then
  for skipped = highest + 1, count - 1 do
    local its_word, its_mask = place(skipped)
    ring[its_word] = bit.band(ring[its_word], bit.bnot(its_mask))
  end
  highest = count
elseif count == {WITHOUT_COUNT} then
  return {{1, mark}}
else
  highest, ring = count, {{0, 0, 0, 0}}
end
ring[word] = bit.bor(ring[word], mask)
local value = struct.pack('>dI4I4I4I4', highest, ring[1], ring[2], ring[3], ring[4])
if held then
  redis.call('SET', KEYS[2], value, 'KEEPTTL')
else
  redis.call('SET', KEYS[2], value, 'PX', ARGV[3])
end
return {{0, mark}}
""",
)
#: The length of a mark in bytes.
_MARK = 4
_USES = (NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE, NonceUse.FORGOTTEN)


class RedisNonces(OneUseStore):
    """A ``NonceStore`` in Redis or Valkey: ``Digest(..., nonces=RedisNonces(RedisBackend(...)))``.

    All workers and hosts of one ``secret`` accept each count of a nonce once, in any order within ``WINDOW``. It costs
    one script for each response that is right, and about 170 bytes for each nonce until it expires.

    - ``on_outage``: what happens while the server does not answer. ``"deny"`` refuses each response with 503.
      ``"allow"`` accepts it, although it may be a replay, and its record has ``unchecked``; what was accepted so can be
      accepted once more after the outage.
    - ``clock_skew``: by how many seconds, at most 60, the clocks of the hosts may differ, and a request may wait in the
      app. Nonces are remembered so much longer.

    After a restart, a failover or ``FLUSHALL``, the server may have forgotten uses. All nonces that were minted before
    are then ``FORGOTTEN``: each client gets a new one, and its user is not asked. Raises ``ConfigurationError``.
    """

    def __init__(self, redis: RedisBackend, *, on_outage: OnOutage = "deny", clock_skew: float = 5.0) -> None:
        super().__init__(redis, on_outage=on_outage, clock_skew=clock_skew)
        #: The mark of the epoch that each partition was last found in; a single server has one, under b"".
        self._marks: dict[bytes, bytes] = {}

    def begin(self, now: float) -> None:
        """Nothing: the server tells when it began to remember."""

    def mark(self, random: bytes) -> bytes:
        """The random bytes of a new nonce, which begin with the mark of the epoch.

        So the server knows the nonces that were minted since it began to remember, whatever the clocks say.
        """
        mark = self._marks.get(b"") or self._marks.get(random[-1:])
        return random if mark is None else mark + random[_MARK:]

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Use the count with the nonce, if it was not used before. Raises ``BackendUnavailable``."""
        # The hash makes all keys as long. The partition is known while the nonce is minted.
        key, partition = b"n:" + sha256(nonce).digest()[:16], nonce[-1:]
        age, kept = self._arguments(made_at=minted_at, expires_at=expires_at, now=now)
        mark = nonce[-RANDOM:][:_MARK].hex()
        reply, current = await self._redis.run(_CLAIM, partition, [key], [age, kept, count, mark])
        self._marks[partition if self._redis.is_cluster() else b""] = bytes.fromhex(current.decode("ascii"))
        use = _USES[reply]
        if use is NonceUse.FORGOTTEN:
            for other, begun in (await self._begin_epochs()).items():
                self._marks[other] = bytes.fromhex(begun.decode("ascii"))
        return use
