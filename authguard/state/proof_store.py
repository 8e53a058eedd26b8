"""Proofs that are used once, such as those of DPoP: the interface of a store, and the store in the memory of one
process.
"""

from __future__ import annotations

import threading
import time
from enum import Enum, auto
from hashlib import sha256
from typing import Protocol

from authguard.fork import renew_after_fork
from authguard.model import Clock
from authguard.state.generations import Generations
from authguard.validation import check_int


class ProofUse(Enum):
    """A store's answer to the use of a proof."""

    #: This proof was not used before.
    FRESH = auto()
    #: This proof was used before.
    REPLAYED = auto()
    #: The proof may have been used at a time that the store does not remember.
    FORGOTTEN = auto()


_FRESH, _REPLAYED, _FORGOTTEN = ProofUse  # to read a member of an enumeration costs as much as a call


def proof_key(holder: str, proof_id: str) -> bytes:
    """The key of a proof, in 16 bytes: a part of the SHA-256 of its holder and of its id, such as ``jti``.

    The holder is named by what the proof was verified with, such as the thumbprint of the public key, and contains no
    NUL. Two holders may choose the same id. All workers and hosts have the same key.
    """
    return sha256(f"{holder}\0{proof_id}".encode("utf-8", "surrogatepass")).digest()[:16]


class ProofStore(Protocol):
    """Remembers which proofs were used, so that each is accepted once.

    Write ``claim``::

        class RedisProofs:
            async def claim(self, key: bytes, *, not_before: float, expires_at: float, now: float) -> ProofUse:
                name, end = f"proof:{key.hex()}", math.ceil(expires_at)
                return ProofUse.FRESH if await redis.set(name, 1, nx=True, exat=end) else ProofUse.REPLAYED

    A store may also have ``claim_now`` with the same arguments, not async: it is called in place of ``claim``, without
    a deadline. All times are seconds since the epoch, by the guard's clock. A store with ``on_outage = "allow"`` has
    proofs accepted while ``claim`` raises ``BackendUnavailable``; their records have ``unchecked``.

    A store with ``mark(random)`` is given the 12 random bytes of each new nonce, and returns them with a mark of its
    own in up to four of them. Its ``claim`` gets ``nonce`` too, of which they are the last bytes; it is empty for a
    proof without a nonce.
    """

    async def claim(self, key: bytes, *, not_before: float, expires_at: float, now: float) -> ProofUse:
        """Use the proof, in one step: of several equal calls, one is ``FRESH``. Raises ``BackendUnavailable``.

        ``key`` identifies the proof by at most 32 bytes: see ``proof_key``. Call it last, after the proof, the token
        and that they belong together have been verified, so that nobody without a valid token can fill the store.

        The proof can be accepted from ``not_before`` to ``expires_at``, and is claimed only then. A proof that contains
        a nonce of ours cannot be accepted before the nonce was minted. Without one, a client's clock may be ahead: it
        can be accepted as soon as its ``iat``, less the leeway, has come.

        A proof that could be accepted before a store began, or before it had to forget some, is ``FORGOTTEN``. Answer
        it with a new nonce: a proof that contains the nonce is ``FRESH``, because it could not be accepted before. A
        client that gets no nonce has to wait until its ``iat``, less the leeway, is later than what was forgotten.
        """
        ...


class MemoryProofs:
    """A ``ProofStore`` in the memory of this process.

    It keeps at most ``most`` proofs, at about 100 bytes each, until they expire; then they are freed little by little,
    as new ones come. A full memory forgets the oldest eighth and refuses nobody's new proofs: an unknown proof is
    ``FORGOTTEN`` only if it could be accepted before this process began, or before one that was forgotten expired
    or had to make room. Such a client needs one more round trip, for a nonce.

    Only holders of valid tokens fill it, and each proof costs the verification of two signatures. The default is more
    than one process can verify in two minutes. Several processes accept a proof once per process. Raises
    ``ConfigurationError``.
    """

    #: Start-up warns of it if several processes serve the app.
    is_per_process = True

    def __init__(self, *, most: int = 1_000_000, clock: Clock = time.monotonic) -> None:
        self._proofs = Generations[bool](check_int("most", most, least=1_000, most=10_000_000))
        self._clock = clock
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew in a forked child, which does not know what the other processes accept from now on."""
        self._lock = threading.Lock()  # a thread of the parent may have held the old one
        self._created, self._proofs.floor = self._clock(), None

    async def claim(self, key: bytes, *, not_before: float, expires_at: float, now: float) -> ProofUse:
        """The same as ``claim_now``."""
        return self.claim_now(key, not_before=not_before, expires_at=expires_at, now=now)

    def claim_now(self, key: bytes, *, not_before: float, expires_at: float, now: float) -> ProofUse:
        """Use the proof, if it was not used before."""
        proofs = self._proofs
        with self._lock:
            for generation in proofs.young_first:
                if key in generation.values:
                    return _REPLAYED
            if proofs.floor is None:
                # Another process may have accepted what could be accepted before this one began.
                proofs.floor = now - (self._clock() - self._created)
            if not_before <= proofs.floor:
                return _FORGOTTEN
            proofs.add(key, True, made_at=not_before, expires_at=expires_at, now=now)
            return _FRESH

    def __len__(self) -> int:
        """How many proofs are kept."""
        return len(self._proofs)
