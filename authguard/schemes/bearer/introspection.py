"""Opaque tokens, about which the server that issued them is asked (RFC 7662)."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from authguard.caching import BoundedCache, KeyedHash
from authguard.concurrency.single_flight import SingleFlight
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.http_client import ClientFactory, HttpPost, Post, check_url
from authguard.model import Accepted, Clock, Failure, Moment, Outcome, Rejected
from authguard.reasons import INTROSPECTION_TIMEOUT, TOKEN_INACTIVE, TOKEN_ISSUER_UNKNOWN, TOKEN_TYPE_REFUSED
from authguard.schemes.bearer.claim_mapping import (
    BEARER,
    ClaimPath,
    Source,
    check_sources,
    claim,
    outcome_from_claims,
    string_or_none,
    token_fingerprint,
)
from authguard.schemes.bearer.claims import ClaimRules, Claims, Unchecked
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.introspection_client import (
    INACTIVE,
    ClientAuth,
    IntrospectionAnswer,
    IntrospectionClient,
    authentication,
)
from authguard.schemes.bearer.issuer import check_audience, check_issuer
from authguard.validation import check_int, check_seconds, functions
from authguard.wire.jws import read_object

#: For so many seconds a token that is not active is not asked about again, and of so many that is known.
INACTIVE_FOR, MOST_INACTIVE = 5.0, 4096

_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, by our own clock until when, and until when by the server's."""

    answer: IntrospectionAnswer
    until: float
    exp: float


class Introspection:
    """``Introspection("https://idp.example/introspect", client_id=..., client_secret=..., issuer=..., audience=...)``.

    It stands beside the ``Issuer(...)`` in a ``Bearer``, which asks it about every opaque token, and about a JWT where
    ``issuer`` is its very ``iss`` and no ``Issuer`` is called so. No other JWT is ever sent.

    - ``client_id``, ``client_secret``: HTTP Basic as RFC 6749 section 2.3.1 writes it. In their place ``auth``, a
      function of ``(headers, form)``, async or not, that adds to them what proves who asks.
    - ``issuer``, ``audience``, ``roles``, ``scopes``, ``subject``: as for ``Issuer``, of the answer's members.
    - ``remember``: for how many seconds an answer is not asked for again, and never beyond ``exp``: so much later a
      revocation is noticed. One that is not active is kept for 5 at most. None asks each time. ``most`` are kept.
    - ``post``: an async function ``(url, headers, body) -> (status, body)``. Without it httpx2 (the extra ``oidc``).
    - ``client``: a function that makes an ``httpx2.AsyncClient``: for a proxy, or a certificate authority of one's own.
      Without it neither is taken from the environment.
    - ``deadline``: seconds for one answer, and as many for the turn to ask. ``insecure_http``: whether ``http`` URLs
      are taken, which show every token.

    Denies with ``token.*``; where the server cannot be asked, or answers with anything but RFC 7662 section 2.2, with
    ``introspection.*`` (503). Five failures in a row (5xx, 401, 407, 408, 429, no answer) open a
    circuit breaker. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        auth: ClientAuth | None = None,
        issuer: str | Unchecked,
        audience: str | Sequence[str] | Unchecked,
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: ClaimPath = _SUBJECT,
        remember: float | None = 30.0,
        most: int = 10_000,
        deadline: float = 5.0,
        post: Post | None = None,
        client: ClientFactory | None = None,
        insecure_http: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._url = check_url("url", url, insecure_http=insecure_http, example="https://idp.example/introspect")
        proof = authentication(client_id, client_secret, auth)
        self.issuer = check_issuer(issuer)
        self.rules = ClaimRules(check_audience(audience), require_exp=False, access_token=False)
        self.roles, self.scopes = check_sources("roles", roles), check_sources("scopes", scopes)
        if not isinstance(subject, ClaimPath):
            raise ConfigurationError("subject", f'{subject!r} is no claim; write claim("client_id")')
        self.subject = subject
        self._seconds = 0.0 if remember is None else check_seconds("remember", remember, most=3600)
        check_int("most", most, least=2, most=1_000_000)
        check_seconds("deadline", deadline, most=60)
        for name, function in (("post", post), ("client", client)):
            if function is not None:
                functions(name, [function])
        if post is not None and client is not None:
            raise ConfigurationError("client", "it makes clients of httpx2, and post= takes their place; give one")
        self._http: HttpPost | None = None
        if post is None:
            post = self._http = HttpPost(client)
        self._clock = clock
        self._clock_skew = ClockSkew(self.issuer or self._url.partition("?")[0], clock)
        self._client = IntrospectionClient(self._url, proof, post, deadline=deadline, clock=clock)
        self._hash = KeyedHash()
        # Apart, so that nobody who invents tokens drives out those that are good.
        self._active, self._inactive = BoundedCache[_Kept](most), BoundedCache[_Kept](MOST_INACTIVE)
        # Who went ahead may leave, and then the next one asks anew. He may wait for his turn, too.
        self._flights = SingleFlight[IntrospectionAnswer](deadline=3 * deadline, reason=INTROSPECTION_TIMEOUT)

    def __repr__(self) -> str:
        return f"Introspection({self._url.partition('?')[0]!r}, issuer={self.issuer!r})"

    async def authenticate(self, octets: bytes, moment: Moment) -> Outcome:
        """The outcome for a token. Raises ``BackendUnavailable``."""
        key = self._hash(octets.decode("ascii"))
        answer = self._known(key, moment)
        if answer is None:
            answer, _ = await self._flights.share(key, partial(self._asked_anew, octets, key))
        if answer.trouble is not None:
            raise BackendUnavailable(answer.detail, reason=answer.trouble, retry_after=answer.retry_after)
        if answer.octets is None:
            return Rejected(TOKEN_INACTIVE, facts={"token": token_fingerprint(octets)})
        claims = read_object(answer.octets)
        failure = self._response_failure(claims)
        if failure is not None:
            return Rejected(
                failure.reason,
                string_or_none(claims.get("sub")),
                {**failure.facts, "token": token_fingerprint(octets)},
                authenticated=True,
            )
        self._clock_skew.note(claims.get("iat"), moment)
        outcome = outcome_from_claims(octets, claims, self, moment)
        if isinstance(outcome, Accepted) and outcome.facts:
            self._clock_skew.tolerate(cast("Any", outcome.facts["tolerated"]), moment)
        return outcome

    def _response_failure(self, claims: Claims) -> Failure | None:
        if self.issuer is not None and claims.get("iss") != self.issuer:
            return Failure(TOKEN_ISSUER_UNKNOWN, {"issuer": string_or_none(claims.get("iss")), "wanted": self.issuer})
        kind = claims.get("token_type")
        # RFC 6749 section 5.1: without case. One for DPoP is worth nothing without its proof.
        if kind is not None and not (isinstance(kind, str) and kind.lower() == BEARER):
            return Failure(TOKEN_TYPE_REFUSED, {"typ": string_or_none(kind), "wanted": "Bearer"})
        return None

    def _known(self, key: bytes, moment: Moment) -> IntrospectionAnswer | None:
        kept = self._active.get(key) or self._inactive.get(key)
        # RFC 7662 section 4: not beyond exp, without leeway. The server may still call it active, if it has some.
        if kept is None or self._clock() >= kept.until:
            return None
        return kept.answer if moment.between(-math.inf, kept.exp) else None

    async def _asked_anew(self, octets: bytes, key: bytes) -> IntrospectionAnswer:
        answer = await self._client.about(octets)
        now = self._clock()
        if answer is INACTIVE:
            self._active.discard(key)
            if self._seconds:
                self._inactive.put(key, _Kept(answer, now + min(INACTIVE_FOR, self._seconds), math.inf))
        elif answer.octets is not None and self._seconds:
            exp = read_object(answer.octets).get("exp")
            # What is no number is refused each time.
            self._active.put(key, _Kept(answer, now + self._seconds, exp if isinstance(exp, int | float) else math.inf))
        return answer

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Keeps connections open from one token to the next."""
        if self._http is None:
            yield
        else:
            async with self._http.running():
                yield

    def health(self) -> Mapping[str, object]:
        """The server's address, how often it was asked, the circuit breaker's state, and ``ClockSkew.health``."""
        return {**self._client.health(), "clock": self._clock_skew.health()}
