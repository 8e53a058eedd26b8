"""What a requirement means for one guard: which schemes can meet it, and whether a principal does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Literal, TypeAlias

from authguard.difference import difference
from authguard.errors import ConfigurationError
from authguard.model import NO_FACTS, Decision, Denied, Facts, Granted, Header, Moment, Principal, Rejected, Requirement
from authguard.policy.combinators import asks_step_up
from authguard.policy.requirements import PUBLIC, UNLISTED
from authguard.reasons import CREDENTIALS_MISSING, REQUIREMENT_UNMET, ROLE_MISSING, SCOPE_MISSING, Reason
from authguard.schemes.scheme import Scheme, auth_scheme_of


class ResolvedRequirement:
    """A requirement of one guard, with the names of the schemes that can meet it.

    What it means for every request is made once: the denial of one that presents nothing, and the grant of an anonymous
    one, which only ``OPTIONAL`` allows.

    ``by_auth_scheme``: the scheme that verifies what clients send, by its auth-scheme. ``conflict``: why nothing can be
    verified, because two schemes have one auth-scheme. ``explain``: ``Scheme.facts_without`` of each scheme.
    """

    __slots__ = ("_explain", "accepted", "anonymous", "by_auth_scheme", "conflict", "nothing_presented", "requirement")

    def __init__(
        self,
        requirement: Requirement,
        accepted: frozenset[str],
        by_auth_scheme: Mapping[str, str],
        conflict: str | None = None,
        explain: Mapping[str | None, FactsWithout] = MappingProxyType({}),
    ) -> None:
        self._explain = explain
        self.requirement = requirement
        self.accepted = accepted
        self.by_auth_scheme = by_auth_scheme
        self.conflict = conflict
        self.nothing_presented = self.deny(CREDENTIALS_MISSING)
        self.anonymous = Granted(None, requirement, (), NO_FACTS)

    def deny(
        self,
        reason: Reason,
        scheme: str | None = None,
        subject: str | None = None,
        *,
        authenticated: bool = False,
        missing: tuple[str, ...] = (),
        offered: tuple[str, ...] = (),
        facts: Facts = NO_FACTS,
        response_headers: Sequence[Header] = (),
        principal: Principal | None = None,
    ) -> Denied:
        """The denial of a request on this route. The arguments are the fields of ``Denied``."""
        return Denied(
            reason,
            scheme,
            subject,
            authenticated,
            self.requirement,
            self.accepted,
            missing,
            offered,
            facts,
            response_headers,
            principal,
        )

    def reject(self, rejected: Rejected, scheme: str | None) -> Denied:
        """The denial of credentials that a scheme or a check rejected."""
        return self.deny(
            rejected.reason,
            scheme,
            rejected.subject,
            authenticated=rejected.authenticated,
            facts=rejected.facts,
            response_headers=rejected.response_headers,
        )

    def authorize(
        self,
        principal: Principal,
        response_headers: Sequence[Header],
        facts: Facts,
        params: Mapping[str, str],
        moment: Moment,
    ) -> Decision:
        """Granted if the principal meets the requirement. ``params`` are the path parameters of the rule."""
        requirement = self.requirement
        failure = requirement.unmet(principal, params, moment)
        if failure is None:
            return Granted(principal, requirement, response_headers, facts)
        offered = _offered(principal, requirement, failure.reason)
        failed: Facts = failure.facts
        if failure.reason is ROLE_MISSING or failure.reason is SCOPE_MISSING:
            is_scope = failure.reason is SCOPE_MISSING
            explained = _difference(failure.missing, offered) if offered else self._without_names(principal, is_scope)
            failed = {**explained, **failed} if explained else failed
        return self.deny(
            failure.reason,
            principal.scheme,
            principal.subject,
            authenticated=True,
            missing=failure.missing,
            offered=offered,
            facts=failed,
            response_headers=response_headers,
            principal=principal,
        )

    def _without_names(self, principal: Principal, is_scope: bool) -> Facts:
        """Why a principal has no role or scope at all, as its scheme explains it."""
        explain = self._explain.get(principal.scheme)
        if explain is not None:
            # Nothing that explains a refusal may change it. A check of the app may have given the principal any claims.
            with suppress(Exception):
                return explain("scopes" if is_scope else "roles", principal)
        return NO_FACTS


def _difference(missing: Sequence[str], offered: Sequence[str]) -> Facts:
    """How an offered name differs from a missing one that it is like."""
    offered = offered[:_MAX_COMPARED]
    text = "\n".join(offered).lower()
    for wanted in missing[:_MAX_COMPARED]:
        # This tells nearly all names apart. A name that is like another one contains what is left of it here.
        if wanted.lower().removeprefix("role_").strip("/") in text:
            for found in offered:
                if (differs_by := difference(found, (wanted,))) is not None:
                    return {"differs_by": differs_by}
    return NO_FACTS


#: How many offered names are compared with how many missing ones.
_MAX_COMPARED = 8

#: The type of ``Scheme.facts_without``.
FactsWithout: TypeAlias = Callable[[Literal["roles", "scopes"], Principal], Facts]


def _offered(principal: Principal, requirement: Requirement, reason: Reason) -> tuple[str, ...]:
    """What the principal has of the kind that is missing: roles or scopes, or both if it may be either."""
    if reason is ROLE_MISSING or not requirement.scopes_named():
        return tuple(sorted(principal.roles))
    if reason is REQUIREMENT_UNMET:
        return (*sorted(principal.roles), *sorted(principal.scopes))
    return tuple(sorted(principal.scopes))


class RequirementResolver:
    """The requirements of one guard. Those of its rules are resolved while it is built."""

    def __init__(self, schemes: Sequence[Scheme], known: Mapping[str, Sequence[Requirement]]) -> None:
        self._reports_login_time = {scheme.name: scheme.reports_login_time for scheme in schemes}
        self._scheme_names = frozenset(self._reports_login_time)
        self._explain: dict[str | None, FactsWithout] = {scheme.name: scheme.facts_without for scheme in schemes}
        self._auth_schemes = {scheme.name: auth_scheme_of(scheme) for scheme in schemes}
        # Keyed by identity: the rule table holds these very values, and hashing one costs more than finding it.
        self._resolved = {
            id(requirement): self.resolve(argument, requirement)
            for argument, requirements in known.items()
            for requirement in requirements
        }

    def __getitem__(self, requirement: Requirement) -> ResolvedRequirement:
        resolved = self._resolved.get(id(requirement))
        return self.resolve("requirement", requirement) if resolved is None else resolved

    def resolve(self, argument: str, requirement: Requirement) -> ResolvedRequirement:
        """What a requirement means. ``argument``: where the app wrote it.

        Raises ``ConfigurationError`` if no scheme of the guard can meet it, and for a rule that accepts two schemes
        with one auth-scheme: nobody could tell which of them a request is for.
        """
        accepted = requirement.schemes(self._scheme_names)
        if not accepted:
            raise ConfigurationError(argument, f"no scheme of this guard can meet {requirement}")
        if asks_step_up(requirement) and not any(self._reports_login_time[name] for name in accepted):
            raise ConfigurationError(
                argument, f"{requirement} needs acr or auth_time, and no accepted scheme reports them"
            )
        by_auth_scheme: dict[str, str] = {}
        conflict: str | None = None
        for name, word in self._auth_schemes.items():
            if name in accepted and (first := by_auth_scheme.setdefault(word, name)) != name:
                conflict = f'{requirement} accepts {first} and {name}, which are both {word}; name one: via("{first}")'
        if conflict is None:
            return ResolvedRequirement(requirement, accepted, by_auth_scheme, explain=self._explain)
        if requirement == UNLISTED:  # nobody passes it, whichever of them is asked
            return ResolvedRequirement(requirement, frozenset(by_auth_scheme.values()), by_auth_scheme)
        if argument != "requirement" and requirement is not PUBLIC:
            raise ConfigurationError(argument, conflict)
        # A lock may have a principal already, of whichever scheme the rule has named.
        return ResolvedRequirement(requirement, accepted, {}, conflict, self._explain)
