"""The guard: carriers find credentials, a scheme judges them, checks and the requirement decide. No ASGI."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import anyio

from authguard.concurrency.deadline import ask
from authguard.core.authorization import RequirementResolver, evaluate
from authguard.core.credential_selection import rejected_by, select_credentials
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
from authguard.records.record import Hook, failure
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme, carried, check_schemes
from authguard.validation import check_leeway, check_seconds, functions
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError

#: Runs after a scheme accepted: returns the principal (this one or a richer one) or ``Rejected``.
Check: TypeAlias = Callable[[AuthRequest, Principal], Awaitable[Principal | Rejected]]

#: For tests: who acts, of the accepted schemes, whatever a request presents; None looks at what it presents.
TestOverride: TypeAlias = Callable[[frozenset[str], Callable[..., Denied]], Principal | Denied | None]

#: A request that waited longer than this, in seconds, reads the clock again before it is granted.
LONG_WAIT = 1.0


class Guard:
    """What an app asks of its callers. Pure of ASGI: ``AuthGuardMiddleware`` puts it in front of an app.

    - ``schemes``: what is accepted, in the order of their challenges; one of a name.
    - ``rules``: which path asks what; the most specific pattern wins. ``default`` is for what no rule names.
    - ``leeway``: seconds, 0 to 300, granted to every stamp that another clock made.
    - ``clock``: the time in seconds since the epoch, read once a request. ``monotonic`` is for our own durations.
    - ``checks``: async functions ``(request, principal) -> Principal | Rejected``, after every success.
    - ``role_hierarchy``: ``{"admin": {"editor"}}``: who has the first role has the others too, transitively.
    - ``hooks``: functions of a ``Record``, called at every decision. ``log`` False silences the logger.
    - ``deadline``: how many seconds a check may take.

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
            one.name for one in self.schemes if one.sent_by_browsers or one.carrier.sent_by_browsers
        }
        self._carriers = carried(self.schemes)
        known = {
            "default": [UNLISTED, self.table.default.requirement],
            "rules": [one.requirement for one in self.table.rules],
        }
        self.requirements = RequirementResolver(self.schemes, known)
        self.implied_roles = expand_role_hierarchy(role_hierarchy or {})
        (self._clock,), (self.monotonic,) = functions("clock", [clock]), functions("monotonic", [monotonic])
        self.checks, self._hooks = functions("checks", checks), functions("hooks", hooks)
        if any(map(iscoroutinefunction, self._hooks)):
            raise ConfigurationError("hooks", "a hook is no async function: it is called while the request waits")
        self._recorder = Recorder(self._hooks, to_log=log, monotonic=self.monotonic)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self.reads_body = any(scheme.reads_body for scheme in self.schemes)

    def moment(self) -> Moment:
        """One reading of the clock."""
        return Moment(self._clock(), self.leeway)

    async def decide(
        self, request: AuthRequest, match: Match, authenticated: Principal | None = None, origins: Origins = frozenset()
    ) -> Decision:
        """Whether the request passes.

        ``proven`` is whom an outer guard authenticated in this request; ``origins`` are other sites that may make
        browsers send what they send by themselves.
        """
        accepted, refuse = self.requirements[match.requirement]
        tried: str | None = None
        began = self.monotonic()
        try:
            acting = self.test_override
            known = authenticated or (acting and acting(accepted, refuse))
            chosen = known or select_credentials(request, self._carriers, accepted, refuse)
            if isinstance(chosen, Denied):
                anonymous = chosen.reason is CREDENTIALS_MISSING and match.requirement is OPTIONAL
                return Granted(None, match.requirement) if anonymous else chosen
            tried = chosen.scheme
            if authenticated is None and tried in self.sent_by_browsers and is_cross_origin(request, origins):
                return refuse(ORIGIN_FOREIGN, tried, facts=origin_facts(request))
            if isinstance(chosen, Principal):
                outcome = self._still_good(request, Accepted(self._known(chosen, tried)))
                if isinstance(outcome, Accepted):
                    outcome = await self._checked(request, outcome)
            else:
                outcome = await self._outcome(request, chosen)
            if isinstance(outcome, Accepted) and self.monotonic() - began > LONG_WAIT:
                request.moment = self.moment()
                outcome = self._still_good(request, outcome)
            if isinstance(outcome, Rejected):
                return rejected_by(outcome, tried, refuse)
            return evaluate(request, match, outcome, refuse)
        except BackendUnavailable as error:
            facts = {"detail": error.detail or None, "retry_after": error.retry_after}
            return refuse(error.reason or STORE_UNAVAILABLE, tried, facts=facts)
        except RequestBodyError as error:
            return refuse(error.reason, tried)
        except Exception as error:  # noqa: BLE001 - whatever fails, the door stays closed
            return refuse(BACKEND_FAILED, tried, facts=failure(error))

    def judge(self, request: AuthRequest, match: Match, principal: Principal | None) -> Decision:
        """Whether whom this guard has proved (None: nobody) may also do what a lock on the route asks."""
        _, refuse = self.requirements[match.requirement]
        if principal is None:
            return Granted(None, match.requirement) if match.requirement is OPTIONAL else refuse(CREDENTIALS_MISSING)
        outcome = self._still_good(request, Accepted(principal))
        if isinstance(outcome, Rejected):
            return rejected_by(outcome, principal.scheme, refuse)
        return evaluate(request, match, outcome, refuse)

    def _still_good(self, request: AuthRequest, accepted: Accepted) -> Outcome:
        """The outcome by the request's clock: credentials expire while one waits, here or in a guard further out."""
        moment, principal, headers = request.moment, accepted.principal, accepted.response_headers
        if principal.expires_at is None or not moment.expired(principal.expires_at):
            return accepted
        facts = {"expired_by": moment.by(principal.expires_at), "leeway": self.leeway, "while_waiting": True}
        return Rejected(CREDENTIALS_EXPIRED, principal.subject, facts, headers, authenticated=True)

    async def _outcome(self, request: AuthRequest, credentials: Credentials) -> Outcome:
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
        principal = self._known(outcome.principal, scheme.name)
        if principal is not outcome.principal:
            outcome = Accepted(principal, outcome.response_headers, outcome.facts)
        return await self._checked(request, outcome) if self.checks else outcome

    async def _checked(self, request: AuthRequest, accepted: Accepted) -> Outcome:
        """What the checks make of who was accepted, here or by an outer guard."""
        principal, headers = accepted.principal, accepted.response_headers
        for check in self.checks:
            checked = await ask(check(request, principal), self._deadline)
            if isinstance(checked, Rejected):
                told = (*headers, *checked.response_headers)
                return Rejected(checked.reason, principal.subject, checked.facts, told, authenticated=True)
            principal = self._known(checked, principal.scheme)
        return Accepted(principal, headers, accepted.facts)

    def _known(self, principal: Principal, scheme: str | None) -> Principal:
        """The principal with its scheme and the roles that its roles imply."""
        if not isinstance(principal, Principal):
            msg = "a scheme or a check accepted without a Principal"
            raise TypeError(msg)
        if not self.implied_roles:
            return principal if principal.scheme == scheme else principal.seen_by(scheme, principal.roles)
        roles = principal.roles
        return principal.seen_by(scheme, roles.union(*(self.implied_roles.get(name, ()) for name in roles)))

    def path_refused(self, problem: str | None = None) -> Denied:
        """The denial of a path that has two readings; ``problem`` says why where the path alone does not show it."""
        return Denied(PATH_AMBIGUOUS, facts={} if problem is None else {"problem": problem})

    def reply(self, request: AuthRequest, denied: Denied, render: Render | None = None) -> tuple[Reply, Denied]:
        """The answer to a denial, and the denial that it answers: an outage where the answer itself failed."""
        return answer_denial(request, denied, self.schemes, render)

    def record(self, request: AuthRequest, decision: Decision, rule: Rule | None = None) -> None:
        """One record, to the log and the hooks."""
        self._recorder.record(request, decision, None if rule is None else rule.pattern)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Runs the services of the schemes. Everything works without it too, only later."""
        return run_services(self.schemes, self.monotonic, self._recorder.close)

    async def warm(self) -> None:
        """Fetches now what the schemes will need, such as keys. ``BackendUnavailable`` tells what could not be had."""
        await warm_services(self.schemes)

    def health(self) -> Mapping[str, Mapping[str, object]]:
        """By the name of each scheme how it and its services do: figures for a person, and no secret."""
        return services_health(self.schemes)


@asynccontextmanager
async def run_services(schemes: Sequence[Scheme], clock: Clock, close: Callable[[], None]) -> AsyncIterator[None]:
    """Runs the services of the schemes; ``close`` is called at the end, whatever becomes of them."""
    async with AsyncExitStack() as stack:
        stack.callback(close)
        for scheme in schemes:
            for service in scheme.services:
                await stack.enter_async_context(service.running(clock))
        yield


async def warm_services(schemes: Sequence[Scheme]) -> None:
    """Has every service that can (``async def warm()``) fetch now, all at once.

    Each may take its time and fail; ``BackendUnavailable`` tells all that did.
    """
    failed: list[BackendUnavailable] = []

    async def one(service: Any) -> None:
        try:
            await service.warm()
        except BackendUnavailable as error:
            failed.append(error)

    services = {id(service): service for scheme in schemes for service in scheme.services}
    async with anyio.create_task_group() as tasks:
        for service in services.values():
            if callable(getattr(service, "warm", None)):
                tasks.start_soon(one, service)
    if failed:
        told = "; ".join(str(error) for error in failed)
        waits = [error.retry_after for error in failed if error.retry_after is not None]
        raise BackendUnavailable(told, reason=failed[0].reason, retry_after=max(waits, default=None))


def services_health(schemes: Sequence[Scheme]) -> Mapping[str, Mapping[str, object]]:
    """By the name of each scheme what it says of itself and its services; of one that says nothing, what they say."""
    found: dict[str, Mapping[str, object]] = {}
    for scheme in schemes:
        own: Callable[[], Mapping[str, object]] | None = getattr(scheme, "health", None)
        found[scheme.name] = {"services": [each.health() for each in scheme.services]} if own is None else own()
    return found
