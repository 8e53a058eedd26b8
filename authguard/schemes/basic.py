"""Basic (RFC 7617): a name and a password. No answer tells which names exist, and guessing is slowed down."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import field
from functools import partial
from typing import Literal, TypeAlias, cast

import anyio.lowlevel

from authguard.accounts.account import (
    NOT_NOW,
    Account,
    PasswordCheck,
    PasswordStore,
    RolesListed,
    accepted_login,
)
from authguard.app_code import async_function
from authguard.concurrency.deadline import ask, is_overtaken, optional_method
from authguard.concurrency.single_flight import SingleFlight
from authguard.concurrency.thread_pool import ANYBODY, Caller, ThreadPool
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Accepted, Clock, Denied, Facts, Outcome, Rejected
from authguard.reasons import (
    ACCOUNT_DISABLED,
    ATTEMPTS_EXCEEDED,
    CREDENTIALS_MALFORMED,
    Reason,
)
from authguard.request import AuthRequest, network_of
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.password_verifier import (
    DirectoryVerifier,
    PasswordVerifier,
    UnnormalizedMatch,
    VerificationCache,
)
from authguard.schemes.scheme import Continuation, Scheme, check_name, for_one_request
from authguard.schemes.throttle import AttemptKeys, AttemptPair, CountedAttempt, LoginThrottle, check_throttle
from authguard.state.throttle_store import Exceeded
from authguard.validation import check_flag
from authguard.value_types import mutable
from authguard.wire.authorization import Credentials, token68
from authguard.wire.basic import NotBase64Error, NotUtf8Error, UserPass, usual_base64
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

#: Called with an account and a new hash of its password, if the stored hash has an outdated format or cost.
OnRehash: TypeAlias = Callable[[Account, str], Awaitable[None]]
#: The result of verifying a password.
_Answer: TypeAlias = Account | UnnormalizedMatch | Reason | Exceeded

#: The methods of a throttle that do in one step what several others do.
_COMBINED = {"acquire_known": ("acquire", "knows"), "check": ("remaining", "knows", "allow")}

log = logging.getLogger("authguard")


@mutable
class _Login:
    """The name and password of one request, and the account that the store has now.

    ``name`` is what attempts are counted by: a store may find one account by several spellings of its name.
    ``network`` is that of the client's address: it counts as one client. ``entry`` identifies the name, the password
    and the stored hash in the ``VerificationCache``. ``unnormalized`` is the password in another form than NFC, which
    may match too; ``entry`` is then of both forms, and ``nfc_entry`` of NFC alone. The last three are None until they
    are needed.
    """

    username: str
    password: str = field(repr=False)
    name: str
    client: str | None
    network: str | None
    account: Account | None
    entry: bytes = field(repr=False)
    unnormalized: str | None = field(default=None, repr=False)
    nfc_entry: bytes | None = field(default=None, repr=False)
    pair: AttemptPair | None = None
    keys: AttemptKeys | None = None
    caller: Caller | None = None


class Basic(Scheme):
    """The Basic scheme: ``Basic(HtpasswdFile("users"), realm="orders")``.

    - ``passwords``: a ``PasswordStore``, whose hashes are verified in a thread pool; or a ``PasswordCheck``.
    - ``throttle``: a ``LoginThrottle``, which slows guessing down; None switches it off. By default, it is one that the
      schemes of a guard share.
    - ``remember``: for how many seconds a verified password is not hashed again; None switches that off.
    - ``on_rehash``: an async function of an account and a new hash, called after a login with an outdated hash.
    - ``threads``, ``waiting``: how many passwords are verified at the same time, and how many may queue for that.
    - ``deadline``: how many seconds a login may wait for its hash, and a store may take to answer.
    - ``name``: for ``via(...)``, records and OpenAPI, if a guard has another ``Basic``.

    For old clients and files. Each of these is recorded as ``tolerated`` where it was needed:

    - ``latin1``: whether a user-pass that is not UTF-8 is read as ISO-8859-1.
    - ``loose_base64``: whether the padding of the base64 may be missing, and ``-`` and ``_`` stand for ``+`` and ``/``.
    - ``empty_password``: whether a ``PasswordCheck`` is asked about an empty password, and a hash of the empty password
      can be matched. For API keys that are sent as the name. Never for LDAP, where an empty password logs in as nobody.
      Such a name is not recorded if it is refused.
    - ``empty_username``: whether the name may be empty, for API keys that are sent as the password.
    - ``unnormalized_hashes``: whether a stored hash may be of a password in another Unicode form than NFC. A password
      that is sent in another form is then verified a second time, as it was sent, if it is wrong in NFC. Both count as
      one attempt.

    The queue has two lanes of ``waiting`` logins: one for accounts that have logged in from the same network before,
    and one for all others, which gets every fourth hash at least. In each lane the networks take turns. A login that
    would not end before its deadline is refused at once (``hashing.busy``), and costs neither a hash nor an attempt. An
    unknown name waits as a wrong password for an account that has not logged in from there. While the queue is long, a
    client can therefore tell by the waiting time which accounts have logged in from its own network before.

    Denies with ``credentials.malformed``, ``user.unknown``, ``password.*`` and ``account.disabled``, which a client
    cannot tell apart; with ``attempts.exceeded`` (429); with ``hashing.busy`` and ``store.*`` (503). Raises
    ``ConfigurationError``.
    """

    name = "basic"
    auth_scheme = "basic"
    carrier = AUTHORIZATION
    sent_by_browsers = True
    credentials_are_issued = False
    constant_challenges = True

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
        latin1: bool = False,
        loose_base64: bool = False,
        empty_password: bool = False,
        empty_username: bool = False,
        unnormalized_hashes: bool = False,
        name: str = "basic",
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = check_name(name)
        if isinstance(passwords, type) or not isinstance(passwords, PasswordStore | PasswordCheck):
            raise ConfigurationError("passwords", "give MemoryUsers(...), HtpasswdFile(...) or a store of your own")
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is not a string")
        try:
            self._challenge = (Challenge("Basic", {"realm": realm, "charset": "UTF-8"}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self.throttle = check_throttle(throttle, clock)
        # Without a throttle that counts, one that only remembers who has logged in, for the queue.
        self._remember_logins_in(LoginThrottle(clock=clock) if self.throttle is None else self.throttle)
        self.denial_reasons = () if self.throttle is None else (ATTEMPTS_EXCEEDED,)
        self._verification_cache = VerificationCache(seconds=remember, clock=clock)
        self._deadline = deadline
        self._pool = ThreadPool(threads=threads, waiting=waiting, deadline=deadline, clock=clock)
        self._passwords = passwords
        self._latin1 = check_flag("latin1", latin1)
        self._loose_base64 = check_flag("loose_base64", loose_base64)
        self._empty_password = check_flag("empty_password", empty_password)
        self._empty_username = check_flag("empty_username", empty_username)
        self._unnormalized_hashes = check_flag("unnormalized_hashes", unnormalized_hashes)
        self._verifier: PasswordVerifier | DirectoryVerifier
        if isinstance(passwords, PasswordStore):
            self._verifier = verifier = PasswordVerifier(passwords, self._pool, deadline, empty_password=empty_password)
            if formats := verifier.gil_blocking_formats():
                message = "verifying a password in these formats holds the interpreter lock, so all requests wait: %s"
                log.warning(message, ", ".join(formats))
        else:
            self._verifier = DirectoryVerifier(passwords, deadline, empty_password=empty_password)
            if unnormalized_hashes:
                raise ConfigurationError("unnormalized_hashes", "it needs a PasswordStore, which shows its hashes")
        if on_rehash is not None and not isinstance(self._verifier, PasswordVerifier):
            raise ConfigurationError("on_rehash", "it needs a PasswordStore, which shows its hashes")
        if on_rehash is not None:
            async_function("on_rehash", on_rehash, "on_rehash(account, new_hash)", None, "")
        self._on_rehash = on_rehash
        self._single_flight: SingleFlight[_Answer] = SingleFlight(deadline=deadline)
        self.services = (self,)

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that the store lists; None if it cannot list them."""
        return self._passwords.roles_given() if isinstance(self._passwords, RolesListed) else None

    def state_stores(self) -> Mapping[str, object]:
        """Where attempts are counted."""
        return {} if self.throttle is None else {"throttle": self.throttle.store}

    def use_throttle(self, throttle: LoginThrottle) -> None:
        """Count by this throttle from now on. The guard calls it, so that its schemes share one."""
        self.throttle = throttle
        self._remember_logins_in(throttle)

    def _remember_logins_in(self, throttle: LoginThrottle) -> None:
        self._logged_in = throttle
        self._allow_now, self._knows_now, self._acquire_now, self._refund_now = (
            optional_method(throttle, f"{name}_now", beside=name) for name in ("allow", "knows", "acquire", "refund")
        )
        #: Whether steps of the throttle are combined: it has to be asked, and no method of a subclass is bypassed.
        self._combines_steps = self._knows_now is None and not any(
            is_overtaken(throttle, combined, by=name) for combined, names in _COMBINED.items() for name in names
        )

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Verify the name and the password. Equal logins at the same time share one attempt and one hash."""
        answer = self.authenticate_now(request, credentials)
        return for_one_request(await answer() if callable(answer) else answer)

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation:
        """The same, if the store has the account in memory, and the password was verified a moment ago."""
        tolerated: dict[str, str] | None = None
        try:
            user_pass = UserPass.from_token68(credentials.rest)
        except WireError as error:
            read_again = self._read_again(credentials.rest, error)
            if isinstance(read_again, WireError):
                return Rejected(CREDENTIALS_MALFORMED, facts={"problem": _problem(credentials.rest, read_again)})
            user_pass, tolerated = read_again
        if not user_pass.username:
            if not self._empty_username:
                return Rejected(CREDENTIALS_MALFORMED, facts={"problem": "no user-id"})
            tolerated = {**(tolerated or {}), "username": "empty"}
        if self._empty_password and not user_pass.password:
            tolerated = {**(tolerated or {}), "password": "empty"}
        account = self._verifier.find_now(user_pass.username)
        answer: Outcome | Continuation
        if account is NOT_NOW:
            answer = partial(self._find_and_verify, user_pass, request.client)
        else:
            answer = self._verify_now(user_pass, request.client, account)
        return answer if tolerated is None else _tolerating(answer, tolerated)

    def _read_again(self, rest: bytes, error: WireError) -> tuple[UserPass, dict[str, str]] | WireError:
        """Read credentials that could not be read, in the spelling and the encoding that the app tolerates.

        Returns them with what was tolerated, or why they cannot be read.
        """
        tolerated: dict[str, str] = {}
        if self._loose_base64 and isinstance(error, NotBase64Error):
            tolerated["base64"] = "URL-safe" if b"-" in rest or b"_" in rest else "unpadded"
            rest = usual_base64(rest)
            try:
                return UserPass.from_token68(rest), tolerated
            except WireError as again:
                error = again
        if self._latin1 and isinstance(error, NotUtf8Error):
            tolerated["charset"] = "ISO-8859-1"
            try:
                return UserPass.from_token68(rest, latin1=True), tolerated
            except WireError as again:
                error = again
        return error

    async def _find_and_verify(self, user_pass: UserPass, client: str | None) -> Outcome:
        """The outcome for an account that must be waited for."""
        answer = self._verify_now(user_pass, client, await self._verifier.find(user_pass.username))
        return await answer() if callable(answer) else answer

    def _verify_now(self, user_pass: UserPass, client: str | None, account: Account | None) -> Outcome | Continuation:
        """Answer from the verification cache, or refuse what the queue would refuse, if possible."""
        entry = self._verification_cache.entry(user_pass, "" if account is None else account.password_hash)
        username, network = user_pass.username, network_of(client)
        # A disabled account costs a hash each time, as a wrong password does.
        if account is not None and not account.disabled and self._verification_cache.has(entry):
            kept_as = entry + (network or "").encode("utf-8", "surrogatepass")
            if account.subject != username:  # it may be another one tomorrow
                kept_as += self._verification_cache.name_hash(account.subject)
            return self._accept_cached(username, client, account, kept_as)
        name = username if account is None else account.subject
        login = _Login(username, user_pass.password, name, client, network, account, entry)
        if self._unnormalized_hashes and user_pass.unnormalized is not None:
            stored = "" if account is None else account.password_hash
            login.unnormalized, login.nfc_entry = user_pass.unnormalized, entry
            login.entry = self._verification_cache.unnormalized_entry(user_pass, stored)
            if account is not None and not account.disabled and self._verification_cache.has(login.entry):
                kept_as = login.entry + (network or "").encode("utf-8", "surrogatepass")
                kept_as += self._verification_cache.name_hash(account.subject)
                return _tolerating(self._accept_cached(username, client, account, kept_as), _UNNORMALIZED)
        if not isinstance(self._verifier, PasswordVerifier):
            login.caller = ANYBODY  # a directory has no queue
        elif self._knows_now is not None and not self._single_flight.is_running((login.entry, network)):
            login.pair = self._logged_in.pair(login.name, client)
            login.caller = self._place_in_queue(login, known=self._knows_now(login.pair))
        return partial(self._verify_together, login)

    def _accept_cached(
        self, username: str, client: str | None, account: Account, kept_as: bytes
    ) -> Outcome | Continuation:
        """Accept a password that was verified a moment ago.

        The throttle comes first: otherwise a cached success would tell an attacker that a guess is right.
        """
        keys = self._logged_in.keys(account.subject, client, username, kept_as=kept_as)
        if self._allow_now is None:
            return partial(self._accept_if_allowed, username, client, account, keys)
        exceeded: Exceeded | None = self._allow_now(keys)
        return accepted_login(account, self.name) if exceeded is None else _rejected(username, exceeded)

    async def _accept_if_allowed(
        self, username: str, client: str | None, account: Account, keys: AttemptKeys
    ) -> Outcome:
        exceeded = await self._logged_in.allow(account.subject, client, username, keys=keys)
        return accepted_login(account, self.name) if exceeded is None else _rejected(username, exceeded)

    async def _verify_together(self, login: _Login) -> Outcome:
        """The outcome for a password that is to be verified, by this login or by an equal one."""
        verify = partial(self._verify_counted, login)
        answer, verified_here = await self._single_flight.share((login.entry, login.network), verify)
        matched = _account_of(answer)
        if matched is None:
            return _rejected(login.username, cast("Reason | Exceeded", answer))
        is_unnormalized = isinstance(answer, UnnormalizedMatch)
        if verified_here:
            is_of_both = is_unnormalized or login.nfc_entry is None
            self._verification_cache.add(login.entry if is_of_both else cast("bytes", login.nfc_entry))
        # Each request uses the account that it has read itself. Only the verification is shared.
        account = matched if login.account is None else login.account
        if account.disabled:
            # With an empty password the name may be an API key.
            return Rejected(ACCOUNT_DISABLED, login.username if login.password else account.subject, authenticated=True)
        if verified_here and self._on_rehash is not None and isinstance(self._verifier, PasswordVerifier):
            await self._rehash(account, login, self._verifier, self._on_rehash, is_outdated=is_unnormalized)
        accepted = accepted_login(account, self.name)
        return _with_tolerated(accepted, _UNNORMALIZED) if is_unnormalized else accepted

    async def _allow(self, login: _Login) -> Exceeded | None:
        """For a password that is known to be right: remember who has logged in, unless too many attempts were made."""
        return await self._logged_in.allow(login.name, login.client, login.username, keys=self._keys(login))

    def _keys(self, login: _Login) -> AttemptKeys:
        """The keys that attempts of this login are counted by, made when they are first needed."""
        if login.keys is None:
            sent = login.username
            login.keys = self._logged_in.keys(login.name, login.client, sent, pair=login.pair)
        return login.keys

    async def _verify(self, login: _Login, caller: Caller) -> Account | UnnormalizedMatch | Reason:
        return await self._verifier.verify(login.username, login.password, login.account, caller, login.unnormalized)

    async def _verify_counted(self, login: _Login) -> _Answer:
        """Count an attempt, verify the password, and refund the attempt if the password is right."""
        if self._was_right(login):
            return await self._verify_again(login)
        if self.throttle is None:
            answer = await self._verify(login, await self._find_place(login))
            if _succeeds(answer):
                await self._allow(login)
            return answer
        attempt, caller = await self._acquire_with_place(login, self.throttle)
        if isinstance(attempt, Exceeded):
            return attempt
        try:
            answer = await self._verify(login, caller)
        except Exception:
            # The password was not checked. A cancelled request does not come here: its attempt stays counted.
            await self._refund(attempt, self.throttle, succeeded=False)
            raise
        if _succeeds(answer):
            await self._refund(attempt, self.throttle, succeeded=True)
        return answer

    async def _verify_again(self, login: _Login) -> _Answer:
        """Verify a password that was right before. It is no guess, so it needs no attempt, and strangers can take none.

        A directory may find it wrong by now. That counts as an attempt.
        """
        name, client, sent, keys = login.name, login.client, login.username, self._keys(login)
        known = False
        if self._asks_once(login):
            exceeded, known = await self._logged_in.check(keys)
            caller = ANYBODY if exceeded is not None else self._place_in_queue(login, known=known)
        else:
            caller = await self._find_place(login)
            exceeded = await self._logged_in.remaining(name, client, sent, authenticated=True, keys=keys)
        if exceeded is not None:
            return exceeded
        answer = await self._verify(login, caller)
        if _succeeds(answer):
            if not known:
                await self._allow(login)
            return answer
        attempt = None if self.throttle is None else await self._acquire(login, self.throttle)
        return attempt if isinstance(attempt, Exceeded) else answer

    async def _find_place(self, login: _Login) -> Caller:
        """The place of the login in the queue, if it has to be asked who has logged in from there before."""
        if login.caller is not None:
            return login.caller
        # Something had to be waited for, or an equal login has just failed.
        return self._place_in_queue(login, known=await self._logged_in.knows(login.name, login.client))

    def _asks_once(self, login: _Login) -> bool:
        """Whether the store of the throttle is asked for the attempt and for the place in the queue in one step.

        Not while the queue refuses strangers: a login that it refuses must cost no attempt.
        """
        if login.caller is not None or not self._combines_steps:
            return False
        try:
            self._place_in_queue(login, known=False)
        except BackendUnavailable:
            return False
        return True

    async def _acquire_with_place(
        self, login: _Login, throttle: LoginThrottle
    ) -> tuple[CountedAttempt | Exceeded, Caller]:
        """Count an attempt, and find the place of the login in the queue."""
        if not self._asks_once(login):
            caller = await self._find_place(login)
            return await self._acquire(login, throttle), caller
        attempt, known = await throttle.acquire_known(self._keys(login))
        if isinstance(attempt, Exceeded):
            return attempt, ANYBODY
        try:
            return attempt, self._place_in_queue(login, known=known)
        except BackendUnavailable:
            await self._refund(attempt, throttle, succeeded=False)
            raise

    async def _acquire(self, login: _Login, throttle: LoginThrottle) -> CountedAttempt | Exceeded:
        keys = self._keys(login)
        if self._acquire_now is None:
            return await throttle.acquire(login.name, login.client, login.username, keys=keys)
        attempt: CountedAttempt | Exceeded = self._acquire_now(keys)
        return attempt

    async def _refund(self, attempt: CountedAttempt, throttle: LoginThrottle, *, succeeded: bool) -> None:
        if self._refund_now is None:
            await throttle.refund(attempt, succeeded=succeeded)
        else:
            self._refund_now(attempt, succeeded=succeeded)

    def _place_in_queue(self, login: _Login, *, known: bool) -> Caller:
        """For whom the password is verified. Raises ``BackendUnavailable`` if the queue would refuse it.

        It comes before the throttle: a login that cannot be verified costs no attempt, and hardly any time.
        """
        caller = Caller(login.network, login.name, known)
        self._pool.check(caller)
        return caller

    def _was_right(self, login: _Login) -> bool:
        """Whether this password was right for this account before, and for the same hash if the store shows one."""
        disabled = login.account is not None and login.account.disabled
        had = self._verification_cache.had
        return not disabled and (had(login.entry) or (login.nfc_entry is not None and had(login.nfc_entry)))

    async def _rehash(
        self, account: Account, login: _Login, verifier: PasswordVerifier, on_rehash: OnRehash, *, is_outdated: bool
    ) -> None:
        # The login has succeeded already. A failure from here on is logged and changes nothing.
        try:
            caller = Caller(login.network, login.name, known=True)
            new_hash = await verifier.rehash(login.password, account, caller, is_outdated=is_outdated)
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


def _rejected(username: str, why: Reason | Exceeded) -> Rejected:
    return Rejected(ATTEMPTS_EXCEEDED, username, why.facts()) if isinstance(why, Exceeded) else Rejected(why, username)


_UNNORMALIZED: Facts = {"password": "not in NFC"}


def _account_of(answer: _Answer) -> Account | None:
    """The account whose password matched; None if it did not."""
    account = answer.account if isinstance(answer, UnnormalizedMatch) else answer
    return account if isinstance(account, Account) else None


def _succeeds(answer: _Answer) -> bool:
    """Whether the login succeeds: the password matched, and the account is not disabled."""
    account = _account_of(answer)
    return account is not None and not account.disabled


def _tolerating(answer: Outcome | Continuation, tolerated: Facts) -> Outcome | Continuation:
    """The answer, with what was tolerated of the request."""
    return partial(_tolerating_later, answer, tolerated) if callable(answer) else _with_tolerated(answer, tolerated)


async def _tolerating_later(continuation: Continuation, tolerated: Facts) -> Outcome:
    return _with_tolerated(await continuation(), tolerated)


def _with_tolerated(outcome: Outcome, tolerated: Facts) -> Outcome:
    """An accepted login with the fact ``tolerated``. A refused one without the name, if that may be an API key."""
    if isinstance(outcome, Accepted):
        facts = {"tolerated": {**cast("Facts", outcome.facts.get("tolerated", {})), **tolerated}}
        return Accepted(outcome.principal, outcome.response_headers, facts)
    if tolerated.get("password") != "empty" or outcome.authenticated:
        return outcome
    return Rejected(outcome.reason, None, outcome.facts, outcome.response_headers)


def _problem(rest: bytes, error: WireError) -> str:
    """What is wrong with credentials that cannot be parsed. That they are no token68 comes before anything else."""
    try:
        token68(rest)
    except WireError as grammar_error:
        return grammar_error.problem
    return error.problem
