"""The ports of Digest: an account with its ``H(A1)``, a store that finds one, a memory of what was used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol, runtime_checkable

from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS
from authguard.stores.base import fill

#: What can be an ``H(A1)`` of an algorithm of RFC 7616.
HA1 = re.compile(r"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")


@dataclass(frozen=True, slots=True, init=False)
class DigestAccount:
    """A user as a store of Digest's knows it. ``ha1`` is ``H(A1)`` of RFC 7616 section 3.4.2, in hexadecimal digits.

    It is bound to a name, a realm and an algorithm, and whoever has it can log in: it is to be kept like a password
    (section 5.2). A ``disabled`` account is refused after its response was verified. Raises ``ConfigurationError`` for
    what can be no ``H(A1)``, a password hash above all, and for what ``Account`` refuses.
    """

    subject: str
    ha1: str = field(repr=False)
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    disabled: bool

    def __init__(
        self,
        subject: str,
        ha1: str,
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        disabled: bool = False,
    ) -> None:
        if not isinstance(ha1, str) or HA1.fullmatch(ha1) is None:
            raise ConfigurationError(
                "ha1",
                "give the 32 (MD5) or 64 (SHA-256) hexadecimal digits of name:realm:password; a password hash cannot "
                "serve Digest. `python -m authguard htdigest` makes one",
            )
        object.__setattr__(self, "ha1", ha1.lower())
        fill(self, subject, roles, scopes, claims, disabled)


@runtime_checkable
class DigestStore(Protocol):
    """Looks up who can log in by Digest. It never sees a password, nor a response."""

    @property
    def finds_hashed(self) -> bool:
        """Whether it can find an account by ``H(name:realm)``, so that ``userhash=true`` can be offered."""
        ...

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name with its ``H(A1)`` of this realm and algorithm, None where there is none.

        ``username`` is in the form NFC; with ``hashed`` it is the hexadecimal digits of ``H(name:realm)``, in lower
        case. ``algorithm`` is ``MD5``, ``SHA-256`` or ``SHA-512-256``, never a ``-sess`` form. Raises
        ``BackendUnavailable`` where it cannot be told.
        """
        ...


@runtime_checkable
class DigestsAtHand(DigestStore, Protocol):
    """A store that may have its answer at hand, as ``AccountsAtHand`` may."""

    @property
    def at_hand(self) -> bool:
        """Whether ``find`` would now answer without waiting for anything that has no deadline of its own."""
        ...


@runtime_checkable
class DigestsListed(Protocol):
    """A store that can list what it holds, so that a realm or an algorithm in which nobody can log in is found."""

    def realms_held(self) -> AbstractSet[tuple[str, str]]:
        """Each (realm, algorithm) in which it has an ``H(A1)`` now."""
        ...


class Claim(Enum):
    """What a nonce store says of one use of a nonce."""

    FRESH = auto()
    #: This count was used with this nonce before.
    REPLAYED = auto()
    #: The count is so far below the highest that nobody remembers whether it was used.
    OUTSIDE = auto()
    #: The nonce is so old that its uses may have been forgotten.
    FORGOTTEN = auto()


class NonceStore(Protocol):
    """Remembers which counts were used with which nonce. It is asked only after the response was verified.

    All stamps are seconds since the epoch, by the guard's clock.
    """

    def begin(self, now: float) -> None:
        """Called whenever a nonce is about to be minted or presented, so it must not wait.

        A store that does not outlive its process learns here, the first time, by which clock it began.
        """
        ...

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> Claim:
        """Uses the count with the nonce, in one step: of several at the same time one is ``FRESH``.

        ``nonce`` are at most 32 octets that no other has. None is presented after ``expires_at``. Raises
        ``BackendUnavailable``.
        """
        ...


@runtime_checkable
class NoncesAtHand(NonceStore, Protocol):
    """A store that has its answer at hand: it is asked without a deadline, whose timer would cost more."""

    def claim_now(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> Claim:
        """What ``claim`` answers, at once."""
        ...
