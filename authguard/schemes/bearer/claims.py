"""What the claims of a JWT must say (RFC 7519 section 4, RFC 9068 section 4), and what they say of roles and scopes.

Pure: a function of the claims and one reading of the clock. Signatures are not its business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from authguard.model import Failure, Moment
from authguard.reasons import (
    TOKEN_AUDIENCE_MISMATCH,
    TOKEN_BOUND,
    TOKEN_CLAIM_INVALID,
    TOKEN_CLAIM_MISSING,
    TOKEN_EXPIRED,
    TOKEN_ISSUED_IN_FUTURE,
    TOKEN_NOT_YET_VALID,
    TOKEN_TYPE_REFUSED,
)

Claims: TypeAlias = Mapping[str, Any]

#: The media type of a JWT access token (RFC 9068 section 2.1), and what such a token must say (section 2.2).
ACCESS_TOKEN = "at+jwt"
_ACCESS_TOKEN_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")

# What a token may call itself where the app says nothing: RFC 8725 section 3.12 wants the kinds told apart, and a DPoP
# proof (dpop+jwt), a logout token (logout+jwt) or a security event is no access token.
_PLAIN_TYPES = frozenset({None, "JWT", "jwt", ACCESS_TOKEN})

# No honest clock is further off; beyond it a float no longer tells milliseconds.
_MIN_STAMP, _MAX_STAMP = -(10**12), 10**12


class Unchecked(Enum):
    """What is not checked, said in words."""

    ANY_ISSUER = "any issuer"
    ANY_AUDIENCE = "any audience"

    def __repr__(self) -> str:
        return self.name


#: Whoever holds the key may have issued the token.
ANY_ISSUER: Final = Unchecked.ANY_ISSUER
#: The token may be meant for somebody else.
ANY_AUDIENCE: Final = Unchecked.ANY_AUDIENCE


def check_type(stated: str | None, wanted: str | None) -> Failure | None:
    """The token's ``typ`` (RFC 8725 section 3.11), with or without ``application/``, without case."""
    if wanted is None and stated in _PLAIN_TYPES:  # as nearly every token has it
        return None
    short = None if stated is None else stated.lower().removeprefix("application/")
    if short == wanted if wanted is not None else short in _PLAIN_TYPES:
        return None
    return Failure(TOKEN_TYPE_REFUSED, {"typ": stated, "wanted": wanted or "JWT or at+jwt"})


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What one issuer's tokens must say."""

    audience: frozenset[str] | None
    require_exp: bool
    access_token: bool

    def failure(self, claims: Claims, moment: Moment) -> Failure | None:
        """The first thing that is wrong; None where nothing is."""
        if self.access_token and (missing := [name for name in _ACCESS_TOKEN_CLAIMS if name not in claims]):
            return Failure(TOKEN_CLAIM_MISSING, {"claim": missing[0]})
        failure = (
            _names(claims, access_token=self.access_token) or self._stamps(claims, moment) or self._audience(claims)
        )
        if failure is None and claims.get("cnf") is not None:
            # RFC 9449 section 7.2: a token bound to its holder's key is worth nothing without the proof, which Bearer
            # does not carry. Taking it all the same would undo the binding.
            return Failure(TOKEN_BOUND, {})
        return failure

    def _stamps(self, claims: Claims, moment: Moment) -> Failure | None:
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_stamp(claims[name]):
                return Failure(TOKEN_CLAIM_INVALID, {"claim": name})
        exp, nbf, iat = claims.get("exp"), claims.get("nbf"), claims.get("iat")
        if exp is None:
            if self.require_exp:
                return Failure(TOKEN_CLAIM_MISSING, {"claim": "exp"})
        elif moment.expired(exp):
            return Failure(TOKEN_EXPIRED, {"expired_by": moment.by(exp), "leeway": moment.leeway})
        if nbf is not None and moment.not_yet(nbf):
            return Failure(TOKEN_NOT_YET_VALID, {"valid_in": -moment.by(nbf), "leeway": moment.leeway})
        if iat is not None and moment.not_yet(iat):
            return Failure(TOKEN_ISSUED_IN_FUTURE, {"issued_in": -moment.by(iat), "leeway": moment.leeway})
        return None

    def _audience(self, claims: Claims) -> Failure | None:
        if "aud" not in claims:
            return None if self.audience is None else Failure(TOKEN_CLAIM_MISSING, {"claim": "aud"})
        stated = claims["aud"]
        if isinstance(stated, str):
            listed = (stated,)
        elif isinstance(stated, list) and all(isinstance(item, str) for item in stated):
            listed = tuple(stated)
        else:
            return Failure(TOKEN_CLAIM_INVALID, {"claim": "aud"})
        if self.audience is not None and self.audience.isdisjoint(listed):
            return Failure(TOKEN_AUDIENCE_MISMATCH, {"audience": listed, "wanted": tuple(sorted(self.audience))})
        return None


def _names(claims: Claims, *, access_token: bool) -> Failure | None:
    """RFC 7519 section 4.1: names are strings, asked for or not."""
    for name in ("iss", "sub", "jti"):
        if not isinstance(claims.get(name, ""), str):
            return Failure(TOKEN_CLAIM_INVALID, {"claim": name})
    if access_token:
        for name in ("client_id", "jti"):
            if not isinstance(claims[name], str) or not claims[name]:
                return Failure(TOKEN_CLAIM_INVALID, {"claim": name})
    return None


def _is_stamp(value: object) -> bool:
    # RFC 7519 section 2, NumericDate. True is an int to Python, but not of type int; 1e400 is infinity to JSON.
    return (type(value) is int or type(value) is float) and _MIN_STAMP < value < _MAX_STAMP


def tolerated(claims: Claims, moment: Moment) -> dict[str, object]:
    """Which stamps of an accepted token hold only thanks to the leeway, and by how many seconds."""
    exp, nbf, iat = claims.get("exp", _MAX_STAMP), claims.get("nbf", _MIN_STAMP), claims.get("iat", _MIN_STAMP)
    if moment.between(max(nbf, iat), exp):  # as for nearly every token
        return {}
    late = {} if moment.between(_MIN_STAMP, exp) else {"exp": moment.by(exp)}
    begins = (("nbf", nbf), ("iat", iat))
    early = {name: -moment.by(stamp) for name, stamp in begins if not moment.between(stamp, _MAX_STAMP)}
    return {"tolerated": {**late, **early}}
