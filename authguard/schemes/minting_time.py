"""The time of new nonces, after a store may have forgotten what was used with older ones."""

from __future__ import annotations

import math

from authguard.model import Clock

# By how many seconds the clocks of hosts may differ at most, whatever a store says.
_MOST_SKEW = 60.0


class MintingTime:
    """Says when a nonce is minted, by the guard's clock: at the time of the request, or later.

    A store on a server that has begun anew may have forgotten all until it answers, which is after the request has
    begun; and the clocks of hosts differ by its ``clock_skew``. A nonce that is minted for this client must be younger,
    or it would be refused as the one before was. ``deadline``: how many seconds the store may take.
    """

    __slots__ = ("_clock", "_forgotten_at", "_most_ahead", "_skew")

    def __init__(self, store: object, *, deadline: float, clock: Clock) -> None:
        self._clock = clock
        self._skew: float = getattr(store, "clock_skew", 0.0)
        self._most_ahead = deadline + _MOST_SKEW
        self._forgotten_at = -math.inf

    def read(self) -> float:
        """The clock, before the store is asked."""
        return self._clock()

    def forget(self, now: float, began: float) -> None:
        """The store has just answered that it may have forgotten. ``now`` is the time of the request, and ``began`` is
        what ``read`` returned before.
        """
        self._forgotten_at = max(self._forgotten_at, now + self._clock() - began + self._skew)

    def of_nonce(self, now: float) -> float:
        """When the nonce that answers a request of this time is minted."""
        # If the clock was set back since then, it would be too far ahead for anybody to use the nonce.
        return self._forgotten_at if now < self._forgotten_at <= now + self._most_ahead else now
