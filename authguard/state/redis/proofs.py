"""Proofs that are used once in Redis, so that all workers and hosts accept each once."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from authguard.state.proof_store import ProofUse
from authguard.state.redis.backend import RedisBackend
from authguard.state.redis.one_use import LUA_MARK, OneUseStore, OnOutage
from authguard.state.redis.script import Script

# The value is a number, because Redis keeps small ones only once.
_CLAIM: Final = Script(
    "proofs.claim",
    f"""
local mark = {LUA_MARK}
if ARGV[4] ~= mark and now - tonumber(ARGV[2]) <= floor then
  return {{redis.call('GET', KEYS[2]) and 1 or 2, mark}}
end
return {{redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[3]) and 0 or 1, mark}}
""",
)
# What the script above would answer. Nothing is written.
_PEEK: Final = Script(
    "proofs.peek",
    f"""
local mark = {LUA_MARK}
local is_old = ARGV[4] ~= mark and now - tonumber(ARGV[2]) <= floor
return {{redis.call('GET', KEYS[2]) and 1 or is_old and 2 or 0, mark}}
""",
)
_USES = (ProofUse.FRESH, ProofUse.REPLAYED, ProofUse.FORGOTTEN)


class RedisProofs(OneUseStore):
    """A ``ProofStore`` in Redis or Valkey: all workers and hosts accept each proof once.

    It costs one script for each proof, and about 115 bytes for each until it expires. If the memory of the server is
    full, it keeps no new proofs, which is an outage.

    - ``on_outage``: what happens while the server does not answer. ``"deny"`` refuses each proof with 503. ``"allow"``
      accepts it, although it may be a replay, and its record has ``unchecked``.
    - ``clock_skew``: by how many seconds, at most 60, the clocks of the hosts may differ, and a request may wait in the
      app. Proofs are remembered so much longer.

    After a restart, a failover or ``FLUSHALL``, the server may have forgotten proofs. All that could be accepted before
    are then ``FORGOTTEN``, and the client gets a nonce for its next one. Raises ``ConfigurationError``.
    """

    def __init__(self, redis: RedisBackend, *, on_outage: OnOutage = "deny", clock_skew: float = 5.0) -> None:
        super().__init__(redis, on_outage=on_outage, clock_skew=clock_skew)

    def mark(self, random: bytes) -> bytes:
        """The random bytes of a new nonce, with a mark of what the server remembers.

        So it knows the nonces that were minted since it began to remember, whatever the clocks say.
        """
        return self._marked(random)

    async def claim(
        self, key: bytes, *, not_before: float, expires_at: float, now: float, nonce: bytes = b""
    ) -> ProofUse:
        """Use the proof, if it was not used before. ``nonce`` identifies the nonce in the proof, if it has one.

        Raises ``BackendUnavailable``.
        """
        hashed = sha256(key).digest()[:16]  # so that all are as long
        reply = await self._run(
            _CLAIM,
            b"p:" + hashed,
            nonce or hashed,
            made_at=not_before,
            expires_at=expires_at,
            now=now,
            forgotten=2,
        )
        return _USES[reply]

    async def peek(
        self, key: bytes, *, not_before: float, expires_at: float, now: float, nonce: bytes = b""
    ) -> ProofUse:
        """What ``claim`` would answer. Nothing is used. Raises ``BackendUnavailable``."""
        hashed = sha256(key).digest()[:16]
        reply = await self._run(
            _PEEK,
            b"p:" + hashed,
            nonce or hashed,
            made_at=not_before,
            expires_at=expires_at,
            now=now,
            forgotten=-1,
        )
        return _USES[reply]
