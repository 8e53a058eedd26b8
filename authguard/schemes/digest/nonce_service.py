"""The nonces of a Digest scheme: made for its challenges, and checked when a client sends them back."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeAlias

from authguard.caching import BoundedCache
from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import BackendUnavailable, ConfigurationError
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
from authguard.request import AuthRequest
from authguard.schemes.nonce_secret import mint_nonce, nonce_keys
from authguard.state.nonce_store import WITHOUT_COUNT, MemoryNonces, NonceStore, NonceUse, shared_memory
from authguard.validation import check_seconds
from authguard.value_types import frozen
from authguard.wire.nonce import Nonce

_REFUSED = {NonceUse.REPLAYED: NONCE_REPLAYED, NonceUse.OUTSIDE: NONCE_OUTSIDE, NonceUse.FORGOTTEN: NONCE_FORGOTTEN}

_FRESH = NonceUse.FRESH  # to read a member of an enumeration costs as much as a call

#: The reasons of a right response with a bad nonce. ``stale=true`` makes a client try again without asking its user.
STALE: Final = frozenset({NONCE_UNKNOWN, NONCE_STALE, NONCE_NOT_YET, *_REFUSED.values()})

#: How many genuine nonces are remembered, so that their tags are not computed for each request.
MOST_GENUINE = 4096

# After this part of the life of a nonce, the client is sent the next one.
_NEXT_NONCE_AFTER = 0.75


@frozen
class _Signer:
    """A key that signs nonces, the store that counts their uses, and the store's ``claim_now``, if it has one."""

    key: bytes = field(repr=False)
    store: NonceStore
    claim_now: Any = field(repr=False)


class _GenuineNonce(NamedTuple):
    """A nonce whose tag was right, and the signer that has made the tag."""

    nonce: Nonce
    signer: _Signer


#: The nonce if it may be used, or why it is refused.
Use: TypeAlias = Nonce | Failure


class NonceService:
    """Makes nonces with the first secret, and accepts those of all secrets. The store counts each use.

    If ``shared`` is None, each process has a random secret. If ``store`` is None, the uses of each secret's nonces are
    counted in a memory that all services of this process share.
    """

    def __init__(
        self,
        shared: Sequence[bytes] | None,
        realm: str,
        *,
        life: float,
        store: NonceStore | None,
        deadline: float,
    ) -> None:
        methods = [getattr(store, name, None) for name in ("begin", "claim")]
        if store is not None and (isinstance(store, type) or not all(map(callable, methods))):
            raise ConfigurationError(
                "nonces", f"{store!r} is not a NonceStore; None keeps them in the memory of this process"
            )
        self._shared, self._realm, self._store = shared, realm, store
        self.renew()
        renew_after_fork(self)
        self._life = check_seconds("life", life, most=86_400)
        self._deadline = deadline
        #: Puts what the store wants to know of a nonce into its random bytes.
        self._mark: Callable[[bytes], bytes] | None = optional_method(store, "mark", beside="claim")

    def renew(self) -> None:
        """Make the secret of this process, if none is shared. A forked child is another process."""
        self._keys = nonce_keys(self._shared, self._realm)
        # Made now, because a memory accepts no nonce that is older than itself.
        self._memories: tuple[MemoryNonces, ...] = (
            tuple(MemoryNonces() for _ in self._keys) if self._store is None else ()
        )
        self._signers: tuple[_Signer, ...] | None = None
        #: The nonces that these keys have signed, as a client sends them. They are no secret.
        self._genuine = BoundedCache[_GenuineNonce](MOST_GENUINE)

    def state_stores(self) -> Mapping[str, object]:
        """The store of nonces. With a secret of each process, no other one accepts them, whatever the store is."""
        if self._shared is None:
            return {"secret": "PER_PROCESS"}
        return {"nonces": self._memories[0] if self._store is None else self._store}

    def _begin(self, now: float) -> Sequence[_Signer]:
        """The signers. Their stores know the time by the guard's clock."""
        signers = self._signers
        if signers is None:
            signers = self._signers = self._find_stores(now)
        if self._store is not None:
            self._store.begin(now)
        else:
            for signer in signers:
                signer.store.begin(now)
        return signers

    def _find_stores(self, now: float) -> tuple[_Signer, ...]:
        stores: Iterable[NonceStore]
        if self._store is None:
            stores = (shared_memory(key, own, now) for key, own in zip(self._keys, self._memories, strict=True))
        else:
            stores = repeat(self._store, len(self._keys))
        return signers_of(self._keys, stores)

    def mint(self, now: float) -> str:
        """A new nonce."""
        return mint_nonce(self._begin(now)[0].key, now, self._mark)

    async def use(self, text: bytes, count: int, moment: Moment, request: AuthRequest | None = None) -> Use:
        """Use the nonce with this count, or say why it is refused. Its end has no leeway: it is of our own clock.

        ``count`` is ``WITHOUT_COUNT`` for a response of RFC 2069. Raises ``BackendUnavailable``, unless the store has
        ``on_outage = "allow"``: then the nonce may be used, and the request is noted as unchecked.
        """
        use = self.use_now(text, count, moment, request)
        return await use() if isinstance(use, partial) else use

    def use_now(
        self, text: bytes, count: int, moment: Moment, request: AuthRequest | None = None
    ) -> Use | partial[Coroutine[Any, Any, Use]]:
        """The same; or what must be called and awaited, if the store cannot answer at once."""
        genuine = self._find_genuine(text, self._begin(moment.now))
        if genuine is None:
            form = "ours, signed with another secret or realm" if Nonce.has_form(text) else "that of another server"
            return Failure(NONCE_UNKNOWN, {"form": form})
        nonce, signer = genuine
        minted_at, now = nonce.issued_at, moment.now
        expires_at = minted_at + self._life
        if not moment.between(-math.inf, expires_at):
            return Failure(NONCE_STALE, {"expired_by": moment.by(expires_at), "life": self._life})
        if moment.not_yet(minted_at):
            return Failure(NONCE_NOT_YET, {"early_by": -moment.by(minted_at), "leeway": moment.leeway})
        if signer.claim_now is None:
            return partial(self._claim, signer.store, nonce, count, now, request)
        use = signer.claim_now(nonce.identity, count, minted_at=minted_at, expires_at=expires_at, now=now)
        return _answer(use, nonce, count, now)

    def _find_genuine(self, text: bytes, signers: Sequence[_Signer]) -> _GenuineNonce | None:
        """The nonce, if one of the signers has made it. Only such nonces are remembered, so none can be invented."""
        genuine = self._genuine.get(text)
        if genuine is None:
            for signer in signers:
                nonce = Nonce.from_text(text, (signer.key,))
                if nonce is not None:
                    genuine = _GenuineNonce(nonce, signer)
                    self._genuine.put(text, genuine)
                    break
        return genuine

    async def _claim(self, store: NonceStore, nonce: Nonce, count: int, now: float, request: AuthRequest | None) -> Use:
        minted_at = nonce.issued_at
        claim = store.claim(nonce.identity, count, minted_at=minted_at, expires_at=minted_at + self._life, now=now)
        try:
            use = await ask(claim, self._deadline)
        except BackendUnavailable:
            if request is not None and request.pass_unchecked("nonces", store):
                return nonce
            raise
        return _answer(use, nonce, count, now)

    def next_nonce(self, nonce: Nonce, now: float, *, is_spent: bool = False) -> str | None:
        """The next nonce, if this one is spent or will expire soon. RFC 7616 section 3.5, ``nextnonce``."""
        is_over = is_spent or now - nonce.issued_at >= self._life * _NEXT_NONCE_AFTER
        return self.mint(now) if is_over else None


def signers_of(keys: Sequence[bytes], stores: Iterable[NonceStore]) -> tuple[_Signer, ...]:
    """Each key with the store that counts the uses of its nonces."""
    return tuple(
        _Signer(key, store, optional_method(store, "claim_now", beside="claim"))
        for key, store in zip(keys, stores, strict=True)
    )


def _answer(use: NonceUse, nonce: Nonce, count: int, now: float) -> Use:
    if use is _FRESH:
        return nonce
    facts: dict[str, object] = {"count": "none" if count == WITHOUT_COUNT else count}
    if use is NonceUse.FORGOTTEN:
        facts["age"] = round(now - nonce.issued_at, 3)
    return Failure(_REFUSED[use], facts)
