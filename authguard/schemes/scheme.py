"""The seam: what a scheme, a carrier and a service are. A scheme of your own subclasses ``Scheme``."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from authguard.errors import ConfigurationError
from authguard.model import Clock, Denied, Header, Outcome, Rejected
from authguard.reasons import Reason
from authguard.request import AuthRequest
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import is_token


class Carrier(Protocol):
    """Where credentials travel in a request. It finds them; it does not judge them."""

    #: Whether a client sends these by itself (a cookie). Ambient credentials yield to explicit ones.
    sent_by_browsers: bool = False

    @abstractmethod
    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """All credentials that travel here; none is an empty answer.

        Raises ``WireError`` for octets that are none, and answers ``Rejected`` for a message that is ambiguous.
        """
        ...


@runtime_checkable
class Service(Protocol):
    """Something that a scheme needs run and closed."""

    def running(self, clock: Clock) -> AbstractAsyncContextManager[None]:
        """Runs between the start and the end of the app's lifespan. All must work without it too."""
        ...

    def health(self) -> Mapping[str, object]:
        """Figures for a person; no secret."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """A document of a scheme's that the guard serves to everybody, by GET and HEAD, whatever the rules ask of the rest.

    ``path`` is decoded and begins at the host's root. ``said`` is where that was said, a file and a line.
    """

    path: str
    media_type: str
    octets: bytes = field(repr=False)
    headers: Sequence[Header] = ()
    location: str = field(default="", compare=False)


class Scheme(Protocol):
    """One authentication scheme (RFC 9110 section 11.1). It is called only with credentials addressed to it."""

    #: The auth-scheme in lower case; one of a name in a guard.
    name: str
    carrier: Carrier
    services: Sequence[Service] = ()
    #: Whether browsers send these credentials by themselves, once they have them: then a request that another site made
    #: must not pass for the user's.
    sent_by_browsers: bool = False
    #: Whether ``authenticate`` asks for the request's body.
    reads_body: bool = False
    #: Whether it can say in a challenge what an authenticated client lacks (RFC 6750 section 3.1). Only then is it
    #: asked for the challenges of a 403.
    challenges_on_403: bool = False
    #: Whether its principals' claims tell ``acr`` and ``auth_time`` (RFC 9470), which ``step_up`` needs.
    reports_login_time: bool = False
    #: Its Security Scheme Object (https://spec.openapis.org/oas/v3.1.1#security-scheme-object), where that is another
    #: than ``{"type": "http", "scheme": name}``.
    openapi: Mapping[str, object] = MappingProxyType({})
    #: Why its challenge should be the first of all, where clients break otherwise; told once, where it is not.
    must_be_first: str = ""
    #: What it denies with whose status is neither that of credentials that are no good nor that of an outage, so that
    #: OpenAPI tells it. What ``reads_body`` brings along is told anyway.
    denial_reasons: Sequence[Reason] = ()
    #: What the guard serves for it: documents that a client needs before it has credentials.
    published: Sequence[Published] = ()

    def roles_given(self) -> AbstractSet[str] | None:
        """All roles that its principals can have, where that is known before they come: for the audit."""
        return None

    @abstractmethod
    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """``Accepted`` or ``Rejected``. Raises ``BackendUnavailable`` where it cannot tell."""
        ...

    @abstractmethod
    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """The challenges of this scheme, at least one. ``why`` is given only to the scheme that was tried."""
        ...


log = logging.getLogger("authguard")

_METHODS = ("authenticate", "challenges")


def check_schemes(schemes: Sequence[Scheme]) -> tuple[Scheme, ...]:
    """The schemes of one guard; ``ConfigurationError`` where there is none, or two of a name."""
    if not schemes:
        raise ConfigurationError("schemes", "give at least one, such as Bearer(...)")
    seen: set[str] = set()
    for position, scheme in enumerate(schemes):
        if isinstance(scheme, list | tuple):
            kind, write = type(scheme).__name__, "rules=[...]" if position else "Guard(one, other, rules=[...])"
            raise ConfigurationError("schemes", f"[...] is a {kind}, and no scheme; write {write}")
        if isinstance(scheme, type) or not all(callable(getattr(scheme, name, None)) for name in _METHODS):
            raise ConfigurationError("schemes", f"{scheme!r} is no scheme; give Bearer(...) or one of your own")
        if not isinstance(scheme.name, str) or not is_token(scheme.name) or scheme.name != scheme.name.lower():
            raise ConfigurationError("schemes", f"the name {scheme.name!r} is no auth-scheme in lower case")
        if scheme.name in seen:
            raise ConfigurationError("schemes", f"{scheme.name} stands twice; one scheme of a name")
        if not callable(getattr(getattr(scheme, "carrier", None), "find", None)):
            raise ConfigurationError("schemes", f"{scheme.name} has no carrier; AUTHORIZATION is that of the field")
        why: str = getattr(scheme, "must_be_first", "")
        if position and why:
            log.warning("%s stands after %s: %s", scheme.name, schemes[0].name, why)
        seen.add(scheme.name)
    return tuple(schemes)


def group_by_carrier(schemes: Sequence[Scheme]) -> tuple[tuple[Carrier, frozenset[str]], ...]:
    """Each carrier once, with the names of its schemes: two that are equal would find the same credentials twice."""
    found: list[tuple[Carrier, set[str]]] = []
    for scheme in schemes:
        names = next((names for carrier, names in found if carrier == scheme.carrier), None)
        if names is None:
            found.append((scheme.carrier, {scheme.name}))
        else:
            names.add(scheme.name)
    return tuple((carrier, frozenset(names)) for carrier, names in found)
