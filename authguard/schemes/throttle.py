"""What slows guessing down, without a lock-out that somebody else could cause for long.

Kept here, and behind ``take`` and ``refund``, rather than with the ``limits`` library: its memory storage has no
bound, so that whoever invents names fills it; it keeps the names as they are, reads the wall clock, and walks over all
that it holds in a thread of its own a hundred times a second.
"""

from __future__ import annotations

import math
import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from authguard.caching import BoundedCache, KeyedHash
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.request import network_of
from authguard.validation import check_seconds

#: So many characters of a name are told apart.
LONGEST = 256


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` attempts at once, and one more every ``seconds``. Raises ``ConfigurationError``."""

    burst: int
    seconds: float

    def __post_init__(self) -> None:
        if isinstance(self.burst, bool) or not isinstance(self.burst, int) or not 1 <= self.burst <= 10_000:
            raise ConfigurationError("burst", f"{self.burst!r} is no whole number from 1 to 10000")
        check_seconds("seconds", self.seconds, most=86_400)


#: The key of each, its rate, and what it is called.
Buckets: TypeAlias = Sequence[tuple[bytes, Rate, str]]


@dataclass(frozen=True, slots=True)
class CountedAttempt:
    """An attempt that was counted, to be given back where it was none."""

    pair: bytes = field(repr=False)
    buckets: Buckets = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """No attempt is left: for how many seconds, and in which bucket."""

    retry_after: int
    bucket: str

    def facts(self) -> dict[str, object]:
        """For the record."""
        return {"retry_after": self.retry_after, "bucket": self.bucket}


class LoginThrottle:
    """Counts attempts before they are judged, and gives back those that succeed.

    - ``pair``: for one account from one network; the strict one.
    - ``account``: for one account from all networks together. It slows only networks from which nobody has logged in
      to it, so that a stranger cannot keep its owner out.
    - ``network``: for one network and all accounts, with ``trusted_client=True`` alone.
    - ``trusted_client``: whether the address that the server tells is the client's own. Behind a proxy that the server
      was not told to believe, all clients are one network; where it believes everybody, each request may be another.
    - ``most``: how many buckets are kept. Those that were touched the longest ago go, and are full again: who invents
      a quarter as many names gets one ``burst`` for it.

    A network is an IPv4 address or an IPv6 /64. Names are told apart as directories do it: neither by case nor by
    width, blanks or invisible characters. They are kept as keyed hashes of 16 octets. An attempt that is refused is not
    counted, and a bucket fills up again whatever happens. Several schemes may share one. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        *,
        pair: Rate = Rate(10, 30.0),
        account: Rate = Rate(50, 10.0),
        network: Rate = Rate(200, 1.0),
        trusted_client: bool = False,
        most: int = 100_000,
        clock: Clock = time.monotonic,
    ) -> None:
        for name, rate in (("pair", pair), ("account", account), ("network", network)):
            if not isinstance(rate, Rate):
                raise ConfigurationError(name, f"{rate!r} is no Rate(burst, seconds)")
        if isinstance(most, bool) or not isinstance(most, int) or not 1_000 <= most <= 10_000_000:
            raise ConfigurationError("most", f"{most!r} is no whole number from 1000 to 10000000")
        if not isinstance(trusted_client, bool):
            raise ConfigurationError("trusted_client", f"{trusted_client!r} is neither True nor False")
        self._pair, self._account, self._network = pair, account, network
        self._trusted_client = trusted_client
        self._clock = clock
        self._keyed_hash = KeyedHash()
        self._lock = threading.Lock()
        #: For each bucket that is not full, when it will be: the theoretical arrival time of GCRA.
        self._full_at = BoundedCache[float](most)
        #: The pairs that have logged in.
        self._known = BoundedCache[bool](most)

    async def acquire(self, account: str, network: str | None) -> CountedAttempt | Exceeded:
        """Counts one attempt, unless none is left. It stays counted where nobody gives it back."""
        name, place = _folded(account), network_of(network) or ""
        pair = self._hashed("pair", name, place)
        with self._lock:
            now = self._clock()
            buckets = self._buckets(pair, name, place)
            if exceeded := self._exceeded(buckets, now):
                return exceeded
            for key, rate, _ in buckets:
                self._move(key, rate.seconds, now)
        return CountedAttempt(pair, buckets)

    async def allow(self, account: str, network: str | None) -> Exceeded | None:
        """``take``, and ``refund`` with success, at once; for a password that is known to be right."""
        name, place = _folded(account), network_of(network) or ""
        pair = self._hashed("pair", name, place)
        with self._lock:
            # Mostly nobody has guessed lately, and nothing is to be looked up.
            buckets = self._buckets(pair, name, place) if self._full_at else ()
            exceeded = self._exceeded(buckets, self._clock()) if buckets else None
            if exceeded is None:
                self._known.put(pair, True)
            return exceeded

    async def remaining(self, account: str, network: str | None) -> Exceeded | None:
        """``Exceeded`` where no attempt is left; counts nothing, for a password that is right and may be of no use."""
        with self._lock:
            if not self._full_at:
                return None
            name, place = _folded(account), network_of(network) or ""
            return self._exceeded(self._buckets(self._hashed("pair", name, place), name, place), self._clock())

    async def refund(self, taken: CountedAttempt, *, succeeded: bool) -> None:
        """It was none: the password was right, or (``succeeded`` False) nobody could tell."""
        with self._lock:
            now = self._clock()
            for key, rate, _ in taken.buckets:
                self._move(key, -rate.seconds, now)
            if succeeded:
                self._known.put(taken.pair, True)

    def _buckets(self, pair: bytes, name: str, place: str) -> Buckets:
        buckets = [(pair, self._pair, "account and network")]
        if pair not in self._known:
            buckets.append((self._hashed("account", name), self._account, "account"))
        if self._trusted_client:
            buckets.append((self._hashed("network", place), self._network, "network"))
        return buckets

    def _exceeded(self, buckets: Buckets, now: float) -> Exceeded | None:
        waits = [(self._to_full(key, now) - (rate.burst - 1) * rate.seconds, label) for key, rate, label in buckets]
        wait, label = max(waits)
        return Exceeded(math.ceil(wait), label) if wait > 0 else None

    def _to_full(self, key: bytes, now: float) -> float:
        """Seconds until the bucket is full."""
        full_at = self._full_at.get(key)
        return 0.0 if full_at is None else max(full_at - now, 0.0)

    def _move(self, key: bytes, seconds: float, now: float) -> None:
        to_full = self._to_full(key, now) + seconds
        if to_full > 0:
            self._full_at.put(key, now + to_full)
        else:
            self._full_at.discard(key)  # as good as unknown

    def _hashed(self, *texts: str) -> bytes:
        return self._keyed_hash(*texts)[:16]


def _folded(name: str) -> str:
    """The beginning of the name, as the laxest store might compare it (RFC 4518 section 2, for LDAP)."""
    name = name[:LONGEST]  # one character may become eighteen
    if not name.isascii():
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        name = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(name.lower().split())
