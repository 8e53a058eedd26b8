"""Requirements made of requirements: ``all_of`` and ``any_of``.

``PUBLIC`` and ``OPTIONAL`` are about a whole route, so they cannot be a part of either. The last three functions look
into a requirement: at its roles, its step-ups, and the scopes that it cannot be met without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from itertools import chain, groupby

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.requirements import (
    OPTIONAL,
    PUBLIC,
    RoleRequirement,
    ScopeRequirement,
    StepUp,
    check_requirement,
    reads_params,
    without_duplicates,
)
from authguard.reasons import REQUIREMENT_UNMET, STEP_UP_REQUIRED
from authguard.value_types import frozen


@frozen
class _Combination:
    parts: tuple[Requirement, ...]

    def __repr__(self) -> str:
        return str(self)

    def scopes_named(self) -> tuple[str, ...]:
        return without_duplicates(scope for part in self.parts for scope in part.scopes_named())

    def roles_named(self) -> tuple[str, ...]:
        return without_duplicates(role for part in self.parts for role in roles_named(part))

    def reads_params(self) -> bool:
        return any(map(reads_params, self.parts))


@frozen
class _AllOf(_Combination):
    # What the parts about roles and scopes need together, and the other parts.
    _roles: frozenset[str] = field(repr=False, compare=False)
    _scopes: frozenset[str] = field(repr=False, compare=False)
    _others: tuple[Requirement, ...] = field(repr=False, compare=False)

    def __init__(self, parts: tuple[Requirement, ...]) -> None:
        needs = [part for part in parts if _needs_all_names(part)]
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "_roles", frozenset(role for part in needs for role in roles_named(part)))
        object.__setattr__(self, "_scopes", frozenset(scope for part in needs for scope in part.scopes_named()))
        object.__setattr__(self, "_others", tuple(part for part in parts if not _needs_all_names(part)))

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        has_all = self._roles.issubset(principal.roles) and self._scopes.issubset(principal.scopes)
        failures: list[Failure] = []
        for part in self._others if has_all else self.parts:
            failure = part.unmet(principal, params, moment)
            if failure:
                failures.append(failure)
        if not failures:
            return None
        if len(failures) > 1:
            # What failed by a mistake of the app must not hide behind what the principal does not have.
            failures.sort(key=lambda failure: not failure.reason.ours)
        # A new login cannot help a principal that also fails another part, so such a failure is reported first.
        for failure in failures:
            if failure.reason is not STEP_UP_REQUIRED:
                return failure
        facts = {key: value for failure in failures for key, value in failure.facts.items()}
        missing = without_duplicates(chain.from_iterable(failure.missing for failure in failures))
        return Failure(STEP_UP_REQUIRED, facts, missing=missing)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every.intersection(*(part.schemes(every) for part in self.parts))

    def __str__(self) -> str:
        return f"all_of({', '.join(map(str, self.parts))})"


@frozen
class _AnyOf(_Combination):
    #: The parts, where several in a row that need one role each are one.
    _steps: tuple[Requirement, ...] = field(repr=False, compare=False)

    def __init__(self, parts: tuple[Requirement, ...]) -> None:
        steps: list[Requirement] = []
        for needs_one, run in groupby(parts, _needs_one_role):
            in_a_row = tuple(run)
            steps += [_any_role_of(in_a_row)] if needs_one else in_a_row
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "_steps", tuple(steps))

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        failures: list[Failure] = []
        for step in self._steps:
            failure = step.unmet(principal, params, moment)
            if failure is None:
                return None
            failures.append(failure)
        for failure in failures:
            if failure.reason is STEP_UP_REQUIRED:
                return failure
        for failure in failures:
            if failure.reason.ours:
                return failure
        reasons = {failure.reason for failure in failures}
        missing = without_duplicates(chain.from_iterable(failure.missing for failure in failures))
        return Failure(reasons.pop() if len(reasons) == 1 else REQUIREMENT_UNMET, missing=missing)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return frozenset[str]().union(*(part.schemes(every) for part in self.parts))

    def __str__(self) -> str:
        return f"any_of({', '.join(map(str, self.parts))})"


def _needs_all_names(part: Requirement) -> bool:
    return isinstance(part, ScopeRequirement) or (isinstance(part, RoleRequirement) and part.needs_all)


def _needs_one_role(part: Requirement) -> bool:
    return isinstance(part, RoleRequirement) and (not part.needs_all or len(part.roles) == 1)


def _any_role_of(parts: Sequence[Requirement]) -> Requirement:
    return RoleRequirement(without_duplicates(role for part in parts for role in roles_named(part)), needs_all=False)


def all_of(*parts: Requirement) -> Requirement:
    """All of these requirements. Denies for the first that is not met, and a step-up comes last."""
    return _AllOf(_check_parts("all_of", parts))


def any_of(*parts: Requirement) -> Requirement:
    """At least one of these requirements. A denial asks for a step-up if that alone would be enough."""
    return _AnyOf(_check_parts("any_of", parts))


def _check_parts(argument: str, parts: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    if not parts:
        raise ConfigurationError(argument, "give at least one requirement; an empty one would let everybody in")
    for part in parts:
        if isinstance(part, list | tuple | set | frozenset):
            raise ConfigurationError(
                argument, f"give the requirements as separate arguments, not as a {type(part).__name__}"
            )
        check_requirement(argument, part)
        if part is PUBLIC or part is OPTIONAL:
            raise ConfigurationError(argument, f"{part} cannot be a part of another requirement; give it its own rule")
    return parts


def roles_named(requirement: Requirement) -> tuple[str, ...]:
    """The roles that a requirement names; none if it has no method ``roles_named``."""
    named: tuple[str, ...] = getattr(requirement, "roles_named", tuple)()
    return named


def met_by_parts(requirement: Requirement, is_met: Callable[[Requirement], bool | None]) -> bool | None:
    """Whether a requirement is met, from the answers about its parts, where None is unknown. Unknown if it has none."""
    if not isinstance(requirement, _Combination):
        return None
    decisive = isinstance(requirement, _AnyOf)  # one part with this answer decides
    answers = [is_met(part) for part in requirement.parts]
    return decisive if decisive in answers else None if None in answers else not decisive


def asks_step_up(requirement: Requirement) -> bool:
    """Whether a requirement is a step-up, or has one among its parts."""
    parts: tuple[Requirement, ...] = getattr(requirement, "parts", ())
    return isinstance(requirement, StepUp) or any(map(asks_step_up, parts))


def scopes_needed(requirement: Requirement, scheme: str) -> tuple[str, ...]:
    """The scopes that every principal of this scheme must have to meet the requirement."""
    if not isinstance(requirement, _Combination):
        return requirement.scopes_named()
    # A part that this scheme cannot meet does not count.
    needed = [scopes_needed(part, scheme) for part in requirement.parts if part.schemes(frozenset({scheme}))]
    return without_duplicates(
        scope
        for scopes in needed
        for scope in scopes
        if isinstance(requirement, _AllOf) or all(scope in others for others in needed)
    )
