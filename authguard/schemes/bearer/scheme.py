"""Bearer tokens (RFC 6750): signed JWTs (RFC 7519, RFC 7515), verified as RFC 8725 asks, and opaque tokens."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from authguard.caching import BoundedCache
from authguard.difference import difference
from authguard.errors import ConfigurationError
from authguard.keys.signatures import ED448, ED25519
from authguard.model import (
    NO_FACTS,
    Accepted,
    Clock,
    Denied,
    Facts,
    Failure,
    Outcome,
    Principal,
    Rejected,
    claims_to_read,
)
from authguard.reasons import (
    CREDENTIALS_MALFORMED,
    SCOPE_MISSING,
    TOKEN_ALGORITHM_REFUSED,
    TOKEN_CRITICAL_UNKNOWN,
    TOKEN_MALFORMED,
    TOKEN_TOO_LONG,
)
from authguard.request import AuthRequest, network_of
from authguard.schemes.bearer.claim_mapping import (
    BEARER,
    ClaimMapping,
    outcome_from_claims,
    string_or_none,
    token_fingerprint,
    why_no_names,
)
from authguard.schemes.bearer.claims import NO_CONFIRMATIONS, check_type, leeway_of
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.issuer_registry import IssuerRegistry, Member, RegisteredIssuer
from authguard.schemes.bearer.protected_resource import ProtectedResource
from authguard.schemes.bearer.signature_verifier import HeldKeysTried, SignatureVerifier
from authguard.schemes.bearer.token_cache import VerifiedToken, token_cache
from authguard.schemes.bearer.unusual_tokens import unusual_token, word_in_place_of_token
from authguard.schemes.carriers import AUTHORIZATION, NamedCarrier, check_carrier, field_for
from authguard.schemes.scheme import Carrier, Continuation, Published, Scheme, check_name, for_one_request
from authguard.validation import check_flag, check_int, check_seconds
from authguard.wire import jws
from authguard.wire.authorization import MAX_FIELD, Credentials, token68
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

if TYPE_CHECKING:
    from authguard.schemes.bearer.client_certificate import CertificateBinding, CertificateSource
    from authguard.schemes.bearer.introspection import Introspection
    from authguard.schemes.bearer.token_lookup import TokenLookup


#: The largest ``limit``: 64 KiB.
MAX_LIMIT = 64 * 1024


class Bearer(Scheme):
    """The Bearer scheme: ``Bearer(Issuer(...), realm="orders")``. Several issuers are told apart by ``iss``.

    - ``issuers``: each an ``Issuer(...)``, and at most one ``Introspection(...)`` or ``TokenLookup(...)``, which is
      asked about opaque tokens, and one ``ApiKeys(...)``, which takes what begins with its prefix. A token without
      ``kid`` is tried with at most eight keys of its issuer, and with fewer if these are slow to verify with: with two
      of ES512.
    - ``resource``: a ``ProtectedResource(...)``. The challenges then name its metadata (RFC 9728 section 5.1).
    - ``cache``: how many accepted tokens are remembered, of at most 16 MiB together. A remembered token is not parsed
      and its signature is not verified again; its times, its issuer, the checks and the rule are asked each time, and
      it is forgotten when its key leaves the issuer's keys. 0 switches it off.
    - ``limit``: the longest accepted token, in bytes, up to 64 KiB. The limit of the ``Authorization`` field follows,
      for this scheme alone. The server must accept such a field too. ``deadline``: how many seconds a key source may
      take.
    - ``carrier``: where the token travels, if not in ``Authorization``: ``Header("X-Forwarded-Authorization",
      prefix="Bearer")``, ``Cookie("__Host-session-token")``, ``WebSocketProtocol("bearer")``. No client can answer the
      challenge ``Bearer`` there, so the challenge has an auth-scheme of the carrier's own, and names the place. For a
      token that may travel in several places, give the guard a ``Bearer`` for each, with a ``name`` of its own.
    - ``client_certificate``: where the certificate of the client comes from, for tokens that are bound to one
      (RFC 8705 section 3): ``TlsExtension()``, or ``ForwardedCertificate("Client-Cert", trusted=["10.0.0.7"])``. Each
      request is compared anew, also with a remembered token. Without it, bound tokens are refused.
    - ``require_bound``: whether tokens that are not bound to a certificate are refused.
    - ``name``: for ``via(...)``, records and OpenAPI, if a guard has another ``Bearer``.
    - ``clock``: a monotonic clock for the windows of ``ClockSkew``, and for how often a network gets ``keys.busy``.

    Denies with ``credentials.malformed``, ``token.*``, ``certificate.*`` and ``key.unknown``; with ``keys.*`` and
    ``introspection.*`` (503) if a token cannot be checked now. Raises ``ConfigurationError``.
    """

    name = BEARER
    auth_scheme = BEARER
    carrier: Carrier = AUTHORIZATION
    challenges_on_403 = True
    constant_challenges = True
    reports_login_time = True
    openapi: Mapping[str, object] = MappingProxyType({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    #: The members of ``cnf`` that bind a token to something which the scheme checks. It refuses a token with others.
    confirmations: AbstractSet[str] = NO_CONFIRMATIONS
    #: Whether each request must bring a proof of DPoP.
    requires_dpop = False
    #: Whether each request must come with a client certificate.
    requires_certificate = False
    #: What the metadata of its resource say beside what all say, by the names of RFC 9728 section 2.
    resource_members: Mapping[str, object] = MappingProxyType({})

    def __init__(
        self,
        *issuers: Member,
        realm: str,
        resource: ProtectedResource | None = None,
        limit: int = jws.MAX_TOKEN,
        cache: int = 4096,
        deadline: float = 5.0,
        carrier: Carrier = AUTHORIZATION,
        client_certificate: CertificateSource | None = None,
        require_bound: bool = False,
        name: str = BEARER,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = check_name(name)
        self._clock = clock
        self._cache = check_int("cache", cache, least=0, most=1_000_000, unit="tokens")
        self._verified = _cache_of(self._cache)
        #: How many signatures were verified. Those of remembered tokens are not, so counting these costs nothing.
        self._verifications = 0
        self._explained = _explanations()
        self._issuers = IssuerRegistry(issuers, clock)
        self.services = self._issuers.services
        self.denial_reasons = self._issuers.denial_reasons
        if self._issuers.opaque is not None or self._issuers.api_keys is not None:
            self.openapi = {name: value for name, value in self.openapi.items() if name != "bearerFormat"}
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is not a string")
        if not isinstance(resource, ProtectedResource | None):
            raise ConfigurationError("resource", f"{resource!r} is not a ProtectedResource(...)")
        self.resource = resource
        #: The last parameter of each challenge. RFC 9728 section 5.1.
        self._metadata = {} if resource is None else {"resource_metadata": resource.metadata_url}
        self._auth_scheme, self._params = "Bearer", {"realm": realm}
        self._limit = check_int("limit", limit, least=1, most=MAX_LIMIT, unit="bytes")
        self._use_carrier(carrier)
        try:
            self._plain_challenges = (Challenge(self._auth_scheme, {**self._params, **self._metadata}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self.published = () if resource is None else (resource.published,)
        self.realm = realm
        self._binding: CertificateBinding | None = None
        self.requires_certificate = check_flag("require_bound", require_bound)
        if client_certificate is not None:
            self._bind(client_certificate)
        elif require_bound:
            problem = "say where the certificate comes from: client_certificate=TlsExtension(), for example"
            raise ConfigurationError("require_bound", problem)
        self._signatures = SignatureVerifier(
            check_seconds("deadline", deadline, most=60), clock, confirmations=self.confirmations
        )

    def _bind(self, source: CertificateSource) -> None:
        """Compare the certificate of each request with what its token is bound to."""
        from authguard.schemes.bearer.client_certificate import X5T, CertificateBinding  # noqa: PLC0415 - few apps need it

        self.confirmations = frozenset({*self.confirmations, X5T})
        self._binding = CertificateBinding(source, required=self.requires_certificate, confirmations=self.confirmations)
        self.resource_members = {"tls_client_certificate_bound_access_tokens": True}

    @property
    def client_certificate(self) -> CertificateSource | None:
        """Where the certificate of the client comes from; None if bound tokens are refused."""
        return None if self._binding is None else self._binding.source

    def _use_carrier(self, carrier: Carrier) -> None:
        """Take the tokens from there."""
        check_carrier(carrier)
        if not isinstance(carrier, NamedCarrier):
            self.carrier = field_for(BEARER, self._limit) if carrier == AUTHORIZATION else carrier
            return
        if self._metadata:
            raise ConfigurationError(
                "resource", "clients that find its metadata send Authorization, and no other field"
            )
        self._auth_scheme = carrier.challenge_scheme
        self._params.update(carrier.challenge_params)
        # One byte more than a token may have, so that the record names the token.
        self.carrier = carrier.with_limit(max(self._limit, MAX_FIELD) + 1)
        self.openapi = carrier.openapi

    def published_beside(self, schemes: Sequence[Scheme]) -> Sequence[Published]:
        """The metadata of the resource, as all schemes that have this one say them together."""
        resource, tokens = self.resource, [scheme for scheme in schemes if isinstance(scheme, Bearer)]
        members: dict[str, object] = {}
        for scheme in tokens:
            if scheme.resource == resource:
                members.update(scheme.resource_members)
        if members and all(scheme.requires_dpop for scheme in tokens):
            members["dpop_bound_access_tokens_required"] = True
        if resource is None or not members:
            return self.published
        ours = resource.published
        return tuple(resource.with_members(members) if each is ours else each for each in self.published)

    def replace(self, *issuers: Member) -> None:
        """Replace all issuers, from the next request on. A request in flight keeps the old ones.

        Raises ``ConfigurationError`` as the constructor does; then nothing has changed. A lifespan that has begun does
        not run the new key sources, which work without it, and fetches the old keys until it ends.
        """
        self._issuers = IssuerRegistry(issuers, self._clock, self._issuers)
        self.services, self.denial_reasons = self._issuers.services, self._issuers.denial_reasons
        self._verified = _cache_of(self._cache)
        self._explained = _explanations()

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Verify the signature first, then the claims: nothing that an unsigned token claims is trusted."""
        answer = self.authenticate_now(request, credentials)
        return for_one_request(await answer() if callable(answer) else answer)

    def authenticate_now(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation:
        """The same, if the keys are in memory and no endpoint is asked."""
        raw, issuers, cache = credentials.rest, self._issuers, self._verified
        if len(raw) > self._limit:
            return Rejected(TOKEN_TOO_LONG, facts={"octets": len(raw), "limit": self._limit})
        if cache is None or not jws.begins_like_jose(raw):
            return self._verify(raw, issuers, request)
        key = sha256(raw).digest()
        verified = cache.get(key)
        if verified is None or not verified.is_still_signed(issuers):
            return self._verify(raw, issuers, request, cache, key)
        accepted = verified.accepted_at(request.moment)
        if accepted is None:
            claims = jws.read_payload(verified.payload)
            return self._check_claims(raw, claims, verified.registered, request, digest=key)
        verified.registered.clock_skew.observe(verified.iat, request.moment)
        if verified.registered.issuer.refetchable is not None:
            self._signatures.note_accepted(request.client)
        return accepted

    def _verify(
        self,
        raw: bytes,
        issuers: IssuerRegistry,
        request: AuthRequest,
        cache: BoundedCache[VerifiedToken] | None = None,
        key: bytes = b"",
    ) -> Outcome | Continuation:
        """Verify a token. If its signature is valid, ``cache`` remembers that by ``key``, the SHA-256 of the token."""
        api_keys = issuers.api_keys
        if api_keys is not None and (issuers.takes_keys_alone or api_keys.takes(raw)):
            answer = api_keys.verify_now(raw, request)
            return answer if self._binding is None else self._bound(answer, self._binding, raw, request)
        try:
            token = jws.parse(raw, self._limit)
        except WireError as error:
            opaque = issuers.opaque
            if opaque is None or not _is_opaque(raw, opaque):
                return _malformed(raw, error)
            return self._ask_about(opaque, raw, request)
        iss = string_or_none(token.claims.get("iss"))
        registered = issuers.find(iss)
        if registered is None:
            introspection = issuers.introspection_for(iss)
            if introspection is not None:
                return self._ask_about(introspection, raw, request)
            return _reject(raw, key, token, issuers.wanted.failure(token.claims), signature="unchecked")
        failure = _header_failure(token.header, registered.issuer)
        if failure is not None:
            return _reject(raw, key, token, failure, signature="unchecked")
        self._verifications += 1
        held = self._signatures.try_held(registered.issuer, token)
        if held.signing_key is None or held.keys is None:
            return lambda: self._authenticate_after_fetch(raw, key, token, registered, request, held)
        outcome = self._check_claims(raw, token.claims, registered, request, token.payload, key)
        if cache is not None:
            # Where certificates are compared, the claims of a bound token are checked again with each request.
            kept = outcome if self._binding is None or token.claims.get("cnf") is None else None
            cache.put(key, VerifiedToken(issuers, registered, token, held.keys, held.signing_key, kept))
        return outcome

    def _ask_about(self, source: Introspection | TokenLookup, raw: bytes, request: AuthRequest) -> Continuation:
        confirmations, binding = self.confirmations, self._binding

        # Not a `partial`, whose repr would show the token.
        def ask() -> Awaitable[Outcome]:
            return source.authenticate(raw, request.moment, network_of(request.client), confirmations=confirmations)

        return ask if binding is None else self._bound_later(ask, binding, raw, request)

    def _bound(
        self, answer: Outcome | Continuation, binding: CertificateBinding, raw: bytes, request: AuthRequest
    ) -> Outcome | Continuation:
        """The same answer, if what it accepts is not bound to the certificate of another client."""
        if callable(answer):
            return self._bound_later(answer, binding, raw, request)
        return _checked(answer, binding, raw, request)

    def _bound_later(
        self, answer: Continuation, binding: CertificateBinding, raw: bytes, request: AuthRequest
    ) -> Continuation:
        async def bound() -> Outcome:
            return _checked(await answer(), binding, raw, request)

        return bound

    async def _authenticate_after_fetch(
        self,
        raw: bytes,
        digest: bytes,
        token: jws.Jws,
        registered: RegisteredIssuer,
        request: AuthRequest,
        held: HeldKeysTried,
    ) -> Outcome:
        """The outcome for a token that no key in memory has signed."""
        failure = await self._signatures.failure(registered.issuer, token, request, held)
        if failure is not None:
            return _reject(raw, digest, token, failure)
        return self._check_claims(raw, token.claims, registered, request, digest=digest)

    def _check_claims(
        self,
        raw: bytes,
        claims: dict[str, object],
        registered: RegisteredIssuer,
        request: AuthRequest,
        payload: bytes | None = None,
        digest: bytes = b"",
    ) -> Outcome:
        """The outcome for a token whose signature is valid. ``digest`` is its SHA-256, if that is known.

        With ``payload``, its principal may be used for many requests: each that reads the claims gets its own from it.
        """
        registered.clock_skew.observe(claims.get("iat"), request.moment)
        read = None if payload is None else partial(jws.read_payload, payload)
        outcome = outcome_from_claims(
            raw, claims, registered.issuer, request.moment, read, digest, confirmations=self.confirmations
        )
        if isinstance(outcome, Accepted):
            if self._binding is not None:
                failure = self._binding.failure(claims.get("cnf"), request)
                if failure is not None:
                    return _refuse_unbound(raw, failure, outcome, digest)
            if registered.issuer.refetchable is not None:
                self._signatures.note_accepted(request.client)
            if outcome.facts and (leeway := leeway_of(outcome.facts)):
                registered.clock_skew.observe_leeway_used(leeway, request.moment)
        return outcome

    def state_stores(self) -> Mapping[str, object]:
        """Where refused API keys are counted."""
        return {} if self._issuers.api_keys is None else self._issuers.api_keys.state_stores()

    def facts_without(self, names: Literal["roles", "scopes"], principal: Principal) -> Facts:
        """Which claims of its token were read for roles or scopes, and what they are: ``why_no_names``."""
        read = principal._shared_claims  # noqa: SLF001 - `_check_claims` has made it, if it is a partial
        payload: bytes | None = read.args[0] if isinstance(read, partial) and read.func is jws.read_payload else None
        kept = None if payload is None else self._explained[names].get(payload)
        if kept is not None:
            return kept
        facts = self._explain(names, principal.claims)
        if payload is not None:
            self._explained[names].put(payload, facts)
        return facts

    def _explain(self, names: Literal["roles", "scopes"], claims: Mapping[str, Any]) -> Facts:
        issuers = self._issuers
        # The answer of an introspection endpoint has this member. A JWT has it only if its issuer is odd.
        mapping: ClaimMapping | None = issuers.introspection if "active" in claims else None
        if mapping is None and (registered := issuers.find(string_or_none(claims.get("iss")))) is not None:
            mapping = registered.issuer
        if mapping is None:
            return NO_FACTS
        return why_no_names(mapping.scopes if names == "scopes" else mapping.roles, claims, split=names == "scopes")

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge. RFC 6750 section 3; RFC 9470 section 3 for a step-up; RFC 9728 section 5.1."""
        error = None if why is None else why.reason.challenge_error
        if error is None and not request.scopes_asked:
            return self._plain_challenges
        params = {**self._params}
        wanted: Sequence[str] = request.scopes_asked
        if why is not None and error is not None:
            params["error"] = error
            if why.reason.public is not None:
                params["error_description"] = why.reason.public
            # If something else is missing, a token with more scopes would not help.
            scopes_help = why.reason.challenges_needed or why.reason == SCOPE_MISSING
            wanted = why.requirement.scopes_named() if scopes_help and why.requirement is not None else ()
            params.update({name: str(why.facts[name]) for name in ("acr_values", "max_age") if name in why.facts})
        if wanted:
            params["scope"] = " ".join(wanted)
        return (Challenge(self._auth_scheme, {**params, **self._metadata}),)

    def health(self) -> Mapping[str, object]:
        """The ``keys`` that are fetched, the issuers' ``clocks``, and the ``introspection``, if there is one.

        ``tokens``: how many JWTs are ``remembered``, of how many at ``most``, and how many signatures were
        ``verified`` since the process began, right ones and wrong ones. ``RemoteJWKS.health``, ``ClockSkew.health`` and
        ``Introspection.health`` say what the other figures are.
        """
        issuers = self._issuers
        introspection = issuers.introspection
        clocks = {registered.clock_skew.issuer: registered.clock_skew.health() for registered in issuers}
        api_keys = issuers.api_keys
        others = (introspection, *(() if api_keys is None else api_keys.services))
        keys = [service.health() for service in issuers.services if service not in others]
        remembered = 0 if self._verified is None else len(self._verified)
        tokens = {"verified": self._verifications, "remembered": remembered, "most": self._cache}
        health: dict[str, object] = {"keys": keys, "clocks": clocks, "tokens": tokens}
        if api_keys is not None:
            health["api_keys"] = api_keys.health()
        return health if introspection is None else {**health, "introspection": introspection.health()}


def _cache_of(most: int) -> BoundedCache[VerifiedToken] | None:
    return token_cache(most) if most else None


def _explanations() -> Mapping[Literal["roles", "scopes"], BoundedCache[Facts]]:
    """Why tokens have no roles and no scopes, by their payloads: whoever has none may send many requests."""
    return {"roles": BoundedCache(MAX_EXPLAINED), "scopes": BoundedCache(MAX_EXPLAINED)}


#: For how many tokens it is remembered why they have no roles or no scopes.
MAX_EXPLAINED = 64


def _is_opaque(raw: bytes, source: Introspection | TokenLookup) -> bool:
    """Whether it is a token for this source, and does not look like a JWT."""
    return source.takes(raw) and not jws.is_jose(raw)


def _malformed(raw: bytes, error: WireError) -> Rejected:
    # What is not a token68 is not a bearer token at all (RFC 6750 section 2.1). Anything else is one, but not a JWS.
    try:
        # Amazon's load balancer pads the parts of its tokens. That is not a token68 either, but gets the reason of a
        # malformed JWS, which helps more.
        token68(raw.replace(b"=", b"") if error.problem == "base64url with padding" else raw)
    except WireError as token68_error:
        found = unusual_token(raw)
        facts = {"problem": token68_error.problem, **({} if found is None else {"found": found})}
        return Rejected(CREDENTIALS_MALFORMED, facts=facts)
    facts = {"problem": error.problem, "token": token_fingerprint(raw)}
    found = error.part or word_in_place_of_token(raw)
    return Rejected(TOKEN_MALFORMED, facts=facts if found is None else {**facts, "found": found})


def _reject(raw: bytes, digest: bytes, token: jws.Jws, failure: Failure, **facts: object) -> Rejected:
    subject = string_or_none(token.claims.get("sub"))
    return Rejected(failure.reason, subject, {**failure.facts, **facts, "token": token_fingerprint(raw, digest)})


def _checked(answer: Outcome, binding: CertificateBinding, raw: bytes, request: AuthRequest) -> Outcome:
    if not isinstance(answer, Accepted):
        return answer
    failure = binding.failure(claims_to_read(answer.principal).get("cnf"), request)
    return answer if failure is None else _refuse_unbound(raw, failure, answer)


def _refuse_unbound(raw: bytes, failure: Failure, accepted: Accepted, digest: bytes = b"") -> Rejected:
    """The refusal of a good token, because it is not bound as it must be."""
    facts = {**failure.facts, "token": token_fingerprint(raw, digest)}
    return Rejected(failure.reason, accepted.principal.subject, facts, authenticated=True)


def _header_failure(header: jws.JoseHeader, issuer: Issuer) -> Failure | None:
    if header.alg not in issuer.algorithms:
        wanted = tuple(sorted(issuer.algorithms))
        facts: dict[str, object] = {"algorithm": header.alg, "wanted": wanted}
        differs_by = _two_names(header.alg, issuer.algorithms) or difference(header.alg, wanted)
        return Failure(TOKEN_ALGORITHM_REFUSED, facts if differs_by is None else {**facts, "differs_by": differs_by})
    if header.crit or header.b64:  # RFC 7515 section 4.1.11: no extension is understood here, RFC 7797 included
        members = tuple(name for name, is_set in (("crit", header.crit), ("b64", header.b64)) if is_set)
        return Failure(TOKEN_CRITICAL_UNKNOWN, {"header": members, "wanted": "neither crit nor b64"})
    return check_type(header.typ, issuer.typ)


def _two_names(algorithm: str, wanted: AbstractSet[str]) -> str | None:
    """Whether it is the other name of an algorithm that is accepted: RFC 9864 has names of its own for EdDSA."""
    names = next((names for names in (ED25519, ED448) if algorithm in names and not names.isdisjoint(wanted)), None)
    return None if names is None else "EdDSA has two names for one curve; list the one that the token says, too"
