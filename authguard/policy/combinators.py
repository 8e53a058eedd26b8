"""Requirements made of requirements. PUBLIC and OPTIONAL do not nest: they are about whole routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.requirements import OPTIONAL, PUBLIC, StepUp, check_requirement, distinct
from authguard.reasons import REQUIREMENT_UNMET, STEP_UP_REQUIRED


@dataclass(frozen=True, slots=True, repr=False)
class _Parts:
    parts: tuple[Requirement, ...]

    def __repr__(self) -> str:
        return str(self)

    def scopes_named(self) -> tuple[str, ...]:
        return distinct(name for part in self.parts for name in part.scopes_named())

    def roles_named(self) -> tuple[str, ...]:
        return distinct(name for part in self.parts for name in roles_named(part))


@dataclass(frozen=True, slots=True, repr=False)
class _AllOf(_Parts):
    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        # A fresher login does not help whom a role is lacking: what cannot be mended by logging in again comes first.
        lacks = [lack for part in self.parts if (lack := part.unmet(principal, params, moment))]
        final = [lack for lack in lacks if lack.reason is not STEP_UP_REQUIRED]
        if final:
            return final[0]
        if not lacks:
            return None
        facts = {key: value for lack in lacks for key, value in lack.facts.items()}
        return Failure(STEP_UP_REQUIRED, facts, missing=tuple(facts))

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every.intersection(*(part.schemes(every) for part in self.parts))

    def __str__(self) -> str:
        return f"all_of({', '.join(map(str, self.parts))})"


@dataclass(frozen=True, slots=True, repr=False)
class _AnyOf(_Parts):
    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        lacks: list[Failure] = []
        for part in self.parts:
            lack = part.unmet(principal, params, moment)
            if lack is None:
                return None
            lacks.append(lack)
        for lack in lacks:
            if lack.reason is STEP_UP_REQUIRED:
                return lack
        reasons = {lack.reason for lack in lacks}
        missing = distinct(name for lack in lacks for name in lack.missing)
        return Failure(reasons.pop() if len(reasons) == 1 else REQUIREMENT_UNMET, missing=missing)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return frozenset[str]().union(*(part.schemes(every) for part in self.parts))

    def __str__(self) -> str:
        return f"any_of({', '.join(map(str, self.parts))})"


def all_of(*parts: Requirement) -> Requirement:
    """All of these requirements."""
    return _AllOf(_parts("all_of", parts))


def any_of(*parts: Requirement) -> Requirement:
    """At least one of these requirements. A denial asks for a step-up where that alone would do."""
    return _AnyOf(_parts("any_of", parts))


def _parts(argument: str, parts: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    if not parts:
        raise ConfigurationError(argument, "give at least one requirement; an empty one would let everybody in")
    for part in parts:
        if isinstance(part, list | tuple | set | frozenset):
            raise ConfigurationError(argument, f"give them as arguments, not as a {type(part).__name__}")
        check_requirement(argument, part)
        if part is PUBLIC or part is OPTIONAL:
            raise ConfigurationError(argument, f"{part} does not nest; give it a rule of its own")
    return parts


def roles_named(requirement: Requirement) -> tuple[str, ...]:
    """The roles that stand in it; one of the app's own has none unless it says so."""
    named: tuple[str, ...] = getattr(requirement, "roles_named", tuple)()
    return named


def asks_step_up(requirement: Requirement) -> bool:
    """Whether a step-up is somewhere in it."""
    parts: tuple[Requirement, ...] = getattr(requirement, "parts", ())
    return isinstance(requirement, StepUp) or any(map(asks_step_up, parts))


def scopes_needed(requirement: Requirement, scheme: str) -> tuple[str, ...]:
    """The scopes without which nobody whom this scheme has proved meets it."""
    if not isinstance(requirement, _Parts):
        return requirement.scopes_named()
    needed = [scopes_needed(part, scheme) for part in requirement.parts if part.schemes(frozenset({scheme}))]
    return distinct(
        name
        for names in needed
        for name in names
        if isinstance(requirement, _AllOf) or all(name in others for others in needed)
    )
