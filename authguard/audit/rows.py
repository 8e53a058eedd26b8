"""What applies to one method and path: the rules of all guards on the way, then the locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from authguard.asgi.locks import Lock
from authguard.audit.endpoint import ANY_METHOD, Endpoint, Layer
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.combinators import roles_named
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED
from authguard.policy.rules import Match, Rule


def is_open(requirement: Requirement) -> bool:
    """Whether nobody has to be proved."""
    return requirement is PUBLIC or requirement is OPTIONAL


@dataclass(frozen=True, slots=True)
class GuardLayer:
    """One guard on the way: what its rules ask, and what narrower ones ask of some of the paths instead."""

    guard: Guard
    layer: Layer
    match: Match
    narrower: tuple[Match, ...]

    @property
    def matches(self) -> tuple[Match, ...]:
        """All that can apply."""
        return (self.match, *self.narrower)

    @property
    def ajar(self) -> bool:
        """Whether it is open by its default, which no rule says."""
        return self.match.rule is None and is_open(self.match.requirement)

    def path_of(self, rule: Rule) -> str:
        """The rule's pattern, from the app's own root on."""
        return self.layer.path + rule.pattern


@dataclass(frozen=True, slots=True)
class PublicAccess:
    """A way in for the anonymous: on the row's path, or on a narrower rule's. ``rule`` is None for a default."""

    path: str
    rule: Rule | None = None
    guard_layer: GuardLayer | None = None


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One method and path of an app, and what is asked there. ``*`` is any method."""

    endpoint: Endpoint
    method: str
    guard_layers: tuple[GuardLayer, ...]

    @property
    def path(self) -> str:
        """As a rule would be written for it."""
        return self.endpoint.path

    @property
    def about(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Those that the endpoint's guard is asked for."""
        return self.endpoint.locks

    @property
    def locked(self) -> bool:
        """Whether a lock needs somebody."""
        return any(not is_open(lock.requirement) for lock in self.locks)

    @property
    def asked(self) -> tuple[tuple[Requirement, str], ...]:
        """What is asked on the whole of the path, and where each was said; nothing twice, and nothing that adds none.

        Whoever meets all of it gets in, unless a narrower rule applies.
        """
        location = [(guard_layer.match.requirement, guard_layer.match.location) for guard_layer in self.guard_layers]
        found: list[tuple[Requirement, str]] = []
        for requirement, where in [*location, *((lock.requirement, lock.location) for lock in self.locks)]:
            same = [index for index, (other, _) in enumerate(found) if other == requirement]
            if not same:
                found.append((requirement, where))
            elif not found[same[0]][1]:  # a default is worth less than what somebody wrote
                found[same[0]] = requirement, where
        for weaker in (PUBLIC, OPTIONAL, AUTHENTICATED):
            found = [one for one in found if one[0] != weaker] or found
        return tuple([one for one in found if one[0] == UNLISTED] or found)

    @property
    def narrower(self) -> tuple[tuple[Requirement, str, str], ...]:
        """What narrower rules ask instead, of which paths, and where each was said."""
        return tuple(
            (match.requirement, guard_layer.path_of(match.rule), match.rule.location)
            for guard_layer in self.guard_layers
            for match in guard_layer.narrower
            if match.rule
        )

    @property
    def named(self) -> bool:
        """Whether a rule or a lock says what the whole of it asks; else a default does."""
        if self.locked:
            return True
        for number, guard_layer in enumerate(self.guard_layers):
            # What an outer guard opens it leaves to the inner ones, and may be open there by a default alone.
            left = is_open(guard_layer.match.requirement) and any(
                inner.ajar for inner in self.guard_layers[number + 1 :]
            )
            if (guard_layer.match.rule and not left) or guard_layer.match.requirement == UNLISTED:
                return True
        return False

    @property
    def open(self) -> bool:
        """Whether anybody gets in on the whole of the path."""
        return not self.locked and all(is_open(guard_layer.match.requirement) for guard_layer in self.guard_layers)

    @property
    def public_accesses(self) -> tuple[PublicAccess, ...]:
        """Each way in for the anonymous, by narrower rules too."""
        return tuple(self._public_accesses())

    def _public_accesses(self) -> Iterator[PublicAccess]:
        opened = [
            [match for match in guard_layer.matches if is_open(match.requirement)] for guard_layer in self.guard_layers
        ]
        if self.locked or not all(opened):
            return
        if not self.guard_layers:  # the guard is further in, and elsewhere
            yield PublicAccess(self.path)
        for guard_layer, matches in zip(self.guard_layers, opened, strict=True):
            for match in matches:
                if match is not guard_layer.match and match.rule:
                    yield PublicAccess(guard_layer.path_of(match.rule), match.rule, guard_layer)
                elif self.open:
                    yield PublicAccess(self.path, match.rule, guard_layer)

    @property
    def schemes(self) -> frozenset[str]:
        """Whom the guards and the locks take, by the schemes that proved them; none where nobody is asked."""
        accepted: frozenset[str] | None = None
        asked = [(guard_layer.guard, guard_layer.match.requirement) for guard_layer in self.guard_layers]
        asked += [
            (guard_layer.guard, lock.requirement) for guard_layer in self.guard_layers[-1:] for lock in self.locks
        ]
        for guard, requirement in asked:
            if accepted is not None:
                accepted = requirement.schemes(accepted)
            elif requirement != PUBLIC:
                accepted = accepted_by(guard, requirement)
        return accepted or frozenset()

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """The roles that are asked for somewhere in it, and where each was said."""
        asked = [
            (match.requirement, match.location) for guard_layer in self.guard_layers for match in guard_layer.matches
        ]
        asked += [(lock.requirement, lock.location) for lock in self.locks]
        return tuple((role, location) for requirement, location in asked for role in roles_named(requirement))


def accepted_by(guard: Guard, requirement: Requirement) -> frozenset[str]:
    """The guard's schemes that can meet it; none where it can never be met."""
    try:
        return guard.requirements[requirement].accepted
    except ConfigurationError:
        return frozenset()


def route_entries(found: Sequence[Endpoint]) -> tuple[RouteEntry, ...]:
    """A row for each method of each endpoint."""
    return tuple(
        RouteEntry(endpoint, method, tuple(_guard_layers(endpoint, method)))
        for endpoint in found
        for method in endpoint.methods
    )


def _guard_layers(endpoint: Endpoint, method: str) -> Iterator[GuardLayer]:
    for layer in endpoint.layers:
        if layer.guard is not None:
            named = None if method == ANY_METHOD else method
            match, narrower = layer.guard.table.governing(named, endpoint.below(layer))
            yield GuardLayer(layer.guard, layer, match, narrower)
