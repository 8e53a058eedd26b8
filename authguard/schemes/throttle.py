"""Slow down password guessing, without a lock-out that a stranger could cause for long.

This is our own code and not the ``limits`` library, because its memory storage has no bound (invented names fill it),
keeps the names in clear, reads the wall clock, and walks over everything that it holds a hundred times a second.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from authguard.caching import KeyedHash
from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.request import network_of
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, ThrottleStore
from authguard.validation import check_flag

#: How many characters of a name are compared; the rest is ignored.
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class CountedAttempt:
    """An attempt that has been counted. ``LoginThrottle.refund`` takes it back."""

    pair: bytes = field(repr=False)
    buckets: Sequence[Bucket] = field(repr=False)


class LoginThrottle:
    """Counts login attempts before they are verified, and refunds those that succeed.

    - ``pair``: the rate of one account from one network; the strict one.
    - ``account``: the rate of one account from all networks together. It slows only networks from which nobody has
      logged in to the account before, so that a stranger cannot keep its owner out.
    - ``network``: the rate of one network for all accounts. It counts only with ``trusted_client=True``.
    - ``trusted_client``: whether the address that the server reports is the client's own. Behind a proxy that the
      server does not trust, all clients have the same address; if the server trusts everybody, a client can send any
      address.
    - ``most``: how many buckets are kept. The least recently used are forgotten, and count as full again: by inventing
      a quarter as many names, an attacker gets one more ``burst``.

    A network is an IPv4 address or an IPv6 /64. Names are compared as directories do it: without case, width, blanks
    and invisible characters. They are kept as keyed hashes of 16 bytes. An attempt that is refused is not counted, and
    a bucket fills up again whatever happens. Several schemes may share one throttle. Raises ``ConfigurationError``.
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
                raise ConfigurationError(name, f"{rate!r} is not a Rate(burst, seconds)")
        self._pair, self._account, self._network = pair, account, network
        self._trusted_client = check_flag("trusted_client", trusted_client)
        self._hash = KeyedHash()
        self._store: ThrottleStore = MemoryThrottleStore(most=most, clock=clock)

    async def acquire(self, account: str, client: str | None) -> CountedAttempt | Exceeded:
        """Count one attempt, if one is left. It stays counted unless it is refunded.

        ``client`` is the address that the server reports.
        """
        pair, buckets = self._buckets(account, client)
        counted = await self._store.acquire(pair, buckets)
        return counted if isinstance(counted, Exceeded) else CountedAttempt(pair, counted)

    async def allow(self, account: str, client: str | None) -> Exceeded | None:
        """``acquire``, and ``refund`` with success, in one step: for a password that is known to be right."""
        if self._store.is_idle:  # usually nobody has guessed lately, and there is nothing to look up
            await self._store.remember(self._key("pair", *_normalized(account, client)))
            return None
        pair, buckets = self._buckets(account, client)
        exceeded = await self._store.remaining(pair, buckets)
        if exceeded is None:
            await self._store.remember(pair)
        return exceeded

    async def remaining(self, account: str, client: str | None) -> Exceeded | None:
        """``Exceeded`` if no attempt is left. Counts nothing."""
        return None if self._store.is_idle else await self._store.remaining(*self._buckets(account, client))

    async def refund(self, attempt: CountedAttempt, *, succeeded: bool) -> None:
        """Refund the attempt: the password was right, or (``succeeded=False``) the check could not be made."""
        await self._store.refund(attempt.buckets)
        if succeeded:
            await self._store.remember(attempt.pair)

    def _buckets(self, account: str, client: str | None) -> tuple[bytes, Sequence[Bucket]]:
        name, network = _normalized(account, client)
        pair = self._key("pair", name, network)
        buckets = [
            Bucket(pair, self._pair, "account and network"),
            Bucket(self._key("account", name), self._account, "account", strangers_only=True),
        ]
        if self._trusted_client:
            buckets.append(Bucket(self._key("network", network), self._network, "network"))
        return pair, buckets

    def _key(self, *texts: str) -> bytes:
        return self._hash(*texts)[:16]


def _normalized(account: str, client: str | None) -> tuple[str, str]:
    """The account's name as the most tolerant store may compare it (RFC 4518 section 2, for LDAP), and the network."""
    name = account[:MAX_NAME]  # before it is normalised, which may turn one character into eighteen
    if not name.isascii():
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        name = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(name.lower().split()), network_of(client) or ""
