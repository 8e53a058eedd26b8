"""What a requirement means for one guard: which schemes can meet it, and how its denials begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from authguard.errors import ConfigurationError
from authguard.model import Accepted, Decision, Denied, Granted, Requirement
from authguard.policy.combinators import asks_step_up
from authguard.policy.rules import Match
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme


class ResolvedRequirement(NamedTuple):
    """The names of the schemes that can meet a requirement, and what makes a ``Denied`` of a reason."""

    accepted: frozenset[str]
    refuse: partial[Denied]


class RequirementResolver:
    """The requirements of one guard. Those that are known while it is built are looked at once."""

    def __init__(self, schemes: Sequence[Scheme], known: Mapping[str, Sequence[Requirement]]) -> None:
        self._reports_login_time = {scheme.name: scheme.reports_login_time for scheme in schemes}
        self._every = frozenset(self._reports_login_time)
        # By identity: the table holds these very values, and to hash one costs more than to find it.
        self._known = {id(one): self.resolve(argument, one) for argument, some in known.items() for one in some}

    def __getitem__(self, requirement: Requirement) -> ResolvedRequirement:
        found = self._known.get(id(requirement))
        return self.resolve("requirement", requirement) if found is None else found

    def resolve(self, argument: str, requirement: Requirement) -> ResolvedRequirement:
        """``ConfigurationError`` where no scheme of this guard can meet it."""
        accepted = requirement.schemes(self._every)
        if not accepted:
            raise ConfigurationError(argument, f"no scheme of this guard can meet {requirement}")
        if asks_step_up(requirement) and not any(self._reports_login_time[name] for name in accepted):
            raise ConfigurationError(argument, f"no scheme that is accepted tells acr or auth_time: {requirement}")
        return ResolvedRequirement(accepted, partial(Denied, requirement=requirement, accepted=accepted))


def evaluate(request: AuthRequest, match: Match, outcome: Accepted, refuse: Callable[..., Denied]) -> Decision:
    """Whether the principal meets what was matched; ``refuse`` makes the denial for this route."""
    principal, requirement = outcome.principal, match.requirement
    lack = requirement.unmet(principal, match.params, request.moment)
    if lack is None:
        return Granted(principal, requirement, outcome.response_headers, outcome.facts)
    return refuse(
        lack.reason,
        principal.scheme,
        principal.subject,
        True,
        missing=lack.missing,
        offered=tuple(sorted(principal.scopes if requirement.scopes_named() else principal.roles)),
        facts=lack.facts,
        response_headers=outcome.response_headers,
    )
