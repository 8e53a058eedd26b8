"""The used nonces of Digest: the interface of a store, and the store in the memory of one process."""

from __future__ import annotations

import hmac
import logging
import threading
import time
import weakref
from enum import Enum, auto
from typing import Protocol

from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.model import Clock
from authguard.state.generations import Generations
from authguard.validation import check_int


class NonceUse(Enum):
    """A store's answer to one use of a nonce."""

    #: This count was not used with this nonce before.
    FRESH = auto()
    #: This count was used with this nonce before.
    REPLAYED = auto()
    #: The count is so far below the highest one that the store no longer knows whether it was used.
    OUTSIDE = auto()
    #: The nonce is so old that the store may have forgotten its uses.
    FORGOTTEN = auto()


#: How many counts, from the highest one down, are remembered one by one: browsers send many requests at once, and
#: they arrive in any order.
WINDOW = 128

#: In place of a count: the nonce is used without one, in the form of RFC 2069. That is the only use of a nonce. It is
#: so far above every count (eight hexadecimal digits) that each of them is ``OUTSIDE`` the window from then on.
WITHOUT_COUNT = 0xFFFF_FFFF + WINDOW

# To read a member of an enumeration costs as much as a call.
_FRESH, _REPLAYED, _OUTSIDE, _FORGOTTEN = NonceUse


class NonceStore(Protocol):
    """Remembers which counts were used with which nonce, so that ``Digest`` accepts each response once.

    Write ``claim``, and ``begin``, which does nothing if the store outlives the process::

        class RedisNonces:
            def begin(self, now: float) -> None: ...

            async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
                key, end = f"nonce:{nonce.hex()}:{count}", math.ceil(times["expires_at"])
                return NonceUse.FRESH if await redis.set(key, 1, nx=True, exat=end) else NonceUse.REPLAYED

    A store may also have ``claim_now`` with the same arguments, not async: it is called in place of ``claim``, without
    a deadline, whose timer would cost more than the answer. All times are seconds since the epoch, by the guard's
    clock.

    A store with ``on_outage = "allow"`` has responses accepted while ``claim`` raises ``BackendUnavailable`` or does
    not answer in time; their records have ``unchecked``. A store with ``mark(random)`` is given the 12 random bytes of
    each new nonce, which are the last ones of ``nonce``, and returns them with a mark of its own in up to four of them.
    It must not wait.
    """

    def begin(self, now: float) -> None:
        """Called before each nonce is minted or checked, so it must not wait.

        At the first call, a store that does not outlive its process learns by the guard's clock when it began.
        """
        ...

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Use the count with the nonce, in one step: of several equal calls, one is ``FRESH``.

        ``nonce`` identifies a nonce by at most 32 bytes; after ``expires_at`` it is not claimed again. ``count`` is one
        of 32 bits, or ``WITHOUT_COUNT`` (only with ``Digest(rfc2069=True)``): that is ``FRESH`` only if the nonce was
        never used, and no count of the nonce is ``FRESH`` after it. Called only after the response was verified. Raises
        ``BackendUnavailable``.
        """
        ...


log = logging.getLogger("authguard")

_MASK = (1 << WINDOW) - 1
#: In seconds: a scheme whose clock is further behind that of a shared memory keeps one of its own. A request that was
#: delayed is less far behind.
OTHER_CLOCK = 5.0


class MemoryNonces:
    """A ``NonceStore`` in the memory of this process. It accepts each count once, in any order within ``WINDOW``.

    It keeps at most ``most`` nonces, at about 150 bytes each, until they expire; then they are freed little by little,
    as new ones come. A forgotten nonce is never accepted again: an unknown nonce is ``FORGOTTEN`` unless it was minted
    after this process began and after every nonce that was forgotten. The client then gets a new nonce, and its user is
    not asked. RFC 7616 section 3.4, ``nc``.

    Several processes that share a secret accept each count once per process. A new process goes by the clock to refuse
    the nonces of the time before it. If the clock was set back between the two, or another host's clock is ahead, a
    nonce from the future may be used a second time. If the clock is set back to before the process began, all new
    nonces are ``FORGOTTEN`` until it has caught up. Raises ``ConfigurationError``.
    """

    #: Start-up warns of it if several processes serve the app.
    is_per_process = True

    def __init__(self, *, most: int = 1_000_000, clock: Clock = time.monotonic) -> None:
        #: For each nonce the highest count, and the window below it. There is no floor before the first request.
        self._nonces = Generations[int](check_int("most", most, least=1_000, most=10_000_000))
        self._lock = threading.Lock()
        self._clock = clock
        self._created = clock()
        #: The latest time by the guard's clock.
        self._latest = float("-inf")
        self._has_warned = False
        renew_after_fork(self)

    def begin(self, now: float) -> None:
        """At the first call, set the floor to the time at which this process began.

        A nonce that was minted earlier may have been used, unknown to this process. The floor is not the time of the
        first request: several processes start together, and that request may bring a nonce that another one minted.
        """
        self._latest = max(self._latest, now)
        if self._nonces.floor is None:
            with self._lock:
                # A little earlier, so that a nonce that is minted at this very moment is above the floor.
                began = now - (self._clock() - self._created) - 1e-5
                self._nonces.floor = began if self._nonces.floor is None else self._nonces.floor

    def renew(self) -> None:
        """Begin anew in a forked child, which does not know what the other processes accept from now on."""
        self._lock = threading.Lock()  # a thread of the parent may have held the old one
        self._created, self._nonces.floor = self._clock(), None

    async def claim(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """The same as ``claim_now``."""
        return self.claim_now(nonce, count, minted_at=minted_at, expires_at=expires_at, now=now)

    def claim_now(self, nonce: bytes, count: int, *, minted_at: float, expires_at: float, now: float) -> NonceUse:
        """Use the count with the nonce, if it was not used before."""
        nonces = self._nonces
        with self._lock:
            for generation in nonces.young_first:
                used = generation.values.get(nonce)
                if used is not None:
                    use, generation.values[nonce] = _use(used, count)
                    return use
            if nonces.floor is None or minted_at <= nonces.floor:
                self._warn_if_clock_was_set_back(now)
                return _FORGOTTEN
            nonces.add(nonce, count << WINDOW | 1, made_at=minted_at, expires_at=expires_at, now=now)
            return _FRESH

    def is_of_another_clock(self, now: float) -> bool:
        """Whether the clock that shows ``now`` is far behind the one that this memory has gone by."""
        return now < self._latest - OTHER_CLOCK

    def _warn_if_clock_was_set_back(self, now: float) -> None:
        floor = self._nonces.floor
        if floor is not None and now < floor and not self._has_warned:
            self._has_warned = True
            log.error(
                "the clock was set back by %.0f s or more: until it has caught up or the process is restarted, nobody "
                "can log in by Digest",
                floor - now,
            )

    def __len__(self) -> int:
        """How many nonces are kept."""
        return len(self._nonces)


def _use(used: int, count: int) -> tuple[NonceUse, int]:
    """The answer for the count, and the new highest count and window of the nonce."""
    highest, window = used >> WINDOW, used & _MASK
    above = count - highest
    if above > 0:
        if above < WINDOW:
            window = (window << above | 1) & _MASK
        elif count == WITHOUT_COUNT:  # never less than a window above a count
            return _REPLAYED, used
        else:
            window = 1
        return _FRESH, count << WINDOW | window
    if above <= -WINDOW:
        return _OUTSIDE, used
    bit = 1 << -above
    return (_REPLAYED, used) if window & bit else (_FRESH, used | bit)


#: The shared memory of each nonce key, by a hash of the key, for as long as a scheme uses it.
_shared: weakref.WeakValueDictionary[bytes, MemoryNonces] = weakref.WeakValueDictionary()
_sharing = ForkSafeLock()


def shared_memory(key: bytes, own: MemoryNonces, now: float) -> MemoryNonces:
    """The memory of this process for the nonces that ``key`` signs; ``own``, if there is none yet.

    Two schemes with one secret and realm accept the same nonces. With a memory each, both would accept the same
    response. Where their nonces live for different times, the longer-lived ones may be forgotten early. ``now`` is the
    time by the guard's clock: a guard with another clock, as in a test, keeps ``own``.
    """
    identity = _identity(key)
    with _sharing:
        memory = _shared.get(identity)
        if memory is None or memory.is_of_another_clock(now):
            memory = _shared[identity] = own
        return memory


def memory_in_use(key: bytes) -> MemoryNonces | None:
    """The memory of this process for the nonces that ``key`` signs; None if there is none yet."""
    return _shared.get(_identity(key))


def _identity(key: bytes) -> bytes:
    return hmac.digest(key, b"authguard nonce memory", "sha256")
