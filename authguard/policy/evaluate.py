"""The decision about somebody who is authenticated: granted, or denied for what the requirement finds lacking."""

from __future__ import annotations

from collections.abc import Callable

from authguard.model import Accepted, Decision, Denied, Granted
from authguard.policy.table import Match
from authguard.request import AuthRequest


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
