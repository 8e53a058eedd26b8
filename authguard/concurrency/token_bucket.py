"""How often something may be done that strangers can ask for."""

from __future__ import annotations


class TokenBucket:
    """``most`` in hand, and one regained each ``every`` seconds.

    One number tells it all: until when what was spent is regained. So nothing has to be counted back.
    """

    def __init__(self, most: int, every: float) -> None:
        self._every = every
        self._slack = (most - 1) * every
        self._spent_until = float("-inf")

    def acquire(self, now: float) -> bool:
        """Whether there was one in hand, which is spent now."""
        spent_until = max(self._spent_until, now)
        if spent_until - now > self._slack:
            return False
        self._spent_until = spent_until + self._every
        return True
