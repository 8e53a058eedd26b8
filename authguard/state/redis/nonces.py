"""The used nonces of Digest in Redis, so that all workers and hosts accept each response once."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from authguard.state.nonce_store import WINDOW, WITHOUT_COUNT, NonceUse
from authguard.state.redis.backend import RedisBackend
from authguard.state.redis.one_use import LUA_MARK, OneUseStore, OnOutage
from authguard.state.redis.script import Script

# The value of a nonce is its highest count, and a ring with a bit for each of the 128 counts from there down: whether
# it was used. The bit of a count is at the remainder of its division by 128. Lua computes with bits in words of 32.
_CLAIM: Final = Script(
    "nonces.claim",
    f"""
local mark = {LUA_MARK}
if ARGV[4] ~= mark and now - tonumber(ARGV[2]) <= floor then
  return {{3, mark}}
end
local function place(count)
  return math.floor(count / 32) % 4 + 1, bit.lshift(1, count % 32)
end
local count = tonumber(ARGV[5])
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
# What the script above would answer. Nothing is written.
_PEEK: Final = Script(
    "nonces.peek",
    f"""
local mark = {LUA_MARK}
if ARGV[4] ~= mark and now - tonumber(ARGV[2]) <= floor then
  return {{3, mark}}
end
local count, held = tonumber(ARGV[5]), redis.call('GET', KEYS[2])
if not held then
  return {{0, mark}}
end
local ring = {{}}
local highest
highest, ring[1], ring[2], ring[3], ring[4] = struct.unpack('>dI4I4I4I4', held)
local above = count - highest
if above <= -{WINDOW} then
  return {{2, mark}}
elseif above <= 0 then
  local used = bit.band(ring[math.floor(count / 32) % 4 + 1], bit.lshift(1, count % 32)) ~= 0
  return {{used and 1 or 0, mark}}
end
return {{above >= {WINDOW} and count == {WITHOUT_COUNT} and 1 or 0, mark}}
""",
)
_USES = (NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE, NonceUse.FORGOTTEN)


class RedisNonces(OneUseStore):
    """A ``NonceStore`` in Redis or Valkey: ``Digest(..., nonces=RedisNonces(RedisBackend(...)))``.

    All workers and hosts of one ``secret`` accept each count of a nonce once, in any order within ``WINDOW``. It costs
    one script for each response that is right, and about 160 bytes for each nonce until it expires.

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

    def begin(self, now: float) -> None:
        """Nothing: the server tells when it began to remember."""

    def mark(self, random: bytes) -> bytes:
        """The random bytes of a new nonce, with a mark of what the server remembers.

        So it knows the nonces that were minted since it began to remember, whatever the clocks say.
        """
        return self._marked(random)

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Use the count with the nonce, if it was not used before. Raises ``BackendUnavailable``."""
        key = b"n:" + sha256(nonce).digest()[:16]  # so that all are as long
        reply = await self._run(
            _CLAIM, key, nonce, count, made_at=minted_at, expires_at=expires_at, now=now, forgotten=3
        )
        return _USES[reply]

    async def peek(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """What ``claim`` would answer. Nothing is used. Raises ``BackendUnavailable``."""
        key = b"n:" + sha256(nonce).digest()[:16]
        reply = await self._run(
            _PEEK, key, nonce, count, made_at=minted_at, expires_at=expires_at, now=now, forgotten=-1
        )
        return _USES[reply]
