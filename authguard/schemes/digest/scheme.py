"""Digest (RFC 7616): a password that is never sent, and a response that is good for one request."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from authguard.accounts.account import NOT_NOW, NotNow, RolesListed
from authguard.accounts.digest_account import (
    DIGITS,
    DigestAccount,
    DigestStore,
    check_realm,
)
from authguard.caching import KeyedHash
from authguard.concurrency.deadline import ask, optional_method
from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS, Accepted, Clock, Denied, Facts, Moment, Outcome, Principal, Rejected
from authguard.reasons import (
    ACCOUNT_DISABLED,
    ALGORITHM_UNOFFERED,
    ATTEMPTS_EXCEEDED,
    CREDENTIALS_MALFORMED,
    OPAQUE_FOREIGN,
    QOP_UNOFFERED,
    REALM_FOREIGN,
    RESPONSE_WRONG,
    URI_MISMATCH,
    USER_UNKNOWN,
)
from authguard.request import AuthRequest
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.digest.nonce_service import STALE, NonceService
from authguard.schemes.digest.options import (
    DigestAlgorithm,
    SecretArgument,
    check_held,
    check_limit,
    check_prefix,
    check_qop,
    check_secrets,
    parse_algorithms,
)
from authguard.schemes.scheme import Scheme
from authguard.schemes.throttle import LoginThrottle
from authguard.state.nonce_store import NonceStore
from authguard.state.throttle_store import Exceeded
from authguard.validation import check_seconds
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, expected_response, resource, session
from authguard.wire.grammar import WireError
from authguard.wire.nonce import Nonce

_USERHASH = {True: {"userhash": "true"}, False: {}}
_BARE = frozenset({"algorithm", "charset", "stale", "userhash"})


class Digest(Scheme):
    """The Digest scheme: ``Digest(HtdigestFile("users"), realm="cameras", secret=os.environ["DIGEST_SECRET"])``.

    - ``accounts``: a ``DigestStore``. Password hashes cannot serve: Digest needs ``H(A1)``.
    - ``secret``: 32 octets or more that mint the nonces, the same in all processes; of several the first mints, and all
      are known again. ``PER_PROCESS`` is one that nobody else has.
    - ``algorithms``: most preferred first, each a challenge of its own: ``SHA-256``, ``SHA-512-256``, ``MD5``, and each
      with ``-sess``.
    - ``qop``: ``("auth", "auth-int")`` covers the body too, of ``limit`` octets at most for each connection.
    - ``life``: how many seconds a nonce is good for. ``nonces``: what remembers the counts that were used.
    - ``public_prefix``: what a proxy in front takes off the path, and clients have therefore digested.
    - ``attempts``: as for ``Basic``. ``deadline``: how many seconds a store may take.

    Denies with ``credentials.malformed``, ``realm.foreign``, ``opaque.foreign``, ``algorithm.unoffered``,
    ``qop.unoffered``; with ``user.unknown``, ``response.wrong`` and ``account.disabled``, which are one to the client;
    where the response was right with ``nonce.*`` (``stale=true``) and ``uri.mismatch`` (400); with
    ``attempts.exceeded`` (429), ``body.*``, and ``store.*`` (503). Raises ``ConfigurationError``.
    """

    name = "digest"
    carrier = AUTHORIZATION
    sent_by_browsers = True
    must_be_first = "aiohttp reads only the first WWW-Authenticate line; write Guard(Digest(...), ...)"

    def __init__(
        self,
        accounts: DigestStore,
        *,
        realm: str,
        secret: SecretArgument | None = None,
        algorithms: Iterable[str] = ("SHA-256",),
        qop: Iterable[str] = ("auth",),
        life: float = 300.0,
        nonces: NonceStore | None = None,
        throttle: LoginThrottle | Literal["default"] | None = "default",
        public_prefix: str = "",
        limit: int = 1_048_576,
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        if isinstance(accounts, type) or not isinstance(accounts, DigestStore):
            raise ConfigurationError("accounts", "give HtdigestFile(...), MemoryDigests(...), or a store of your own")
        self.realm = check_realm(realm)
        self._algorithms = {one.name.upper(): one for one in parse_algorithms(algorithms)}
        realms_held = getattr(accounts, "realms_held", None)
        if callable(realms_held):
            check_held(realms_held(), self.realm, self._algorithms.values())
        self._accounts = accounts
        self._find_now = optional_method(accounts, "find_now", beside="find")
        self._realm = self.realm.encode()
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._nonce_service = NonceService(
            check_secrets(secret), self.realm, life=life, store=nonces, deadline=deadline
        )
        # Not of the secret, which may change while a client goes on sending this.
        self._opaque = hmac.digest(self._realm, b"authguard opaque", "sha256").hex()[:16].encode()
        self._qop = check_qop(qop)
        self.reads_body = "auth-int" in self._qop
        if throttle != "default" and not isinstance(throttle, LoginThrottle | None):
            raise ConfigurationError("throttle", f"{throttle!r} is not a LoginThrottle(...)")
        self._throttle = LoginThrottle(clock=clock) if throttle == "default" else throttle
        self.denial_reasons = (URI_MISMATCH,) if self._throttle is None else (URI_MISMATCH, ATTEMPTS_EXCEEDED)
        self._prefix = check_prefix(public_prefix)
        self._limit = check_limit(limit)
        self._clock, self._hash = clock, KeyedHash()
        before = {"realm": self.realm, "qop": ",".join(self._qop)}
        behind = {"opaque": self._opaque.decode(), "charset": "UTF-8"} | _USERHASH[bool(accounts.finds_hashed)]
        self._constants = [before | {"algorithm": one.name} | behind for one in self._algorithms.values()]

    def roles_given(self) -> AbstractSet[str] | None:
        """Those that the store lists, if it does."""
        return self._accounts.roles_given() if isinstance(self._accounts, RolesListed) else None

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """The response first: what else is wrong is told only to who knows the password. RFC 7616 section 3.4.6."""
        try:
            sent = DigestCredentials.from_auth_params(credentials.rest)
        except WireError as error:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if (foreign := self._foreign(sent)) is not None:
            return foreign
        algorithm = self._algorithms[sent.algorithm]
        account = await self._account(sent, algorithm)
        # The account's own name: a store that takes a name in several spellings has one account. A hashed name is
        # counted by itself, or a 429 would tell whether it is anybody's.
        counted = sent.username if account is None or sent.hashed else account.subject
        moment, entity = request.moment, None
        if sent.qop == b"auth-int":
            if (exceeded := await self._left(counted, request)) is not None:
                return exceeded
            entity, moment = await self._entity(request)
        # Made for everybody, so that who is unknown costs what anybody costs, to the octet.
        made_up = self._hash(sent.username).hex()[: DIGITS[algorithm.stored]]
        a1 = (made_up if account is None else account.ha1).encode("ascii")
        if algorithm.session:
            a1 = session(algorithm.hashed, a1, sent.nonce, sent.cnonce)
        fits = hmac.compare_digest(
            expected_response(algorithm.hashed, a1, sent, request.method.encode(), entity), sent.response
        )
        if account is None or not fits or account.disabled:
            return await self._refused(request, counted, account, fits)
        return await self._left(counted, request) or await self._granted(request, sent, account, a1, counted, moment)

    async def _granted(
        self,
        request: AuthRequest,
        sent: DigestCredentials,
        account: DigestAccount,
        a1: bytes,
        counted: str,
        moment: Moment,
    ) -> Outcome:
        """For a response that is right: where and when it is good, and how often it was used."""
        subject, algorithm = account.subject, self._algorithms[sent.algorithm]
        if (elsewhere := self._elsewhere(sent, request)) is not None:
            return Rejected(URI_MISMATCH, subject, elsewhere)
        nonce = await self._nonce_service.use(sent.nonce, sent.count, moment)
        if not isinstance(nonce, Nonce):
            return Rejected(nonce.reason, subject, nonce.facts)
        if self._throttle is not None:
            await self._throttle.allow(counted, request.client)
        claims = {} if account.claims is NO_CLAIMS else account.claims
        principal = Principal.checked(subject, account.roles, account.scopes, claims, None, self.name)
        rspauth = expected_response(algorithm.hashed, a1, sent, b"", qop=b"auth")
        # A session's key is of the nonce that it began with (section 3.4.2), so that one goes on with that.
        info = sent.authentication_info(
            rspauth, None if algorithm.session else self._nonce_service.after(nonce, moment.now)
        )
        return Accepted(principal, ((b"authentication-info", info),))

    async def _entity(self, request: AuthRequest) -> tuple[bytes, Moment]:
        """The body, and when it was whole: it may take days, and would keep a nonce alive as long."""
        began, moment = self._clock(), request.moment
        entity = await request.body(self._limit) if request.kind == "http" else b""
        return entity, Moment(moment.now + self._clock() - began, moment.leeway)

    async def _left(self, counted: str, request: AuthRequest) -> Rejected | None:
        exceeded = None if self._throttle is None else await self._throttle.remaining(counted, request.client)
        return None if exceeded is None else Rejected(ATTEMPTS_EXCEEDED, counted, exceeded.facts())

    def _foreign(self, sent: DigestCredentials) -> Rejected | None:
        """What was not answered to a challenge of ours. RFC 7616 section 3.4."""
        if sent.realm != self._realm:
            return Rejected(REALM_FOREIGN, sent.username)
        if sent.opaque != self._opaque:
            return Rejected(OPAQUE_FOREIGN, sent.username, {"missing": ("opaque",)} if sent.opaque is None else {})
        if sent.algorithm not in self._algorithms:
            names = tuple(one.name for one in self._algorithms.values())
            return Rejected(ALGORITHM_UNOFFERED, sent.username, {"algorithm": sent.algorithm, "wanted": names})
        if sent.qop.decode("latin-1") not in self._qop:
            return Rejected(QOP_UNOFFERED, sent.username, {"qop": sent.qop.decode("latin-1"), "wanted": self._qop})
        if sent.hashed and not self._accounts.finds_hashed:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": "userhash was not offered"})
        return None

    async def _account(self, sent: DigestCredentials, algorithm: DigestAlgorithm) -> DigestAccount | None:
        find, name = self._accounts.find, sent.username
        realm, stored, hashed = self.realm, algorithm.stored, sent.hashed
        if self._find_now is not None:
            account: DigestAccount | NotNow | None
            account = self._find_now(name, realm=realm, algorithm=stored, hashed=hashed)
            if account is not NOT_NOW:
                return account
        return await ask(find(name, realm=realm, algorithm=stored, hashed=hashed), self._deadline)

    async def _refused(self, request: AuthRequest, counted: str, account: DigestAccount | None, fits: bool) -> Rejected:
        """For who did not show that he may come in: an attempt, and to the client always the same."""
        taken = None if self._throttle is None else await self._throttle.acquire(counted, request.client)
        if isinstance(taken, Exceeded):
            return Rejected(ATTEMPTS_EXCEEDED, counted, taken.facts())
        if account is None:
            return Rejected(USER_UNKNOWN, counted)
        return Rejected(ACCOUNT_DISABLED if fits else RESPONSE_WRONG, account.subject)

    def _elsewhere(self, sent: DigestCredentials, request: AuthRequest) -> Facts | None:
        """In what the ``uri`` names another resource than the one asked for. No query is told: it is private."""
        named, asked = resource(sent.uri), self._prefix + resource(request.target)
        if named == asked:
            return None
        path = named.partition(b"?")[0]
        same = path == asked.partition(b"?")[0]
        return {"differs_in": "query"} if same else {"differs_in": "path", "digested": path.decode("latin-1")}

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One for each algorithm, each with a nonce of its own. RFC 7616 sections 3.3 and 3.7."""
        now = request.moment.now
        stale = {"stale": "true"} if why is not None and why.reason in STALE else {}
        fresh = ({**constant, "nonce": self._nonce_service.mint(now), **stale} for constant in self._constants)
        return [Challenge("Digest", params, _BARE) for params in fresh]
