"""The rules for the claims of a token: issuer, audience and times (RFC 7519 section 4, RFC 9068 section 4).

They are functions of the claims and of one reading of the clock. Signatures are verified elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from enum import Enum
from typing import Any, Final, TypeAlias, cast

from authguard.difference import difference, kind_of
from authguard.errors import ConfigurationError
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
    Reason,
)
from authguard.value_types import frozen

Claims: TypeAlias = Mapping[str, Any]

#: The ``typ`` of a JWT access token (RFC 9068 section 2.1).
ACCESS_TOKEN = "at+jwt"
# Its required claims (section 2.2).
_ACCESS_TOKEN_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")

# The accepted types if the app names none. RFC 8725 section 3.12: a token of another kind, such as a DPoP proof
# (dpop+jwt), a logout token (logout+jwt) or a security event, must not be accepted as an access token.
_PLAIN_TYPES = frozenset({None, "JWT", "jwt", ACCESS_TOKEN})

# Claims with which issuers say of what kind a token is. Keycloak: typ. Amazon Cognito: token_use. Django's simplejwt:
# token_type. Flask-JWT-Extended: type.
_KIND_CLAIMS = ("typ", "token_use", "token_type", "type")
_HAS_KIND = frozenset(_KIND_CLAIMS)
# Their values, in lower case, for tokens that are for the client and not for an API. Keycloak's "Offline" is a refresh
# token too.
_ID_TOKENS = frozenset({"id", "id_token", "id-token", "idtoken", "id token"})
_REFRESH_TOKENS = frozenset(
    {"refresh", "refresh_token", "refresh-token", "refreshtoken", "refresh token", "offline", "logout", "logout_token"}
)

_NUMBERS = frozenset({int, float})  # and not bool

# No clock is further off by mistake, and beyond it a float cannot hold milliseconds.
_MIN_TIME, _MAX_TIME = -(10**12), 10**12


#: The members of ``cnf`` that are checked where nothing is.
NO_CONFIRMATIONS: Final[AbstractSet[str]] = frozenset()


class Unchecked(Enum):
    """The values that switch a check off. They are words, so that a reader sees what is not checked."""

    ANY_ISSUER = "any issuer"
    NO_ISSUER = "no issuer"
    ANY_TENANT = "any tenant"
    ANY_AUDIENCE = "any audience"

    def __repr__(self) -> str:
        return self.name


#: ``iss`` is not checked: a token of anybody who holds the key is accepted.
ANY_ISSUER: Final = Unchecked.ANY_ISSUER
#: Tokens without ``iss`` are this issuer's.
NO_ISSUER: Final = Unchecked.NO_ISSUER
#: Every tenant of a provider is accepted, and so is whoever can make one.
ANY_TENANT: Final = Unchecked.ANY_TENANT
#: ``aud`` is not checked: a token that was issued for another API is accepted too.
ANY_AUDIENCE: Final = Unchecked.ANY_AUDIENCE


#: The types that an issuer accepts: one, several, or None for the usual ones. In several, None is "no type".
Types: TypeAlias = str | frozenset[str | None] | None


def check_types(typ: str | Sequence[str | None] | None) -> Types:
    """The argument ``typ``, in lower case and without ``application/``. Raises ``ConfigurationError``."""
    if typ is None:
        return None
    listed = (typ,) if isinstance(typ, str) or not isinstance(typ, Iterable) else tuple(typ)
    if not listed or not all(name is None or (isinstance(name, str) and name) for name in listed):
        raise ConfigurationError("typ", f"{typ!r} is not a type, nor several; None accepts JWT, at+jwt and no type")
    short = frozenset(None if name is None else _short_type(name) for name in listed)
    return next(iter(short)) if len(short) == 1 and None not in short else short


def check_type(stated: str | None, wanted: Types) -> Failure | None:
    """Why the token's ``typ`` is refused; None if it is accepted. RFC 8725 section 3.11.

    Types are compared without case, and without a leading ``application/``.
    """
    if wanted is None and stated in _PLAIN_TYPES:  # true for nearly every token
        return None
    short = None if stated is None else _short_type(stated)
    if short == wanted if isinstance(wanted, str) else short in (_PLAIN_TYPES if wanted is None else wanted):
        return None
    if isinstance(wanted, frozenset):
        wanted = " or ".join(sorted(name or "no type" for name in wanted))
    missing = {"found": "no type"} if stated is None else {}
    return Failure(TOKEN_TYPE_REFUSED, {"header": "typ", "typ": stated, **missing, "wanted": wanted or "JWT or at+jwt"})


def _short_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")


@frozen
class ClaimRules:
    """The rules for the tokens of one issuer.

    ``audience``: the names of this API, or None for any. ``access_token``: whether all claims of RFC 9068 section 2.2
    are required. ``checks_sub``: whether ``sub`` is the subject, and so must be a string if it is there.
    ``tenant``: why the tenant in ``iss`` is not that of the claims, for an issuer that is a template.
    ``id_tokens``: whether tokens that call themselves ID tokens are accepted.
    """

    audience: frozenset[str] | None
    require_exp: bool
    access_token: bool
    checks_sub: bool = field(default=True, repr=False)
    tenant: Callable[[Claims], Failure | None] | None = field(default=None, repr=False)
    id_tokens: bool = field(default=False, repr=False)

    def is_plain(self, claims: Claims, moment: Moment) -> bool:
        """Whether the claims keep every rule even without the leeway, and are of the usual kind.

        False says nothing: ``failure`` decides then. This is for nearly every token, and costs a quarter of it.
        """
        get: Callable[..., Any] = claims.get
        exp, nbf, iat, aud = get("exp"), get("nbf", 0), get("iat", 0), get("aud")
        return (
            type(exp) in _NUMBERS
            and type(nbf) in _NUMBERS
            and type(iat) in _NUMBERS
            and nbf >= 0
            and iat >= 0
            and exp < _MAX_TIME
            and moment.between(max(nbf, iat), exp)
            and type(get("iss", "")) is str
            and (type(get("sub", "")) is str or not self.checks_sub)
            and type(get("jti", "")) is str
            and get("cnf") is None
            and not self.access_token
            and self.tenant is None
            and self.audience is not None
            and type(aud) is str
            and aud in self.audience
            and (_HAS_KIND.isdisjoint(claims) or self._kind_failure(claims) is None)
        )

    def failure(
        self, claims: Claims, moment: Moment, *, confirmations: AbstractSet[str] = NO_CONFIRMATIONS
    ) -> Failure | None:
        """The first rule that the claims break; None if they keep all.

        ``confirmations``: the members of ``cnf`` that the caller checks, and then it checks the whole of ``cnf``.
        """
        if self.access_token:
            for name in _ACCESS_TOKEN_CLAIMS:
                if name not in claims and (name != "sub" or self.checks_sub):
                    return missing_claim(name, claims, wanted="each claim of RFC 9068 section 2.2, for typ at+jwt")
        failure = (
            self._string_failure(claims)
            or self._kind_failure(claims)
            or self._time_failure(claims, moment)
            or self._audience_failure(claims)
            or (None if self.tenant is None else self.tenant(claims))
        )
        if failure is None and not confirmations and claims.get("cnf") is not None:
            # RFC 9449 section 7.2: a token that is bound to a key needs a proof of that key. To accept it without the
            # proof would undo the binding.
            return bound_failure(claims["cnf"])
        return failure

    def _string_failure(self, claims: Claims) -> Failure | None:
        """RFC 7519 section 4.1: these claims must be strings, whether or not they are required."""
        for name in ("iss", "sub", "jti"):
            if not isinstance(claims.get(name, ""), str) and (name != "sub" or self.checks_sub):
                return invalid_claim(name, claims[name], "a string")
        if self.access_token:
            for name in ("client_id", "jti"):
                if not isinstance(claims[name], str) or not claims[name]:
                    return invalid_claim(name, claims[name], "a string that is not empty")
        return None

    def _kind_failure(self, claims: Claims) -> Failure | None:
        """Why a token is refused that calls itself an ID token or a refresh token.

        Its issuer made it for the client. Often its audience fits all the same, and no header says what it is.
        """
        for name in _KIND_CLAIMS:
            stated = claims.get(name)
            kind = stated.lower() if isinstance(stated, str) else None
            if kind in _REFRESH_TOKENS or (kind in _ID_TOKENS and not self.id_tokens):
                return Failure(TOKEN_TYPE_REFUSED, {"claim": name, "typ": stated, "wanted": "an access token"})
        return None

    def _time_failure(self, claims: Claims, moment: Moment) -> Failure | None:
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_time(claims[name]):
                return _invalid_time(name, claims[name])
        exp, nbf, iat = claims.get("exp"), claims.get("nbf"), claims.get("iat")
        if exp is None:
            if self.require_exp:
                return missing_claim("exp", claims)
        elif moment.expired(exp):
            return Failure(TOKEN_EXPIRED, {"expired_by": moment.by(exp), "leeway": moment.leeway})
        if nbf is not None and moment.not_yet(nbf):
            return _too_early(TOKEN_NOT_YET_VALID, "valid_in", -moment.by(nbf), moment)
        if iat is not None and moment.not_yet(iat):
            return _too_early(TOKEN_ISSUED_IN_FUTURE, "issued_in", -moment.by(iat), moment)
        return None

    def _audience_failure(self, claims: Claims) -> Failure | None:
        if "aud" not in claims:
            return None if self.audience is None else missing_claim("aud", claims, wanted=tuple(sorted(self.audience)))
        stated = claims["aud"]
        if isinstance(stated, str):
            listed = (stated,)
        elif isinstance(stated, list) and all(isinstance(item, str) for item in stated):
            listed = tuple(stated)
        else:
            return invalid_claim("aud", stated, "a string or a list of strings")
        if self.audience is not None and self.audience.isdisjoint(listed):
            return _audience_mismatch(listed, tuple(sorted(self.audience)), claims)
        return None


def missing_claim(name: str, claims: Claims, **facts: object) -> Failure:
    """The failure for a token without a claim. Its facts name claims that it has, and that may be meant for it."""
    similar = tuple(other for other in _SIMILAR_CLAIMS.get(name, ()) if claims.get(other) not in (None, "", [], {}))
    return Failure(TOKEN_CLAIM_MISSING, {"claim": name, **facts, **({"token_has": similar} if similar else {})})


# Names that issuers use by mistake, or in place of the registered ones. Of a token without `sub`, what may be its
# subject.
_SIMILAR_CLAIMS: Mapping[str, Sequence[str]] = {
    "iss": ("issuer",),
    "aud": ("audience", "resource", "azp", "client_id"),
    "exp": ("expires", "expires_at", "expiry", "expiration", "expires_in"),
    "sub": ("subject", "client_id", "azp", "cid", "appid", "clientId", "user_id", "uid", "oid", "email", "username"),
}


def invalid_claim(name: str, found: object, wanted: str) -> Failure:
    """The failure for a claim of the wrong type."""
    return Failure(TOKEN_CLAIM_INVALID, {"claim": name, "found": kind_of(found), "wanted": wanted})


def _invalid_time(name: str, found: object) -> Failure:
    failure = invalid_claim(name, found, "seconds since 1970")
    unit = None
    if isinstance(found, str):
        unit = "a number in quotes" if found[:20].strip().isdecimal() else "a date" if _DATE.match(found) else None
    elif isinstance(found, int | float) and not isinstance(found, bool):
        unit = next((name for name, least, most in _UNITS if least <= found < most), "the size of the number")
    return failure if unit is None else Failure(failure.reason, {**failure.facts, "differs_by": unit})


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# From the year 2001 to 2286.
_UNITS = tuple(
    (f"{unit} in place of seconds", 10**power, 10 ** (power + 1))
    for unit, power in (
        ("milliseconds", 12),
        ("microseconds", 15),
        ("nanoseconds", 18),
    )
)


def _too_early(reason: Reason, name: str, seconds: float, moment: Moment) -> Failure:
    hours = round(seconds / 1800) / 2
    # A clock that is wrong is wrong by any time. A local time that was written as UTC is wrong by half hours.
    is_zone = 0.5 <= hours <= 14 and abs(seconds - hours * 3600) <= 5
    zone = {"differs_by": f"{hours:g} h: a local time in place of UTC, perhaps"} if is_zone else {}
    return Failure(reason, {name: seconds, "leeway": moment.leeway, **zone})


def _audience_mismatch(listed: Sequence[str], wanted: Sequence[str], claims: Claims) -> Failure:
    differs_by = next(filter(None, (difference(name, wanted) for name in listed[:_MAX_COMPARED])), None)
    if differs_by is None and any(claims.get(name) in listed for name in ("azp", "client_id")):
        # An ID token has it, and so has an access token for which no API was asked.
        differs_by = "the audience is the client that the token was issued to"
    facts = {"audience": listed, "wanted": wanted}
    return Failure(TOKEN_AUDIENCE_MISMATCH, facts if differs_by is None else {**facts, "differs_by": differs_by})


#: How many names of `aud` are compared with the wanted ones.
_MAX_COMPARED = 8


def bound_failure(confirmation: object, confirmations: AbstractSet[str] = NO_CONFIRMATIONS) -> Failure | None:
    """Why a bound token is refused without its proof; None if each member of its ``cnf`` is one of ``confirmations``.

    RFC 7800 section 3.1: the members say which key it is bound to. Each of them must hold, and one that is not known
    here cannot be said to.
    """
    if not isinstance(confirmation, Mapping) or not confirmation:
        return Failure(TOKEN_BOUND, {"cnf": kind_of(confirmation)})
    if confirmations >= confirmation.keys():
        return None
    members = tuple(str(name) for name in confirmation)
    unchecked = [name for name in members if name not in confirmations]
    proof = next((_PROOFS[name] for name in unchecked if name in _PROOFS), "a proof of its key")
    return Failure(TOKEN_BOUND, {"cnf": members, "wanted": proof})


_PROOFS = {
    "jkt": "a DPoP proof (RFC 9449), which Bearer does not carry",
    "x5t#S256": "a client certificate (RFC 8705): client_certificate= says where it comes from",
}


def _is_time(value: object) -> bool:
    # RFC 7519 section 2, NumericDate. `type` and not `isinstance`, which accepts True; JSON reads 1e400 as infinity.
    return (type(value) is int or type(value) is float) and _MIN_TIME < value < _MAX_TIME


def leeway_of(facts: Mapping[str, object]) -> Mapping[str, float]:
    """The times in the fact ``tolerated``, which may hold other things too."""
    tolerated = cast("Mapping[str, Any]", facts.get("tolerated", {}))
    return {name: seconds for name, seconds in tolerated.items() if name in _TIMES}


_TIMES = frozenset({"exp", "nbf", "iat"})


def leeway_used(claims: Claims, moment: Moment) -> dict[str, object]:
    """The fact ``tolerated`` of an accepted token: which times pass only by the leeway, and by how many seconds."""
    exp, nbf, iat = claims.get("exp", _MAX_TIME), claims.get("nbf", _MIN_TIME), claims.get("iat", _MIN_TIME)
    if moment.between(max(nbf, iat), exp):  # true for nearly every token
        return {}
    late = {} if moment.between(_MIN_TIME, exp) else {"exp": moment.by(exp)}
    begins = (("nbf", nbf), ("iat", iat))
    early = {name: -moment.by(begin) for name, begin in begins if not moment.between(begin, _MAX_TIME)}
    return {"tolerated": {**late, **early}}
