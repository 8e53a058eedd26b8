"""The interfaces of an authentication scheme: ``Scheme``, ``Carrier`` and ``Service``."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from authguard.app_code import async_function, plain_function
from authguard.errors import ConfigurationError
from authguard.model import NO_FACTS, Accepted, Clock, Denied, Facts, Header, Outcome, Principal, Rejected
from authguard.reasons import Reason
from authguard.request import AuthRequest
from authguard.value_types import frozen
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import is_token


class Carrier(Protocol):
    """Where credentials travel in a request, such as a header field. It finds them; the scheme verifies them.

    Write ``find``, and name the scheme that the credentials are for::

        class BadgeField(Carrier):
            def find(self, request: AuthRequest) -> Sequence[Credentials]:
                return [Credentials("badge", line) for line in request.lines(b"x-badge")]

    Two carriers that are equal are asked once. A record names a carrier by its attribute ``header``, if it has one, and
    else by its class.
    """

    #: Whether browsers send these by themselves, as they do with a cookie. If a client sends other credentials as well,
    #: those are used.
    sent_by_browsers: bool = False

    @property
    def auth_scheme(self) -> str:
        """The auth-scheme of all that it finds, in lower case, if that does not depend on the scheme: ``cookie.sid``.

        Clients do not send it. ``via`` and records still know the scheme by its name.
        """
        return ""

    @abstractmethod
    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """All credentials that travel here; an empty sequence if there are none.

        Raises ``WireError`` for bytes that cannot be parsed. Returns ``Rejected`` for a request that is ambiguous.
        """
        ...


@runtime_checkable
class Service(Protocol):
    """What a scheme keeps open while the app runs, such as threads or connections.

    Write ``running`` and ``health``, and list the object in ``Scheme.services``::

        class BadgeDatabase:
            @asynccontextmanager
            async def running(self, clock: Clock) -> AsyncIterator[None]:
                async with connect(URL) as self.connection:
                    yield

            def health(self) -> Mapping[str, object]:
                return {"url": URL}
    """

    def running(self, clock: Clock) -> AbstractAsyncContextManager[None]:
        """Entered when the app starts and left when it ends. The scheme must work without it too."""
        ...

    def health(self) -> Mapping[str, object]:
        """Figures for an operator. They must not contain a secret."""
        ...


@frozen
class Published:
    """A document that the guard serves to everybody for a scheme, by GET and HEAD, whatever its rules say.

    ``path`` is decoded and begins at the host's root. ``location`` is the file and the line that ask for it.
    """

    path: str
    media_type: str
    octets: bytes = field(repr=False)
    headers: Sequence[Header] = ()
    location: str = field(default="", compare=False)


#: Goes on where ``authenticate_now`` had to stop, with what that has learned.
Continuation: TypeAlias = Callable[[], Awaitable[Outcome]]


def for_one_request(outcome: Outcome) -> Outcome:
    """The outcome with a principal of its own, for a scheme that calls another one and changes the claims.

    What ``authenticate_now`` returns may have the principal of many requests. The guard copies that, too.
    """
    if not isinstance(outcome, Accepted):
        return outcome
    principal = outcome.principal
    own = principal.seen_by(principal.scheme, principal.roles)
    return Accepted(own, outcome.response_headers, outcome.facts)


class AuthenticateNow(Protocol):
    """The type of the optional method ``authenticate_now`` of a ``Scheme``.

    The principal that it returns may be that of many requests: it must not be changed, nor must its claims be read.
    """

    def __call__(self, request: AuthRequest, credentials: Credentials) -> Outcome | Continuation | None: ...


class Scheme(Protocol):
    """An authentication scheme (RFC 9110 section 11.1): it verifies credentials and writes challenges.

    Write ``authenticate`` and ``challenges``, and set ``name`` and ``carrier``::

        class Badge(Scheme):
            name = "badge"
            carrier = BadgeField()

            async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
                owner = await find_owner(credentials.rest)
                return Rejected(BADGE_UNKNOWN) if owner is None else Accepted(Principal(owner))

            def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
                return [Challenge("Badge", {"realm": "gate"})]

    ``BADGE_UNKNOWN = Reason("badge.unknown", 401)`` is the reason that the log shows. The guard calls ``authenticate``
    only with credentials for its ``auth_scheme``.

    A scheme that often needs nothing that must be awaited may also have ``authenticate_now(request, credentials)``, not
    async. The guard then calls it first, and awaits nothing for its ``Accepted`` or ``Rejected``. If something must be
    awaited, it returns a function without arguments, whose awaited result is the outcome, so that nothing is done
    twice; or None, and ``authenticate`` is awaited. It must not block.
    """

    #: The name by which ``via``, records and OpenAPI know it, in lower case. No other scheme of the guard has the same.
    name: str
    #: The auth-scheme that clients send, in lower case, if that is not the ``name``. Schemes of one guard may share it,
    #: such as two ``Basic`` with files of their own; each rule must then accept only one of them.
    auth_scheme: str = ""
    carrier: Carrier
    services: Sequence[Service] = ()
    #: Whether browsers send these credentials by themselves once they have them. The guard then checks which site made
    #: the request.
    sent_by_browsers: bool = False
    #: Whether ``authenticate`` reads the request's body.
    reads_body: bool = False
    #: Whether its challenge can name the scopes or the login that a 403 asks for (RFC 6750 section 3.1). Only then is
    #: it asked for the challenges of a 403.
    challenges_on_403: bool = False
    #: Whether the claims of its principals have ``acr`` and ``auth_time`` (RFC 9470), which ``step_up`` needs.
    reports_login_time: bool = False
    #: Whether its credentials were issued at some time, as tokens and keys are. A password was not: the client proves
    #: it anew with each request, and a revocation of its subject does not concern it.
    credentials_are_issued: bool = True
    #: Its Security Scheme Object (https://spec.openapis.org/oas/v3.1.1#security-scheme-object), if that is not
    #: ``{"type": "http", "scheme": auth_scheme}``.
    openapi: Mapping[str, object] = MappingProxyType({})
    #: Whether all requests that are denied on one route for one reason get the same challenges of this scheme. The
    #: response is then made once.
    constant_challenges: bool = False
    #: Why its challenge must come first: the problem that some clients have otherwise. A guard that lists another
    #: scheme before it logs this once.
    must_be_first: str = ""
    #: Its reasons with another status than bad credentials (401) and outages (503) have, for OpenAPI to list. The
    #: reasons that come with ``reads_body`` are listed anyway.
    denial_reasons: Sequence[Reason] = ()
    #: The path of a page where people log in, such as ``"/login"``. A browser that opens a page without credentials of
    #: this scheme is sent there (303) instead of being told 401.
    login_url: str = ""
    #: Documents that a client needs before it has credentials. The guard serves them.
    published: Sequence[Published] = ()

    def published_beside(self, schemes: Sequence[Scheme]) -> Sequence[Published]:
        """What the guard serves for this scheme, given all its schemes: ``published``, unless it depends on these."""
        return self.published

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that its principals can have, for the audit; None if that is not known."""
        return None

    def state_stores(self) -> Mapping[str, object]:
        """The stores of what must count once, by the arguments that they were given as. Start-up warns of each whose
        ``is_per_process`` is true if several processes serve the app. A string is warned of, too: it names what each
        process has for itself. A store may have ``health()`` and ``async def warm()``, which the guard calls with its
        own."""
        return {}

    def facts_without(self, names: Literal["roles", "scopes"], principal: Principal) -> Facts:
        """For the record, where a principal of this scheme has no roles or no scopes at all: where they are read from,
        and what was found there."""
        return NO_FACTS

    @abstractmethod
    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """``Accepted`` or ``Rejected``. Raises ``BackendUnavailable`` if the credentials cannot be checked now."""
        ...

    @abstractmethod
    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """The challenges of this scheme, at least one. ``why`` is None if the denial is not about its credentials."""
        ...


log = logging.getLogger("authguard")

_METHODS = ("authenticate", "challenges")


def check_schemes(schemes: Sequence[Scheme]) -> tuple[Scheme, ...]:
    """The schemes of one guard. Raises ``ConfigurationError`` if there is none, or if two have the same name."""
    if not schemes:
        raise ConfigurationError("schemes", "give at least one, such as Bearer(...)")
    seen: set[str] = set()
    for position, scheme in enumerate(schemes):
        if isinstance(scheme, list | tuple):
            kind, write = type(scheme).__name__, "rules=[...]" if position else "Guard(first, second, rules=[...])"
            raise ConfigurationError("schemes", f"[...] is a {kind} and not a scheme; write {write}")
        if isinstance(scheme, type) or not all(callable(getattr(scheme, name, None)) for name in _METHODS):
            raise ConfigurationError("schemes", f"{scheme!r} is not a scheme; give Bearer(...) or a Scheme of your own")
        if not isinstance(scheme.name, str) or not is_token(scheme.name) or scheme.name != scheme.name.lower():
            raise ConfigurationError("schemes", f"the name {scheme.name!r} is not an auth-scheme in lower case")
        if scheme.name in seen:
            kind = type(scheme).__name__
            raise ConfigurationError(
                "schemes",
                f'{scheme.name} is listed twice; give each scheme a name of its own, such as {kind}(..., name="staff")',
            )
        if not callable(getattr(getattr(scheme, "carrier", None), "find", None)):
            raise ConfigurationError("schemes", f"{scheme.name} has no carrier; set carrier = AUTHORIZATION")
        if not is_token(auth_scheme_of(scheme)) or auth_scheme_of(scheme) != auth_scheme_of(scheme).lower():
            raise ConfigurationError(
                "schemes", f"the auth_scheme {auth_scheme_of(scheme)!r} of {scheme.name} is not one in lower case"
            )
        async_function("schemes", scheme.authenticate, "authenticate(self, request, credentials)", None, None)
        plain_function("schemes", scheme.challenges, "challenges(self, request, why)", None, None)
        plain_function("schemes", scheme.carrier.find, "find(self, request)", None)
        why: str = getattr(scheme, "must_be_first", "")
        if position and why:
            log.warning("%s is listed after %s: %s", scheme.name, schemes[0].name, why)
        seen.add(scheme.name)
    _check_session_keys(schemes)
    return tuple(schemes)


def _check_session_keys(schemes: Sequence[Scheme]) -> None:
    """Raise ``ConfigurationError`` if two schemes keep their logins at one place of the app's session."""
    names: dict[str, str] = {}
    for scheme in schemes:
        key = getattr(scheme, "key", None) if getattr(scheme, "needs_session", False) else None
        if isinstance(key, str) and names.setdefault(key, scheme.name) != scheme.name:
            raise ConfigurationError(
                "key",
                f"{names[key]} and {scheme.name} both keep logins under {key!r}, so a login of one would be one of the "
                "other; leave key= out",
            )


def check_name(name: str) -> str:
    """The argument ``name`` of a scheme. Raises ``ConfigurationError``."""
    if not isinstance(name, str) or not is_token(name) or name != name.lower():
        raise ConfigurationError("name", f"{name!r} is not a name; write letters, digits and hyphens in lower case")
    return name


def name_of_carrier(carrier: Carrier) -> str:
    """How a record names a carrier: by its ``header``, or else by its class."""
    name = getattr(carrier, "header", None)
    return name if isinstance(name, str) else type(carrier).__name__


def auth_scheme_of(scheme: Scheme) -> str:
    """The auth-scheme by which the guard finds the scheme of credentials, in lower case.

    It is what clients send in ``Authorization``. A carrier that is found by another name has one of its own.
    """
    carrier: str = getattr(scheme.carrier, "auth_scheme", "")
    word: str = carrier or getattr(scheme, "auth_scheme", "") or scheme.name
    return word


def group_by_carrier(schemes: Sequence[Scheme]) -> tuple[tuple[Carrier, frozenset[str]], ...]:
    """Each carrier once, with the names of its schemes. Equal carriers would find the same credentials twice."""
    groups: list[tuple[Carrier, frozenset[str]]] = []
    for scheme in schemes:
        place = next((place for place, (carrier, _) in enumerate(groups) if carrier == scheme.carrier), None)
        if place is None:
            groups.append((scheme.carrier, frozenset({scheme.name})))
            continue
        carrier, names = groups[place]
        join: Callable[[Carrier], Carrier] | None = getattr(carrier, "joined", None)
        groups[place] = (carrier if join is None else join(scheme.carrier)), names | {scheme.name}
    return tuple(groups)
