"""What applies to one method and path: the rules of every guard on the way, then the locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from authguard.asgi.locks import Lock
from authguard.audit.endpoint import ANY_METHOD, Endpoint, Layer
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.combinators import roles_named
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED
from authguard.policy.rules import Match, Rule
from authguard.value_types import frozen


def is_open(requirement: Requirement) -> bool:
    """Whether an anonymous request satisfies it."""
    return requirement is PUBLIC or requirement is OPTIONAL


@frozen
class GuardLayer:
    """One guard on the way to an endpoint.

    ``match`` is what its rules require on the path; ``narrower`` is what narrower rules require instead on some of the
    paths that the endpoint serves.
    """

    guard: Guard
    layer: Layer
    match: Match
    narrower: tuple[Match, ...]

    @property
    def matches(self) -> tuple[Match, ...]:
        """Everything that can apply."""
        return (self.match, *self.narrower)

    @property
    def is_open_by_default(self) -> bool:
        """Whether the guard's default opens it, and no rule."""
        return self.match.rule is None and is_open(self.match.requirement)

    def path_of(self, rule: Rule) -> str:
        """The rule's pattern as a path of the outermost app."""
        return self.layer.path + rule.pattern


@frozen
class PublicAccess:
    """Where anonymous requests get in: on the row's path, or on the path of a narrower rule.

    ``rule`` is None where a default opens it. ``location`` is that of the rule, else that of the endpoint.
    """

    path: str
    location: str
    rule: Rule | None = None
    guard_layer: GuardLayer | None = None

    @property
    def cause(self) -> str:
        """What opens it, for messages: ``by /health PUBLIC``, ``by default``."""
        return f"by {self.rule}" if self.rule else "by default"


@frozen
class RouteEntry:
    """One method and path of an app, and what it requires. The method ``*`` stands for any."""

    endpoint: Endpoint
    method: str
    guard_layers: tuple[GuardLayer, ...]

    @property
    def path(self) -> str:
        """The path, written as in a rule."""
        return self.endpoint.path

    @property
    def about(self) -> str:
        """Method and path: ``GET /items/{id}``."""
        return f"{self.method} {self.path}"

    @property
    def locks(self) -> tuple[Lock, ...]:
        """The locks that run before the endpoint."""
        return self.endpoint.locks

    @property
    def locked(self) -> bool:
        """Whether a lock keeps anonymous requests out."""
        return any(not is_open(lock.requirement) for lock in self.locks)

    @property
    def report_only(self) -> bool:
        """Whether a guard, a rule or a lock on the way refuses nobody."""
        return any(layer.guard.report_only or layer.match.report_only for layer in self.guard_layers) or any(
            lock.report_only and not lock.value_taken for lock in self.locks
        )

    @property
    def requirements(self) -> tuple[tuple[Requirement, str], ...]:
        """Each requirement that the whole path has, and its source location ("" for a default).

        A principal that satisfies all of them gets in, unless a narrower rule applies. Each is listed once, and not at
        all if another one includes it.
        """
        entries: list[tuple[Requirement, str]] = []
        matches = [(guard_layer.match.requirement, guard_layer.match.location) for guard_layer in self.guard_layers]
        for requirement, location in [*matches, *((lock.requirement, lock.location) for lock in self.locks)]:
            index = next((index for index, (other, _) in enumerate(entries) if other == requirement), None)
            if index is None:
                entries.append((requirement, location))
            elif not entries[index][1]:  # a location in the app's code says more than a default, which has none
                entries[index] = requirement, location
        for weaker in (PUBLIC, OPTIONAL, AUTHENTICATED):
            entries = [entry for entry in entries if entry[0] != weaker] or entries
        return tuple([entry for entry in entries if entry[0] == UNLISTED] or entries)

    @property
    def narrower(self) -> tuple[tuple[Requirement, str, str], ...]:
        """What narrower rules require instead: the requirement, the rule's path, and the rule's source location."""
        return tuple(
            (match.requirement, guard_layer.path_of(match.rule), match.rule.location)
            for guard_layer in self.guard_layers
            for match in guard_layer.narrower
            if match.rule
        )

    @property
    def named(self) -> bool:
        """Whether a rule or a lock decides about the whole path, so that no default has to."""
        if self.locked:
            return True
        for index, guard_layer in enumerate(self.guard_layers):
            # An outer guard that opens a path leaves it to the inner guards, whose default may be what opens it.
            left_to_default = is_open(guard_layer.match.requirement) and any(
                inner.is_open_by_default for inner in self.guard_layers[index + 1 :]
            )
            if (guard_layer.match.rule and not left_to_default) or guard_layer.match.requirement == UNLISTED:
                return True
        return False

    @property
    def open(self) -> bool:
        """Whether anonymous requests get in on the whole path."""
        return not self.locked and all(is_open(guard_layer.match.requirement) for guard_layer in self.guard_layers)

    @property
    def public_accesses(self) -> tuple[PublicAccess, ...]:
        """Everywhere that anonymous requests get in, on the paths of narrower rules too."""
        return tuple(self._public_accesses())

    def _public_accesses(self) -> Iterator[PublicAccess]:
        open_matches = [
            [match for match in guard_layer.matches if is_open(match.requirement)] for guard_layer in self.guard_layers
        ]
        if self.locked or not all(open_matches):
            return
        if not self.guard_layers:  # the guard is further in, around other routes
            yield PublicAccess(self.path, self.endpoint.location)
        for guard_layer, matches in zip(self.guard_layers, open_matches, strict=True):
            for match in matches:
                location = match.location or self.endpoint.location
                if match is not guard_layer.match and match.rule:
                    yield PublicAccess(guard_layer.path_of(match.rule), location, match.rule, guard_layer)
                elif self.open:
                    yield PublicAccess(self.path, location, match.rule, guard_layer)

    @property
    def schemes(self) -> frozenset[str]:
        """The schemes whose principals the guards and the locks accept; none where nothing is required."""
        accepted: frozenset[str] | None = None
        checks = [(guard_layer.guard, guard_layer.match.requirement) for guard_layer in self.guard_layers]
        checks += [
            (guard_layer.guard, lock.requirement) for guard_layer in self.guard_layers[-1:] for lock in self.locks
        ]
        for guard, requirement in checks:
            if accepted is not None:
                accepted = requirement.schemes(accepted)
            elif requirement != PUBLIC:
                accepted = _accepted_schemes(guard, requirement)
        return accepted or frozenset()

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """Each role that a rule or a lock names here, and its source location."""
        sources = [
            (match.requirement, match.location) for guard_layer in self.guard_layers for match in guard_layer.matches
        ]
        sources += [(lock.requirement, lock.location) for lock in self.locks]
        return tuple((role, location) for requirement, location in sources for role in roles_named(requirement))


def _accepted_schemes(guard: Guard, requirement: Requirement) -> frozenset[str]:
    try:
        return guard.requirements[requirement].accepted
    except ConfigurationError:  # none of the guard's schemes can satisfy it
        return frozenset()


def route_entries(endpoints: Sequence[Endpoint]) -> tuple[RouteEntry, ...]:
    """One row for each method of each endpoint."""
    return tuple(
        RouteEntry(endpoint, method, tuple(_guard_layers(endpoint, method)))
        for endpoint in endpoints
        for method in endpoint.methods
    )


def _guard_layers(endpoint: Endpoint, method: str) -> Iterator[GuardLayer]:
    for layer in endpoint.layers:
        if layer.guard is not None:
            named_method = None if method == ANY_METHOD else method
            match, narrower = layer.guard.table.match_pattern(named_method, endpoint.below(layer))
            yield GuardLayer(layer.guard, layer, match, narrower)
