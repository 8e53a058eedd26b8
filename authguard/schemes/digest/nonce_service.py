"""The nonces that a Digest scheme mints, and what becomes of those that come back."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Final, TypeAlias

from authguard.concurrency.deadline import ask
from authguard.errors import ConfigurationError
from authguard.fork import renew_after_fork
from authguard.model import Facts, Moment
from authguard.reasons import (
    NONCE_FORGOTTEN,
    NONCE_NOT_YET,
    NONCE_OUTSIDE,
    NONCE_REPLAYED,
    NONCE_STALE,
    NONCE_UNKNOWN,
    Reason,
)
from authguard.state.nonce_store import MemoryNonces, NoncesAtHand, NonceStore, NonceUse
from authguard.validation import check_seconds
from authguard.wire.nonce import RANDOM, Nonce, nonce_key

_CLAIMED = {NonceUse.REPLAYED: NONCE_REPLAYED, NonceUse.OUTSIDE: NONCE_OUTSIDE, NonceUse.FORGOTTEN: NONCE_FORGOTTEN}

#: Where the response was right, and a client that is told so answers again without asking anybody for a password.
STALE: Final = frozenset({NONCE_UNKNOWN, NONCE_STALE, NONCE_NOT_YET, *_CLAIMED.values()})

#: In octets: a secret of our own.
RANDOM_SECRET = 32

# What of a nonce's life must be over before the client is handed the next one.
_LATE = 0.75

Unusable: TypeAlias = tuple[Reason, Facts]


class NonceService:
    """Mints with the first secret that is ``known``, and knows the nonces of all. Each use is counted by the store.

    Without any it has one of its own, which no other process has.
    """

    def __init__(
        self, known: Sequence[bytes] | None, realm: str, *, life: float, store: NonceStore | None, deadline: float
    ) -> None:
        methods = [getattr(store, name, None) for name in ("begin", "claim")]
        if store is not None and (isinstance(store, type) or not all(map(callable, methods))):
            raise ConfigurationError("nonces", f"{store!r} is no store of nonces; None is one of this process")
        self._known, self._realm = known, realm
        self.renew()
        renew_after_fork(self)
        self._life = check_seconds("life", life, most=86_400)
        self._store = MemoryNonces() if store is None else store
        self._at_hand = self._store if isinstance(self._store, NoncesAtHand) else None
        self._deadline = deadline

    def renew(self) -> None:
        """Makes the secret of this process alone, where none was given: a fork is another process."""
        known = (secrets.token_bytes(RANDOM_SECRET),) if self._known is None else self._known
        self._keys = tuple(nonce_key(one, self._realm) for one in known)

    def mint(self, now: float) -> str:
        """A nonce that nobody had before."""
        self._store.begin(now)
        return Nonce.mint(now, secrets.token_bytes(RANDOM)).to_text(self._keys[0])

    async def use(self, text: bytes, count: int, moment: Moment) -> Nonce | Unusable:
        """Uses the nonce once. Its end is judged without leeway, for the clock that stamped it is ours."""
        self._store.begin(moment.now)
        nonce = Nonce.from_text(text, self._keys)
        if nonce is None:
            return NONCE_UNKNOWN, {}
        minted_at, now = nonce.issued_at, moment.now
        expires_at = minted_at + self._life
        if not moment.between(-math.inf, expires_at):
            return NONCE_STALE, {"expired_by": moment.by(expires_at)}
        if moment.not_yet(minted_at):
            return NONCE_NOT_YET, {"early_by": -moment.by(minted_at)}
        if self._at_hand is not None:
            claim = self._at_hand.claim_now(nonce.identity, count, minted_at=minted_at, expires_at=expires_at, now=now)
        else:
            asked = self._store.claim(nonce.identity, count, minted_at=minted_at, expires_at=expires_at, now=now)
            claim = await ask(asked, self._deadline)
        return nonce if claim is NonceUse.FRESH else (_CLAIMED[claim], {"count": count})

    def after(self, nonce: Nonce, now: float) -> str | None:
        """The nonce to go on with, where this one will soon be too old. RFC 7616 section 3.5, ``nextnonce``."""
        return self.mint(now) if now - nonce.issued_at >= self._life * _LATE else None
