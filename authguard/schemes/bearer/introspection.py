"""Introspection (RFC 7662): ask the server that issued an opaque token whether it is active."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial

from authguard.caching import BoundedCache, KeyedHash
from authguard.concurrency.circuit_breaker import Question
from authguard.concurrency.single_flight import SingleFlight
from authguard.difference import kind_of
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.http_client import MAX_RESPONSE, ClientFactory, HttpPost, Post, check_url, without_query
from authguard.model import Accepted, Clock, Failure, Moment, Outcome, Rejected
from authguard.reasons import INTROSPECTION_TIMEOUT, TOKEN_INACTIVE, TOKEN_TYPE_REFUSED
from authguard.schemes.bearer.claim_mapping import (
    BEARER,
    ClaimCheck,
    Source,
    SubjectSource,
    check_claim_check,
    check_sources,
    check_subject,
    claim,
    outcome_from_claims,
    string_or_none,
    token_fingerprint,
    tolerating,
)
from authguard.schemes.bearer.claims import NO_CONFIRMATIONS, ClaimRules, Claims, Unchecked, leeway_of
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.introspection_client import (
    ClientAuth,
    IntrospectionAnswer,
    IntrospectionClient,
    check_client_auth,
    check_unknown_token_statuses,
    read_answer,
)
from authguard.schemes.bearer.issuer import check_audience
from authguard.schemes.bearer.issuer_names import IssuerArgument, TenantsArgument, WantedIssuers, check_issuer
from authguard.state.shared_cache import LookAside, SharedCache, cache_key
from authguard.validation import check_flag, check_int, check_seconds, functions
from authguard.value_types import value
from authguard.wire.authorization import is_token68, is_visible
from authguard.wire.jws import read_object

#: How many seconds "not active" is cached, and for how many tokens.
INACTIVE_FOR, MOST_INACTIVE = 5.0, 4096
#: How many seconds a token is not asked about again after a failure, and for how many tokens that is remembered.
FAILED_FOR, MOST_FAILED = 2.0, 4096
#: The default of ``most_bytes``.
MOST_BYTES = 16 * 1024 * 1024

_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


@value
class _CachedAnswer:
    """An answer, good before ``until`` by our monotonic clock and before ``exp`` (seconds since the epoch)."""

    answer: IntrospectionAnswer
    until: float
    exp: float


def _size(cached: _CachedAnswer) -> int:
    return len(cached.answer.body or b"")


_BEARER_TYPES = frozenset({BEARER})
_BOUND_TYPES = frozenset({BEARER, "dpop"})  # RFC 9449 section 6.2


class Introspection:
    """``Introspection("https://idp.example/introspect", client_id=..., client_secret=..., issuer=..., audience=...)``.

    Give it to ``Bearer(...)``, alone or beside each ``Issuer(...)``. The server is asked about every opaque token, and
    about a JWT only if its ``iss`` is ``issuer`` and no ``Issuer`` has that name. No other JWT is ever sent to it.

    - ``client_id``, ``client_secret``: sent by HTTP Basic, encoded as RFC 6749 section 2.3.1 says. Or ``auth``: a
      function of ``(headers, form)``, async or not, that adds to them what authenticates this client.
    - ``issuer``, ``tenants``, ``audience``, ``roles``, ``scopes``, ``subject``, ``numeric_subject``, ``check``,
      ``id_tokens``: as for ``Issuer``, of the members of the answer.
    - ``remember``: for how many seconds an answer is cached, at most until ``exp``. A revocation is noticed so much
      later. "Not active" is cached for 5 seconds at most. None asks each time. ``most`` and ``most_bytes``: how many
      answers are cached, and how many bytes of answers.
    - ``shared_cache``: a ``SharedCache``, such as ``RedisCache``, in which all processes keep the answers about active
      tokens for each other, for ``remember`` seconds and at most until ``exp``. If it is away, the server is asked.
    - ``unknown_token_statuses``: the statuses with which the server answers about a token that it does not know, such
      as ``{400}``. They count as "not active". RFC 7662 section 2.2 wants 200 for such a token; without this option any
      other status is an outage for that token. If you name 401, a wrong ``client_secret`` looks like tokens that are
      not active, unless the server then says ``invalid_client``.
    - ``visible_ascii``: whether a token may have any visible ASCII character but a comma, as those of Laravel Sanctum
      (``12|...``) and Salesforce (``00D...!...``) do. RFC 6750 section 2.1 allows letters, digits and ``-._~+/`` alone.
      Such a token is recorded as ``tolerated``.
    - ``post``: an async function ``(url, headers, body) -> (status, body)``; by default httpx2 (the extra ``oidc``).
    - ``client``: a function that makes an ``httpx2.AsyncClient``, for a proxy or a private certificate authority.
      Neither is taken from the environment.
    - ``deadline``: seconds for one answer, and as many to wait until one of the 64 calls at a time is free.
    - ``insecure_http``: whether ``http`` URLs are accepted. Anybody on the way can read the tokens.

    Denies with ``token.*``, and with ``introspection.*`` (503) if the server cannot be asked, or its answer is not that
    of RFC 7662 section 2.2. The server is then not asked about that token for two seconds. Five failures in a row (5xx,
    401, 407, 408, 429, no answer) with different tokens from different networks open a circuit breaker. Tokens that
    were active before are still asked about until five of them fail, from whatever network. Raises
    ``ConfigurationError``.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        auth: ClientAuth | None = None,
        issuer: IssuerArgument,
        tenants: TenantsArgument = None,
        audience: str | Sequence[str] | Unchecked,
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: SubjectSource | Sequence[SubjectSource] = _SUBJECT,
        numeric_subject: bool = False,
        check: ClaimCheck | None = None,
        id_tokens: bool = False,
        remember: float | None = 30.0,
        most: int = 10_000,
        most_bytes: int = MOST_BYTES,
        shared_cache: SharedCache | None = None,
        unknown_token_statuses: Collection[int] = (),
        visible_ascii: bool = False,
        deadline: float = 5.0,
        post: Post | None = None,
        client: ClientFactory | None = None,
        insecure_http: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._url = check_url("url", url, insecure_http=insecure_http, example="https://idp.example/introspect")
        client_auth = check_client_auth(client_id, client_secret, auth)
        self.names = check_issuer(issuer, tenants)
        self._wanted = WantedIssuers.of(self.names)
        self.issuer = self.names.label if self.names.exact or self.names.templates else None
        self.subject = check_subject(subject, numeric=numeric_subject)
        self.rules = ClaimRules(
            check_audience(audience),
            require_exp=False,
            access_token=False,
            checks_sub=self.subject == _SUBJECT,
            tenant=self.names.tenant_failure if self.names.templates else None,
            id_tokens=check_flag("id_tokens", id_tokens),
        )
        self.check = check_claim_check(check)
        self.roles, self.scopes = check_sources("roles", roles), check_sources("scopes", scopes)
        self._seconds = 0.0 if remember is None else check_seconds("remember", remember, most=3600)
        check_int("most", most, least=2, most=1_000_000)
        # Each half of the cache must have room for the longest answer.
        check_int("most_bytes", most_bytes, least=2 * MAX_RESPONSE, most=MOST_BYTES * 256, unit="bytes")
        if shared_cache is not None and not self._seconds:
            raise ConfigurationError("shared_cache", "with remember=None no answer is kept; give seconds, or no cache")
        self._shared = None if shared_cache is None else LookAside(shared_cache)
        # Another client may get other answers.
        self._shared_name = ("introspection", self._url, client_id or "")
        statuses = check_unknown_token_statuses(unknown_token_statuses)
        self._visible_ascii = check_flag("visible_ascii", visible_ascii)
        check_seconds("deadline", deadline, most=60)
        for name, function in (("post", post), ("client", client)):
            if function is not None:
                functions(name, [function])
        if post is not None and client is not None:
            raise ConfigurationError("client", "give either client= or post=, which takes the place of httpx2")
        self._http: HttpPost | None = None
        if post is None:
            post = self._http = HttpPost(client)
        self._clock = clock
        self._clock_skew = ClockSkew(self.issuer or without_query(self._url), clock)
        self._client = IntrospectionClient(
            self._url, client_auth, post, unknown_token_statuses=statuses, deadline=deadline, clock=clock
        )
        self._hash = KeyedHash()
        # Caches of their own, so that invented tokens cannot push out active ones.
        self._active = BoundedCache[_CachedAnswer](most, most_bytes=most_bytes, size=_size)
        self._inactive = BoundedCache[_CachedAnswer](MOST_INACTIVE)
        self._failed = BoundedCache[_CachedAnswer](MOST_FAILED)
        #: The tokens that were accepted when they were last asked about.
        self._known = BoundedCache[bool](most)
        # Three deadlines: a request waits while another one waits for its turn and then for the answer. If that one is
        # cancelled, the next one starts over.
        self._single_flight = SingleFlight[IntrospectionAnswer](deadline=3 * deadline, reason=INTROSPECTION_TIMEOUT)

    def __repr__(self) -> str:
        return f"Introspection({self._url.partition('?')[0]!r}, issuer={self.issuer!r})"

    def takes(self, token: bytes) -> bool:
        """Whether these bytes are a token that the endpoint may be asked about."""
        return is_token68(token) or (self._visible_ascii and is_visible(token))

    async def authenticate(
        self,
        token: bytes,
        moment: Moment,
        network: str | None = None,
        *,
        confirmations: AbstractSet[str] = NO_CONFIRMATIONS,
    ) -> Outcome:
        """The outcome for a token that came from this network. Raises ``BackendUnavailable``.

        ``confirmations``: the members of ``cnf`` that the caller checks.
        """
        key = self._hash(token.decode("ascii"))
        answer, is_new = self._cached(key, moment), False
        if answer is None:
            answer, is_new = await self._single_flight.share(
                key, partial(self._ask_and_cache, token, key, network, moment)
            )
        if answer.outage is not None:
            raise BackendUnavailable(
                answer.detail, reason=answer.outage, retry_after=answer.retry_after, facts=answer.facts
            )
        if answer.body is None:
            status = {} if answer.status is None else {"endpoint_status": answer.status}
            endpoint = without_query(self._url)
            return Rejected(TOKEN_INACTIVE, facts={"token": token_fingerprint(token), **status, "endpoint": endpoint})
        claims = read_object(answer.body)
        failure = self._response_failure(claims, confirmations=confirmations)
        if failure is not None:
            return Rejected(
                failure.reason,
                string_or_none(claims.get("sub")),
                {**failure.facts, "token": token_fingerprint(token)},
                authenticated=True,
            )
        self._clock_skew.observe(claims.get("iat"), moment)
        outcome = outcome_from_claims(token, claims, self, moment, confirmations=confirmations)
        if isinstance(outcome, Accepted):
            if is_new:
                self._known.put(key, True)
            if outcome.facts and (leeway := leeway_of(outcome.facts)):
                self._clock_skew.observe_leeway_used(leeway, moment)
            if not is_token68(token):
                facts = tolerating(outcome.facts, "token", "not a token68")
                return Accepted(outcome.principal, outcome.response_headers, facts)
        return outcome

    def _response_failure(self, claims: Claims, *, confirmations: AbstractSet[str]) -> Failure | None:
        if not self.names.accept(claims.get("iss")):
            return self._wanted.failure(claims)
        token_type = claims.get("token_type")
        # RFC 6749 section 5.1: the type has no case. A DPoP token needs a proof, which Bearer does not carry.
        accepted = _BOUND_TYPES if "jkt" in confirmations else _BEARER_TYPES
        if token_type is not None and not (isinstance(token_type, str) and token_type.lower() in accepted):
            facts: dict[str, object] = {"claim": "token_type", "typ": string_or_none(token_type), "wanted": "Bearer"}
            if not isinstance(token_type, str):
                facts["found"] = kind_of(token_type)
            return Failure(TOKEN_TYPE_REFUSED, facts)
        return None

    def _cached(self, key: bytes, moment: Moment) -> IntrospectionAnswer | None:
        cached = self._active.get(key) or self._inactive.get(key) or self._failed.get(key)
        # RFC 7662 section 4: no answer is used beyond exp. There is no leeway: the server is asked, and may grant some.
        if cached is None or self._clock() >= cached.until:
            return None
        return cached.answer if moment.between(-math.inf, cached.exp) else None

    async def _ask_and_cache(
        self, token: bytes, key: bytes, network: str | None, moment: Moment
    ) -> IntrospectionAnswer:
        if self._shared is not None:
            shared = await self._shared_answer(self._shared, token, key, moment)
            if shared is not None:
                return shared
        answer = await self._client.introspect(token, Question(key, network, known=key in self._known))
        now = self._clock()
        if answer.outage is not None:
            if answer.asked:
                self._failed.put(key, _CachedAnswer(answer, now + FAILED_FOR, math.inf))
        elif answer.body is None:
            self._active.discard(key)
            self._known.discard(key)
            if self._seconds:
                self._inactive.put(key, _CachedAnswer(answer, now + min(INACTIVE_FOR, self._seconds), math.inf))
        elif self._seconds:
            end = _end_of(answer.body)
            self._active.put(key, _CachedAnswer(answer, now + self._seconds, end))
            if self._shared is not None:
                seconds = min(self._seconds, end - moment.now)
                await self._shared.put(self._name(token), answer.body, seconds)
        return answer

    async def _shared_answer(
        self, shared: LookAside, token: bytes, key: bytes, moment: Moment
    ) -> IntrospectionAnswer | None:
        """What another process was told of the token, if that is still good. Only active tokens are shared."""
        found = await shared.get(self._name(token), most=self._seconds)
        if found is None:
            return None
        answer, _ = read_answer(found[0], without_query(self._url))
        if answer.body is None:
            return None
        end = _end_of(answer.body)
        if not moment.between(-math.inf, end):
            return None
        self._active.put(key, _CachedAnswer(answer, self._clock() + found[1], end))
        return answer

    def _name(self, token: bytes) -> bytes:
        """The key of the answer about this token for all processes."""
        return cache_key(*self._shared_name, token.decode("ascii"))

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Keep connections open from one token to the next."""
        if self._http is None:
            yield
        else:
            async with self._http.running():
                yield

    def health(self) -> Mapping[str, object]:
        """The figures of the server (``IntrospectionClient.health``) and of its ``clock`` (``ClockSkew.health``)."""
        return {**self._client.health(), "clock": self._clock_skew.health()}


def _end_of(body: bytes) -> float:
    """When the token of an answer ends. The claim rules refuse an ``exp`` that is not a number, each time."""
    exp = read_object(body).get("exp")
    return exp if isinstance(exp, int | float) else math.inf
