"""The ports of Digest: an account with its ``H(A1)``, a store that finds one, a memory of what was used."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.model import Clock
from authguard.validation import check_int


class NonceUse(Enum):
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

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Uses the count with the nonce, in one step: of several at the same time one is ``FRESH``.

        ``nonce`` are at most 32 octets that no other has. None is presented after ``expires_at``. Raises
        ``BackendUnavailable``.
        """
        ...


log = logging.getLogger("authguard")

#: So many counts below the highest are told apart: browsers send that many requests at once, and in any order.
WINDOW = 128

_MASK = (1 << WINDOW) - 1
# A generation ends with so large a part of all nonces, or of a nonce's life; what is forgotten is forgotten by these.
_PARTS = 8


@dataclass(slots=True)
class _Generation:
    """Nonces that were first used at about the same time; for each the highest count and the window below it."""

    began: float
    uses: dict[bytes, int] = field(default_factory=dict)
    newest_minted: float = 0.0
    last_expires: float = 0.0


class MemoryNonces:
    """Accepts each count of a nonce once, in any order within ``WINDOW``. RFC 7616 section 3.4, ``nc``.

    It keeps at most ``most`` nonces, at some 150 octets each, until they expire. What it forgot it never takes again:
    a nonce that it does not know, and that is no younger than one that it forgot or than its own beginning, is
    ``FORGOTTEN``, and the client gets a new one without a prompt.

    Its promise is that of one process: of several that share a secret, each accepts a count once. A process that is
    started anew tells by the clock what was used before it: where that was set back in between, or another host's is
    ahead, what is stamped with a time yet to come may be used a second time; and where it is set back behind the
    process' own beginning, all is ``FORGOTTEN`` until it has passed that again. Raises ``ConfigurationError``.
    """

    def __init__(self, *, most: int = 1_000_000, clock: Clock = time.monotonic) -> None:
        self._most = check_int("most", most, least=1_000, most=10_000_000)
        self._lock = ForkSafeLock()
        self._floor: float | None = None
        self._clock = clock
        self._born = clock()
        self._told = False
        renew_after_fork(self)
        #: The youngest first, as that is where nearly all that are known are found.
        self._generations: list[_Generation] = []

    def begin(self, now: float) -> None:
        """Sets the floor: what was minted before this process was may have been used, and nobody here would know.

        Not what was minted before the first request came here: of several processes each begins with others' nonces.
        """
        if self._floor is None:
            with self._lock:
                # A nonce that is minted at this very moment is not of before.
                began = now - (self._clock() - self._born) - 1e-5
                self._floor = began if self._floor is None else self._floor

    def renew(self) -> None:
        """Begins anew in a fork, which knows nothing of what its siblings take."""
        self._born, self._floor = self._clock(), None

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """The same as ``claim_now``."""
        return self.claim_now(nonce, count, minted_at=minted_at, expires_at=expires_at, now=now)

    def claim_now(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Uses the count with the nonce, if it may be used."""
        with self._lock:
            for generation in self._generations:
                used = generation.uses.get(nonce)
                if used is not None:
                    claim, generation.uses[nonce] = _use(used, count)
                    return claim
            if self._floor is None or minted_at <= self._floor:
                self._tell(now)
                return NonceUse.FORGOTTEN
            young = self._young(now, (expires_at - minted_at) / _PARTS)
            young.uses[nonce] = count << WINDOW | 1
            young.newest_minted = max(young.newest_minted, minted_at)
            young.last_expires = max(young.last_expires, expires_at)
            return NonceUse.FRESH

    def _young(self, now: float, span: float) -> _Generation:
        """The generation that takes new nonces, after the old ones were let go."""
        young = self._generations[0] if self._generations else None
        if young is None or len(young.uses) >= self._most // _PARTS or now - young.began >= span:
            young = _Generation(now)
            self._generations.insert(0, young)
        while self._generations[-1] is not young and (
            self._generations[-1].last_expires <= now or len(self._generations) > 2 * _PARTS or len(self) >= self._most
        ):
            oldest = self._generations.pop()
            # Never lowered: not when the clock is set back either.
            self._floor = max(self._floor or 0.0, oldest.newest_minted)
        return young

    def _tell(self, now: float) -> None:
        if self._floor is not None and now < self._floor and not self._told:
            self._told = True
            log.error(
                "the clock was set back by %.0f s or more: until it has caught up, nobody can log in by Digest; a new "
                "process can",
                self._floor - now,
            )

    def __len__(self) -> int:
        """How many nonces it keeps."""
        return sum(len(generation.uses) for generation in self._generations)


def _use(used: int, count: int) -> tuple[NonceUse, int]:
    """What is to be said of the count, and what is to be kept then."""
    highest, window = used >> WINDOW, used & _MASK
    above = count - highest
    if above > 0:
        window = (window << above | 1) & _MASK if above < WINDOW else 1
        return NonceUse.FRESH, count << WINDOW | window
    if above <= -WINDOW:
        return NonceUse.OUTSIDE, used
    bit = 1 << -above
    return (NonceUse.REPLAYED, used) if window & bit else (NonceUse.FRESH, used | bit)
