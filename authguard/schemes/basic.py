"""Basic (RFC 7617): a name and a password, judged so that guessing tells nothing and does not pay."""

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

#: Called with the account and a new hash where a better format or cost is used for new passwords.
OnRehash: TypeAlias = Callable[[Account, str], Awaitable[None]]

log = logging.getLogger("authguard")


@dataclass(slots=True)
class _Login:
    """What a request presents, and what the store knows of that name now. ``fit`` is for name, password and hash."""

    given: UserPass
    client: str | None
    account: Account | None
    fit: bytes = field(repr=False)


class Basic(Scheme):
    """The Basic scheme: ``Basic(HtpasswdFile("users"), realm="orders")``.

    - ``passwords``: a ``PasswordStore``, whose hashes are verified in a pool of threads; or a ``PasswordCheck``.
    - ``attempts``: an ``LoginThrottle``, which slows guessing down; None switches it off.
    - ``remember``: for how many seconds a password that fits a stored hash is not hashed again; None switches it off.
    - ``on_rehash``: an async function of the account and a new hash, called after a login with an outdated one.
    - ``threads``, ``waiting``, ``deadline``: the pool, its queue, and how many seconds a login or a store may wait.

    Denies with ``credentials.malformed``, ``user.unknown``, ``password.*``, ``account.disabled``, which are one to the
    client, with ``attempts.exceeded`` (429), and with ``hashing.busy`` and ``store.*`` (503). Raises
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
            raise ConfigurationError("passwords", "give MemoryUsers(...), HtpasswdFile(...), or a store of your own")
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is no string")
        try:
            self._challenge = (Challenge("Basic", {"realm": realm, "charset": "UTF-8"}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self._throttle = LoginThrottle(clock=clock) if throttle == "default" else throttle
        if not isinstance(self._throttle, LoginThrottle | None):
            raise ConfigurationError("throttle", f"{throttle!r} is not a LoginThrottle(...)")
        self.denial_reasons = () if self._throttle is None else (ATTEMPTS_EXCEEDED,)
        self._verified = None if remember is None else VerificationCache(seconds=remember, clock=clock)
        self._deadline = deadline
        self._pool = ThreadPool(threads=threads, waiting=waiting, deadline=deadline)
        self._passwords = passwords
        self._judge: PasswordVerifier | DirectoryVerifier
        if isinstance(passwords, PasswordStore):
            self._judge = verifier = PasswordVerifier(passwords, self._pool, deadline)
            if formats := verifier.gil_blocking_formats():
                told = (
                    "passwords of these formats keep the interpreter from everything else while they are verified: %s"
                )
                log.warning(told, ", ".join(formats))
        else:
            self._judge = DirectoryVerifier(passwords, deadline)
        if on_rehash is not None and not (callable(on_rehash) and isinstance(self._judge, PasswordVerifier)):
            raise ConfigurationError("on_rehash", "give an async function, and a store that shows its hashes")
        self._on_rehash = on_rehash
        self._hash = KeyedHash()
        self._flights: SingleFlight[Account | Reason | Exceeded] = SingleFlight(deadline=deadline)
        self.services = (self,)

    def roles_given(self) -> AbstractSet[str] | None:
        """Those that the store lists, if it does."""
        return self._passwords.roles_given() if isinstance(self._passwords, RolesListed) else None

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """One attempt and at most one hash for all requests that present the same at the same time."""
        try:
            given = UserPass.from_token68(token68(credentials.rest))
        except WireError as error:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if not given.username:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": "no user-id"})
        account = await self._judge.find(given.username)
        stored = "" if account is None else account.password_hash
        login = _Login(given, request.client, account, self._hash(given.username, given.password, stored))
        at_hand, own = await self._at_hand(login), False
        if at_hand is not None:
            answer: Account | Reason | Exceeded = at_hand
        else:
            answer, own = await self._flights.share((login.fit, login.client), partial(self._counted, login))
        if isinstance(answer, Exceeded):
            return Rejected(ATTEMPTS_EXCEEDED, given.username, answer.facts())
        if isinstance(answer, Reason):
            return Rejected(answer, given.username)
        # Each request goes by its own reading of the account: only that the password fits is shared, or remembered.
        account = answer if account is None else account
        if account.disabled:
            return Rejected(ACCOUNT_DISABLED, given.username, authenticated=True)
        if own and self._on_rehash is not None and isinstance(self._judge, PasswordVerifier):
            await self._renew(account, given.password, self._judge, self._on_rehash)
        claims = {} if account.claims is NO_CLAIMS else account.claims
        return Accepted(Principal.checked(account.subject, account.roles, account.scopes, claims, None, self.name))

    async def _at_hand(self, login: _Login) -> Account | Exceeded | None:
        """What takes no hash, if anything does: that no attempt is left is asked first, for guessing would go on."""
        account = login.account
        if self._verified is None or account is None or account.disabled:  # who is disabled goes on costing a hash
            return None
        if not self._verified.knows(login.fit):
            return None
        return (self._throttle and await self._throttle.allow(account.subject, login.client)) or account

    async def _counted(self, login: _Login) -> Account | Reason | Exceeded:
        """Counts an attempt before a hash is made, and gives it back where the password fits."""
        if self._throttle is None:
            return await self._judged(login)
        # The account's own name, where there is one: a store that takes a name in several spellings has one account.
        name = login.given.username if login.account is None else login.account.subject
        taken = await self._throttle.acquire(name, login.client)
        if isinstance(taken, Exceeded):
            return taken
        try:
            answer = await self._judged(login)
        except Exception:
            # Nobody learned anything. Who leaves before he has his answer is not caught here: that stays counted.
            await self._throttle.refund(taken, succeeded=False)
            raise
        if isinstance(answer, Account) and not answer.disabled:
            await self._throttle.refund(taken, succeeded=True)
        return answer

    async def _judged(self, login: _Login) -> Account | Reason:
        answer = await self._judge.judged(login.given.username, login.given.password, login.account)
        if self._verified is not None and login.account is not None and answer is login.account:
            self._verified.note(login.fit)
        return answer

    async def _renew(self, account: Account, password: str, verifier: PasswordVerifier, tell: OnRehash) -> None:
        # The login has succeeded; what goes wrong from here on is told, and changes nothing.
        try:
            renewed = await verifier.renewed(password, account)
            if renewed is not None:
                await ask(tell(account, renewed), self._deadline)
        except Exception as error:  # noqa: BLE001 - see above
            log.error("on_rehash failed: %s", type(error).__qualname__)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge, whatever the cause. RFC 7617 section 2."""
        return self._challenge

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Starts the threads before the first login."""
        self._pool.start()
        # Of anyio, what this event loop needs is loaded where it is waited for first, and takes ten milliseconds.
        await anyio.lowlevel.checkpoint()
        yield

    def health(self) -> Mapping[str, object]:
        """The pool's figures."""
        return self._pool.health()
