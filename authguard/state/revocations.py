"""What has been revoked before its end: the interface that the guard asks, and the store in the memory of one process.

A token, a session or an API key is revoked by its id. A subject is revoked up to a time: all credentials that were
issued until then.
"""

from __future__ import annotations

import logging
import math
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol, TypeAlias, cast, get_args

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.model import Clock, Principal, claims_to_read, keep_revocation_keys, wall_clock
from authguard.server_value import SERVER_ARGUMENT, ServerValue
from authguard.validation import check_int
from authguard.value_types import frozen, mutable, value

_log = logging.getLogger("authguard")

#: What can be revoked, in the order in which a record names it.
RevocationKind: TypeAlias = Literal["token", "session", "api_key", "subject"]
KINDS: Sequence[RevocationKind] = get_args(RevocationKind)

#: A revocation is kept for so many seconds after what it revokes has ended: the largest leeway of a guard, and as much
#: for clocks that differ.
KEPT_AFTER = 600.0
# So many tenths of a memory are for the subjects and keys that an operator revokes. Users who log out cannot fill them.
_RESERVED = 10
_NOTHING: Mapping[bytes, float] = MappingProxyType({})


def revocation_key(kind: RevocationKind, name: str) -> bytes:
    """The key of a revocation, in 16 bytes: a part of the SHA-256 of what it names.

    The name may be long, and that of a session may be as good as a password. All workers and hosts have the same key.
    """
    return sha256(f"{kind}\0{name}".encode("utf-8", "surrogatepass")).digest()[:16]


@frozen
class Revocation(ServerValue):
    """One revocation: ``Revocation.token(jti, expires_at=exp)``, or ``session``, ``api_key`` or ``subject``.

    - ``kind`` and ``name``: what is revoked.
    - ``before``: credentials that were issued at this time or earlier are refused. It is infinite for one credential.
    - ``expires_at``: when everything that it revokes has ended by itself, so that it may be forgotten. Infinite for a
      key that never expires.

    Times are in seconds since the epoch. Raises ``ConfigurationError``.
    """

    kind: Annotated[RevocationKind, SERVER_ARGUMENT]
    name: str
    expires_at: float
    before: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError("kind", f"{self.kind!r} is none of {', '.join(KINDS)}")
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError("name", f"what is revoked as {self.kind} is named by a non-empty string")
        for argument, seconds in (("expires_at", self.expires_at), ("before", self.before)):
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
                raise ConfigurationError(argument, f"{seconds!r} is not a number of seconds since the epoch")
        if self.kind == "subject" and not math.isfinite(self.before):
            raise ConfigurationError("before", "name a time: nobody could ever log in again; disable the account then")

    @classmethod
    def token(cls, jti: Annotated[str, SERVER_ARGUMENT], *, expires_at: float) -> Revocation:
        """Revoke the token with this ``jti``. ``expires_at`` is its ``exp``."""
        return cls("token", jti, expires_at)

    @classmethod
    def session(cls, session_id: Annotated[str, SERVER_ARGUMENT], *, expires_at: float) -> Revocation:
        """Revoke the session with this id, and all tokens that name it as ``sid``."""
        return cls("session", session_id, expires_at)

    @classmethod
    def api_key(cls, key_id: Annotated[str, SERVER_ARGUMENT], *, expires_at: float) -> Revocation:
        """Revoke the API key with this id."""
        return cls("api_key", key_id, expires_at)

    @classmethod
    def subject(cls, subject: Annotated[str, SERVER_ARGUMENT], *, before: float, expires_at: float) -> Revocation:
        """Revoke whatever was issued to this subject until ``before``.

        ``expires_at`` is when the last of it ends: ``before`` and the longest life of a token or a session.
        """
        return cls("subject", subject, expires_at, before)

    @property
    def key(self) -> bytes:
        """The key by which stores keep it and find it."""
        return revocation_key(self.kind, self.name)


@value
class RevocationKeys(ServerValue):
    """By what a principal can be revoked: the keys, the kind of each, and when its credentials were issued.

    ``issued_at`` is the earlier of ``iat`` and ``auth_time``: a token that was renewed after a revocation still comes
    from the login before it. None if nothing says it.
    """

    keys: tuple[bytes, ...]
    kinds: tuple[RevocationKind, ...]
    issued_at: float | None


# The claims that name a credential. `sid`: OpenID Connect Front-Channel Logout 1.0 section 3, and the scheme Session.
_CLAIMS: Sequence[tuple[RevocationKind, str]] = (("token", "jti"), ("session", "sid"), ("api_key", "key_id"))
_TIMES = ("iat", "auth_time")
#: The claim of each kind, for a record.
CLAIM_OF: Mapping[str, str] = MappingProxyType(dict(_CLAIMS))


def revocation_keys(principal: Principal) -> RevocationKeys:
    """By what this principal can be revoked. It is found out once for each principal that a scheme keeps."""
    kept = principal._revocation_keys  # noqa: SLF001 - it is for this function
    if kept is not None:
        return cast("RevocationKeys", kept)
    claims: Mapping[str, Any] = claims_to_read(principal)
    named: list[tuple[RevocationKind, str]] = [
        (kind, claims[claim]) for kind, claim in _CLAIMS if isinstance(claims.get(claim), str)
    ]
    named.append(("subject", principal.subject))
    times = [claims[name] for name in _TIMES if _is_time(claims.get(name))]
    keys = RevocationKeys(
        tuple(revocation_key(kind, name) for kind, name in named),
        tuple(kind for kind, _ in named),
        min(times, default=None),
    )
    keep_revocation_keys(principal, keys)
    return keys


def _is_time(found: object) -> bool:
    if isinstance(found, float):
        return math.isfinite(found)  # NaN is not before anything, so that nothing would be revoked
    return isinstance(found, int) and not isinstance(found, bool)


class Revocations(Protocol):
    """Where a guard asks whether credentials have been revoked: ``Guard(..., revocations=store)``.

    Write ``find``::

        class RedisRevocations(Revocations):
            async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
                found = await redis.mget(keys)
                return {key: float(before) for key, before in zip(keys, found) if before is not None}

    A store may also have ``find_now(keys)``, not async: the same answer if it is in memory, and None if not. It is
    called first, and without a deadline, whose timer would cost more than the answer.

    A store that learns of a revocation at once may also have ``on_revoked(keys, callback)``, not async: it has
    ``callback()`` called when one of the keys is revoked, by any thread, and returns a function that ends that. Without
    it an open connection asks again and again (``Guard(end_with_credentials=True)``).
    """

    @abstractmethod
    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """Those of the keys that are revoked, each with ``Revocation.before``; empty if none is.

        It is asked once for each request, with the keys of all that the credentials can be revoked by. Raises
        ``BackendUnavailable``, which the client gets as a 503.
        """
        ...


class RevocationStore(Revocations, Protocol):
    """A store that the app itself enters revocations into. Write ``revoke`` and ``find``."""

    @abstractmethod
    async def revoke(self, revocation: Revocation) -> None:
        """Refuse this from now on, until ``expires_at`` at least. The later ``before`` and ``expires_at`` hold.

        Raises ``BackendUnavailable`` if it could not be stored: the caller must not say that it was.
        """
        ...

    async def revoke_session(self, session_id: str, until: float) -> None:
        """Revoke a session, which ends by itself at ``until``. The scheme ``Session`` calls it at a log-out."""
        await self.revoke(Revocation.session(session_id, expires_at=until))

    async def is_session_revoked(self, session_id: str) -> bool:
        """Whether this session was revoked."""
        return bool(await self.find((revocation_key("session", session_id),)))


class RevokedKey(Protocol):
    """One revocation as a source lists it: ``Revocation``, or any object with these three attributes of it.

    The id of a session may be as good as a password, so a source need not know it: the key is a hash.
    """

    @property
    def key(self) -> bytes: ...

    @property
    def before(self) -> float: ...

    @property
    def expires_at(self) -> float: ...


class RevocationSource(Protocol):
    """Where revocations are kept for good: ``SqlRevocations``, ``RevocationFile``, or a store of your own.

    ``RedisRevocations(redis, source=...)`` enters each revocation there first, and lists all of them when a Redis
    server has forgotten them. Write ``revoke`` and ``live``::

        class Table(RevocationSource):
            async def revoke(self, revocation: Revocation) -> None:
                await insert(revocation.key, revocation.before, revocation.expires_at, entered=time.time())

            async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
                async for rows in pages("WHERE expires_at > now() - 600 AND entered >= ?", since):
                    yield rows
    """

    @abstractmethod
    async def revoke(self, revocation: Revocation) -> None:
        """Keep this until ``expires_at`` at least. The later ``before`` and ``expires_at`` hold.

        It must be durable when this returns. Raises ``BackendUnavailable``.
        """
        ...

    @abstractmethod
    def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        """All revocations that have not ended ten minutes ago and were entered at ``since`` or later, in slices.

        ``since`` is in seconds since the epoch, and ``-math.inf`` for all. One that was extended counts as entered
        then. What is listed beyond that does no harm. Slices of about a thousand keep the event loop free. Raises
        ``BackendUnavailable``: a list that is not complete must never look so.
        """
        ...


@mutable
class _Callback:
    """A function to call at a revocation. It equals only itself, whatever the function equals."""

    call: Callable[[], None]


class RevocationCallbacks:
    """What open connections have called when one of their keys is revoked. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._by_key: dict[bytes, set[_Callback]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, keys: Sequence[bytes], callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when one of the keys is revoked, until the returned function is called."""
        entry = _Callback(callback)
        with self._lock:
            for key in keys:
                self._by_key.setdefault(key, set()).add(entry)
        return partial(self._remove, keys, entry)

    def _remove(self, keys: Sequence[bytes], entry: _Callback) -> None:
        with self._lock:
            for key in keys:
                callbacks = self._by_key[key]
                callbacks.remove(entry)
                if not callbacks:
                    del self._by_key[key]

    def call(self, keys: Sequence[bytes] | None) -> None:
        """Call those of these keys, or all of them."""
        with self._lock:
            found: set[_Callback] = set()
            found.update(*(self._by_key.values() if keys is None else [self._by_key.get(key, ()) for key in keys]))
        for callback in found:
            callback.call()


class MemoryRevocations(RevocationStore):
    """A ``RevocationStore`` in the memory of this process. Other workers do not know what it knows.

    It keeps at most ``most`` revocations, at about 200 bytes each, until what they revoke has ended. None is ever
    forgotten before that, because a revoked token would be good again. When it is full, ``revoke`` raises
    ``BackendUnavailable``, so that nobody takes a log-out for done. A tenth is kept free for subjects and API keys, so
    that users who log in and out again and again cannot keep an operator from revoking them.

    ``clock`` is that of the end of the revocations. How long they are kept is counted by ``monotonic``, so that a clock
    that is set forwards and back loses none. Raises ``ConfigurationError``.
    """

    #: Start-up warns of it if several processes serve the app.
    is_per_process = True

    def __init__(self, *, most: int = 100_000, clock: Clock = wall_clock, monotonic: Clock = time.monotonic) -> None:
        self._most = check_int("most", most, least=100, most=10_000_000)
        self._clock, self._monotonic = clock, monotonic
        self._lock = ForkSafeLock()
        self._before: dict[bytes, float] = {}
        #: When each may be forgotten, by the monotonic clock.
        self._kept_until: dict[bytes, float] = {}
        #: With how many revocations those that have ended are looked for again.
        self._prune_at = 1024
        self._was_full = False
        self._callbacks = RevocationCallbacks()

    def __len__(self) -> int:
        return len(self._before)

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """Those of the keys that are revoked."""
        return self.find_now(keys)

    def find_now(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """The same."""
        # Without the lock: a key that another thread is just adding is there, or not yet. The clock is not asked: what
        # has ended is refused for that anyway.
        before = self._before
        if before.keys().isdisjoint(keys):
            return _NOTHING
        return {key: before.get(key, math.inf) for key in keys if key in before}

    def is_session_revoked_now(self, session_id: str) -> bool:
        """The answer of ``is_session_revoked``, at once."""
        return revocation_key("session", session_id) in self._before

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse this from the next request on. Raises ``BackendUnavailable`` if the memory is full."""
        self.revoke_now(revocation)

    def revoke_now(self, revocation: Revocation) -> None:
        """The same, for code that is not async."""
        key = revocation.key
        with self._lock:
            now = self._monotonic()
            kept_until = now + max(revocation.expires_at - self._clock(), 0.0) + KEPT_AFTER
            if key in self._before:
                kept_until = max(kept_until, self._kept_until[key])
            else:
                self._make_room(revocation.kind, now)
            self._kept_until[key] = kept_until
            self._before[key] = max(revocation.before, self._before.get(key, -math.inf))
        self._callbacks.call((key,))

    def on_revoked(self, keys: Sequence[bytes], callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when one of the keys is revoked, until the returned function is called."""
        return self._callbacks.add(keys, callback)

    def _make_room(self, kind: RevocationKind, now: float) -> None:
        """Forget what has ended, at times, and raise ``BackendUnavailable`` if there is no room for one more."""
        most = self._most if kind in {"subject", "api_key"} else self._most - self._most // _RESERVED
        if len(self._before) >= min(most, self._prune_at):
            for key in [key for key, until in self._kept_until.items() if now >= until]:
                del self._before[key], self._kept_until[key]
            # Twice as many as are left, so that a look at all of them is paid by as many new ones.
            self._prune_at = max(1024, 2 * len(self._before))
        if len(self._before) < most:
            self._was_full = False
            return
        if not self._was_full:
            self._was_full = True
            _log.error(
                "MemoryRevocations is full with %d revocations, and refuses new ones; give it a larger most=, or let "
                "tokens and sessions end sooner",
                len(self._before),
            )
        raise BackendUnavailable(f"MemoryRevocations is full: most={self._most}")
