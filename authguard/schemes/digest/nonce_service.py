"""The nonces of a Digest scheme: made for its challenges, and checked when a client sends them back."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Final

from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import ConfigurationError
from authguard.fork import renew_after_fork
from authguard.model import Failure, Moment
from authguard.reasons import (
    NONCE_FORGOTTEN,
    NONCE_NOT_YET,
    NONCE_OUTSIDE,
    NONCE_REPLAYED,
    NONCE_STALE,
    NONCE_UNKNOWN,
)
from authguard.state.nonce_store import MemoryNonces, NonceStore, NonceUse
from authguard.validation import check_seconds
from authguard.wire.nonce import RANDOM, Nonce, nonce_key

_REFUSED = {NonceUse.REPLAYED: NONCE_REPLAYED, NonceUse.OUTSIDE: NONCE_OUTSIDE, NonceUse.FORGOTTEN: NONCE_FORGOTTEN}

#: The reasons of a right response with a bad nonce. ``stale=true`` makes a client try again without asking its user.
STALE: Final = frozenset({NONCE_UNKNOWN, NONCE_STALE, NONCE_NOT_YET, *_REFUSED.values()})

#: The length of a ``PER_PROCESS`` secret in bytes.
RANDOM_SECRET = 32

# After this part of the life of a nonce, the client is sent the next one.
_NEXT_NONCE_AFTER = 0.75


class NonceService:
    """Makes nonces with the first secret, and accepts those of all secrets. The store counts each use.

    If ``shared`` is None, each process has a random secret.
    """

    def __init__(
        self, shared: Sequence[bytes] | None, realm: str, *, life: float, store: NonceStore | None, deadline: float
    ) -> None:
        methods = [getattr(store, name, None) for name in ("begin", "claim")]
        if store is not None and (isinstance(store, type) or not all(map(callable, methods))):
            raise ConfigurationError(
                "nonces", f"{store!r} is not a NonceStore; None keeps them in the memory of this process"
            )
        self._shared, self._realm = shared, realm
        self.renew()
        renew_after_fork(self)
        self._life = check_seconds("life", life, most=86_400)
        self._store = MemoryNonces() if store is None else store
        self._claim_now = optional_method(self._store, "claim_now", beside="claim")
        self._deadline = deadline

    def renew(self) -> None:
        """Make the secret of this process, if none is shared. A forked child is another process."""
        accepted = (secrets.token_bytes(RANDOM_SECRET),) if self._shared is None else self._shared
        self._keys = tuple(nonce_key(secret, self._realm) for secret in accepted)

    def mint(self, now: float) -> str:
        """A new nonce."""
        self._store.begin(now)
        return Nonce.mint(now, secrets.token_bytes(RANDOM)).to_text(self._keys[0])

    async def use(self, text: bytes, count: int, moment: Moment) -> Nonce | Failure:
        """Use the nonce with this count, or say why it is refused. Its end has no leeway: it is of our own clock."""
        self._store.begin(moment.now)
        nonce = Nonce.from_text(text, self._keys)
        if nonce is None:
            return Failure(NONCE_UNKNOWN)
        minted_at, now = nonce.issued_at, moment.now
        expires_at = minted_at + self._life
        if not moment.between(-math.inf, expires_at):
            return Failure(NONCE_STALE, {"expired_by": moment.by(expires_at)})
        if moment.not_yet(minted_at):
            return Failure(NONCE_NOT_YET, {"early_by": -moment.by(minted_at)})
        times = {"minted_at": minted_at, "expires_at": expires_at, "now": now}
        if self._claim_now is not None:
            use = self._claim_now(nonce.identity, count, **times)
        else:
            use = await ask(self._store.claim(nonce.identity, count, **times), self._deadline)
        return nonce if use is NonceUse.FRESH else Failure(_REFUSED[use], {"count": count})

    def next_nonce(self, nonce: Nonce, now: float) -> str | None:
        """The next nonce, if this one will expire soon. RFC 7616 section 3.5, ``nextnonce``."""
        return self.mint(now) if now - nonce.issued_at >= self._life * _NEXT_NONCE_AFTER else None
