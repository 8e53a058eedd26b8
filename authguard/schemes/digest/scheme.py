"""Digest (RFC 7616): the password is never sent, and each response is good for one request."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Literal

from authguard.accounts.account import NOT_NOW, NotNow, RolesListed, accepted_login
from authguard.accounts.digest_account import (
    DIGITS,
    DigestAccount,
    DigestStore,
    check_realm,
)
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.concurrency.deadline import ask, optional_method
from authguard.difference import difference
from authguard.errors import ConfigurationError
from authguard.model import NO_FACTS, Accepted, Clock, Denied, Facts, Moment, Outcome, Rejected
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
from authguard.schemes.digest.attempt_counter import AttemptCounter, Counted, Steps, Wait
from authguard.schemes.digest.nonce_service import STALE, NonceService
from authguard.schemes.digest.options import (
    check_authority,
    check_limit,
    check_prefix,
    check_qop,
    check_realms_held,
    check_rfc2069,
    parse_algorithms,
)
from authguard.schemes.nonce_secret import SecretArgument, check_secrets
from authguard.schemes.scheme import Continuation, Scheme, check_name, for_one_request
from authguard.schemes.throttle import LoginThrottle, check_throttle
from authguard.state.nonce_store import WITHOUT_COUNT, NonceStore
from authguard.state.throttle_store import Exceeded
from authguard.validation import check_flag, check_seconds
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.digest import (
    DigestCredentials,
    Hash,
    authority,
    expected_response,
    normalized_authority,
    resource,
    session,
    user_hash,
)
from authguard.wire.grammar import WireError
from authguard.wire.nonce import Nonce

_NC_DIGITS = 8
_USERHASH = {True: {"userhash": "true"}, False: {}}
# The parameters that are sent without quotes.
_UNQUOTED = frozenset({"algorithm", "charset", "stale", "userhash"})
# What takes the place of H(A1) for a name that nobody has, so that the same is hashed and compared for every name. It
# is no secret: without an account, even a response that matches is refused.
_DECOYS = {algorithm: "0" * digits for algorithm, digits in DIGITS.items()}


class Digest(Scheme):
    """The Digest scheme: ``Digest(HtdigestFile("users"), realm="cameras", secret=os.environ["DIGEST_SECRET"])``.

    - ``accounts``: a ``DigestStore``. Password hashes do not serve: Digest needs ``H(A1)``.
    - ``secret``: at least 32 bytes, the same in all processes. Of several secrets, the first makes the nonces, and the
      nonces of all are accepted. ``PER_PROCESS`` is a random secret of this process.
    - ``algorithms``: ``SHA-256``, ``SHA-512-256``, ``MD5``, and each with ``-sess``. Each has a challenge of its own;
      the most preferred comes first.
    - ``qop``: with ``"auth-int"`` the response covers the body too, of at most ``limit`` bytes for each connection.
    - ``life``: for how many seconds a nonce is good. ``nonces``: the ``NonceStore``; by default ``MemoryNonces``, which
      all schemes of one secret and realm in this process share. ``RedisNonces`` counts for all workers and hosts.
    - ``public_prefix``: the prefix that a proxy removes from the path. Clients compute their response with it.
    - ``public_authority``: the host, and the port if it is not the default one, that an absolute ``uri`` must name. By
      default that is the field ``Host``, which some proxies replace.
    - ``throttle``, ``name``: as for ``Basic``. ``deadline``: how many seconds a store may take.

    For old clients. Each of these is recorded as ``tolerated`` where it was needed:

    - ``uri_without_query``: whether ``uri`` may be the path alone. The response then covers no query.
    - ``rfc2069``: whether a response for MD5 may have no ``qop``. Its nonce is then spent: no other response with that
      nonce is accepted, in either form.
    - ``missing_opaque``: whether ``opaque`` may be left out.
    - ``loose_nc``: whether ``nc`` may have fewer than eight digits, and begin at zero.
    - ``latin1``: whether a name that is not UTF-8 is read as ISO-8859-1. It must be digested in UTF-8 all the same.
    - ``literal_backslash``: whether a backslash in the name stands for itself if it is not escaped: ``"DOMAIN\\user"``
      is then the name with one backslash, whether the client has written one or two.

    Denies with ``credentials.malformed``, ``realm.foreign``, ``opaque.foreign``, ``algorithm.unoffered`` and
    ``qop.unoffered``; with ``user.unknown``, ``response.wrong`` and ``account.disabled``, which a client cannot tell
    apart; if the response is right, with ``nonce.*`` (``stale=true``) and ``uri.mismatch`` (400); with
    ``attempts.exceeded`` (429), ``body.*``, and ``store.*`` (503). Raises ``ConfigurationError``.
    """

    name = "digest"
    auth_scheme = "digest"
    carrier = AUTHORIZATION
    sent_by_browsers = True
    credentials_are_issued = False
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
        public_authority: str | None = None,
        limit: int = 1_048_576,
        deadline: float = 5.0,
        uri_without_query: bool = False,
        missing_opaque: bool = False,
        rfc2069: bool = False,
        loose_nc: bool = False,
        latin1: bool = False,
        literal_backslash: bool = False,
        name: str = "digest",
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = check_name(name)
        if isinstance(accounts, type) or not isinstance(accounts, DigestStore):
            raise ConfigurationError("accounts", "give HtdigestFile(...), MemoryDigests(...) or a store of your own")
        self.realm = check_realm(realm)
        self._algorithms = {algorithm.name.upper(): algorithm for algorithm in parse_algorithms(algorithms)}
        realms_held: Callable[[], AbstractSet[tuple[str, str]]] | None = getattr(accounts, "realms_held", None)
        if callable(realms_held):
            check_realms_held(realms_held(), self.realm, self._algorithms.values())
        called = "find(self, username, *, realm, algorithm, hashed)"
        async_function("accounts", accounts.find, called, "alice", realm="", algorithm="", hashed=False)
        self._accounts = accounts
        self._find_now = optional_method(accounts, "find_now", beside="find") or _not_now
        self._realm = self.realm.encode()
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._nonce_service = NonceService(
            check_secrets(secret), self.realm, life=life, store=nonces, deadline=deadline
        )
        # Not derived from the secret, because a client goes on sending it when the secret has changed.
        self._opaque = hmac.digest(self._realm, b"authguard opaque", "sha256").hex()[:16].encode()
        self._qop = check_qop(qop)
        self._qop_sent = frozenset(name.encode() for name in self._qop)
        if check_rfc2069(rfc2069, self._algorithms, self._qop):
            self._qop_sent |= {b""}
        self._uri_without_query = check_flag("uri_without_query", uri_without_query)
        self._missing_opaque = check_flag("missing_opaque", missing_opaque)
        reads_more = any(
            (
                rfc2069,
                check_flag("loose_nc", loose_nc),
                check_flag("latin1", latin1),
                check_flag("literal_backslash", literal_backslash),
            )
        )
        self._is_strict = not (reads_more or uri_without_query or missing_opaque)
        self._parse: Callable[[bytes], DigestCredentials] = (
            partial(
                DigestCredentials.from_auth_params,
                rfc2069=rfc2069,
                loose_nc=loose_nc,
                latin1=latin1,
                literal_backslash=literal_backslash,
            )
            if reads_more
            else DigestCredentials.from_auth_params
        )
        self.reads_body = "auth-int" in self._qop
        self.throttle = check_throttle(throttle, clock)
        self._attempts: AttemptCounter | None = None
        self.denial_reasons = (URI_MISMATCH,) if self.throttle is None else (URI_MISMATCH, ATTEMPTS_EXCEEDED)
        if self.throttle is not None:
            self.use_throttle(self.throttle)
        self._prefix, self._authority = check_prefix(public_prefix), check_authority(public_authority)
        self._limit = check_limit(limit)
        self._clock = clock
        first = {"realm": self.realm, "qop": ",".join(self._qop)}
        last = {"opaque": self._opaque.decode(), "charset": "UTF-8"} | _USERHASH[bool(accounts.finds_hashed)]
        names = [algorithm.name for algorithm in self._algorithms.values()]
        #: The parameters of each challenge that are always the same.
        self._constant_params = [first | {"algorithm": name} | last for name in names]

    def state_stores(self) -> Mapping[str, object]:
        """Where attempts and the uses of nonces are counted."""
        stores = self._nonce_service.state_stores()
        return stores if self.throttle is None else {**stores, "throttle": self.throttle.store}

    def use_throttle(self, throttle: LoginThrottle) -> None:
        """Count by this throttle from now on. The guard calls it, so that its schemes share one."""
        self.throttle = throttle
        self._attempts = AttemptCounter(throttle)
        if self._accounts.finds_hashed:
            for algorithm in self._algorithms.values():
                kind = f"{algorithm.stored} of realm {self.realm}"
                throttle.count_hashed_names(kind, partial(_name_hash, algorithm.hashed, self.realm))

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that the store lists; None if it cannot list them."""
        return self._accounts.roles_given() if isinstance(self._accounts, RolesListed) else None

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Verify the response first: only a client that knows the password learns what else is wrong.

        RFC 7616 section 3.4.6.
        """
        answer = self.authenticate_now(request, credentials)
        return for_one_request(await answer() if callable(answer) else answer)

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation:
        """The same, if the stores answer at once, and no body has to be read."""
        try:
            sent = self._parse(credentials.rest)
        except WireError as error:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if (mismatch := self._challenge_mismatch(sent)) is not None:
            return mismatch
        return _advance(self._verify(request, sent), None)

    def _verify(self, request: AuthRequest, sent: DigestCredentials) -> Steps[Outcome]:
        """Verify credentials that answer a challenge of this scheme."""
        algorithm, moment, body = self._algorithms[sent.algorithm], request.moment, None
        realm, stored, hashed = self.realm, algorithm.stored, sent.hashed
        found = self._find_now(sent.username, realm=realm, algorithm=stored, hashed=hashed)
        account: DigestAccount | None = (yield partial(self._find, sent, stored)) if found is NOT_NOW else found
        # Counted by the subject of the account, because a store may find one account by several spellings of its name.
        # A hashed name is counted as it is: otherwise a 429 would tell whether it belongs to an account. Attempts at a
        # plain name are counted by its hashes too (``LoginThrottle.count_hashed_names``).
        name = sent.username if account is None or hashed else account.subject
        counted: Counted = name, request.client, None if hashed else sent.username
        attempts = self._attempts
        if sent.qop == b"auth-int":
            # Not known to be right before the body has been read. As for a right response all the same: whoever may
            # still use one here must be able to send its body, and a wrong one is counted afterwards.
            if attempts is not None and (exceeded := (yield from attempts.exceeded(counted))) is not None:
                return Rejected(ATTEMPTS_EXCEEDED, name, exceeded.facts())
            body, moment = yield partial(self._read_body, request)
        a1 = (_DECOYS[algorithm.stored] if account is None else account.ha1).encode("ascii")
        if algorithm.session:
            a1 = session(algorithm.hashed, a1, sent.nonce, sent.cnonce)
        expected = expected_response(algorithm.hashed, a1, sent, request.method.encode(), body)
        matches = hmac.compare_digest(expected, sent.response)
        if account is None or not matches or account.disabled:
            return (yield from self._reject_counted(counted, account, matches))
        keys, is_known = None if attempts is None else attempts.keys_to_check(counted), False
        if attempts is not None and keys is not None:
            exceeded, is_known = yield from attempts.check(counted, keys)
            if exceeded is not None:
                return Rejected(ATTEMPTS_EXCEEDED, name, exceeded.facts())
        if (difference := self._uri_difference(sent, request)) is not None:
            return Rejected(URI_MISMATCH, account.subject, difference)
        used = self._nonce_service.use_now(sent.nonce, sent.count if sent.qop else WITHOUT_COUNT, moment, request)
        nonce = (yield used) if isinstance(used, partial) else used
        if not isinstance(nonce, Nonce):
            return Rejected(nonce.reason, account.subject, nonce.facts)
        if attempts is not None and keys is not None and not is_known:
            yield from attempts.allow(counted, keys)
        rspauth = expected_response(algorithm.hashed, a1, sent, b"", qop=b"auth")
        # The key of a session contains the nonce that it began with (section 3.4.2), so a session keeps its nonce.
        is_spent = not sent.qop
        next_nonce = None if algorithm.session else self._nonce_service.next_nonce(nonce, moment.now, is_spent=is_spent)
        facts = NO_FACTS if self._is_strict else _tolerated(sent, request)
        info = (b"authentication-info", sent.authentication_info(rspauth, next_nonce))
        return Accepted(accepted_login(account, self.name).principal, (info,), facts)

    async def _find(self, sent: DigestCredentials, stored: str) -> DigestAccount | None:
        find = self._accounts.find
        answer = awaitable(find, find(sent.username, realm=self.realm, algorithm=stored, hashed=sent.hashed))
        account = await ask(answer, self._deadline)
        if account is not None and not isinstance(account, DigestAccount):
            raise wrong_answer(find, account, "a DigestAccount, or None if there is none")
        return account

    def _reject_counted(self, counted: Counted, account: DigestAccount | None, matches: bool) -> Steps[Rejected]:
        """Count a failed attempt. All of these reasons look the same to the client, except an exceeded throttle."""
        attempt = None if self._attempts is None else (yield from self._attempts.acquire(counted))
        if isinstance(attempt, Exceeded):
            return Rejected(ATTEMPTS_EXCEEDED, counted[0], attempt.facts())
        if account is None:
            return Rejected(USER_UNKNOWN, counted[0], {"userhash": True} if counted[2] is None else NO_FACTS)
        return Rejected(ACCOUNT_DISABLED if matches else RESPONSE_WRONG, account.subject)

    async def _read_body(self, request: AuthRequest) -> tuple[bytes, Moment]:
        """The body, and the moment at which it was complete: a slow body must not keep a nonce alive."""
        began, moment = self._clock(), request.moment
        body = await request.body(self._limit) if request.kind == "http" else b""
        return body, Moment(moment.now + self._clock() - began, moment.leeway)

    def _challenge_mismatch(self, sent: DigestCredentials) -> Rejected | None:
        """Reject credentials that do not answer a challenge of this scheme. RFC 7616 section 3.4."""
        if sent.realm != self._realm:
            # Not what the client has sent there, which may be a password in the wrong place.
            differs_by = difference(sent.realm.decode("utf-8", "replace"), (self.realm,), keep=False)
            facts = {"wanted": self.realm} if differs_by is None else {"wanted": self.realm, "differs_by": differs_by}
            return Rejected(REALM_FOREIGN, sent.username, facts)
        if sent.opaque != self._opaque and not (sent.opaque is None and self._missing_opaque):
            problem = "the client does not send it back" if sent.opaque is None else "it is that of another server"
            missing = {"missing": ("opaque",)} if sent.opaque is None else {}
            return Rejected(OPAQUE_FOREIGN, sent.username, {**missing, "problem": problem})
        if sent.algorithm not in self._algorithms:
            names = tuple(algorithm.name for algorithm in self._algorithms.values())
            return Rejected(ALGORITHM_UNOFFERED, sent.username, {"algorithm": sent.algorithm, "wanted": names})
        if sent.qop not in self._qop_sent:
            return Rejected(QOP_UNOFFERED, sent.username, {"qop": sent.qop.decode("latin-1"), "wanted": self._qop})
        if sent.hashed and not self._accounts.finds_hashed:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": "userhash was not offered"})
        return None

    def _uri_difference(self, sent: DigestCredentials, request: AuthRequest) -> Facts | None:
        """Where the ``uri`` differs from the requested resource; None if it does not. A query is private: not shown."""
        target = request.target
        if target.startswith(b"/") and sent.uri == self._prefix + target:
            return None  # nearly always: it is no absolute URI, and the same byte for byte
        named = authority(sent.uri)
        if named is not None:
            scheme, host = named
            requested_host = self._requested_authority(request, scheme)
            if not host or host != requested_host:
                facts: dict[str, object] = {"differs_in": "authority", "digested": host.decode("latin-1")}
                return facts if requested_host is None else {**facts, "requested": requested_host.decode("latin-1")}
        digested, requested = resource(sent.uri), self._prefix + resource(target)
        if digested == requested:
            return None
        path, _, query = digested.partition(b"?")
        wanted, _, wanted_query = requested.partition(b"?")
        if path == wanted:
            if self._uri_without_query and b"?" not in sent.uri:
                return None
            if query and wanted_query:
                return {"differs_in": "query"}
            return {"differs_in": "query", "problem": "none was requested" if query else "none was digested"}
        facts = {"differs_in": "path", "digested": _text(path), "requested": _text(wanted)}
        return facts | _prefix_hint(path, wanted)

    def _requested_authority(self, request: AuthRequest, scheme: bytes) -> bytes | None:
        """The host that the client has asked, as one of this scheme's URIs names it; None if the request names none.

        An absolute request target takes precedence over ``Host`` (RFC 9112 section 3.2.2).
        """
        if self._authority is not None:
            return normalized_authority(self._authority, scheme)
        named = authority(request.target)
        if named is not None:
            return named[1]
        hosts = request.lines(b"host")
        return normalized_authority(hosts[0], scheme) if len(hosts) == 1 else None

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge for each algorithm, each with a nonce of its own. RFC 7616 sections 3.3 and 3.7."""
        now = request.moment.now
        stale = {"stale": "true"} if why is not None and why.reason in STALE else {}
        params = ({**constant, "nonce": self._nonce_service.mint(now), **stale} for constant in self._constant_params)
        return [Challenge("Digest", each, _UNQUOTED) for each in params]


def _tolerated(sent: DigestCredentials, request: AuthRequest) -> Facts:
    """The fact ``tolerated`` of accepted credentials: by which of the options for old clients they pass."""
    found = {"uri": "no query"} if b"?" in request.target and b"?" not in sent.uri else {}
    if sent.latin1:
        found["charset"] = "ISO-8859-1"
    if sent.backslash:
        found["username"] = "a backslash"
    if sent.opaque is None:
        found["opaque"] = "none"
    if not sent.qop:
        found["qop"] = "none"
    elif len(sent.nc) < _NC_DIGITS or not sent.count:
        found["nc"] = "short" if len(sent.nc) < _NC_DIGITS else "zero"
    return {"tolerated": found} if found else NO_FACTS


def _text(sent: bytes) -> str:
    return sent.decode("latin-1")


def _prefix_hint(digested: bytes, requested: bytes) -> dict[str, str]:
    """What to set, if one of two paths is the other one with a prefix."""
    if digested.endswith(requested):
        prefix = digested.removesuffix(requested)
        return {"hint": f"a proxy removes the prefix: set public_prefix={_text(prefix)!a}"}
    if requested.endswith(digested) and digested.startswith(b"/"):
        added = requested.removesuffix(digested)
        return {"hint": f"root_path or public_prefix adds {_text(added)!a}, which clients do not ask for"}
    return {}


def _not_now(username: str, **_: object) -> NotNow:
    return NOT_NOW


def _name_hash(hash_function: Hash, realm: str, name: str) -> str:
    return user_hash(hash_function, name, realm).decode("ascii")


def _advance(verification: Steps[Outcome], answer: object) -> Outcome | Continuation:
    """Run a verification to its outcome, or until something must be awaited."""
    try:
        wait = verification.send(answer)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    return partial(_go_on, verification, wait)


async def _go_on(verification: Steps[Outcome], wait: Wait) -> Outcome:
    """Await what a verification waits for, and run it to its outcome."""
    answer = _advance(verification, await wait())
    return await answer() if callable(answer) else answer
