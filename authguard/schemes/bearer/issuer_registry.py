"""The issuers whose tokens a Bearer scheme accepts, by ``iss``, and the introspection of opaque tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.scheme import Service
from authguard.value_types import frozen

if TYPE_CHECKING:
    from authguard.schemes.bearer.introspection import Introspection


@frozen
class RegisteredIssuer:
    """An issuer, and what is known of its clock."""

    issuer: Issuer
    clock_skew: ClockSkew


class IssuerRegistry:
    """The issuers of one scheme. A registry never changes: ``Bearer.replace`` makes another one.

    So a request in flight goes on with the registry that it began with. ``previous`` hands over its ``ClockSkew``.
    """

    __slots__ = ("_any", "_by_name", "introspection")

    def __init__(
        self, members: Sequence[Issuer | Introspection], clock: Clock, previous: IssuerRegistry | None = None
    ) -> None:
        issuers, introspections = _by_kind(members)
        names = [issuer.issuer for issuer in issuers]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ConfigurationError("issuers", f"{duplicate!r} is listed twice; give each issuer once")
        if len(issuers) > 1 and any(issuer.issuer is None for issuer in issuers):
            raise ConfigurationError("issuers", "ANY_ISSUER must be the only issuer: of several, `iss` chooses one")
        if len(introspections) > 1:
            raise ConfigurationError(
                "issuers", "give at most one Introspection(...): an opaque token does not name its issuer"
            )
        old = {} if previous is None else previous._by_name  # noqa: SLF001 - the same class
        self._by_name: Mapping[str | None, RegisteredIssuer] = {
            issuer.issuer: RegisteredIssuer(
                issuer, old[issuer.issuer].clock_skew if issuer.issuer in old else _new_clock_skew(issuer, clock)
            )
            for issuer in issuers
        }
        self._any = self._by_name.get(None)
        #: Asked about opaque tokens.
        self.introspection = introspections[0] if introspections else None

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the scheme: each key source that fetches, once, and the introspection."""
        sources = {id(registered.issuer.keys): registered.issuer.keys for registered in self}
        fetching = [source for source in sources.values() if isinstance(source, Service)]
        return (*fetching, *(() if self.introspection is None else (self.introspection,)))

    def __iter__(self) -> Iterator[RegisteredIssuer]:
        return iter(self._by_name.values())

    def find(self, iss: str | None) -> RegisteredIssuer | None:
        """The issuer that this ``iss`` names; None if it is not one of these."""
        return self._any or self._by_name.get(iss or "")

    def introspection_for(self, iss: str | None) -> Introspection | None:
        """The introspection, if this ``iss`` is its issuer. No other server must see a JWT of that issuer."""
        introspection = self.introspection
        return introspection if introspection is not None and iss and introspection.issuer == iss else None


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


def _new_clock_skew(issuer: Issuer, clock: Clock) -> ClockSkew:
    return ClockSkew("ANY_ISSUER" if issuer.issuer is None else issuer.issuer, clock)
