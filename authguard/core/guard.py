"""The guard: it selects credentials, has a scheme verify them, runs checks and decides. No ASGI."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio

from authguard.app_code import async_function, awaitable, plain_function, shown, wrong_answer
from authguard.concurrency.deadline import ask
from authguard.core.authorization import RequirementResolver, ResolvedRequirement
from authguard.core.csrf import Origins, is_hidden_origin
from authguard.core.diagnosis import explain_missing, explained
from authguard.core.fast_path import FastPath, Undecided, denial_of, unless_expired
from authguard.core.login_page import login_pages
from authguard.core.responses import (
    ConstantReplies,
    Render,
    Reply,
    answer_denial,
    published_by_path,
    with_published_rules,
)
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import (
    NO_FACTS,
    Accepted,
    Clock,
    Decision,
    Denied,
    Facts,
    Granted,
    Moment,
    Outcome,
    Principal,
    Rejected,
    Requirement,
    keep_revocation_keys,
    wall_clock,
)
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED, expand_role_hierarchy
from authguard.policy.rules import Match, Rule, RuleTable
from authguard.reasons import CREDENTIALS_MALFORMED, CREDENTIALS_MISSING, METHOD_UNLISTED, PATH_AMBIGUOUS
from authguard.records.counts import CountKey
from authguard.records.record import Hook
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.schemes.carriers import AuthorizationField, Cookie
from authguard.schemes.scheme import Carrier, Continuation, Scheme, check_schemes
from authguard.source_location import name_of
from authguard.validation import check_flag, check_leeway, check_seconds, functions
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError

if TYPE_CHECKING:
    from authguard.core.revocation import RevocationCheck
    from authguard.state.revocations import Revocations

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
    - ``hooks``: functions that get the ``Record`` of every decision; ``add_hook`` adds one later. ``log=False`` turns
      the log off.
    - ``report_only``: True refuses nothing: what the guard would deny is recorded as ``would_deny``, and passes with
      the principal that was authenticated, or anonymously. Outages, and what an endpoint denies itself, are refused all
      the same; so is a request without a principal where the endpoint takes one. Open connections do not end.
    - ``pattern_warnings``: log one WARNING for a pattern in refusals, such as many names from one network.
    - ``revocations``: where each principal is looked up that a scheme has accepted, whether or not the scheme remembers
      it: ``MemoryRevocations()`` or another store, or a list of them. They are asked before the checks.
    - ``end_with_credentials``: whether an open WebSocket and a response in parts end when their credentials expire or
      are revoked. A store that cannot tell of a revocation is asked every ``revocation_poll`` seconds for each of them.
    - ``deadline``: the seconds that a check, or a store of revocations, may take, at most 60.

    Raises ``ConfigurationError``.
    """

    #: Set by ``authguard.testing`` while one of its blocks is open, and by nothing else.
    test_override: TestOverride | None = None
    #: Gets the scheme and the seconds of each decision that had to wait. ``authguard.telemetry`` sets it.
    on_waited: Callable[[str | None, float], None] | None = None

    def __init__(
        self,
        *schemes: Scheme,
        rules: Sequence[Rule] = (),
        default: Requirement = AUTHENTICATED,
        leeway: float = 60.0,
        clock: Clock = wall_clock,
        monotonic: Clock = time.monotonic,
        checks: Sequence[Check] = (),
        role_hierarchy: Mapping[str, AbstractSet[str]] | None = None,
        hooks: Sequence[Hook] = (),
        log: bool = True,
        report_only: bool = False,
        pattern_warnings: bool = False,
        revocations: Revocations | Sequence[Revocations] = (),
        end_with_credentials: bool = False,
        revocation_poll: float = 10.0,
        deadline: float = 5.0,
    ) -> None:
        self.schemes = check_schemes(schemes)
        self.published = published_by_path(self.schemes)
        self.table = RuleTable(with_published_rules(rules, self.published), default)
        self.leeway = check_leeway(leeway)
        self.report_only = check_flag("report_only", report_only)
        self._by_name = {scheme.name: scheme for scheme in self.schemes}
        if any(hasattr(scheme, "use_throttle") for scheme in self.schemes):
            # An app without passwords does not import this.
            from authguard.schemes.throttle import share_throttle  # noqa: PLC0415

            share_throttle(self.schemes)
        known = {
            "default": [UNLISTED, *self.table.unlisted, self.table.default.requirement],
            "rules": [rule.requirement for rule in self.table.rules],
        }
        self.requirements = RequirementResolver(self.schemes, known)
        self.implied_roles = expand_role_hierarchy(role_hierarchy or {})
        (given,), (self.monotonic,) = functions("clock", [clock]), functions("monotonic", [monotonic])
        for name, function in (("clock", given), ("monotonic", self.monotonic)):
            plain_function(name, function, f"{name}()")
        # None for the default, which each request then reads without a call of a function in Python.
        self._clock: Clock | None = None if given is wall_clock else given
        self.checks, checked_hooks = check_checks(checks), functions("hooks", hooks)
        for hook in checked_hooks:
            plain_function("hooks", hook, "hook(record)", None)
        methods = frozenset[str]().union(*(rule.methods or () for rule in self.table.rules))
        self._recorder = Recorder(
            checked_hooks, to_log=log, monotonic=self.monotonic, methods=methods, explain_missing=explain_missing
        )
        if check_flag("pattern_warnings", pattern_warnings):
            # An app without them does not import this.
            from authguard.records.pattern_warnings import PatternWarnings  # noqa: PLC0415

            self.add_hook(PatternWarnings(self._recorder.counts.snapshot, self.monotonic))
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._revocations: RevocationCheck | None = None
        if revocations != ():
            # An app without revocations does not import this.
            from authguard.core.revocation import revocation_check  # noqa: PLC0415

            self._revocations = revocation_check(revocations, self.schemes, self._deadline)
        self._fast_path = FastPath(
            self.schemes,
            implied_roles=self.implied_roles,
            has_checks=bool(self.checks),
            revocations=self._revocations,
        )
        self.ends_connections = check_flag("end_with_credentials", end_with_credentials) and not report_only
        self._revocation_poll = check_seconds("revocation_poll", revocation_poll, most=3600)
        self._constant_replies = ConstantReplies(self.schemes)
        self._login_pages = login_pages(self.schemes, self.table)
        self.sent_by_browsers = self._fast_path.sent_by_browsers
        #: The carriers outside the ``Authorization`` field, by the names of their schemes.
        self.other_carriers: Mapping[str | None, Carrier] = {
            scheme.name: scheme.carrier for scheme in self.schemes if not isinstance(scheme.carrier, AuthorizationField)
        }
        #: The names of the cookies with which users log in.
        self.cookies = frozenset(
            carrier.name for carrier in self.other_carriers.values() if isinstance(carrier, Cookie)
        )
        self.reads_body = any(scheme.reads_body for scheme in self.schemes)

    def moment(self) -> Moment:
        """One reading of the clock."""
        clock = self._clock
        return Moment(time.time() if clock is None else clock(), self.leeway)

    async def decide(
        self, request: AuthRequest, match: Match, authenticated: Principal | None = None, origins: Origins = frozenset()
    ) -> Decision:
        """Grant or deny a request that falls under the rule of ``match``. The arguments are those of ``decide_now``."""
        decision = self.decide_now(request, match, authenticated, origins)
        return await self.finish(decision, request, match) if isinstance(decision, Undecided) else decision

    def decide_now(
        self, request: AuthRequest, match: Match, authenticated: Principal | None = None, origins: Origins = frozenset()
    ) -> Decision | Undecided:
        """The decision about a request that falls under the rule of ``match``, if nothing must be awaited for it.

        ``authenticated`` is the principal that an outer guard has authenticated in this request. ``origins`` are the
        other sites whose pages may make a browser send the credentials that it sends by itself. The origin is checked
        even then: to the outer guard the same scheme may not be one of browsers, or the method may have been another.
        """
        resolved, override = self.requirements[match.requirement], self.test_override
        taken_over: Principal | Denied | None = authenticated
        if taken_over is None and override is not None:
            try:
                taken_over = override(resolved)
            except Exception as error:  # noqa: BLE001 - whatever fails, the request is denied
                return denial_of(error, resolved, None)
        return self._fast_path.decide(request, resolved, match.params, origins, taken_over)

    async def finish(self, undecided: Undecided, request: AuthRequest, match: Match) -> Decision:
        """Decide about a request that ``decide_now`` could not decide on."""
        resolved, scheme = self.requirements[match.requirement], undecided.scheme
        began = self.monotonic()
        try:
            outcome = await self._outcome(undecided, request)
            if isinstance(outcome, Accepted) and self.monotonic() - began > LONG_WAIT:
                request.moment = self.moment()
                outcome = unless_expired(outcome, request.moment)
            if isinstance(outcome, Rejected):
                return resolved.reject(outcome, scheme)
            return resolved.authorize(
                outcome.principal, outcome.response_headers, outcome.facts, match.params, request.moment
            )
        except Exception as error:  # noqa: BLE001 - whatever fails, the request is denied
            return denial_of(error, resolved, scheme)
        finally:
            if self.on_waited is not None:
                self.on_waited(scheme, self.monotonic() - began)

    async def _outcome(self, undecided: Undecided, request: AuthRequest) -> Outcome:
        """What the scheme says, and after it the revocations and the checks."""
        answer = undecided.answer
        if undecided.credentials is not None:
            scheme = self._by_name[cast("str", undecided.scheme)]
            request.body_readable = scheme.reads_body
            if not isinstance(answer, Accepted):
                outcome = await _ask_scheme(scheme, request, undecided.credentials, answer)
                if isinstance(outcome, Rejected):
                    return explained(outcome, undecided.credentials)
                principal = self._fast_path.own_principal(outcome.principal, scheme.name)
                answer = Accepted(principal, outcome.response_headers, outcome.facts)
        accepted = cast("Accepted", answer)
        if self._revocations is not None and not undecided.is_unrevoked:
            asked = await self._revocations.ask(accepted, undecided.scheme, request)
            if isinstance(asked, Rejected):
                if undecided.credentials is not None:
                    self._fast_path.forget_session(asked, undecided.scheme, request)
                return asked
        return await self._run_checks(request, accepted) if self.checks else accepted

    def authorize(
        self, request: AuthRequest, match: Match, principal: Principal | None, reported: Denied | None = None
    ) -> Decision:
        """Decide about a lock on the route, for the principal that this guard has authenticated (None: anonymous).

        ``reported``: why nobody is authenticated, if a report-only rule or lock has let the request pass.
        """
        resolved = self.requirements[match.requirement]
        if principal is None:
            if reported is not None and reported.reason is not CREDENTIALS_MISSING:
                return resolved.deny(
                    reported.reason,
                    reported.scheme,
                    reported.subject,
                    authenticated=reported.authenticated,
                    facts=reported.facts,
                )
            return resolved.anonymous if match.requirement is OPTIONAL else resolved.nothing_presented
        outcome = unless_expired(Accepted(principal), request.moment)
        if isinstance(outcome, Accepted) and self._revocations is not None:
            # A WebSocket may have been open for days. A store that must be awaited was asked when it was opened.
            outcome = self._revocations.ask_now(outcome, principal.scheme) or outcome
        if isinstance(outcome, Rejected):
            return resolved.reject(outcome, principal.scheme)
        return resolved.authorize(principal, (), NO_FACTS, match.params, request.moment)

    async def end_of(self, principal: Principal) -> Rejected | None:
        """Why the credentials of an open connection are no longer good; None if they are.

        Raises ``BackendUnavailable`` if a store of revocations cannot answer.
        """
        outcome = unless_expired(Accepted(principal), self.moment())
        if isinstance(outcome, Accepted) and self._revocations is not None:
            outcome = await self._revocations.ask(outcome, principal.scheme)
        return outcome if isinstance(outcome, Rejected) else None

    @property
    def revocation_stores(self) -> Sequence[Revocations]:
        """The stores that are asked for revocations."""
        return () if self._revocations is None else self._revocations.stores

    def seconds_to_end(self, principal: Principal) -> float:
        """After how many seconds the credentials of an open connection are to be looked at again."""
        must_poll = self._revocations is not None and self._revocations.must_poll
        seconds = self._revocation_poll if must_poll else math.inf
        return seconds if principal.expires_at is None else min(seconds, self.moment().remaining(principal.expires_at))

    def on_revoked(self, principal: Principal, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when a store tells of a revocation of this principal, until what is returned is
        called. Any thread may call it."""
        return _do_nothing if self._revocations is None else self._revocations.on_revoked(principal, callback)

    async def _run_checks(self, request: AuthRequest, accepted: Accepted) -> Outcome:
        """Run the guard's checks on a principal that this guard, or an outer one, has authenticated."""
        principal, headers = accepted.principal, accepted.response_headers
        for check in self.checks:
            checked = await ask(awaitable(check, check(request, principal)), self._deadline)
            if isinstance(checked, Rejected):
                headers = (*headers, *checked.response_headers)
                # A check that gives no facts is named at least.
                facts = checked.facts or {"check": shown(check)}
                return Rejected(checked.reason, principal.subject, facts, headers, authenticated=True)
            if checked is not principal:
                if not isinstance(checked, Principal):
                    raise wrong_answer(check, checked, "the principal, or Rejected(reason)")
                keys = principal._revocation_keys  # noqa: SLF001 - as the state does
                principal = self._fast_path.own_principal(checked, principal.scheme)
                if self._revocations is not None:
                    keep_revocation_keys(principal, keys)  # a check may give it other claims
        return Accepted(principal, headers, accepted.facts)

    def enforces(self, denied: Denied, *, report_only: bool) -> bool:
        """Whether the request is refused. ``report_only``: whether what denies is report-only.

        What the server cannot decide is refused in any case: nobody has judged the request then.
        """
        return not report_only or denied.reason.outage or denied.reason.ours

    def deny_path(self, problem: str) -> Denied:
        """The denial of a path that can be read in two ways. ``problem`` says why."""
        return Denied(PATH_AMBIGUOUS, facts={"problem": problem})

    def reply(self, request: AuthRequest, denied: Denied, render: Render | None = None) -> tuple[Reply, Denied]:
        """The response to a denial, and the denial that it reports: an outage if no response could be made."""
        if self._login_pages is not None:
            denied = self._login_pages.redirect(request, denied)
        is_constant = render is None and request.method != "HEAD"
        if is_constant and (reply := self._constant_replies.get(denied)) is not None:
            return reply, denied
        reply, reported = answer_denial(request, denied, self.schemes, render)
        if is_constant and reported is denied:
            self._constant_replies.keep(denied, reply)
        return reply, reported

    def record(
        self,
        request: AuthRequest,
        decision: Decision,
        rule: Rule | None = None,
        origins: Origins = frozenset(),
        *,
        is_second: bool = False,
    ) -> None:
        """Write one record, to the log and to the hooks. ``origins`` are those that ``decide_now`` was given.

        ``is_second``: whether a grant of the same request has been recorded before.
        """
        if origins and isinstance(decision, Granted):
            decision = self._with_tolerated_origin(request, decision, origins)
        pattern = None if rule is None else rule.pattern
        if pattern is None and isinstance(decision, Denied) and decision.reason is METHOD_UNLISTED:
            pattern = cast("str | None", decision.facts.get("rule"))
        self._recorder.record(request, decision, pattern)
        if self._recorder.writers:
            by_lock = is_second or (rule is not None and rule.requirement is PUBLIC)
            self._recorder.write(request, decision, pattern, "second" if is_second else "lock" if by_lock else "rule")

    def add_hook(self, hook: Hook) -> Callable[[], None]:
        """Call a hook from now on, after those of ``hooks=``. Call what is returned to take it away again.

        It is for what is given a guard, such as an extension, and not for the app that writes ``Guard(...)``. It may be
        called at any time, from any thread, while requests are decided. A hook without ``wants_grants = False`` makes
        each grant cost a record. To take a hook away twice changes nothing.
        Raises ``ConfigurationError`` for what is not a function, is async, or cannot be called with one record.
        """
        return self._recorder.add_hook(plain_function("hook", hook, "hook(record)", None))

    def counts(self) -> Mapping[CountKey, int]:
        """How many decisions there were since the process began, by event, reason, scheme and rule.

        ``guard.counts()[CountKey("denied", "token.expired", "bearer", "/admin/**")]`` is a number that only grows, as
        metrics need it. There is a decision for each record of ``hooks``, whether or not a record was made. A forked
        child begins at zero.
        """
        return self._recorder.counts.snapshot()

    def _with_tolerated_origin(self, request: AuthRequest, granted: Granted, origins: Origins) -> Granted:
        """The decision, with the fact that a hidden origin was tolerated for it."""
        scheme = None if granted.principal is None else granted.principal.scheme
        if scheme not in self.sent_by_browsers or not is_hidden_origin(request, origins):
            return granted
        tolerated = {**cast("Facts", granted.facts.get("tolerated", {})), "origin": "null"}
        facts = {**granted.facts, "tolerated": tolerated}
        return Granted(granted.principal, granted.requirement, granted.response_headers, facts)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run the services of the schemes, such as key refreshers. Without them some requests wait for keys."""
        return run_services(self.schemes, self.monotonic, self._recorder.close)

    async def warm(self) -> None:
        """Fetch now what the schemes need, such as keys, and reach the servers of their stores.

        Raises ``BackendUnavailable`` that names what failed.
        """
        await warm_services(self.schemes, self.revocation_stores)

    def health(self) -> Mapping[str, Mapping[str, object]]:
        """The state of each scheme, its services and its stores, by the name of the scheme.

        That of the stores of revocations is under ``revocations``. For a person; it holds no secret.
        """
        of_revocations = _health_of({type(store).__name__: store for store in self.revocation_stores})
        states = services_health(self.schemes)
        return {**states, "revocations": of_revocations} if of_revocations else states


def _do_nothing() -> None:
    """There is nothing to end."""


def check_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks of a guard. Raises ``ConfigurationError`` for one that could not answer."""
    if callable(checks):
        raise ConfigurationError("checks", f"write checks=[{name_of(checks)}]: it takes a list")
    if not isinstance(checks, Sequence) or isinstance(checks, str):
        raise ConfigurationError("checks", f"{checks!r} is not a list of async functions")
    for check in checks:
        async_function("checks", check, "check(request, principal)", None, None)
        annotations = getattr(check, "__annotations__", None)
        returned = annotations.get("return", "") if isinstance(annotations, dict) else ""
        if returned in {None, bool, "None", "bool"}:
            raise ConfigurationError(
                "checks", f"{shown(check)} must return the principal, or Rejected(reason), and not {returned}"
            )
    return tuple(checks)


async def _ask_scheme(
    scheme: Scheme, request: AuthRequest, credentials: Credentials, continuation: Continuation | None
) -> Outcome:
    """What the scheme says; with ``continuation``, what that says. Raises ``WrongAnswer`` for anything else."""
    try:
        if continuation is None:
            answer = scheme.authenticate(request, credentials)
            outcome = await awaitable(scheme.authenticate, answer)
        elif callable(continuation):
            outcome = await continuation()
        else:
            wanted = "Accepted, Rejected, None, or a function to await"
            raise wrong_answer(cast("Any", scheme).authenticate_now, continuation, wanted)
    except WireError as error:
        return Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
    if not isinstance(outcome, Accepted | Rejected):
        raise wrong_answer(scheme.authenticate, outcome, "Accepted(principal) or Rejected(reason)")
    return outcome


@asynccontextmanager
async def run_services(schemes: Sequence[Scheme], clock: Clock, close: Callable[[], None]) -> AsyncIterator[None]:
    """Run the services of the schemes. ``close`` is called at the end, whatever happens to them."""
    async with AsyncExitStack() as stack:
        stack.callback(close)
        for scheme in schemes:
            for service in scheme.services:
                await stack.enter_async_context(service.running(clock))
        yield


async def warm_services(schemes: Sequence[Scheme], stores: Sequence[object] = ()) -> None:
    """Call ``async def warm()`` of every service and store that has it, all at the same time.

    A failure does not stop the others. Raises one ``BackendUnavailable`` that names all failures.
    """
    failures: list[BackendUnavailable] = []

    async def warm(service: Any) -> None:
        try:
            await service.warm()
        except BackendUnavailable as error:
            failures.append(error)

    of_schemes = [one for scheme in schemes for one in (*scheme.services, *_state_stores(scheme).values())]
    services = {id(service): service for service in (*of_schemes, *stores)}
    async with anyio.create_task_group() as tasks:
        for service in services.values():
            if callable(getattr(service, "warm", None)):
                tasks.start_soon(warm, service)
    if failures:
        message = "; ".join(str(error) for error in failures)
        waits = [error.retry_after for error in failures if error.retry_after is not None]
        raise BackendUnavailable(message, reason=failures[0].reason, retry_after=max(waits, default=None))


def services_health(schemes: Sequence[Scheme]) -> Mapping[str, Mapping[str, object]]:
    """The ``health()`` of each scheme by name; of a scheme without that method, the ``health()`` of its services.

    ``stores`` is added to it: the ``health()`` of each store that has it, by the argument that it was given as.
    """
    states: dict[str, Mapping[str, object]] = {}
    for scheme in schemes:
        health: Callable[[], Mapping[str, object]] | None = getattr(scheme, "health", None)
        if health is None:
            states[scheme.name] = {"services": [service.health() for service in scheme.services]}
        else:
            states[scheme.name] = health()
        of_stores = _health_of(_state_stores(scheme))
        if of_stores:
            states[scheme.name] = {**states[scheme.name], "stores": of_stores}
    return states


def _state_stores(scheme: Scheme) -> Mapping[str, object]:
    stores: Mapping[str, object] = getattr(scheme, "state_stores", dict)()
    return stores


def _health_of(stores: Mapping[str, object]) -> Mapping[str, object]:
    health = {name: getattr(store, "health", None) for name, store in stores.items()}
    return {name: read() for name, read in health.items() if callable(read)}
