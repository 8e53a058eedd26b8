"""The issuers whose tokens a Bearer scheme accepts, by ``iss``, and the introspection of opaque tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.reasons import Reason
from authguard.schemes.bearer.clock_skew import ClockSkew
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.bearer.issuer_names import IssuerNames, WantedIssuers
from authguard.schemes.scheme import Service
from authguard.value_types import frozen

if TYPE_CHECKING:
    from authguard.schemes.api_key.token_source import ApiKeys
    from authguard.schemes.bearer.introspection import Introspection
    from authguard.schemes.bearer.token_lookup import TokenLookup

#: What ``Bearer(...)`` takes.
Member: TypeAlias = "Issuer | Introspection | TokenLookup | ApiKeys"


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

    __slots__ = (
        *("_any", "_by_iss", "_missing", "_open", "_registered"),
        *("api_keys", "introspection", "lookup", "takes_keys_alone", "wanted"),
    )

    def __init__(self, members: Sequence[Member], clock: Clock, previous: IssuerRegistry | None = None) -> None:
        issuers, introspections, lookups, api_keys = _by_kind(members)
        _check_distinct([issuer.names for issuer in issuers])
        if len(introspections) > 1:
            raise ConfigurationError(
                "issuers", "give at most one Introspection(...): an opaque token does not name its issuer"
            )
        if len(introspections) + len(lookups) > 1:
            raise ConfigurationError(
                "issuers", "give one TokenLookup(...), and no Introspection(...) beside it: both take opaque tokens"
            )
        if len(api_keys) > 1:
            raise ConfigurationError("issuers", "give at most one ApiKeys(...); one store may have several prefixes")
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
        #: Asked about opaque tokens: one of these two at most.
        self.introspection = introspections[0] if introspections else None
        self.lookup = lookups[0] if lookups else None
        #: The keys that are sent as tokens, and whether there is nothing beside them.
        self.api_keys = api_keys[0] if api_keys else None
        self.takes_keys_alone = self.api_keys is not None and len(members) == 1
        #: What a record says of a token that names none of them.
        self.wanted = WantedIssuers.of(
            *(issuer.names for issuer in issuers), *(introspection.names for introspection in introspections)
        )

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the scheme: each key source that fetches, once, the introspection, and the API keys."""
        sources = {id(source): source for registered in self for source in registered.issuer.sources}
        fetching = [source for source in sources.values() if isinstance(source, Service)]
        introspection = () if self.introspection is None else (self.introspection,)
        return (*fetching, *introspection, *(() if self.api_keys is None else self.api_keys.services))

    @property
    def opaque(self) -> Introspection | TokenLookup | None:
        """What is asked about opaque tokens."""
        return self.lookup if self.introspection is None else self.introspection

    @property
    def denial_reasons(self) -> Sequence[Reason]:
        """The reasons with another status than those of bad credentials."""
        return () if self.api_keys is None else self.api_keys.denial_reasons

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


def _by_kind(
    members: Sequence[object],
) -> tuple[Sequence[Issuer], Sequence[Introspection], Sequence[TokenLookup], Sequence[ApiKeys]]:
    """The members of each kind. Raises ``ConfigurationError`` for anything else, and for nothing at all."""
    issuers = [member for member in members if isinstance(member, Issuer)]
    if issuers and len(issuers) == len(members):
        return issuers, (), (), ()
    for member in members:
        if isinstance(member, list | tuple):
            kind = type(member).__name__
            raise ConfigurationError("issuers", f"[...] is a {kind}; write Bearer(first, second, realm=...)")
    if not members:
        raise ConfigurationError("issuers", "give at least one Issuer(...)")
    # By the name of the class first: an app without opaque tokens imports none of these.
    introspections: list[Introspection] = []
    lookups: list[TokenLookup] = []
    api_keys: list[ApiKeys] = []
    for member in members:
        names = {kind.__name__ for kind in type(member).__mro__}
        if "Introspection" in names and _is_introspection(member):
            introspections.append(member)
        elif "TokenLookup" in names and _is_lookup(member):
            lookups.append(member)
        elif "ApiKeys" in names and _is_api_keys(member):
            api_keys.append(member)
        elif not isinstance(member, Issuer):
            raise ConfigurationError("issuers", f"{member!r} is not an issuer; write Bearer(Issuer(...), realm=...)")
    return issuers, introspections, lookups, api_keys


def _is_introspection(member: object) -> TypeGuard[Introspection]:
    from authguard.schemes.bearer.introspection import Introspection  # noqa: PLC0415 - see above

    return isinstance(member, Introspection)


def _is_lookup(member: object) -> TypeGuard[TokenLookup]:
    from authguard.schemes.bearer.token_lookup import TokenLookup  # noqa: PLC0415 - see above

    return isinstance(member, TokenLookup)


def _is_api_keys(member: object) -> TypeGuard[ApiKeys]:
    from authguard.schemes.api_key.token_source import ApiKeys  # noqa: PLC0415 - see above

    return isinstance(member, ApiKeys)
