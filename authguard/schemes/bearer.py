"""Bearer tokens (RFC 6750) that are signed JWTs (RFC 7519, RFC 7515), judged as RFC 8725 asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from authguard.errors import BackendUnavailable, ConfigurationError, InvalidSignature
from authguard.keys.base import KeySource, VerificationKey
from authguard.model import Accepted, Denied, Facts, Outcome, Principal, Rejected, check_seconds
from authguard.ports import ask
from authguard.reasons import (
    CREDENTIALS_MALFORMED,
    KEY_UNKNOWN,
    KEYS_TIMEOUT,
    KEYS_UNAVAILABLE,
    SCOPE_MISSING,
    TOKEN_ALGORITHM_REFUSED,
    TOKEN_CLAIM_INVALID,
    TOKEN_CLAIM_MISSING,
    TOKEN_CRITICAL_UNKNOWN,
    TOKEN_ISSUER_UNKNOWN,
    TOKEN_MALFORMED,
    TOKEN_SIGNATURE_INVALID,
    TOKEN_TOO_LONG,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.base import Scheme
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.claims import (
    check_type,
    collect,
    tolerated,
)
from authguard.schemes.issuer import Issuer
from authguard.wire import jws
from authguard.wire.authorization import Credentials, token68
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

#: A token that names no key may be tried with so many of them.
MAX_CANDIDATES = 8


class Bearer(Scheme):
    """The Bearer scheme: ``Bearer(Issuer(...), realm="orders")``. Several issuers are told apart by ``iss``.

    ``limit`` is the longest token taken, in octets; ``deadline`` is how long a key source may take, in seconds.
    Denies with ``credentials.malformed``, ``token.*``, ``key.unknown``, ``keys.unavailable``, ``keys.timeout``.
    """

    name = "bearer"
    carrier = AUTHORIZATION
    explains_forbidden = True
    tells_login = True
    openapi = MappingProxyType({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})

    def __init__(self, *issuers: Issuer, realm: str, limit: int = jws.MAX_TOKEN, deadline: float = 5.0) -> None:
        _check_issuers(issuers)
        self._issuers: Mapping[str | None, Issuer] = {issuer.issuer: issuer for issuer in issuers}
        if len(self._issuers) < len(issuers):
            raise ConfigurationError("issuers", "two of them have one name; a token could not tell which is meant")
        self._any = self._issuers.get(None)
        if self._any is not None and len(issuers) > 1:
            raise ConfigurationError("issuers", "ANY_ISSUER stands alone: among several, `iss` chooses the keys")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= jws.MAX_TOKEN * 2:
            raise ConfigurationError("limit", f"{limit!r} is no number of octets from 1 to {jws.MAX_TOKEN * 2}")
        if not isinstance(realm, str):
            raise ConfigurationError("realm", f"{realm!r} is no string")
        try:
            self._bare = (Challenge("Bearer", {"realm": realm}),)
        except ValueError as error:
            raise ConfigurationError("realm", str(error)) from None
        self.realm = realm
        self._limit = limit
        self._deadline = check_seconds("deadline", deadline, most=60)

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Signature first, then claims: what an unsigned token says is not worth reading."""
        octets = credentials.rest
        if len(octets) > self._limit:
            return Rejected(TOKEN_TOO_LONG, facts={"octets": len(octets), "limit": self._limit})
        try:
            token = jws.parse(octets, self._limit)
        except WireError as error:
            return _unreadable(octets, error)
        issuer = self._any or self._issuers.get(_text(token.claims.get("iss")) or "")
        if issuer is None:
            return _refused(octets, token, TOKEN_ISSUER_UNKNOWN, {"issuer": _text(token.claims.get("iss"))})
        if (flaw := _header_flaw(token.header, issuer)) is not None:
            return _refused(octets, token, *flaw)
        kid, algorithm = token.header.kid, token.header.alg
        # A deadline costs a timer; an answer that is at hand needs none.
        keys = None if issuer.at_hand is None else issuer.at_hand.held(kid=kid, algorithm=algorithm)
        if keys is None:
            keys = await self._asked(issuer.keys, kid, algorithm)
        if not _signed_by_one_of(keys[:MAX_CANDIDATES], token):
            reason = TOKEN_SIGNATURE_INVALID if keys else KEY_UNKNOWN
            facts: dict[str, object] = {"kid": kid, "algorithm": algorithm}
            if len(keys) > MAX_CANDIDATES:
                facts["untried"] = len(keys) - MAX_CANDIDATES
            return _refused(octets, token, reason, facts)
        return _judged(octets, token, issuer, request)

    async def _asked(self, source: KeySource, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        try:
            return await ask(source.keys_for(kid=kid, algorithm=algorithm), self._deadline, KEYS_TIMEOUT)
        except BackendUnavailable as error:
            error.reason = error.reason or KEYS_UNAVAILABLE
            raise

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge. RFC 6750 section 3; RFC 9470 section 3 for a step-up."""
        error = None if why is None else why.reason.challenge_error
        if why is None or error is None:
            return self._bare
        params = {"realm": self.realm, "error": error}
        if why.reason.public is not None:
            params["error_description"] = why.reason.public
        if why.reason == SCOPE_MISSING and why.requirement is not None:
            params["scope"] = " ".join(why.requirement.scopes_named())
        params.update({name: str(why.facts[name]) for name in ("acr_values", "max_age") if name in why.facts})
        return (Challenge("Bearer", params),)


def _check_issuers(issuers: Sequence[object]) -> None:
    for issuer in issuers:
        if isinstance(issuer, list | tuple):
            kind = type(issuer).__name__
            raise ConfigurationError("issuers", f"[...] is a {kind}; write Bearer(one, other, realm=...)")
        if not isinstance(issuer, Issuer):
            raise ConfigurationError("issuers", f"{issuer!r} is no issuer; write Bearer(Issuer(...), realm=...)")
    if not issuers:
        raise ConfigurationError("issuers", "give at least one Issuer(...)")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unreadable(octets: bytes, error: WireError) -> Rejected:
    # What is no token68 at all was never a bearer token (RFC 6750 section 2.1); the rest was one, and no JWS.
    try:
        # Amazon's load balancer pads the parts of its tokens. That is no token68, and yet the better name is known.
        token68(octets.replace(b"=", b"") if error.problem == "base64url with padding" else octets)
    except WireError as worse:
        return Rejected(CREDENTIALS_MALFORMED, facts={"problem": worse.problem})
    return Rejected(TOKEN_MALFORMED, facts={"problem": error.problem, "token": _named(octets)})


def _named(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()[:8]


def _refused(octets: bytes, token: jws.Jws, reason: Reason, facts: Facts) -> Rejected:
    return Rejected(reason, _text(token.claims.get("sub")), {**facts, "token": _named(octets)})


def _header_flaw(header: jws.JoseHeader, issuer: Issuer) -> tuple[Reason, Facts] | None:
    if header.alg not in issuer.algorithms:
        return TOKEN_ALGORITHM_REFUSED, {"algorithm": header.alg, "wanted": tuple(sorted(issuer.algorithms))}
    if header.crit or header.b64:  # RFC 7515 section 4.1.11; none is understood here, RFC 7797 among them
        return TOKEN_CRITICAL_UNKNOWN, {}
    fault = check_type(header.typ, issuer.typ)
    return None if fault is None else (fault.reason, fault.facts)


def _signed_by_one_of(keys: Sequence[VerificationKey], token: jws.Jws) -> bool:
    for key in keys:
        if key.algorithm != token.header.alg:  # a source of somebody else's may answer with more than it was asked for
            continue
        try:
            key.verify(token.signing_input, token.signature)
        except InvalidSignature:
            continue
        return True
    return False


def _judged(octets: bytes, token: jws.Jws, issuer: Issuer, request: AuthRequest) -> Outcome:
    """The outcome for a token whose signature holds."""
    claims: Mapping[str, Any] = token.claims
    moment = request.moment
    fault = issuer.rules.fault(claims, moment)
    subject = issuer.subject.of(claims)
    if fault is not None:
        return Rejected(fault.reason, _text(subject), {**fault.facts, "token": _named(octets)}, proven=True)
    if not isinstance(subject, str) or not subject:
        reason = TOKEN_CLAIM_MISSING if subject is None else TOKEN_CLAIM_INVALID
        return Rejected(reason, None, {"claim": ".".join(issuer.subject.path), "token": _named(octets)})
    principal = Principal.checked(
        subject,
        collect(issuer.roles, claims, split=False),
        collect(issuer.scopes, claims, split=True),
        claims,
        cast("float | None", claims.get("exp")),  # what no stamp is was found at fault
        Bearer.name,
    )
    return Accepted(principal, (), tolerated(claims, moment))
