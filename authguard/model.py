"""The values that travel through a guard: a principal, an outcome, a decision, a reading of the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from authguard.errors import ConfigurationError
from authguard.reasons import Reason
from authguard.validation import names

Clock: TypeAlias = Callable[[], float]
Facts: TypeAlias = Mapping[str, object]
Header: TypeAlias = tuple[bytes, bytes]
_MAX_STAMP = 1e15  # beyond it a float tells no seconds apart
NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})
#: For a decision that has no facts: nothing can be added to it by accident.
NO_FACTS: Facts = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the clock and the leeway, in seconds; the only comparisons with what another clock stamped."""

    now: float
    leeway: float

    def expired(self, at: float) -> bool:
        """Whether the end ``at`` is over, the leeway granted. RFC 7519 section 4.1.4."""
        return self.now >= at + self.leeway

    def not_yet(self, at: float) -> bool:
        """Whether the beginning ``at`` is still to come, the leeway granted. RFC 7519 section 4.1.5."""
        return self.now < at - self.leeway

    def between(self, begin: float, end: float) -> bool:
        """Whether it is past ``begin`` and before ``end`` by the clock alone, no leeway granted."""
        return begin <= self.now < end

    def by(self, at: float) -> float:
        """Seconds from ``at`` to now, rounded to milliseconds: negative where ``at`` is to come."""
        return round(float(self.now - at), 3)


@dataclass(frozen=True, slots=True, init=False)
class Principal:
    """Who is asking: the value of ``request.user`` behind the guard.

    ``subject`` is a non-empty string; ``roles`` and ``scopes`` are sets of them; ``claims`` is what else is known.
    ``expires_at`` is in seconds since the epoch, by the clock that issued the credentials. ``scheme`` is filled in by
    the guard. Raises ``ConfigurationError`` for anything else: a ``str`` of roles would be a set of letters.
    """

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    expires_at: float | None
    scheme: str | None

    def __init__(
        self,
        subject: str,
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        expires_at: float | None = None,
        scheme: str | None = None,
    ) -> None:
        if not isinstance(subject, str) or not subject:
            raise ConfigurationError("subject", "a principal is named by a non-empty string")
        if expires_at is not None and not (isinstance(expires_at, int | float) and abs(expires_at) < _MAX_STAMP):
            raise ConfigurationError("expires_at", "give finite seconds since the epoch")
        if not isinstance(claims, Mapping):
            raise ConfigurationError("claims", "give a mapping")
        known = {} if claims is NO_CLAIMS else claims
        _fill(self, subject, names("roles", roles), names("scopes", scopes), known, expires_at, scheme)

    @classmethod
    def checked(
        cls,
        subject: str,
        roles: frozenset[str],
        scopes: frozenset[str],
        claims: Mapping[str, Any],
        expires_at: float | None,
        scheme: str | None,
    ) -> Principal:
        """A principal of parts that were checked already, which is on the path of every request."""
        principal = object.__new__(cls)
        _fill(principal, subject, roles, scopes, claims, expires_at, scheme)
        return principal

    def seen_by(self, scheme: str | None, roles: frozenset[str]) -> Principal:
        """The same principal as the guard knows it: by which scheme, and with the roles that its roles imply."""
        return Principal.checked(self.subject, roles, self.scopes, self.claims, self.expires_at, scheme)

    # What Starlette asks of `request.user`.
    @property
    def is_authenticated(self) -> bool:
        """Always True (Starlette's ``BaseUser``)."""
        return True

    @property
    def display_name(self) -> str:
        """The subject (Starlette's ``BaseUser``)."""
        return self.subject

    @property
    def identity(self) -> str:
        """The subject (Starlette's ``BaseUser``)."""
        return self.subject


_put = object.__setattr__


def _fill(
    principal: Principal,
    subject: str,
    roles: frozenset[str],
    scopes: frozenset[str],
    claims: Mapping[str, Any],
    expires_at: float | None,
    scheme: str | None,
) -> None:
    _put(principal, "subject", subject)
    _put(principal, "roles", roles)
    _put(principal, "scopes", scopes)
    _put(principal, "claims", claims)
    _put(principal, "expires_at", expires_at)
    _put(principal, "scheme", scheme)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a check failed: its reason, and the facts that the record tells.

    ``missing`` names what a principal does not have, such as roles; it is empty for every other check.
    """

    reason: Reason
    facts: Facts = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A scheme accepted the credentials. ``response_headers`` go out on whatever answer follows."""

    principal: Principal
    response_headers: Sequence[Header] = ()
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A scheme refused the credentials. ``subject`` is who they claim to be, ``proven`` whether that was verified."""

    reason: Reason
    subject: str | None = None
    facts: Facts = field(default_factory=dict)
    response_headers: Sequence[Header] = ()
    authenticated: bool = False


Outcome: TypeAlias = Accepted | Rejected


class Requirement(Protocol):
    """What a route asks of a principal: a value that explains itself with ``str()``."""

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        """Why this principal does not meet it; None if it does."""
        ...

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        """The names of the schemes that can meet it, of ``every`` scheme of the guard."""
        ...

    def scopes_named(self) -> tuple[str, ...]:
        """The scopes that it asks for, for ``scope`` in a challenge (RFC 6750 section 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """The request passes, as this principal (None: anonymous, where that is allowed)."""

    principal: Principal | None
    requirement: Requirement
    response_headers: Sequence[Header] = ()
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Denied:
    """The request is refused. ``scheme`` is the one that was tried; ``accepted`` are those that this route takes."""

    reason: Reason
    scheme: str | None = None
    subject: str | None = None
    authenticated: bool = False
    requirement: Requirement | None = None
    accepted: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    facts: Facts = field(default_factory=dict)
    response_headers: Sequence[Header] = ()


Decision: TypeAlias = Granted | Denied
