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
class Gate:
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
class Opening:
    """A way in for the anonymous: on the row's path, or on a narrower rule's. ``rule`` is None for a default."""

    path: str
    rule: Rule | None = None
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One method and path of an app, and what is asked there. ``*`` is any method."""

    endpoint: Endpoint
    method: str
    gates: tuple[Gate, ...]

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
        said = [(gate.match.requirement, gate.match.said) for gate in self.gates]
        found: list[tuple[Requirement, str]] = []
        for requirement, where in [*said, *((lock.requirement, lock.said) for lock in self.locks)]:
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
            (match.requirement, gate.path_of(match.rule), match.rule.said)
            for gate in self.gates
            for match in gate.narrower
            if match.rule
        )

    @property
    def named(self) -> bool:
        """Whether a rule or a lock says what the whole of it asks; else a default does."""
        if self.locked:
            return True
        for number, gate in enumerate(self.gates):
            # What an outer guard opens it leaves to the inner ones, and may be open there by a default alone.
            left = is_open(gate.match.requirement) and any(inner.ajar for inner in self.gates[number + 1 :])
            if (gate.match.rule and not left) or gate.match.requirement == UNLISTED:
                return True
        return False

    @property
    def open(self) -> bool:
        """Whether anybody gets in on the whole of the path."""
        return not self.locked and all(is_open(gate.match.requirement) for gate in self.gates)

    @property
    def openings(self) -> tuple[Opening, ...]:
        """Each way in for the anonymous, by narrower rules too."""
        return tuple(self._openings())

    def _openings(self) -> Iterator[Opening]:
        opened = [[match for match in gate.matches if is_open(match.requirement)] for gate in self.gates]
        if self.locked or not all(opened):
            return
        if not self.gates:  # the guard is further in, and elsewhere
            yield Opening(self.path)
        for gate, matches in zip(self.gates, opened, strict=True):
            for match in matches:
                if match is not gate.match and match.rule:
                    yield Opening(gate.path_of(match.rule), match.rule, gate)
                elif self.open:
                    yield Opening(self.path, match.rule, gate)

    @property
    def schemes(self) -> frozenset[str]:
        """Whom the guards and the locks take, by the schemes that proved them; none where nobody is asked."""
        accepted: frozenset[str] | None = None
        asked = [(gate.guard, gate.match.requirement) for gate in self.gates]
        asked += [(gate.guard, lock.requirement) for gate in self.gates[-1:] for lock in self.locks]
        for guard, requirement in asked:
            if accepted is not None:
                accepted = requirement.schemes(accepted)
            elif requirement != PUBLIC:
                accepted = accepted_by(guard, requirement)
        return accepted or frozenset()

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """The roles that are asked for somewhere in it, and where each was said."""
        asked = [(match.requirement, match.said) for gate in self.gates for match in gate.matches]
        asked += [(lock.requirement, lock.said) for lock in self.locks]
        return tuple((role, said) for requirement, said in asked for role in roles_named(requirement))


def accepted_by(guard: Guard, requirement: Requirement) -> frozenset[str]:
    """The guard's schemes that can meet it; none where it can never be met."""
    try:
        return guard.requirements[requirement].accepted
    except ConfigurationError:
        return frozenset()


def rows_of(found: Sequence[Endpoint]) -> tuple[Row, ...]:
    """A row for each method of each endpoint."""
    return tuple(
        Row(endpoint, method, tuple(_gates(endpoint, method))) for endpoint in found for method in endpoint.methods
    )


def _gates(endpoint: Endpoint, method: str) -> Iterator[Gate]:
    for layer in endpoint.layers:
        if layer.guard is not None:
            named = None if method == ANY_METHOD else method
            match, narrower = layer.guard.table.governing(named, endpoint.below(layer))
            yield Gate(layer.guard, layer, match, narrower)
