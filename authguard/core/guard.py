"""The guard: it selects credentials, has a scheme verify them, runs checks and decides. No ASGI."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import anyio

from authguard.concurrency.deadline import ask
from authguard.core.authorization import RequirementResolver, ResolvedRequirement
from authguard.core.credential_selection import select_credentials
from authguard.core.csrf import Origins, is_cross_origin, origin_facts
from authguard.core.responses import Render, Reply, answer_denial, published_by_path, with_published_rules
from authguard.errors import BackendUnavailable, ConfigurationError, RequestBodyError
from authguard.model import (
    Accepted,
    Clock,
    Decision,
    Denied,
    Granted,
    Moment,
    Outcome,
    Principal,
    Rejected,
    Requirement,
)
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, UNLISTED, expand_role_hierarchy
from authguard.policy.rules import Match, Rule, RuleTable
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_EXPIRED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    ORIGIN_FOREIGN,
    PATH_AMBIGUOUS,
    STORE_UNAVAILABLE,
)
from authguard.records.record import Hook, exception_facts
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme, check_schemes, group_by_carrier
from authguard.schemes.throttle import share_throttle
from authguard.validation import check_leeway, check_seconds, functions
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError

#: Runs after a scheme has accepted the credentials. Returns the principal, the same or a richer one, or ``Rejected``.
Check: TypeAlias = Callable[[AuthRequest, Principal], Awaitable[Principal | Rejected]]

#: For tests: the principal that acts, whatever the request presents; None means that the credentials decide.
TestOverride: TypeAlias = Callable[[ResolvedRequirement], Principal | Denied | None]

#: A request that has waited longer than this, in seconds, reads the clock again before it is granted.
LONG_WAIT = 1.0


class Guard:
    """The schemes and the rules of an app. ``AuthGuardMiddleware`` puts a guard in front of the app.

    - ``schemes``: the schemes that are accepted, in the order of their challenges. Each has a name of its own. Those
      that count login attempts share one ``LoginThrottle``, unless they were given one.
    - ``rules``: which path requires what. The most specific pattern wins. ``default`` is for paths that no rule names.
    - ``leeway``: by how many seconds, 0 to 300, the clocks of others may differ from this one.
    - ``clock``: the time in seconds since the epoch, read once for each request. ``monotonic`` is for durations.
    - ``checks``: async functions ``(request, principal) -> Principal | Rejected``. They run after every success.
    - ``role_hierarchy``: ``{"admin": {"editor"}}`` gives everybody with the first role the others too, transitively.
    - ``hooks``: functions that get the ``Record`` of every decision. ``log=False`` turns the log off.
    - ``deadline``: the seconds that a check may take, at most 60.

    Raises ``ConfigurationError``.
    """

    #: Set by ``authguard.testing`` while one of its blocks is open, and by nothing else.
    test_override: TestOverride | None = None

    def __init__(
        self,
        *schemes: Scheme,
        rules: Sequence[Rule] = (),
        default: Requirement = AUTHENTICATED,
        leeway: float = 60.0,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        checks: Sequence[Check] = (),
        role_hierarchy: Mapping[str, AbstractSet[str]] | None = None,
        hooks: Sequence[Hook] = (),
        log: bool = True,
        deadline: float = 5.0,
    ) -> None:
        self.schemes = check_schemes(schemes)
        self.published = published_by_path(self.schemes)
        self.table = RuleTable(with_published_rules(rules, self.published), default)
        self.leeway = check_leeway(leeway)
        self._by_name = {scheme.name: scheme for scheme in self.schemes}
        self.sent_by_browsers = {
            scheme.name for scheme in self.schemes if scheme.sent_by_browsers or scheme.carrier.sent_by_browsers
        }
        self._carriers = group_by_carrier(self.schemes)
        share_throttle(self.schemes)
        known = {
            "default": [UNLISTED, self.table.default.requirement],
            "rules": [rule.requirement for rule in self.table.rules],
        }
        self.requirements = RequirementResolver(self.schemes, known)
        self.implied_roles = expand_role_hierarchy(role_hierarchy or {})
        (self._clock,), (self.monotonic,) = functions("clock", [clock]), functions("monotonic", [monotonic])
        self.checks, self._hooks = functions("checks", checks), functions("hooks", hooks)
        if any(map(iscoroutinefunction, self._hooks)):
            raise ConfigurationError("hooks", "a hook must not be async: it is called while the request waits")
        methods = frozenset[str]().union(*(rule.methods or () for rule in self.table.rules))
        self._recorder = Recorder(self._hooks, to_log=log, monotonic=self.monotonic, methods=methods)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self.reads_body = any(scheme.reads_body for scheme in self.schemes)

    def moment(self) -> Moment:
        """One reading of the clock."""
        return Moment(self._clock(), self.leeway)

    async def decide(
        self, request: AuthRequest, match: Match, authenticated: Principal | None = None, origins: Origins = frozenset()
    ) -> Decision:
        """Grant or deny a request that falls under the rule of ``match``.

        ``authenticated`` is the principal that an outer guard has authenticated in this request. ``origins`` are the
        other sites whose pages may make a browser send the credentials that it sends by itself. The origin is checked
        even then: to the outer guard the same scheme may not be one of browsers, or the method may have been another.
        """
        resolved = self.requirements[match.requirement]
        tried: str | None = None
        began = self.monotonic()
        try:
            override = self.test_override
            principal = authenticated or (override and override(resolved))
            selected = principal or select_credentials(request, self._carriers, resolved)
            if isinstance(selected, Denied):
                anonymous = selected.reason is CREDENTIALS_MISSING and match.requirement is OPTIONAL
                return Granted(None, match.requirement) if anonymous else selected
            tried = selected.scheme
            if tried in self.sent_by_browsers and is_cross_origin(request, origins):
                return resolved.deny(ORIGIN_FOREIGN, tried, facts=origin_facts(request))
            if isinstance(selected, Principal):
                outcome = self._unless_expired(request, Accepted(self._own_principal(selected, tried)))
                if isinstance(outcome, Accepted):
                    outcome = await self._run_checks(request, outcome)
            else:
                outcome = await self._run_scheme(request, selected)
            if isinstance(outcome, Accepted) and self.monotonic() - began > LONG_WAIT:
                request.moment = self.moment()
                outcome = self._unless_expired(request, outcome)
            if isinstance(outcome, Rejected):
                return resolved.reject(outcome, tried)
            return resolved.authorize(outcome, match.params, request.moment)
        except BackendUnavailable as error:
            facts = {"detail": error.detail or None, "retry_after": error.retry_after}
            return resolved.deny(error.reason or STORE_UNAVAILABLE, tried, facts=facts)
        except RequestBodyError as error:
            return resolved.deny(error.reason, tried)
        except Exception as error:  # noqa: BLE001 - whatever fails, the request is denied
            return resolved.deny(BACKEND_FAILED, tried, facts=exception_facts(error))

    def authorize(self, request: AuthRequest, match: Match, principal: Principal | None) -> Decision:
        """Decide about a lock on the route, for the principal that this guard has authenticated (None: anonymous)."""
        resolved = self.requirements[match.requirement]
        if principal is None:
            anonymous = match.requirement is OPTIONAL
            return Granted(None, match.requirement) if anonymous else resolved.deny(CREDENTIALS_MISSING)
        outcome = self._unless_expired(request, Accepted(principal))
        if isinstance(outcome, Rejected):
            return resolved.reject(outcome, principal.scheme)
        return resolved.authorize(outcome, match.params, request.moment)

    def _unless_expired(self, request: AuthRequest, accepted: Accepted) -> Outcome:
        """Rejected if the credentials have expired while the request waited, here or in an outer guard."""
        moment, principal, headers = request.moment, accepted.principal, accepted.response_headers
        if principal.expires_at is None or not moment.expired(principal.expires_at):
            return accepted
        facts = {"expired_by": moment.by(principal.expires_at), "leeway": self.leeway, "while_waiting": True}
        return Rejected(CREDENTIALS_EXPIRED, principal.subject, facts, headers, authenticated=True)

    async def _run_scheme(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        scheme = self._by_name[credentials.scheme]
        request.body_readable = scheme.reads_body
        try:
            outcome = await scheme.authenticate(request, credentials)
        except WireError as error:
            return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
        if not isinstance(outcome, Accepted):
            if isinstance(outcome, Rejected):
                return outcome
            msg = "a scheme returned neither Accepted nor Rejected"
            raise TypeError(msg)
        principal = self._own_principal(outcome.principal, scheme.name)
        outcome = Accepted(principal, outcome.response_headers, outcome.facts)
        return await self._run_checks(request, outcome) if self.checks else outcome

    async def _run_checks(self, request: AuthRequest, accepted: Accepted) -> Outcome:
        """Run the guard's checks on a principal that this guard, or an outer one, has authenticated."""
        principal, headers = accepted.principal, accepted.response_headers
        for check in self.checks:
            checked = await ask(check(request, principal), self._deadline)
            if isinstance(checked, Rejected):
                headers = (*headers, *checked.response_headers)
                return Rejected(checked.reason, principal.subject, checked.facts, headers, authenticated=True)
            if checked is not principal:
                principal = self._own_principal(checked, principal.scheme)
        return Accepted(principal, headers, accepted.facts)

    def _own_principal(self, principal: Principal, scheme: str | None) -> Principal:
        """The principal of this request alone, with its scheme, and with the roles that its roles imply.

        A scheme, a check or a test may use one principal for many requests. None of them may change its claims for the
        others.
        """
        if not isinstance(principal, Principal):
            msg = "a scheme or a check accepted without a Principal"
            raise TypeError(msg)
        roles = principal.roles
        if self.implied_roles:
            roles = roles.union(*(self.implied_roles.get(name, ()) for name in roles))
        return principal.seen_by(scheme, roles)

    def deny_path(self, problem: str | None = None) -> Denied:
        """The denial of a path that can be read in two ways. ``problem`` says why, if the path does not show it."""
        return Denied(PATH_AMBIGUOUS, facts={} if problem is None else {"problem": problem})

    def reply(self, request: AuthRequest, denied: Denied, render: Render | None = None) -> tuple[Reply, Denied]:
        """The response to a denial, and the denial that it reports: an outage if no response could be made."""
        return answer_denial(request, denied, self.schemes, render)

    def record(self, request: AuthRequest, decision: Decision, rule: Rule | None = None) -> None:
        """Write one record, to the log and to the hooks."""
        self._recorder.record(request, decision, None if rule is None else rule.pattern)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run the services of the schemes, such as key refreshers. Without them some requests wait for keys."""
        return run_services(self.schemes, self.monotonic, self._recorder.close)

    async def warm(self) -> None:
        """Fetch now what the schemes need, such as keys. Raises ``BackendUnavailable`` that names what failed."""
        await warm_services(self.schemes)

    def health(self) -> Mapping[str, Mapping[str, object]]:
        """The state of each scheme and its services, by the name of the scheme. For a person; it holds no secret."""
        return services_health(self.schemes)


@asynccontextmanager
async def run_services(schemes: Sequence[Scheme], clock: Clock, close: Callable[[], None]) -> AsyncIterator[None]:
    """Run the services of the schemes. ``close`` is called at the end, whatever happens to them."""
    async with AsyncExitStack() as stack:
        stack.callback(close)
        for scheme in schemes:
            for service in scheme.services:
                await stack.enter_async_context(service.running(clock))
        yield


async def warm_services(schemes: Sequence[Scheme]) -> None:
    """Call ``async def warm()`` of every service that has it, all at the same time.

    A failure does not stop the others. Raises one ``BackendUnavailable`` that names all failures.
    """
    failures: list[BackendUnavailable] = []

    async def warm(service: Any) -> None:
        try:
            await service.warm()
        except BackendUnavailable as error:
            failures.append(error)

    services = {id(service): service for scheme in schemes for service in scheme.services}
    async with anyio.create_task_group() as tasks:
        for service in services.values():
            if callable(getattr(service, "warm", None)):
                tasks.start_soon(warm, service)
    if failures:
        message = "; ".join(str(error) for error in failures)
        waits = [error.retry_after for error in failures if error.retry_after is not None]
        raise BackendUnavailable(message, reason=failures[0].reason, retry_after=max(waits, default=None))


def services_health(schemes: Sequence[Scheme]) -> Mapping[str, Mapping[str, object]]:
    """The ``health()`` of each scheme by name; of a scheme without that method, the ``health()`` of its services."""
    states: dict[str, Mapping[str, object]] = {}
    for scheme in schemes:
        health: Callable[[], Mapping[str, object]] | None = getattr(scheme, "health", None)
        if health is None:
            states[scheme.name] = {"services": [service.health() for service in scheme.services]}
        else:
            states[scheme.name] = health()
    return states
