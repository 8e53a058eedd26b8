"""That a password fitted a stored hash, remembered for a moment: a client pays for one hash, not for each request."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from functools import partial

from authguard.accounts.account import NOT_NOW, Account, PasswordCheck, PasswordStore, SampledStore, Verdict
from authguard.caching import BoundedCache
from authguard.concurrency.deadline import ask, optional_method
from authguard.concurrency.thread_pool import ThreadPool
from authguard.errors import BackendUnavailable
from authguard.model import Clock
from authguard.reasons import (
    PASSWORD_EMPTY,
    PASSWORD_HASH_UNREADABLE,
    PASSWORD_TOO_LONG,
    PASSWORD_WRONG,
    USER_UNKNOWN,
    Reason,
)
from authguard.validation import check_seconds


class VerificationCache:
    """At most ``most`` fits, each for ``seconds``. A fit is a keyed hash of name, password and stored hash.

    Nothing of the account is kept. It is read from its store each time, so that a changed role tells at once; a changed
    hash makes another fit. Raises ``ConfigurationError``.
    """

    def __init__(self, *, seconds: float, most: int = 4096, clock: Clock) -> None:
        self._seconds = check_seconds("remember", seconds, most=3600)
        self._clock = clock
        self._until = BoundedCache[float](most)

    def knows(self, fit: bytes) -> bool:
        """Whether this password fitted this hash a moment ago."""
        until = self._until.get(fit)
        return until is not None and self._clock() < until

    def note(self, fit: bytes) -> None:
        """This password fits this hash."""
        self._until.put(fit, self._clock() + self._seconds)


#: Of a store that shows no sample, so many of the hashes that came by are kept as one.
MOST_SEEN = 64
#: Of a sample, so many are looked at for what holds the interpreter lock, and so many tried for one that can be read.
LOOKED_AT, TRIED = 1000, 16

_REASONS: dict[Verdict, Reason] = {
    Verdict.WRONG: PASSWORD_WRONG,
    Verdict.TOO_LONG: PASSWORD_TOO_LONG,
    Verdict.UNREADABLE: PASSWORD_HASH_UNREADABLE,
}
_FORMAT = re.compile(r"\$[a-z0-9-]{1,20}\$")


class PasswordVerifier:
    """Verifies passwords against a store's hashes in the pool.

    Where there is no hash to verify, somebody else's is verified and the answer thrown away. Whose goes by a keyed hash
    of the name: the same name costs the same each time, and in a file of several formats the names that are unknown are
    spread over them as those that are known. The key is the first stored hash, so that all worker processes pick alike.
    """

    def __init__(self, store: PasswordStore, pool: ThreadPool, deadline: float) -> None:
        self._store, self._hasher, self._deadline = store, store.hasher, deadline
        self._find_now = optional_method(store, "find_now", beside="find")
        self._sampled = store if isinstance(store, SampledStore) else None
        self._pool = pool
        self._seen: dict[str, None] = {}
        self._own: str | None = None

    async def find(self, username: str) -> Account | None:
        """The account of this name."""
        account = NOT_NOW if self._find_now is None else self._find_now(username)
        if account is NOT_NOW:
            account = await ask(self._store.find(username), self._deadline)
        if account is not None and not isinstance(account, Account):
            msg = "a password store returned something that is not an Account"
            raise TypeError(msg)
        return account

    async def judged(self, username: str, password: str, account: Account | None) -> Account | Reason:
        """The account where the password fits, else why not; after one verification, whatever the cause."""
        verdict = await self._verdict(username, password, "" if account is None else account.password_hash)
        if account is None:
            return USER_UNKNOWN
        if not password:
            return PASSWORD_EMPTY
        return account if verdict is Verdict.MATCH else _REASONS[verdict]

    async def renewed(self, password: str, account: Account) -> str | None:
        """A new hash where the stored one is outdated."""
        if not self._hasher.needs_rehash(account.password_hash):
            return None
        return await self._pool.run(partial(self._hasher.hash, password))

    def gil_blocking_formats(self) -> list[str]:
        """The formats in the store whose verification keeps the interpreter lock from the event loop."""
        sample = self._sample()
        held = [stored for stored in sample[:: len(sample) // LOOKED_AT + 1] if self._hasher.blocks_gil(stored)]
        # Of what does not begin as a format, no part may be told.
        return sorted({found[0] if (found := _FORMAT.match(stored)) else "another format" for stored in held})

    async def _verdict(self, username: str, password: str, stored: str) -> Verdict:
        if stored and self._hasher.reads(stored):
            if len(self._seen) < MOST_SEEN:
                self._seen[stored] = None
            return await self._pool.run(partial(self._hasher.verify, password, stored))
        decoy = await self._decoy(username)
        await self._pool.run(partial(self._hasher.verify, password, decoy))
        return Verdict.UNREADABLE if stored else Verdict.WRONG

    def _sample(self) -> Sequence[str]:
        return tuple(self._seen) if self._sampled is None else self._sampled.sample()

    async def _decoy(self, username: str) -> str:
        sample = self._sample()
        if sample:
            name = hmac.digest(sample[0].encode(), username.encode(), "sha256")
            first = _jump(int.from_bytes(name[:8], "big"), len(sample))
            for step in range(min(len(sample), TRIED)):
                stored = sample[(first + step) % len(sample)]
                if self._hasher.reads(stored):
                    return stored
        # There is nobody to hide; one hash of our own is as good as any.
        if self._own is None:
            self._own = await self._pool.run(partial(self._hasher.hash, secrets.token_urlsafe(16)))
        return self._own


class DirectoryVerifier:
    """Leaves it to a directory that checks passwords itself."""

    def __init__(self, check: PasswordCheck, deadline: float) -> None:
        self._check, self._deadline = check, deadline

    async def find(self, username: str) -> Account | None:
        """None: only who knows the password gets to see the account."""
        return None

    async def judged(self, username: str, password: str, account: Account | None) -> Account | Reason:
        """What the directory says."""
        if not password:
            # To LDAP an empty password is an anonymous bind, which succeeds (RFC 4513 section 5.1.2).
            return PASSWORD_EMPTY
        answer = await ask(self._check.check(username, password), self._deadline)
        if isinstance(answer, Reason) and answer.outage:
            raise BackendUnavailable(reason=answer)
        if not isinstance(answer, Account | Reason):
            msg = "a directory answered with neither an Account nor a Reason"
            raise TypeError(msg)
        return answer


def _jump(key: int, places: int) -> int:
    """Which of so many places a key has; where one is added behind them, only the keys that go there move.

    The jump consistent hash of Lamping and Veach, https://arxiv.org/abs/1406.2294. By a plain remainder the names that
    are unknown would change their formats whenever a user is added, and thereby tell that they are.
    """
    at, ahead = 0, 0
    while ahead < places:
        at = ahead
        key = (key * 2862933555777941757 + 1) % 2**64
        ahead = int((at + 1) * (2**31 / ((key >> 33) + 1)))
    return at
