"""What the claims of a JWT must say (RFC 7519 section 4, RFC 9068 section 4), and what they say of roles and scopes.

Pure: a function of the claims and one reading of the clock. Signatures are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Moment
from authguard.reasons import (
    TOKEN_AUDIENCE_MISMATCH,
    TOKEN_BOUND,
    TOKEN_CLAIM_INVALID,
    TOKEN_CLAIM_MISSING,
    TOKEN_EXPIRED,
    TOKEN_ISSUED_IN_FUTURE,
    TOKEN_NOT_YET_VALID,
    TOKEN_TYPE_REFUSED,
    Reason,
)

Claims: TypeAlias = Mapping[str, Any]

#: The media type of a JWT access token (RFC 9068 section 2.1), and what such a token must say (section 2.2).
ACCESS_TOKEN = "at+jwt"
_ACCESS_TOKEN_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")

# What a token may call itself where the app says nothing: RFC 8725 section 3.12 wants the kinds told apart, and a DPoP
# proof (dpop+jwt), a logout token (logout+jwt) or a security event is no access token.
_PLAIN_TYPES = frozenset({None, "jwt", ACCESS_TOKEN})

# No honest clock is further off; beyond it a float no longer tells milliseconds.
_MAX_STAMP = 1e12


class Opted(Enum):
    """What is not checked, said in words."""

    ANY_ISSUER = "any issuer"
    ANY_AUDIENCE = "any audience"

    def __repr__(self) -> str:
        return self.name


#: Whoever holds the key may have issued the token.
ANY_ISSUER: Final = Opted.ANY_ISSUER
#: The token may be meant for somebody else.
ANY_AUDIENCE: Final = Opted.ANY_AUDIENCE


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a token's claims."""

    reason: Reason
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """Where a claim stands: a name, or names from the outside in. Names are taken whole: a dot is part of one."""

    path: tuple[str, ...]

    def of(self, claims: Claims) -> object:
        """The value, or None where a step is missing or no object."""
        value: object = claims
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def __str__(self) -> str:
        return f"claim({', '.join(map(repr, self.path))})"


Source: TypeAlias = ClaimPath | Callable[[Claims], Iterable[str]]


def claim(*path: str) -> ClaimPath:
    """``claim("roles")``, or ``claim("realm_access", "roles")`` for one inside another."""
    if not path or not all(isinstance(name, str) and name for name in path):
        raise ConfigurationError("claim", 'name it, from the outside in: claim("realm_access", "roles")')
    return ClaimPath(path)


def sources(argument: str, given: Source | Sequence[Source]) -> tuple[Source, ...]:
    """The sources as a tuple; ``ConfigurationError`` for a bare string."""
    found = (given,) if isinstance(given, ClaimPath) or callable(given) else tuple(given)
    for source in found:
        if not isinstance(source, ClaimPath) and not callable(source):
            raise ConfigurationError(argument, f'{source!r} is no source; write claim("{source}") or a function')
    return found


def collect(found: Sequence[Source], claims: Claims, *, split: bool) -> frozenset[str]:
    """The union of what the sources say.

    A list gives its strings; a string is one name, or with ``split`` several, separated by the space alone (RFC 6749
    section 3.3). What is missing or of another type is no name.
    """
    names: set[str] = set()
    for source in found:
        if not isinstance(source, ClaimPath):
            names.update(_given(source(claims)))
            continue
        value = source.of(claims)
        if isinstance(value, str):
            names.update(value.split(" ") if split else (value,))
        elif isinstance(value, list):
            names.update(item for item in value if isinstance(item, str))
    return frozenset(name for name in names if name.strip())


def _given(value: Iterable[str]) -> Iterable[str]:
    if isinstance(value, str):
        msg = "a function for roles or scopes returned one string; return a set of them"
        raise TypeError(msg)
    return value


def check_type(stated: str | None, wanted: str | None) -> Fault | None:
    """The token's ``typ`` (RFC 8725 section 3.11), with or without ``application/``, without case."""
    short = None if stated is None else stated.lower().removeprefix("application/")
    if short == wanted if wanted is not None else short in _PLAIN_TYPES:
        return None
    return Fault(TOKEN_TYPE_REFUSED, {"typ": stated, "wanted": wanted or "JWT or at+jwt"})


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What one issuer's tokens must say."""

    audience: frozenset[str] | None
    require_exp: bool
    access_token: bool

    def fault(self, claims: Claims, moment: Moment) -> Fault | None:
        """The first thing that is wrong; None where nothing is."""
        if self.access_token and (missing := [name for name in _ACCESS_TOKEN_CLAIMS if name not in claims]):
            return Fault(TOKEN_CLAIM_MISSING, {"claim": missing[0]})
        return (
            self._stamps(claims, moment) or self._audience(claims) or _odd_access_claims(self, claims) or _bound(claims)
        )

    def _stamps(self, claims: Claims, moment: Moment) -> Fault | None:
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_stamp(claims[name]):
                return Fault(TOKEN_CLAIM_INVALID, {"claim": name})
        exp, nbf, iat = claims.get("exp"), claims.get("nbf"), claims.get("iat")
        if exp is None:
            if self.require_exp:
                return Fault(TOKEN_CLAIM_MISSING, {"claim": "exp"})
        elif moment.expired(exp):
            return Fault(TOKEN_EXPIRED, {"expired_by": moment.by(exp), "leeway": moment.leeway})
        if nbf is not None and moment.not_yet(nbf):
            return Fault(TOKEN_NOT_YET_VALID, {"valid_in": -moment.by(nbf), "leeway": moment.leeway})
        if iat is not None and moment.not_yet(iat):
            return Fault(TOKEN_ISSUED_IN_FUTURE, {"issued_in": -moment.by(iat), "leeway": moment.leeway})
        return None

    def _audience(self, claims: Claims) -> Fault | None:
        if self.audience is None:
            return None
        stated = claims.get("aud")
        if stated is None:
            return Fault(TOKEN_CLAIM_MISSING, {"claim": "aud"})
        listed = [stated] if isinstance(stated, str) else stated
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            return Fault(TOKEN_CLAIM_INVALID, {"claim": "aud"})
        if self.audience.isdisjoint(listed):
            return Fault(TOKEN_AUDIENCE_MISMATCH, {"audience": tuple(listed), "wanted": tuple(sorted(self.audience))})
        return None


def _odd_access_claims(rules: ClaimRules, claims: Claims) -> Fault | None:
    for name in ("client_id", "jti") if rules.access_token else ():
        if not isinstance(claims[name], str) or not claims[name]:
            return Fault(TOKEN_CLAIM_INVALID, {"claim": name})
    return None


def _bound(claims: Claims) -> Fault | None:
    # RFC 9449 section 7.2: a token bound to its holder's key is worth nothing without the proof, which Bearer does not
    # carry. Taking it all the same would undo the binding.
    return Fault(TOKEN_BOUND, {}) if claims.get("cnf") is not None else None


def _is_stamp(value: object) -> bool:
    # RFC 7519 section 2, NumericDate. True is an int to Python, 1e400 is infinity to the JSON parser.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_STAMP


def tolerated(claims: Claims, moment: Moment) -> dict[str, object]:
    """Which stamps of an accepted token hold only thanks to the leeway, and by how many seconds."""
    found: dict[str, object] = {}
    if (exp := claims.get("exp")) is not None and moment.now >= exp:
        found["exp"] = moment.by(exp)
    for name in ("nbf", "iat"):
        if (stamp := claims.get(name)) is not None and moment.now < stamp:
            found[name] = -moment.by(stamp)
    return {"tolerated": found} if found else {}
