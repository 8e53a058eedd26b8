"""Verify passwords so that every name costs the same, and cache for a moment what was verified."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from functools import partial

from authguard.accounts.account import NOT_NOW, Account, NotNow, PasswordCheck, PasswordStore, SampledStore, Verdict
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.caching import BoundedCache, KeyedHash
from authguard.concurrency.deadline import ask, optional_method
from authguard.concurrency.thread_pool import ANYBODY, Caller, ThreadPool
from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
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
from authguard.value_types import value
from authguard.wire.basic import UserPass


class VerificationCache:
    """Remembers for ``seconds`` that a password matched a stored hash, so that a client pays for one hash.

    An entry is a ``KeyedHash`` of name, password and stored hash; at most ``most`` are kept. The account is not cached
    but read from its store for each request: a changed role counts at once, and a changed hash makes another entry. An
    entry whose time is over still shows that the password was right (``had``), until others take its place. With
    ``seconds=None`` nothing is remembered. A forked child begins without entries, and with a key of its own. Raises
    ``ConfigurationError``.
    """

    def __init__(self, *, seconds: float | None, most: int = 4096, clock: Clock) -> None:
        self._seconds = None if seconds is None else check_seconds("remember", seconds, most=3600)
        self._most = most
        self._clock = clock
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget all entries, and make a new key."""
        self._hash = KeyedHash()
        self._until = BoundedCache[float](self._most)

    def entry(self, user_pass: UserPass, stored: str) -> bytes:
        """What stands for this name and password with this stored hash: 32 bytes."""
        # A name contains no colon, and a password no control character. A hash may hold half of a surrogate pair.
        text = f"{user_pass.username}:{user_pass.password}\0{stored}"
        return self._hash.of(text.encode("utf-8", "surrogatepass"))

    def unnormalized_entry(self, user_pass: UserPass, stored: str) -> bytes:
        """The same for a password that was sent in another form than NFC: it may match where the other form does not.

        It is never the entry of a password that was sent in NFC.
        """
        # Neither a name nor a password contains a control character, so no other entry begins with one.
        text = f"\0{user_pass.username}:{user_pass.password}\0{user_pass.unnormalized}\0{stored}"
        return self._hash.of(text.encode("utf-8", "surrogatepass"))

    def name_hash(self, name: str) -> bytes:
        """What stands for a name beside an entry: 16 bytes."""
        return self._hash(name)[:16]

    def has(self, entry: bytes) -> bool:
        """Whether this password matched this hash a moment ago."""
        until = self._until.get(entry)
        return until is not None and self._clock() < until

    def had(self, entry: bytes) -> bool:
        """Whether this password has ever matched this hash, as far as is remembered."""
        return entry in self._until

    def add(self, entry: bytes) -> None:
        """Remember that this password matches this hash."""
        if self._seconds is not None:
            self._until.put(entry, self._clock() + self._seconds)


@value
class UnnormalizedMatch:
    """The stored hash is that of the password as it was sent, in another form than NFC."""

    account: Account


#: How many of the verified hashes serve as a sample, if the store shows none.
MOST_SEEN = 64
#: How many hashes of a sample are searched for formats that hold the interpreter lock.
MOST_SEARCHED = 1000
#: For how many reasons it is logged why a hash cannot be read. There are fewer; a hasher of the app may have more.
MOST_TOLD = 16
#: How many hashes of a sample are tried as a decoy before the verifier uses one of its own.
MOST_DECOYS = 16

log = logging.getLogger("authguard")

_REASONS: dict[Verdict, Reason] = {
    Verdict.WRONG: PASSWORD_WRONG,
    Verdict.TOO_LONG: PASSWORD_TOO_LONG,
    Verdict.UNREADABLE: PASSWORD_HASH_UNREADABLE,
}
_FORMAT = re.compile(r"\$[a-z0-9-]{1,20}\$")


class PasswordVerifier:
    """Verifies passwords against a store's hashes, in the thread pool.

    If there is no hash to verify, the hash of another account is verified instead (a decoy) and the result ignored, so
    that the time does not tell which names exist. A keyed hash of the name picks the decoy: one name costs the same
    each time, and in a store of several formats, unknown names are spread over them as known ones are. The key is the
    first stored hash, so that all worker processes pick the same decoy. ``empty_password``: whether a hash of the empty
    password can be matched.
    """

    def __init__(
        self, store: PasswordStore, pool: ThreadPool, deadline: float, *, empty_password: bool = False
    ) -> None:
        async_function("passwords", store.find, "find(self, username)", "alice")
        self._store, self._hasher, self._deadline = store, store.hasher, deadline
        self._find_now = optional_method(store, "find_now", beside="find")
        self._empty_password = empty_password
        self._sampled = store if isinstance(store, SampledStore) else None
        self._pool = pool
        self._sample: Sequence[str] = ()
        self._seen: dict[str, None] = {}
        self._own_decoy: str | None = None
        #: Why hashes could not be read, as far as it was logged.
        self._told: set[str] = set()
        self._refresh_sample()

    def find_now(self, username: str) -> Account | NotNow | None:
        """The account of this name if the store has it in memory; None if there is none."""
        found = NOT_NOW if self._find_now is None else self._find_now(username)
        return NOT_NOW if found is NOT_NOW else self._account(found)

    async def find(self, username: str) -> Account | None:
        """The account of this name; None if there is none."""
        account = self.find_now(username)
        if account is not NOT_NOW:
            return account
        return self._account(await ask(awaitable(self._store.find, self._store.find(username)), self._deadline))

    def _account(self, found: object) -> Account | None:
        """What the store has returned. Raises ``WrongAnswer`` for anything else."""
        if found is None or isinstance(found, Account):
            return found
        raise wrong_answer(self._store.find, found, "an Account, or None if there is none")

    async def verify(
        self,
        username: str,
        password: str,
        account: Account | None,
        caller: Caller = ANYBODY,
        unnormalized: str | None = None,
    ) -> Account | Reason | UnnormalizedMatch:
        """The account if the password matches, else the reason. It costs one verification, whatever the reason.

        ``unnormalized`` is another form of the password, which is verified if this one does not match. Every failure
        costs two verifications then.
        """
        stored = "" if account is None else account.password_hash
        if not stored:
            self._refresh_sample()
        matches_other = False
        if unnormalized is None:
            verdict = await self._pool.run(partial(self._verify_hash, username, password, stored), caller)
        else:
            # In one turn of the pool: if the second could be refused, the first would be a guess that nobody counts.
            verify = partial(self._verify_either, username, password, unnormalized, stored)
            verdict, matches_other = await self._pool.run(verify, caller)
        if account is None:
            return USER_UNKNOWN
        if not password and not self._empty_password:
            return PASSWORD_EMPTY
        if matches_other:
            return UnnormalizedMatch(account)
        return account if verdict is Verdict.MATCH else _REASONS[verdict]

    async def rehash(
        self, password: str, account: Account, caller: Caller = ANYBODY, *, is_outdated: bool = False
    ) -> str | None:
        """A new hash if the stored one is outdated, else None. ``is_outdated``: whether it is known to be."""
        if not (is_outdated or self._hasher.needs_rehash(account.password_hash)):
            return None
        return await self._pool.run(partial(self._hasher.hash, password), caller)

    def gil_blocking_formats(self) -> list[str]:
        """The formats in the store whose verification holds the interpreter lock, so that the event loop stops."""
        sample = self._sample
        searched = sample[:: len(sample) // MOST_SEARCHED + 1]
        blocking = [stored for stored in searched if self._hasher.blocks_gil(stored)]
        # A hash without a format prefix must not be quoted, not even in part.
        return sorted({match[0] if (match := _FORMAT.match(stored)) else "another format" for stored in blocking})

    def _verify_hash(self, username: str, password: str, stored: str) -> Verdict:
        """Runs in the pool, because to read a hash takes as long on the event loop as a whole request."""
        if stored and self._hasher.reads(stored):
            if len(self._seen) < MOST_SEEN:
                self._seen[stored] = None
            return self._hasher.verify(password, stored)
        if stored:
            self._tell_unreadable(stored)
        self._verify_decoy(password, self._pick_decoy(username))
        return Verdict.UNREADABLE if stored else Verdict.WRONG

    def _verify_either(self, username: str, password: str, unnormalized: str, stored: str) -> tuple[Verdict, bool]:
        """The result for the password in NFC, and whether it matches as it was sent. Runs in the pool."""
        verdict = self._verify_hash(username, password, stored)
        if verdict is Verdict.MATCH:
            return verdict, False
        return verdict, self._verify_hash(username, unnormalized, stored) is Verdict.MATCH

    def _tell_unreadable(self, stored: str) -> None:
        """Log why a stored hash cannot be read, once for each reason."""
        problem_of = getattr(self._hasher, "problem_of", None)
        problem = None if problem_of is None else problem_of(stored)
        if problem is not None and problem not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(problem)
            log.error("a stored hash cannot be read: %s", problem)

    def _refresh_sample(self) -> None:
        """Ask the store for its hashes, on the event loop: a store of the app need not allow other threads."""
        if self._sampled is not None:
            self._sample = self._sampled.sample()

    def _verify_decoy(self, password: str, decoy: str | None) -> None:
        """Cost what a verification costs. If no decoy was found, one is made, which takes long too."""
        if decoy is None:
            decoy = self._own_decoy = self._own_decoy or self._hasher.hash(secrets.token_urlsafe(16))
        self._hasher.verify(password, decoy)

    def _pick_decoy(self, username: str) -> str | None:
        """A stored hash whose cost is imitated. None if no readable one is known: then any hash will do."""
        sample = self._sample or tuple(self._seen)
        if sample:
            name_hash = hmac.digest(sample[0].encode(), username.encode(), "sha256")
            first = jump_hash(int.from_bytes(name_hash[:8], "big"), len(sample))
            for step in range(min(len(sample), MOST_DECOYS)):
                stored = sample[(first + step) % len(sample)]
                if self._hasher.reads(stored):
                    return stored
        return None


class DirectoryVerifier:
    """Has a directory check the passwords: a ``PasswordCheck``, such as LDAP.

    ``empty_password``: whether it is asked about an empty password.
    """

    def __init__(self, check: PasswordCheck, deadline: float, *, empty_password: bool = False) -> None:
        async_function("passwords", check.check, "check(self, username, password)", "alice", "")
        self._check, self._deadline = check, deadline
        self._empty_password = empty_password

    def find_now(self, username: str) -> Account | NotNow | None:
        """None: a directory shows an account only together with its password."""
        return None

    async def find(self, username: str) -> Account | None:
        """None, for the same reason."""
        return None

    async def verify(
        self,
        username: str,
        password: str,
        account: Account | None,
        caller: Caller = ANYBODY,
        unnormalized: str | None = None,
    ) -> Account | Reason:
        """The account if the directory accepts the password, else the reason.

        It is asked about the password in NFC alone, because it may count a second question as a second guess.
        """
        if not password and not self._empty_password:
            # LDAP takes an empty password for an anonymous bind, which succeeds (RFC 4513 section 5.1.2).
            return PASSWORD_EMPTY
        answer = await ask(awaitable(self._check.check, self._check.check(username, password)), self._deadline)
        if isinstance(answer, Reason) and answer.outage:
            raise BackendUnavailable(reason=answer)
        if not isinstance(answer, Account | Reason):
            raise wrong_answer(self._check.check, answer, "an Account, or the reason to deny with")
        return answer


def jump_hash(key: int, buckets: int) -> int:
    """The bucket of a key: the jump consistent hash of Lamping and Veach, https://arxiv.org/abs/1406.2294.

    If a bucket is appended, only the keys that move into it change their bucket. With a plain remainder, each added
    user would change the decoys of most unknown names, and a changed cost would tell that they are unknown.
    """
    bucket, following = 0, 0
    while following < buckets:
        bucket = following
        key = (key * 2862933555777941757 + 1) % 2**64
        following = int((bucket + 1) * (2**31 / ((key >> 33) + 1)))
    return bucket
