"""Basic (RFC 7617): a name and a password. No answer tells which names exist, and guessing is slowed down."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import anyio.lowlevel

from authguard.accounts.account import Account, PasswordCheck, PasswordStore, RolesListed
from authguard.caching import KeyedHash
from authguard.concurrency.deadline import ask
from authguard.concurrency.single_flight import SingleFlight
from authguard.concurrency.thread_pool import ThreadPool
from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS, Accepted, Clock, Denied, Outcome, Principal, Rejected
from authguard.reasons import (
    ACCOUNT_DISABLED,
    ATTEMPTS_EXCEEDED,
    CREDENTIALS_MALFORMED,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.password_verifier import DirectoryVerifier, PasswordVerifier, VerificationCache
from authguard.schemes.scheme import Scheme
from authguard.schemes.throttle import LoginThrottle
from authguard.state.throttle_store import Exceeded
from authguard.wire.authorization import Credentials, token68
from authguard.wire.basic import UserPass
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

#: Called with an account and a new hash of its password, if the stored hash has an outdated format or cost.
OnRehash: TypeAlias = Callable[[Account, str], Awaitable[None]]

log = logging.getLogger("authguard")


@dataclass(slots=True)
class _Login:
    """The name and password of one request, and the account that the store has now.

    ``entry`` identifies the name, the password and the stored hash in the ``VerificationCache``.
    """

    user_pass: UserPass
    client: str | None
    account: Account | None
    entry: bytes = field(repr=False)


class Basic(Scheme):
    """The Basic scheme: ``Basic(HtpasswdFile("users"), realm="orders")``.

    - ``passwords``: a ``PasswordStore``, whose hashes are verified in a thread pool; or a ``PasswordCheck``.
    - ``throttle``: a ``LoginThrottle``, which slows guessing down; None switches it off.
    - ``remember``: for how many seconds a verified password is not hashed again; None switches that off.
    - ``on_rehash``: an async function of an account and a new hash, called after a login with an outdated hash.
    - ``threads``, ``waiting``: how many passwords are verified at the same time, and how many may queue for that.
    - ``deadline``: how many seconds a login may wait for a thread, and a store may take to answer.

    Denies with ``credentials.malformed``, ``user.unknown``, ``password.*`` and ``account.disabled``, which a client
    cannot tell apart; with ``attempts.exceeded`` (429); with ``hashing.busy`` and ``store.*`` (503). Raises
    ``ConfigurationError``.
    """

    name = "basic"
    carrier = AUTHORIZATION
    sent_by_browsers = True

    def __init__(
        self,
        passwords: PasswordStore | PasswordCheck,
        *,
        realm: str,
        throttle: LoginThrottle | Literal["default"] | None = "default",
        remember: float | None = 60.0,
        on_rehash: OnRehash | None = None,
        threads: int | None = None,
        waiting: int = 64,
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        if isinstance(passwords, type) or not isinstance(passwords, PasswordStore | PasswordCheck):
            raise ConfigurationError("passwords", "give MemoryUsers(...), HtpasswdFile(...) or a store of your own")
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is not a string")
        try:
            self._challenge = (Challenge("Basic", {"realm": realm, "charset": "UTF-8"}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self._throttle = LoginThrottle(clock=clock) if throttle == "default" else throttle
        if not isinstance(self._throttle, LoginThrottle | None):
            raise ConfigurationError("throttle", f"{throttle!r} is not a LoginThrottle(...)")
        self.denial_reasons = () if self._throttle is None else (ATTEMPTS_EXCEEDED,)
        self._verification_cache = None if remember is None else VerificationCache(seconds=remember, clock=clock)
        self._deadline = deadline
        self._pool = ThreadPool(threads=threads, waiting=waiting, deadline=deadline)
        self._passwords = passwords
        self._verifier: PasswordVerifier | DirectoryVerifier
        if isinstance(passwords, PasswordStore):
            self._verifier = verifier = PasswordVerifier(passwords, self._pool, deadline)
            if formats := verifier.gil_blocking_formats():
                message = "verifying a password in these formats holds the interpreter lock, so all requests wait: %s"
                log.warning(message, ", ".join(formats))
        else:
            self._verifier = DirectoryVerifier(passwords, deadline)
        if on_rehash is not None and not (callable(on_rehash) and isinstance(self._verifier, PasswordVerifier)):
            raise ConfigurationError("on_rehash", "give an async function, and a PasswordStore, which shows its hashes")
        self._on_rehash = on_rehash
        self._hash = KeyedHash()
        self._single_flight: SingleFlight[Account | Reason | Exceeded] = SingleFlight(deadline=deadline)
        self.services = (self,)

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that the store lists; None if it cannot list them."""
        return self._passwords.roles_given() if isinstance(self._passwords, RolesListed) else None

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Verify the name and the password. Equal logins at the same time share one attempt and one hash."""
        try:
            user_pass = UserPass.from_token68(token68(credentials.rest))
        except WireError as error:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if not user_pass.username:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": "no user-id"})
        account = await self._verifier.find(user_pass.username)
        stored = "" if account is None else account.password_hash
        entry = self._hash(user_pass.username, user_pass.password, stored)
        login = _Login(user_pass, request.client, account, entry)
        cached, verified_here = await self._from_cache(login), False
        if cached is not None:
            answer: Account | Reason | Exceeded = cached
        else:
            verify = partial(self._verify_counted, login)
            answer, verified_here = await self._single_flight.share((entry, request.client), verify)
        if isinstance(answer, Exceeded):
            return Rejected(ATTEMPTS_EXCEEDED, user_pass.username, answer.facts())
        if isinstance(answer, Reason):
            return Rejected(answer, user_pass.username)
        # Each request uses the account that it has read itself. Only the verification is shared or cached.
        account = answer if account is None else account
        if account.disabled:
            return Rejected(ACCOUNT_DISABLED, user_pass.username, authenticated=True)
        if verified_here and self._on_rehash is not None and isinstance(self._verifier, PasswordVerifier):
            await self._rehash(account, user_pass.password, self._verifier, self._on_rehash)
        claims = {} if account.claims is NO_CLAIMS else account.claims
        return Accepted(Principal.checked(account.subject, account.roles, account.scopes, claims, None, self.name))

    async def _from_cache(self, login: _Login) -> Account | Exceeded | None:
        """Answer from the verification cache, if possible.

        An exceeded throttle comes first: otherwise a cached success would tell an attacker that a guess is right.
        """
        account = login.account
        # A disabled account costs a hash each time, as a wrong password does.
        if self._verification_cache is None or account is None or account.disabled:
            return None
        if not self._verification_cache.has(login.entry):
            return None
        return (self._throttle and await self._throttle.allow(account.subject, login.client)) or account

    async def _verify_counted(self, login: _Login) -> Account | Reason | Exceeded:
        """Count an attempt, verify the password, and refund the attempt if the password is right."""
        if self._throttle is None:
            return await self._verify(login)
        # Counted by the subject of the account, because a store may find one account by several spellings of its name.
        name = login.user_pass.username if login.account is None else login.account.subject
        attempt = await self._throttle.acquire(name, login.client)
        if isinstance(attempt, Exceeded):
            return attempt
        try:
            answer = await self._verify(login)
        except Exception:
            # The password was not checked. A cancelled request does not come here: its attempt stays counted.
            await self._throttle.refund(attempt, succeeded=False)
            raise
        if isinstance(answer, Account) and not answer.disabled:
            await self._throttle.refund(attempt, succeeded=True)
        return answer

    async def _verify(self, login: _Login) -> Account | Reason:
        answer = await self._verifier.verify(login.user_pass.username, login.user_pass.password, login.account)
        if self._verification_cache is not None and login.account is not None and answer is login.account:
            self._verification_cache.add(login.entry)
        return answer

    async def _rehash(self, account: Account, password: str, verifier: PasswordVerifier, on_rehash: OnRehash) -> None:
        # The login has succeeded already. A failure from here on is logged and changes nothing.
        try:
            new_hash = await verifier.rehash(password, account)
            if new_hash is not None:
                await ask(on_rehash(account, new_hash), self._deadline)
        except Exception as error:  # noqa: BLE001 - see above
            log.error("on_rehash failed: %s", type(error).__qualname__)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge, the same for every denial. RFC 7617 section 2."""
        return self._challenge

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Start the threads before the first login."""
        self._pool.start()
        # At its first await, anyio loads its backend for this event loop, which takes ten milliseconds: do it now.
        await anyio.lowlevel.checkpoint()
        yield

    def health(self) -> Mapping[str, object]:
        """The figures of the thread pool."""
        return self._pool.health()
