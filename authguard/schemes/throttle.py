"""Slow down password guessing, without a lock-out that a stranger could cause for long.

This is our own code and not the ``limits`` library, because its memory storage has no bound (invented names fill it),
keeps the names in clear, reads the wall clock, and walks over everything that it holds a hundred times a second.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from authguard.app_code import async_function, wrong_answer
from authguard.caching import BoundedCache, KeyedHash
from authguard.concurrency.deadline import ask, optional_method
from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.request import network_of
from authguard.state.throttle_store import (
    Bucket,
    CombinedSteps,
    Exceeded,
    MemoryThrottleStore,
    SeparateSteps,
    ThrottleStore,
)
from authguard.validation import check_flag, check_seconds, check_secret
from authguard.value_types import value

T = TypeVar("T")


#: How many characters of a name are compared; the rest is ignored.
MAX_NAME = 256

#: How many ``AttemptKeys`` are kept, and how many bytes they and the names of all of them take at most.
MOST_KEYS, MOST_KEYS_BYTES = 4096, 8 * 1024 * 1024
#: The longest name of kept keys, in bytes: a hash of 32 bytes, and any IP network.
MAX_KEYS_NAME = 96
#: How many bytes one bucket of kept keys takes, and everything else of them.
BUCKET_BYTES, KEYS_BYTES = 200, 500

#: The hash that a client may send in place of a name.
NameHash: TypeAlias = Callable[[str], str]


@value
class AttemptPair:
    """An account and a network, as attempts are counted: by keyed hashes. ``LoginThrottle.pair`` makes one.

    ``key`` is that of the pair, ``known_key`` that of its wider bucket, and ``account_key`` that of the account. They
    are made of ``name`` and ``network``.
    """

    key: bytes = field(repr=False)
    known_key: bytes = field(repr=False)
    account_key: bytes = field(repr=False)
    name: str = field(repr=False)
    network: str = field(repr=False)


@value
class AttemptKeys:
    """What attempts at one account from one network are counted by: keyed hashes. ``LoginThrottle.keys`` makes them."""

    pair: bytes = field(repr=False)
    buckets: Sequence[Bucket] = field(repr=False)


@value
class CountedAttempt:
    """An attempt that has been counted. ``LoginThrottle.refund`` takes it back."""

    pair: bytes = field(repr=False)
    buckets: Sequence[Bucket] = field(repr=False)


#: Methods of ``LoginThrottle`` that are not async, and that it has if its store has them, with those that they replace.
_WITHOUT_WAITING: Mapping[str, str] = MappingProxyType(
    {
        "acquire_now": "acquire",
        "remaining_now": "remaining",
        "allow_now": "remaining",
        "passes_now": "remaining",
        "refund_now": "refund",
        "knows_now": "knows",
    }
)
_COMBINED_STEPS = ("acquire_known", "check", "allow", "refund_and_remember")


class LoginThrottle:
    """Counts login attempts before they are verified, and refunds those that succeed.

    - ``pair``: the rate of one account from one network; the strict one.
    - ``known_pair``: the rate at which wrong guesses are told from a right password of one account from one network,
      if somebody has logged in from there before. Where clients share an address, a stranger among them can empty the
      bucket of ``pair``. A password that was verified before then passes all the same, while wrong ones are refused;
      so a refusal tells that a guess is wrong. When this wider bucket is empty too, right and wrong ones wait alike.
    - ``account``: the rate of one account from all networks together. It slows only networks from which nobody has
      logged in to the account before, so that a stranger cannot keep its owner out.
    - ``network``: the rate of one network for all accounts. It counts only with ``trusted_client=True``.
    - ``trusted_client``: whether the address that the server reports is the client's own. Behind a proxy that the
      server does not trust, all clients have the same address; if the server trusts everybody, a client can send any
      address.
    - ``most``: how many buckets are kept. The least recently used are forgotten, and count as full again: by inventing
      a quarter as many names, an attacker gets one more ``burst``.
    - ``store``: the ``ThrottleStore`` that counts, such as ``RedisThrottleStore(redis)`` for several processes. By
      default that is the memory of this process, for which ``most`` and ``clock`` are.
    - ``secret``: for a ``store``, at least 32 bytes, the same in all processes: the key of the hashes of names. Without
      one, whoever reads the store can find out by trying names who has logged in, or failed to, from which network.
    - ``deadline``: how many seconds a call of the ``store`` may take, at most 60.

    A network is an IPv4 address or an IPv6 /64. Names are compared as directories do it: without case, width, blanks
    and invisible characters. They are kept as keyed hashes of 16 bytes. An attempt that is refused is not counted, and
    a bucket fills up again whatever happens. Several schemes may share one throttle, and those of one guard do, if they
    are given none. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        *,
        pair: Rate = Rate(10, 30.0),
        known_pair: Rate = Rate(200, 20.0),
        account: Rate = Rate(50, 10.0),
        network: Rate = Rate(200, 1.0),
        trusted_client: bool = False,
        most: int = 100_000,
        store: ThrottleStore | None = None,
        secret: str | bytes | None = None,
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        rates = {"pair": pair, "known_pair": known_pair, "account": account, "network": network}
        for name, rate in rates.items():
            if not isinstance(rate, Rate):
                raise ConfigurationError(name, f"{rate!r} is not a Rate(burst, seconds)")
        self._pair, self._known_pair, self._account, self._network = pair, known_pair, account, network
        self._trusted_client = check_flag("trusted_client", trusted_client)
        self._hash = KeyedHash(_check_secret(secret, is_shared=store is not None))
        self._name_hashes: dict[str, NameHash] = {}
        self._kept_keys = _keys_cache()
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._is_own = store is None
        #: What the methods that are not async ask.
        self._in_memory: Any = MemoryThrottleStore(most=most, clock=clock) if store is None else _check_store(store)
        self._store: ThrottleStore = self._in_memory
        if any(optional_method(self._store, name, beside=beside) is None for name, beside in _WITHOUT_WAITING.items()):
            for name in _WITHOUT_WAITING:
                setattr(self, name, None)  # schemes then await the others
        has_combined = all(callable(getattr(store, name, None)) for name in _COMBINED_STEPS)
        self._steps: CombinedSteps = cast("CombinedSteps", store) if has_combined else SeparateSteps(self._store)

    @property
    def store(self) -> ThrottleStore:
        """Where the attempts are counted."""
        return self._store

    def count_hashed_names(self, kind: str, name_hash: NameHash) -> None:
        """Count an attempt at a name also as one at the hash of that name. Schemes that take hashed names call this.

        Otherwise a client could guess by the name, and again as often by its hash. An attempt at a hash is counted for
        the hash alone, whether it is anybody's or not: if it were counted for the account too, a 429 for the name would
        tell that the account exists. ``kind`` names the function; a second one of the same kind replaces the first.
        """
        self._name_hashes[kind] = name_hash
        self._kept_keys = _keys_cache()

    def pair(self, account: str, client: str | None) -> AttemptPair:
        """The account and the network of ``client``, which is the address that the server reports."""
        name, network = _normalized(account, client)
        return AttemptPair(*self._pair_keys(name, network), name, network)

    def keys(
        self,
        account: str,
        client: str | None,
        sent: str | None = None,
        *,
        pair: AttemptPair | None = None,
        kept_as: bytes | None = None,
    ) -> AttemptKeys:
        """What attempts at the account from the network of ``client`` are counted by.

        ``client`` is the address that the server reports. ``sent`` is the name that the client has sent, if it can be
        hashed: the account may have another one. ``pair`` is that of the first two, if it is at hand. ``kept_as`` is a
        name for the three that only they have, and that is no secret: the keys are then kept by it, because it takes
        longer to make them than to count the attempt.
        """
        if kept_as is not None:
            kept = self._kept_keys.get(kept_as)
            if kept is not None:
                return kept
        cache = self._kept_keys  # count_hashed_names() makes a new one
        keys = self._make_keys(pair or self.pair(account, client), sent)
        if kept_as is not None and len(kept_as) <= MAX_KEYS_NAME:
            cache.put(kept_as, keys)
        return keys

    async def acquire(
        self, account: str, client: str | None, sent: str | None = None, *, keys: AttemptKeys | None = None
    ) -> CountedAttempt | Exceeded:
        """Count one attempt, if one is left. It stays counted unless it is refunded.

        ``keys`` are those of the other arguments, if they are at hand.
        """
        keys = keys or self.keys(account, client, sent)
        return self._counted(keys, await self._ask(self._store.acquire(keys.pair, keys.buckets)))

    async def acquire_known(self, keys: AttemptKeys) -> tuple[CountedAttempt | Exceeded, bool]:
        """The same, and whether somebody has logged in to the account from this network before."""
        counted, known = await self._ask(self._steps.acquire_known(keys.pair, keys.buckets))
        return self._counted(keys, counted), known

    def acquire_now(self, keys: AttemptKeys) -> CountedAttempt | Exceeded:
        """The same, without a coroutine."""
        return self._counted(keys, self._in_memory.acquire_now(keys.pair, keys.buckets))

    def _counted(self, keys: AttemptKeys, counted: Any) -> CountedAttempt | Exceeded:
        if isinstance(counted, Exceeded):
            return counted
        if not isinstance(counted, list | tuple):
            raise wrong_answer(self._store.acquire, counted, "the buckets that count the attempt, or Exceeded")
        return CountedAttempt(keys.pair, counted)

    async def allow(
        self, account: str, client: str | None, sent: str | None = None, *, keys: AttemptKeys | None = None
    ) -> Exceeded | None:
        """``remaining`` with ``authenticated``; and if that is not exceeded, remember that the pair has logged in."""
        keys = keys or self.keys(account, client, sent)
        return await self._ask(self._steps.allow(keys.pair, keys.buckets))

    async def check(self, keys: AttemptKeys) -> tuple[Exceeded | None, bool]:
        """``remaining`` with ``authenticated``, and whether the pair has logged in: ``allow`` would change nothing."""
        return await self._ask(self._steps.check(keys.pair, keys.buckets))

    def allow_now(self, keys: AttemptKeys) -> Exceeded | None:
        """The same as ``allow``, without a coroutine."""
        exceeded: Exceeded | None = self._in_memory.allow_now(keys.pair, keys.buckets)
        return exceeded

    def passes_now(self, keys: AttemptKeys) -> bool:
        """Whether ``allow`` and ``remaining`` with ``authenticated`` would return None, and remember nothing new."""
        passes: bool = self._in_memory.passes_now(keys.pair, keys.buckets)
        return passes

    async def remaining(
        self,
        account: str,
        client: str | None,
        sent: str | None = None,
        *,
        authenticated: bool = False,
        keys: AttemptKeys | None = None,
    ) -> Exceeded | None:
        """``Exceeded`` if no attempt is left. Counts nothing.

        ``authenticated``: the credentials are known to be right, so that it is ``Exceeded`` only if these wait too.
        """
        if self._store.is_idle:  # usually nobody has guessed lately, and there is nothing to look up
            return None
        keys = keys or self.keys(account, client, sent)
        return await self._ask(self._store.remaining(keys.pair, keys.buckets, authenticated=authenticated))

    def remaining_now(self, keys: AttemptKeys, *, authenticated: bool = False) -> Exceeded | None:
        """The same, without a coroutine."""
        exceeded: Exceeded | None = self._in_memory.remaining_now(keys.pair, keys.buckets, authenticated=authenticated)
        return exceeded

    async def refund(self, attempt: CountedAttempt, *, succeeded: bool) -> None:
        """Refund the attempt: the password was right, or (``succeeded=False``) the check could not be made."""
        if succeeded:
            await self._ask(self._steps.refund_and_remember(attempt.pair, attempt.buckets))
        else:
            await self._ask(self._store.refund(attempt.buckets))

    def refund_now(self, attempt: CountedAttempt, *, succeeded: bool) -> None:
        """The same, without a coroutine."""
        self._in_memory.refund_now(attempt.pair if succeeded else None, attempt.buckets)

    async def knows(self, account: str, client: str | None) -> bool:
        """Whether somebody has logged in to the account from this network before."""
        return await self._ask(self._store.knows(self.pair(account, client).key))

    def knows_now(self, pair: AttemptPair) -> bool:
        """The same, without a coroutine."""
        known: bool = self._in_memory.knows_now(pair.key)
        return known

    async def _ask(self, call: Awaitable[T]) -> T:
        """The answer of the store. A store that was given has a deadline."""
        return await (call if self._is_own else ask(call, self._deadline))

    def _pair_keys(self, name: str, network: str) -> tuple[bytes, bytes, bytes]:
        """The keys of the pair of account and network, of its wider bucket, and of the account in all networks.

        They begin with the same byte, so that a store of several servers can keep them on one.
        """
        account, hashed = self._hashed("account", name)[:16], self._hashed("pair", name, network)
        return account[:1] + hashed[:15], account[:1] + hashed[15:30], account

    def _make_keys(self, pair: AttemptPair, sent: str | None) -> AttemptKeys:
        network = pair.network
        buckets = [
            Bucket(pair.key, self._pair, "account and network"),
            Bucket(pair.known_key, self._known_pair, "account and known network", known_only=True),
            Bucket(pair.account_key, self._account, "account", strangers_only=True),
        ]
        for hashed in self._hashes_of(sent):
            key, _, account_key = self._pair_keys(hashed, network)
            buckets.append(Bucket(key, self._pair, "account and network"))
            buckets.append(Bucket(account_key, self._account, "account", strangers_only=True))
        if self._trusted_client:
            buckets.append(Bucket(self._hashed("network", network)[:16], self._network, "network"))
        return AttemptKeys(pair.key, buckets)

    def _hashes_of(self, sent: str | None) -> set[str]:
        if sent is None or not self._name_hashes:
            return set()
        # As it was sent, and as a store may compare it. Not the name of the account: whether one was found must not
        # change what is counted.
        spellings = {sent[:MAX_NAME], _normalized(sent, None)[0]}
        return {name_hash(spelling) for name_hash in self._name_hashes.values() for spelling in spellings}

    def _hashed(self, kind: str, text: str, network: str = "") -> bytes:
        # The length says where the text ends. A name may hold half of a surrogate pair, which UTF-8 cannot encode.
        return self._hash.of(f"{kind} {len(text)} {text} {network}".encode("utf-8", "surrogatepass"))


def _check_store(store: ThrottleStore) -> ThrottleStore:
    """The argument ``store``. Raises ``ConfigurationError``."""
    methods = ("acquire", "remaining", "refund", "remember", "knows")
    if isinstance(store, type) or not all(callable(getattr(store, name, None)) for name in methods):
        raise ConfigurationError("store", f"{store!r} is not a ThrottleStore; give RedisThrottleStore(redis)")
    if not hasattr(store, "is_idle"):
        raise ConfigurationError("store", f"{store!r} has no is_idle; False is right for a store that others use too")
    async_function("store", store.acquire, "acquire(self, pair, buckets)", b"", ())
    async_function(
        "store", store.remaining, "remaining(self, pair, buckets, *, authenticated)", b"", (), authenticated=True
    )
    async_function("store", store.refund, "refund(self, buckets)", ())
    async_function("store", store.remember, "remember(self, pair)", b"")
    async_function("store", store.knows, "knows(self, pair)", b"")
    return store


def _check_secret(secret: str | bytes | None, *, is_shared: bool) -> bytes | None:
    """The key of the hashes of names; None for a random one. Raises ``ConfigurationError``.

    Without a secret, the hashes that processes share have a key that anybody can know.
    """
    if not is_shared:
        if secret is not None:
            raise ConfigurationError("secret", "it is for a store; the memory of a process has a key of its own")
        return None
    given = b"" if secret is None else check_secret(secret)
    return sha256(b"authguard login throttle " + given).digest()


def _keys_cache() -> BoundedCache[AttemptKeys]:
    return BoundedCache(MOST_KEYS, most_bytes=MOST_KEYS_BYTES, size=_size_of)


def _size_of(keys: AttemptKeys) -> int:
    return KEYS_BYTES + BUCKET_BYTES * len(keys.buckets)


def _normalized(account: str, client: str | None) -> tuple[str, str]:
    """The account's name as the most tolerant store may compare it (RFC 4518 section 2, for LDAP), and the network."""
    name = account[:MAX_NAME]  # before it is normalised, which may turn one character into eighteen
    if not name.isascii():
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        name = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(name.lower().split()), network_of(client) or ""


class DefaultThrottle(LoginThrottle):
    """The throttle of a scheme that was given none. ``share_throttle`` lets the schemes of one guard share one."""

    shared = False


@runtime_checkable
class ThrottledScheme(Protocol):
    """A scheme that counts attempts."""

    #: None if guessing is not slowed down.
    throttle: LoginThrottle | None

    def use_throttle(self, throttle: LoginThrottle) -> None:
        """Count by this throttle from now on."""
        ...


def check_throttle(throttle: LoginThrottle | Literal["default"] | None, clock: Clock) -> LoginThrottle | None:
    """The throttle for the argument ``throttle`` of a scheme. Raises ``ConfigurationError``."""
    if throttle == "default":
        return DefaultThrottle(clock=clock)
    if not isinstance(throttle, LoginThrottle | None):
        raise ConfigurationError("throttle", f"{throttle!r} is not a LoginThrottle(...)")
    return throttle


def share_throttle(schemes: Iterable[object]) -> None:
    """Let the schemes of one guard share a throttle, unless they were given one of their own.

    Otherwise a client could guess at an account ten times by each scheme. A scheme that is in two guards stays with the
    throttle that it shares already, and the other schemes of the second guard take that one too.
    """
    throttles = [
        (scheme, scheme.throttle)
        for scheme in schemes
        if isinstance(scheme, ThrottledScheme) and isinstance(scheme.throttle, DefaultThrottle)
    ]
    if not throttles:
        return
    common = next((throttle for _, throttle in throttles if throttle.shared), throttles[0][1])
    common.shared = True
    for scheme, throttle in throttles:
        if not throttle.shared:
            scheme.use_throttle(common)
