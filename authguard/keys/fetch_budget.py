"""How many fetches unknown keys may cause, and whose."""

from __future__ import annotations

from collections.abc import Mapping

from authguard.concurrency.token_bucket import NetworkBuckets, Rate, TokenBucket
from authguard.value_types import value

#: How many fetches may start at once for one network, and for all networks together.
FETCH_BURST, TOTAL_BURST = 3, 4
#: For how many networks fetches are counted.
MAX_NETWORKS = 1024


@value
class Requester:
    """For whom keys are fetched. ``known``: whether a token from this network was accepted before."""

    network: str | None = None
    known: bool = False


ANYBODY = Requester()


class FetchBudget:
    """Allows ``FETCH_BURST`` fetches at once, and then one each ``cooldown`` seconds, for each network.

    For all networks together it allows one more at once, so that no network uses them up for the others. Known networks
    have a total of their own, which strangers in many networks cannot use up.
    """

    def __init__(self, cooldown: float) -> None:
        self._known, self._others = (TokenBucket(Rate(TOTAL_BURST, cooldown)) for _ in range(2))
        self._networks = NetworkBuckets(Rate(FETCH_BURST, cooldown), most=MAX_NETWORKS)

    def _total(self, requester: Requester) -> TokenBucket:
        return self._known if requester.known else self._others

    def acquire(self, requester: Requester, now: float) -> bool:
        """Whether a fetch may start for this requester. If so, it is counted."""
        if self.wait(requester, now) > 0:
            return False
        return self._networks.acquire(requester.network, now) and self._total(requester).acquire(now)

    def wait(self, requester: Requester, now: float) -> float:
        """Seconds until a fetch may start for this requester; 0 if one may start now."""
        return max(self._networks.wait(requester.network, now), self._total(requester).wait(now))

    def left(self, requester: Requester, now: float) -> int:
        """How many fetches may start now for this requester."""
        return min(self._networks.remaining(requester.network, now), self._total(requester).remaining(now))

    def totals(self, now: float) -> Mapping[str, int]:
        """How many fetches may start now for all ``known`` networks together, and for all ``others``."""
        return {"known": self._known.remaining(now), "others": self._others.remaining(now)}
