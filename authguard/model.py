"""The values that travel through a guard: a reading of the clock, a principal, an outcome, a decision."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, cast

from authguard.errors import ConfigurationError
from authguard.reasons import Reason
from authguard.server_value import SERVER_ARGUMENT, ServerValue
from authguard.validation import names
from authguard.value_types import frozen, value

#: Returns the time in seconds: since the epoch, or since any fixed moment for a monotonic clock.
Clock: TypeAlias = Callable[[], float]


def wall_clock() -> float:
    """The time in seconds since the epoch: the default clock.

    ``time.time`` is looked up each time, and not once: libraries such as freezegun put a clock of their own in its
    place for a test.
    """
    return time.time()


#: What a record says beside the reason, by name.
Facts: TypeAlias = Mapping[str, object]
#: The name in lower case and the value of a header, as ASGI sends them.
Header: TypeAlias = tuple[bytes, bytes]

#: The shared defaults for no claims and no facts. They are read-only, so that nothing can be added by accident.
NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})
NO_FACTS: Facts = MappingProxyType({})

_MAX_TIMESTAMP = 1e15  # no date is that far away, and larger floats lose fractions of a second


@value
class Moment(ServerValue):
    """One reading of the clock, in seconds since the epoch, and the leeway in seconds.

    Time stamps of other clocks are compared with these methods alone, so that the leeway always applies the same way.
    """

    now: Annotated[float, SERVER_ARGUMENT]
    leeway: float

    def expired(self, at: float) -> bool:
        """Whether what ends ``at`` has ended, even with the leeway. RFC 7519 section 4.1.4."""
        return self.now >= at + self.leeway

    def not_yet(self, at: float) -> bool:
        """Whether what begins ``at`` has not begun, even with the leeway. RFC 7519 section 4.1.5."""
        return self.now < at - self.leeway

    def remaining(self, at: float) -> float:
        """The seconds until what ends ``at`` has ended, with the leeway; 0 if it has."""
        return max(at + self.leeway - self.now, 0.0)

    def between(self, begin: float, end: float) -> bool:
        """Whether it is ``begin`` or later, and before ``end``. No leeway applies."""
        return begin <= self.now < end

    def by(self, at: float) -> float:
        """The seconds from ``at`` to now, rounded to milliseconds. Negative if ``at`` is in the future."""
        return round(float(self.now - at), 3)


class _SharedClaims(ServerValue):
    """The claims that a principal shares with others until its own are read. Only the guard's principals have any."""

    __slots__ = ("_given_roles", "_revocation_keys", "_shared_claims")

    #: The claims, or a function that makes them.
    _shared_claims: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    #: By what the principal can be revoked, if a guard has asked for that.
    _revocation_keys: object
    #: The roles without those that a role hierarchy has added, if it has added any.
    _given_roles: frozenset[str] | None


@frozen
class Principal(_SharedClaims):
    """Who makes the request. Behind the guard it is ``request.user``.

    ``subject`` is a non-empty string; ``roles`` and ``scopes`` are sets of names; ``claims`` is what else is known.
    ``expires_at`` is in seconds since the epoch, by the clock that issued the credentials. The guard fills in
    ``scheme``. Raises ``ConfigurationError`` for anything else, such as a string in place of a set of roles.

    Behind the guard, ``claims`` belong to one request: they are a deep copy, made when they are first read. A request
    that changes them changes neither those of the store nor those of the next request.
    """

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    expires_at: float | None
    scheme: str | None

    def __init__(
        self,
        subject: Annotated[str, SERVER_ARGUMENT],
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        expires_at: float | None = None,
        scheme: str | None = None,
    ) -> None:
        if not isinstance(subject, str) or not subject:
            raise ConfigurationError("subject", "give a non-empty string")
        if expires_at is not None and not (isinstance(expires_at, int | float) and abs(expires_at) < _MAX_TIMESTAMP):
            raise ConfigurationError("expires_at", f"{expires_at!r} is not a number of seconds since the epoch")
        if not isinstance(claims, Mapping):
            raise ConfigurationError("claims", f"a {type(claims).__name__} is not a mapping")
        # A read-only mapping cannot be pickled, so the default becomes a dict.
        picklable = {} if claims is NO_CLAIMS else claims
        put = object.__setattr__
        put(self, "subject", subject)
        put(self, "roles", names("roles", roles))
        put(self, "scopes", names("scopes", scopes))
        put(self, "claims", picklable)
        put(self, "_shared_claims", picklable)
        put(self, "expires_at", expires_at)
        put(self, "scheme", scheme)

    @classmethod
    def checked(
        cls,
        subject: Annotated[str, SERVER_ARGUMENT],
        roles: frozenset[str],
        scopes: frozenset[str],
        claims: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        expires_at: float | None,
        scheme: str | None,
    ) -> Principal:
        """A principal of values that were checked before. It is faster than the constructor, for every request.

        ``claims`` may be a function that makes them, anew for each request that reads them.
        """
        draft = _Draft()
        draft.subject, draft.roles, draft.scopes = subject, roles, scopes
        draft.expires_at, draft.scheme = expires_at, scheme
        draft._shared_claims = claims  # noqa: SLF001 - its own class
        return draft.finish()

    def seen_by(self, scheme: str | None, roles: frozenset[str]) -> Principal:
        """The same principal for one request, with the scheme that authenticated it, and with these roles.

        Its claims are its own. They are copied when they are first read, because most requests never read them.
        """
        draft = _Draft()
        draft.subject, draft.roles, draft.scopes = self.subject, roles, self.scopes
        draft.expires_at, draft.scheme = self.expires_at, scheme
        draft._shared_claims = self._shared_claims  # noqa: SLF001 - its own class
        return draft.finish()

    if not TYPE_CHECKING:  # a type checker would take it as a sign that every attribute exists

        def __getattr__(self, name: str) -> Any:
            """Copy or make the claims, when they are first read. Python calls this only for what is not set."""
            if name == "_shared_claims":  # of one that was pickled
                return _get_claims(self)
            if name in {"_revocation_keys", "_given_roles"}:
                return None
            if name != "claims":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            shared = self._shared_claims
            claims = _copy_of(shared) if isinstance(shared, Mapping) else shared()
            _set_claims(self, claims)
            _share_claims(self, claims)  # an inner guard takes over what a middleware changes in them
            return claims

    # Starlette's interface of `request.user`.
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


class _Draft(_SharedClaims):
    """A principal while it is made: it has the slots of ``Principal``, and takes assignments to them.

    Each request makes one or two principals, and six calls of ``object.__setattr__`` would cost as much as finding the
    rule of a request.
    """

    __slots__ = ("subject", "roles", "scopes", "claims", "expires_at", "scheme")  # noqa: RUF023 - those of Principal

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any]
    expires_at: float | None
    scheme: str | None

    def finish(self) -> Principal:
        """Become a ``Principal``, which is frozen."""
        principal: Any = self
        principal.__class__ = Principal
        return cast("Principal", principal)


_get_claims, _set_claims = cast("Any", Principal).claims.__get__, cast("Any", Principal).claims.__set__
_share_claims = cast("Any", _SharedClaims)._shared_claims.__set__  # noqa: SLF001 - of this module
#: ``keep_revocation_keys(principal, keys)`` keeps with a principal by what it can be revoked, so that its claims are
#: read for that only once. ``principal._revocation_keys`` has it again; it is None if nothing was kept.
keep_revocation_keys: Callable[[Principal, object], None] = cast("Any", _SharedClaims)._revocation_keys.__set__  # noqa: SLF001 - of this module

#: ``keep_given_roles(principal, roles)`` keeps with a principal the roles that it had before a role hierarchy added
#: some, so that another hierarchy can be asked later.
keep_given_roles: Callable[[Principal, frozenset[str]], None] = cast("Any", _SharedClaims)._given_roles.__set__  # noqa: SLF001 - of this module


def given_roles(principal: Principal) -> frozenset[str]:
    """The roles of a principal without those that a role hierarchy has added."""
    roles = principal._given_roles  # noqa: SLF001 - of this module
    return principal.roles if roles is None else roles


def claims_to_read(principal: Principal) -> Mapping[str, Any]:
    """The claims of a principal that a scheme may use for many requests, without the copy that each request gets.

    Nobody may change them.
    """
    shared = principal._shared_claims  # noqa: SLF001 - of this module
    return shared if isinstance(shared, Mapping) else shared()


_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


def _copy_of(value: Any) -> Any:
    """A deep copy of claims. It takes a third of the time of ``copy.deepcopy`` for what JSON can hold.

    Raises ``ConfigurationError`` for a value that cannot be copied, such as a lock or a connection.
    """
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    problem = "contains itself"
    try:
        if kind is dict or kind is MappingProxyType:
            return {name: _copy_of(item) for name, item in value.items()}
        if kind is list:
            return [_copy_of(item) for item in value]
        return copy.deepcopy(value)
    except ConfigurationError:
        raise
    except RecursionError:
        pass
    except Exception:  # noqa: BLE001 - the text of the error may quote a claim
        problem = "cannot be copied"
    raise ConfigurationError(
        "claims", f"a {kind.__name__} {problem}, and each request has claims of its own; leave it out"
    )


@value
class Failure(ServerValue):
    """Why a check failed: its reason, and facts for the record.

    ``missing`` names what the principal does not have, such as roles. It is empty for other kinds of checks.
    """

    reason: Reason
    facts: Facts = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@value
class Accepted(ServerValue):
    """A scheme accepted the credentials. ``response_headers`` are added to the response, whatever the app answers."""

    principal: Principal
    response_headers: Sequence[Header] = ()
    facts: Facts = field(default_factory=dict)


@value
class Rejected(ServerValue):
    """A scheme refused the credentials, or a check refused the principal.

    ``subject`` is the name in the credentials. ``authenticated`` says whether they prove that name: it is True for an
    expired token with a valid signature, and False for a wrong password.
    """

    reason: Reason
    subject: str | None = None
    facts: Facts = field(default_factory=dict)
    response_headers: Sequence[Header] = ()
    authenticated: bool = False


#: What a scheme returns: the principal, or why it refused the credentials.
Outcome: TypeAlias = Accepted | Rejected


class Requirement(Protocol):
    """What a route requires of a principal. Records, errors and the audit show its ``str()``.

    ``role``, ``scopes``, ``via``, ``step_up``, ``predicate``, ``all_of`` and ``any_of`` make one.
    """

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        """Why this principal does not meet it; None if it does. ``params`` are the path parameters of the rule."""
        ...

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        """The names of the schemes that can meet it, out of ``every`` scheme of the guard."""
        ...

    def scopes_named(self) -> tuple[str, ...]:
        """The scopes that it requires, for the parameter ``scope`` of a challenge (RFC 6750 section 3)."""
        ...


@value
class Granted(ServerValue):
    """The request passes with this principal. None is an anonymous request, which ``OPTIONAL`` allows."""

    principal: Principal | None
    requirement: Requirement
    response_headers: Sequence[Header] = ()
    facts: Facts = field(default_factory=dict)


@value
class Denied(ServerValue):
    """The request is refused.

    ``scheme`` is the one that was tried; ``accepted`` are the names of those that the route accepts. ``subject`` and
    ``authenticated`` are those of ``Rejected``. ``missing`` is what the principal does not have, and ``offered`` what
    it has. ``response_headers`` are added to the response. ``principal`` is the one that a requirement or an endpoint
    has refused; it is None if there is none yet. ``enforced`` is False if the request passes nevertheless, because what
    denies is report-only.
    """

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
    principal: Principal | None = field(default=None, repr=False, compare=False)
    enforced: bool = True


Decision: TypeAlias = Granted | Denied
