"""Token buckets: how often something may be done that a stranger can ask for."""

from __future__ import annotations

import math

from authguard.caching import BoundedCache
from authguard.validation import check_int, check_seconds
from authguard.value_types import frozen


@frozen
class Rate:
    """``burst`` at once, and one more every ``seconds``. Raises ``ConfigurationError``.

    The state of a bucket is one number: the moment at which it is full again (GCRA, the generic cell rate algorithm).
    """

    burst: int
    seconds: float

    def __post_init__(self) -> None:
        check_int("burst", self.burst, least=1, most=10_000)
        check_seconds("seconds", self.seconds, most=86_400)

    def wait(self, full_at: float, now: float) -> float:
        """Seconds until there is a token; 0 or less if there is one now."""
        return max(full_at - now, 0.0) - (self.burst - 1) * self.seconds

    def remaining(self, full_at: float, now: float) -> int:
        """How many tokens there are now."""
        return self.burst - math.ceil(round(max(full_at - now, 0.0) / self.seconds, 6))

    def spend(self, full_at: float, now: float) -> float:
        """When the bucket is full again, after a token was taken."""
        return max(full_at, now) + self.seconds

    def refund(self, full_at: float) -> float:
        """When the bucket is full again, after a token was put back."""
        return full_at - self.seconds


class TokenBucket:
    """One bucket, full at first."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at = -math.inf

    def acquire(self, now: float) -> bool:
        """Take a token; False if there is none."""
        if self._rate.wait(self._full_at, now) > 0:
            return False
        self._full_at = self._rate.spend(self._full_at, now)
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 if there is one now."""
        return max(0.0, self._rate.wait(self._full_at, now))

    def remaining(self, now: float) -> int:
        """How many tokens there are now."""
        return self._rate.remaining(self._full_at, now)


class NetworkBuckets:
    """A bucket for each network, full at first, for at most ``most`` networks.

    The networks that took a token longest ago are forgotten first. Requests without a network share one bucket.
    """

    def __init__(self, rate: Rate, *, most: int) -> None:
        self._rate = rate
        self._full_at = BoundedCache[float](most)

    def acquire(self, network: str | None, now: float) -> bool:
        """Take a token; False if there is none."""
        if self.wait(network, now) > 0:
            return False
        self._full_at.put(_key(network), self._rate.spend(self._get(network), now))
        return True

    def wait(self, network: str | None, now: float) -> float:
        """Seconds until there is a token; 0 if there is one now."""
        return max(0.0, self._rate.wait(self._get(network), now))

    def remaining(self, network: str | None, now: float) -> int:
        """How many tokens there are now."""
        return self._rate.remaining(self._get(network), now)

    def _get(self, network: str | None) -> float:
        full_at = self._full_at.get(_key(network))
        return -math.inf if full_at is None else full_at


def _key(network: str | None) -> bytes:
    return (network or "").encode()
