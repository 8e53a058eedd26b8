"""Bearer tokens (RFC 6750) that are signed JWTs (RFC 7519, RFC 7515), judged as RFC 8725 asks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, cast

from authguard.concurrency.deadline import ask
from authguard.errors import BackendUnavailable, ConfigurationError, InvalidSignature
from authguard.keys.source import VerificationKey
from authguard.model import Accepted, Clock, Denied, Facts, Outcome, Rejected
from authguard.reasons import (
    CREDENTIALS_MALFORMED,
    KEY_UNKNOWN,
    KEYS_TIMEOUT,
    KEYS_UNAVAILABLE,
    SCOPE_MISSING,
    TOKEN_ALGORITHM_REFUSED,
    TOKEN_CRITICAL_UNKNOWN,
    TOKEN_ISSUER_UNKNOWN,
    TOKEN_MALFORMED,
    TOKEN_SIGNATURE_INVALID,
    TOKEN_TOO_LONG,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.bearer.claim_mapping import BEARER, judged, named, subject_fault, text
from authguard.schemes.bearer.claims import check_type
from authguard.schemes.bearer.introspection import Introspection
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.issuer_registry import IssuerRegistry
from authguard.schemes.bearer.protected_resource import ProtectedResource
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.scheme import Scheme
from authguard.validation import check_seconds
from authguard.wire import jws
from authguard.wire.authorization import Credentials, token68
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

#: A token that names no key may be tried with so many of them.
MAX_CANDIDATES = 8
_Keys = TypeVar("_Keys", bound=Sequence[VerificationKey] | None)


class Bearer(Scheme):
    """The Bearer scheme: ``Bearer(Issuer(...), realm="orders")``. Several issuers are told apart by ``iss``.

    - ``issuers``: each ``Issuer(...)``, and at most one ``Introspection(...)``, which is asked about opaque tokens.
      A token that names no key is tried with eight of its issuer's at most.
    - ``resource``: a ``ProtectedResource(...)``, whose metadata the challenges then name (RFC 9728 section 5.1).
    - ``limit``: the longest token taken, in octets. ``deadline``: how many seconds a key source may take.
    - ``clock``: a monotonic one, for how long an issuer's clock is watched.

    Denies with ``credentials.malformed``, ``token.*``, ``key.unknown``, and, where it cannot tell, ``keys.*`` and
    ``introspection.*`` (503). Raises ``ConfigurationError``.
    """

    name = BEARER
    carrier = AUTHORIZATION
    challenges_on_403 = True
    reports_login_time = True
    openapi: Mapping[str, object] = MappingProxyType({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})

    def __init__(
        self,
        *issuers: Issuer | Introspection,
        realm: str,
        resource: ProtectedResource | None = None,
        limit: int = jws.MAX_TOKEN,
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._clock = clock
        self._issuers = IssuerRegistry(issuers, clock)
        self.services = self._issuers.services
        if self._issuers.introspection is not None:
            self.openapi = {"type": "http", "scheme": "bearer"}
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= jws.MAX_TOKEN * 2:
            raise ConfigurationError("limit", f"{limit!r} is no number of octets from 1 to {jws.MAX_TOKEN * 2}")
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is no string")
        if not isinstance(resource, ProtectedResource | None):
            raise ConfigurationError("resource", f"{resource!r} is no ProtectedResource(...)")
        #: What each challenge ends with: RFC 9728 section 5.1.
        self._where = {} if resource is None else {"resource_metadata": resource.metadata_url}
        try:
            self._bare = (Challenge("Bearer", {"realm": realm, **self._where}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self.published = () if resource is None else (resource.published,)
        self.realm = realm
        self._limit = limit
        self._deadline = check_seconds("deadline", deadline, most=60)

    def replace(self, *issuers: Issuer | Introspection) -> None:
        """Takes these issuers from the next request on, in the place of all it had; one in flight goes by the old ones.

        Raises ``ConfigurationError`` as the constructor does, and then nothing has changed. What comes new is not run
        by a lifespan that has begun: it works without one; what that runs goes on being fetched until it ends.
        """
        self._issuers = IssuerRegistry(issuers, self._clock, self._issuers)
        self.services = self._issuers.services

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Signature first, then claims: what an unsigned token says is not worth reading, unless nobody can tell."""
        octets, issuers = credentials.rest, self._issuers
        if len(octets) > self._limit:
            return Rejected(TOKEN_TOO_LONG, facts={"octets": len(octets), "limit": self._limit})
        try:
            token = jws.parse(octets, self._limit)
        except WireError as error:
            opaque = issuers.introspection if _is_opaque(octets) else None
            return _unreadable(octets, error) if opaque is None else await opaque.judge(octets, request.moment)
        iss = text(token.claims.get("iss"))
        known = issuers.of(iss)
        if known is None:
            asked = issuers.asked_about(iss)
            if asked is not None:
                return await asked.judge(octets, request.moment)
            return _refused(octets, token, TOKEN_ISSUER_UNKNOWN, {"issuer": iss})
        issuer = known.issuer
        if (flaw := _header_flaw(token.header, issuer)) is not None:
            return _refused(octets, token, *flaw)
        if (unverified := await self._unverified(issuer, octets, token, request)) is not None:
            return unverified
        known.clock_skew.note(token.claims.get("iat"), request.moment)
        outcome = judged(octets, token.claims, issuer, request.moment)
        if isinstance(outcome, Accepted) and outcome.facts:
            known.clock_skew.tolerate(cast("Any", outcome.facts["tolerated"]), request.moment)
        return outcome

    async def _unverified(self, issuer: Issuer, octets: bytes, token: jws.Jws, request: AuthRequest) -> Rejected | None:
        """Why the signature does not count; None where it does."""
        kid, algorithm = token.header.kid, token.header.alg
        # A deadline costs a timer; an answer that is at hand needs none.
        keys = None if issuer.at_hand is None else issuer.at_hand.held(kid=kid, algorithm=algorithm)
        if keys is None:
            asking = issuer.keys.keys_for(kid=kid, algorithm=algorithm)
            asked_for = await self._asked(asking, issuer, octets, token, request)
            if isinstance(asked_for, Rejected):
                return asked_for
            keys = asked_for
        if signed_by_one_of(keys[:MAX_CANDIDATES], token):
            return None
        if keys and issuer.fetched is not None:
            asking_again = issuer.fetched.refetch(keys, kid=kid, algorithm=algorithm)
            others = await self._asked(asking_again, issuer, octets, token, request)
            if isinstance(others, Rejected):
                return others
            if others is not None:
                keys = others
                if signed_by_one_of(keys[:MAX_CANDIDATES], token):
                    return None
        held = () if keys or issuer.fetched is None else issuer.fetched.algorithms_of(kid)
        return _unsigned(octets, token, len(keys), held)

    async def _asked(
        self, keys: Awaitable[_Keys], issuer: Issuer, octets: bytes, token: jws.Jws, request: AuthRequest
    ) -> _Keys | Rejected:
        """The keys; where they are not to be had, why the token would be refused with any."""
        try:
            return await ask(keys, self._deadline, KEYS_TIMEOUT)
        except BackendUnavailable as error:
            # To come again with such a token is no use.
            fault = issuer.rules.fault(token.claims, request.moment) or subject_fault(token.claims, issuer)
            if fault is None:
                error.reason = error.reason or KEYS_UNAVAILABLE
                raise
        return _refused(octets, token, fault.reason, {**fault.facts, "signature": "unchecked"})

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge. RFC 6750 section 3; RFC 9470 section 3 for a step-up; RFC 9728 section 5.1."""
        error = None if why is None else why.reason.challenge_error
        if error is None and not request.scopes_asked:
            return self._bare
        params = {"realm": self.realm}
        wanted: Sequence[str] = request.scopes_asked
        if why is not None and error is not None:
            params["error"] = error
            if why.reason.public is not None:
                params["error_description"] = why.reason.public
            # Where something else is missing, a token with more scopes would not help.
            told = why.requirement is not None and (why.reason.challenges_needed or why.reason == SCOPE_MISSING)
            wanted = why.requirement.scopes_named() if told and why.requirement is not None else ()
            params.update({name: str(why.facts[name]) for name in ("acr_values", "max_age") if name in why.facts})
        if wanted:
            params["scope"] = " ".join(wanted)
        return (Challenge("Bearer", {**params, **self._where}),)

    def health(self) -> Mapping[str, object]:
        """Of each source that fetches keys how it does; of each issuer how far its clock seems to be from ours.

        ``RemoteJWKS.health`` and ``ClockSkew.health`` say what the figures are. Of the introspection: its own.
        """
        issuers = self._issuers
        asked = issuers.introspection
        clocks = {
            "ANY_ISSUER" if one.issuer.issuer is None else one.issuer.issuer: one.clock_skew.health() for one in issuers
        }
        keys = [one.health() for one in issuers.services if one is not asked]
        return {"keys": keys, "clocks": clocks} | ({} if asked is None else {"introspection": asked.health()})


def _is_opaque(octets: bytes) -> bool:
    """Whether it is a token (RFC 6750 section 2.1), and nothing that was meant for a JWT."""
    try:
        token68(octets)
    except WireError:
        return False
    return not jws.is_jose(octets)


def _unreadable(octets: bytes, error: WireError) -> Rejected:
    # What is no token68 at all was never a bearer token (RFC 6750 section 2.1); the rest was one, and no JWS.
    try:
        # Amazon's load balancer pads the parts of its tokens. That is no token68, and yet the better name is known.
        token68(octets.replace(b"=", b"") if error.problem == "base64url with padding" else octets)
    except WireError as worse:
        return Rejected(CREDENTIALS_MALFORMED, facts={"problem": worse.problem})
    return Rejected(TOKEN_MALFORMED, facts={"problem": error.problem, "token": named(octets)})


def _refused(octets: bytes, token: jws.Jws, reason: Reason, facts: Facts) -> Rejected:
    return Rejected(reason, text(token.claims.get("sub")), {**facts, "token": named(octets)})


def _unsigned(octets: bytes, token: jws.Jws, keys: int, held: Sequence[str]) -> Rejected:
    facts: dict[str, object] = {"kid": token.header.kid, "algorithm": token.header.alg}
    if held:  # the key is there, and is for other algorithms
        facts["held"] = held
    if keys > MAX_CANDIDATES:
        facts["untried"] = keys - MAX_CANDIDATES
    return _refused(octets, token, TOKEN_SIGNATURE_INVALID if keys else KEY_UNKNOWN, facts)


def _header_flaw(header: jws.JoseHeader, issuer: Issuer) -> tuple[Reason, Facts] | None:
    if header.alg not in issuer.algorithms:
        return TOKEN_ALGORITHM_REFUSED, {"algorithm": header.alg, "wanted": tuple(sorted(issuer.algorithms))}
    if header.crit or header.b64:  # RFC 7515 section 4.1.11; none is understood here, RFC 7797 among them
        return TOKEN_CRITICAL_UNKNOWN, {}
    fault = check_type(header.typ, issuer.typ)
    return None if fault is None else (fault.reason, fault.facts)


def signed_by_one_of(keys: Sequence[VerificationKey], token: jws.Jws) -> bool:
    """Whether one of them verifies it (RFC 7515 section 5.2)."""
    for key in keys:
        if key.algorithm != token.header.alg:  # a source of somebody else's may answer with more than it was asked for
            continue
        try:
            key.verify(token.signing_input, token.signature)
        except InvalidSignature:
            continue
        return True
    return False
