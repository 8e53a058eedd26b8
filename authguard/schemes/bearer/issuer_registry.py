"""The issuers whose tokens a Bearer scheme accepts, by ``iss``, and the introspection of opaque tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.issuer_names import IssuerNames, WantedIssuers
from authguard.schemes.scheme import Service
from authguard.value_types import frozen

if TYPE_CHECKING:
    from authguard.schemes.bearer.introspection import Introspection


@frozen
class RegisteredIssuer:
    """An issuer, and what is known of its clock."""

    issuer: Issuer
    clock_skew: ClockSkew

    @property
    def label(self) -> str:
        """How a log names it."""
        return self.issuer.names.label


class IssuerRegistry:
    """The issuers of one scheme. A registry never changes: ``Bearer.replace`` makes another one.

    So a request in flight goes on with the registry that it began with. ``previous`` hands over its ``ClockSkew``.
    """

    __slots__ = ("_any", "_by_iss", "_missing", "_open", "_registered", "introspection", "wanted")

    def __init__(
        self, members: Sequence[Issuer | Introspection], clock: Clock, previous: IssuerRegistry | None = None
    ) -> None:
        issuers, introspections = _by_kind(members)
        _check_distinct([issuer.names for issuer in issuers])
        if len(introspections) > 1:
            raise ConfigurationError(
                "issuers", "give at most one Introspection(...): an opaque token does not name its issuer"
            )
        old = {} if previous is None else {registered.label: registered.clock_skew for registered in previous}
        self._registered = tuple(
            RegisteredIssuer(issuer, old.get(issuer.names.label) or ClockSkew(issuer.names.label, clock))
            for issuer in issuers
        )
        self._by_iss: Mapping[str, RegisteredIssuer] = {
            iss: registered for registered in self._registered for iss in registered.issuer.names.exact
        }
        self._any = next((registered for registered in self._registered if registered.issuer.names.is_any), None)
        self._missing = next(
            (registered for registered in self._registered if registered.issuer.names.may_be_missing), None
        )
        self._open = tuple(registered for registered in self._registered if registered.issuer.names.is_open)
        #: Asked about opaque tokens.
        self.introspection = introspections[0] if introspections else None
        #: What a record says of a token that names none of them.
        self.wanted = WantedIssuers.of(
            *(issuer.names for issuer in issuers), *(introspection.names for introspection in introspections)
        )

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the scheme: each key source that fetches, once, and the introspection."""
        sources = {id(source): source for registered in self for source in registered.issuer.sources}
        fetching = [source for source in sources.values() if isinstance(source, Service)]
        return (*fetching, *(() if self.introspection is None else (self.introspection,)))

    def __iter__(self) -> Iterator[RegisteredIssuer]:
        return iter(self._registered)

    def find(self, iss: str | None) -> RegisteredIssuer | None:
        """The issuer that this ``iss`` names; None if it is not one of these. ``iss`` is None if there is no text."""
        registered = self._any or (self._missing if iss is None else self._by_iss.get(iss))
        if registered is None and iss is not None and self._open:
            fitting = [candidate for candidate in self._open if candidate.issuer.names.fits_open_template(iss)]
            registered = fitting[0] if len(fitting) == 1 else None
        return registered

    def introspection_for(self, iss: str | None) -> Introspection | None:
        """The introspection, if this ``iss`` is its issuer. No other server must see a JWT of that issuer."""
        introspection = self.introspection
        if introspection is None or not iss or introspection.names.is_any:
            return None
        return introspection if introspection.names.accept(iss) else None


def _check_distinct(issuers: Sequence[IssuerNames]) -> None:
    """Raise ``ConfigurationError`` if an ``iss`` would choose more than one of the issuers."""
    listed = [iss for names in issuers for iss in names.exact]
    listed += [
        template.of(f"{{{template.claim}}}") for names in issuers if names.is_open for template in names.templates
    ]
    duplicate = next((iss for iss, number in Counter(listed).items() if number > 1), None)
    if duplicate is not None:
        raise ConfigurationError("issuers", f"{duplicate!r} is listed twice; give each issuer once")
    if len(issuers) > 1 and any(names.is_any for names in issuers):
        raise ConfigurationError("issuers", "ANY_ISSUER must be the only issuer: of several, `iss` chooses one")
    if sum(names.may_be_missing for names in issuers) > 1:
        raise ConfigurationError("issuers", "NO_ISSUER is listed twice; tokens without `iss` can have one issuer only")


def _by_kind(members: Sequence[object]) -> tuple[list[Issuer], list[Introspection]]:
    """The issuers and the introspections. Raises ``ConfigurationError`` for anything else, and for nothing at all."""
    issuers = [member for member in members if isinstance(member, Issuer)]
    if issuers and len(issuers) == len(members):
        return issuers, []
    # An app without opaque tokens does not import this.
    from authguard.schemes.bearer.introspection import Introspection  # noqa: PLC0415

    for member in members:
        if isinstance(member, list | tuple):
            kind = type(member).__name__
            raise ConfigurationError("issuers", f"[...] is a {kind}; write Bearer(first, second, realm=...)")
        if not isinstance(member, Issuer | Introspection):
            raise ConfigurationError("issuers", f"{member!r} is not an issuer; write Bearer(Issuer(...), realm=...)")
    if not members:
        raise ConfigurationError("issuers", "give at least one Issuer(...)")
    return issuers, [member for member in members if isinstance(member, Introspection)]
