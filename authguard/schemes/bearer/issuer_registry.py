"""Whose tokens one Bearer scheme takes: a closed map from ``iss``, and one server that is asked about opaque ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.introspection import Introspection
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.scheme import Service


@dataclass(frozen=True, slots=True)
class RegisteredIssuer:
    """An issuer, and how far off its clock is."""

    issuer: Issuer
    clock_skew: ClockSkew


class IssuerRegistry:
    """The issuers of one scheme. It never changes: another one takes its place as a whole, and a request in flight goes
    on by the one that it began with.
    """

    __slots__ = ("_any", "_known", "introspection")

    def __init__(
        self, given: Sequence[Issuer | Introspection], clock: Clock, before: IssuerRegistry | None = None
    ) -> None:
        _check(given)
        issuers = [one for one in given if isinstance(one, Issuer)]
        asked = [one for one in given if isinstance(one, Introspection)]
        names = [issuer.issuer for issuer in issuers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            told = f"two of them have one name, {twice!r}; a token could not tell which is meant"
            raise ConfigurationError("issuers", told)
        if len(issuers) > 1 and any(issuer.issuer is None for issuer in issuers):
            raise ConfigurationError("issuers", "ANY_ISSUER stands alone: among several, `iss` chooses the keys")
        if len(asked) > 1:
            raise ConfigurationError(
                "issuers", "one Introspection(...) alone: an opaque token does not say whose it is"
            )
        old = {} if before is None else before._known  # noqa: SLF001 - of its own kind
        self._known: Mapping[str | None, RegisteredIssuer] = {
            one.issuer: RegisteredIssuer(
                one, old[one.issuer].clock_skew if one.issuer in old else _clock_skew(one, clock)
            )
            for one in issuers
        }
        self._any = self._known.get(None)
        #: Who is asked about opaque tokens.
        self.introspection = asked[0] if asked else None

    @property
    def services(self) -> tuple[Service, ...]:
        """What of it wants to be run: key sources that fetch, each once, and who is asked about opaque tokens."""
        sources = {id(one.issuer.keys): one.issuer.keys for one in self}
        fetching = [source for source in sources.values() if isinstance(source, Service)]
        return (*fetching, *(() if self.introspection is None else (self.introspection,)))

    def __iter__(self) -> Iterator[RegisteredIssuer]:
        return iter(self._known.values())

    def find(self, iss: str | None) -> RegisteredIssuer | None:
        """The issuer that this ``iss`` names, if it is one of these."""
        return self._any or self._known.get(iss or "")

    def introspection_for(self, iss: str | None) -> Introspection | None:
        """Who is asked about a JWT of this ``iss``: the server that was named for it, and no other ever sees it."""
        asked = self.introspection
        return asked if asked is not None and iss and asked.issuer == iss else None


def _check(given: Sequence[object]) -> None:
    for issuer in given:
        if isinstance(issuer, list | tuple):
            kind = type(issuer).__name__
            raise ConfigurationError("issuers", f"[...] is a {kind}; write Bearer(one, other, realm=...)")
        if not isinstance(issuer, Issuer | Introspection):
            raise ConfigurationError("issuers", f"{issuer!r} is no issuer; write Bearer(Issuer(...), realm=...)")
    if not given:
        raise ConfigurationError("issuers", "give at least one Issuer(...)")


def _clock_skew(issuer: Issuer, clock: Clock) -> ClockSkew:
    return ClockSkew("ANY_ISSUER" if issuer.issuer is None else issuer.issuer, clock)
