"""What the claims of a JWT must say (RFC 7519 section 4, RFC 9068 section 4), and what they say of roles and scopes.

Pure: a function of the claims and one reading of the clock. Signatures are not its business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from authguard.errors import ConfigurationError
from authguard.model import Accepted, Failure, Moment, Outcome, Principal, Rejected
from authguard.reasons import (
    TOKEN_CLAIM_INVALID,
    TOKEN_CLAIM_MISSING,
)
from authguard.schemes.bearer.claims import ClaimRules, Claims, tolerated


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """Where a claim stands: a name, or names from the outside in. Names are taken whole: a dot is part of one."""

    path: tuple[str, ...]

    def of(self, claims: Claims) -> object:
        """The value, or None where a step is missing or no object."""
        value: Any = claims
        try:
            for name in self.path:
                value = value.get(name)
        except AttributeError:  # of the types that JSON has, only an object has a `get`
            return None
        return value

    def __str__(self) -> str:
        return f"claim({', '.join(map(repr, self.path))})"


Source: TypeAlias = ClaimPath | Callable[[Claims], Iterable[str]]


def claim(*path: str) -> ClaimPath:
    """``claim("roles")``, or ``claim("realm_access", "roles")`` for one inside another."""
    if not path or not all(isinstance(name, str) and name for name in path):
        raise ConfigurationError("claim", 'name it, from the outside in: claim("realm_access", "roles")')
    return ClaimPath(path)


def check_sources(argument: str, given: Source | Sequence[Source]) -> tuple[Source, ...]:
    """The sources as a tuple; ``ConfigurationError`` for a bare string."""
    if isinstance(given, ClaimPath) or callable(given):
        return (given,)
    found: tuple[object, ...] = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    for source in found:
        if not isinstance(source, ClaimPath) and not callable(source):
            raise ConfigurationError(argument, f"{source!r} is no source; write {_as_claim(source)} or a function")
    return cast("tuple[Source, ...]", found)


def _as_claim(source: object) -> str:
    if not isinstance(source, str):
        return "claim(...)"
    # The name of a namespaced claim, such as https://shop.example/roles, is one name for all its dots.
    path = [source] if "/" in source or ":" in source else source.split(".")
    return f"claim({', '.join(json.dumps(name) for name in path)})"


def collect_names(found: Sequence[Source], claims: Claims, *, split: bool) -> frozenset[str]:
    """The union of what the sources say.

    A list gives its strings; a string is one name, or with ``split`` several, separated by the space alone (RFC 6749
    section 3.3). What is missing or of another type is no name.
    """
    names: list[Any] = []
    for source in found:
        if not isinstance(source, ClaimPath):
            names += _given(source(claims))
            continue
        value = source.of(claims)
        if isinstance(value, list):
            names += value
        elif isinstance(value, str):
            names += value.split(" ") if split else (value,)
    try:
        return frozenset(filter(str.strip, names))
    except TypeError:  # a list held something else too
        return frozenset(name for name in names if isinstance(name, str) and name.strip())


def _given(value: Iterable[str]) -> Sequence[str]:
    if isinstance(value, str):
        msg = "a function for roles or scopes returned one string; return a set of them"
        raise TypeError(msg)
    given = tuple(value)
    if not all(isinstance(name, str) for name in given):
        msg = "a function for roles or scopes returned something else than strings"
        raise TypeError(msg)
    return given


#: The name of the scheme that these principals authenticate with.
BEARER = "bearer"


class ClaimMapping(Protocol):
    """An issuer's claim rules, and the claims that hold the subject, the roles and the scopes of its tokens."""

    @property
    def rules(self) -> ClaimRules: ...
    @property
    def subject(self) -> ClaimPath: ...
    @property
    def roles(self) -> tuple[Source, ...]: ...
    @property
    def scopes(self) -> tuple[Source, ...]: ...


def outcome_from_claims(token: bytes, claims: Claims, mapping: ClaimMapping, moment: Moment) -> Outcome:
    """Check proven claims and map them to a principal. ``token`` is hashed for the record only."""
    failure = mapping.rules.failure(claims, moment)
    subject = mapping.subject.of(claims)
    if failure is not None:
        facts = {**failure.facts, "token": token_fingerprint(token)}
        return Rejected(failure.reason, string_or_none(subject), facts, authenticated=True)
    if not isinstance(subject, str) or not subject:
        failure = _invalid_subject(subject, mapping)
        return Rejected(failure.reason, None, {**failure.facts, "token": token_fingerprint(token)})
    principal = Principal.checked(
        subject,
        collect_names(mapping.roles, claims, split=False),
        collect_names(mapping.scopes, claims, split=True),
        claims,
        cast("float | None", claims.get("exp")),  # the rules have checked its type
        BEARER,
    )
    return Accepted(principal, (), tolerated(claims, moment))


def subject_failure(claims: Claims, mapping: ClaimMapping) -> Failure | None:
    """Why the claims name no subject; None if they do."""
    subject = mapping.subject.of(claims)
    return None if isinstance(subject, str) and subject else _invalid_subject(subject, mapping)


def _invalid_subject(subject: object, mapping: ClaimMapping) -> Failure:
    reason = TOKEN_CLAIM_MISSING if subject is None else TOKEN_CLAIM_INVALID
    return Failure(reason, {"claim": ".".join(mapping.subject.path)})


def token_fingerprint(token: bytes) -> str:
    """How a log names a token: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(token).hexdigest()[:8]


def string_or_none(value: object) -> str | None:
    """The value if it is a string."""
    return value if isinstance(value, str) else None
