"""``explain``: walk the decision about one request, and spend nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from authguard.asgi.locks import Lock
from authguard.asgi.messages import with_handshake
from authguard.asgi.request_context import lock_failed
from authguard.asgi.router_paths import RouterPaths, below
from authguard.core.credential_selection import select_credentials
from authguard.core.csrf import Origins, is_cross_origin
from authguard.core.guard import Guard
from authguard.core.responses import Render, Reply
from authguard.errors import ConfigurationError, RequestBodyError
from authguard.explain.advice import advice_for
from authguard.explain.app import locks_of
from authguard.explain.checks import steps_of_checks
from authguard.explain.explanation import Answer, Explanation, Step
from authguard.explain.recorded import cause_of, explain_record, facts_of
from authguard.explain.rehearsal import Rehearsal, Stage, without_log
from authguard.middleware import (
    NO_RULE,
    AuthGuardMiddleware,
    published_reply,
    rule_method,
)
from authguard.model import Decision, Denied, Granted, Principal, Requirement
from authguard.policy.requirements import OPTIONAL, PUBLIC
from authguard.policy.rules import AMBIGUOUS, Match, ambiguity
from authguard.reasons import BODY_TOO_LARGE, CREDENTIALS_MISSING
from authguard.records.record import Record, escape, exception_facts, format_value
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme, group_by_carrier, name_of_carrier
from authguard.source_location import short
from authguard.wire.authorization import Credentials

# Fields that a proxy adds. Where they are and credentials are not, the proxy may have removed those.
_FIELDS_OF_PROXIES = frozenset({b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip"})


async def explain(
    guard: Guard | AuthGuardMiddleware,
    request: AuthRequest | Mapping[str, Any],
    *,
    body: bytes = b"",
    at: float | None = None,
    offline: bool = False,
    run_checks: bool = False,
) -> Explanation:
    """Why this request is granted or refused: the decision, walked by the code that decides live.

    Nothing is spent: no nonce, attempt, last use or cache entry, and there is no record, count or call of a hook. A
    copy of the guard decides, and a store that other processes share is only read.

    - ``guard``: a guard; or the middleware, which also knows how the app reads paths, its origins and its preflights.
    - ``request``: an ``AuthRequest``, or the ASGI scope of a request, with ``session`` where a ``Session`` is asked.
    - ``body``: for a scheme that verifies it.
    - ``at``: the time to decide by, in seconds since the epoch; by default the guard's own clock.
    - ``offline``: whether key servers and introspection endpoints are left alone. They are asked by default, if the
      live guard would ask them.
    - ``run_checks``: whether code of the app is called that may change something: ``checks=``, a ``PasswordCheck`` and
      schemes of the app's own. Without it, what they decide is told as ``not asked``.

    The cookie of a session is read by the app's own middleware, so the scope must have its content. With the
    middleware, the locks of the route are asked too. What an endpoint itself denies is not known.
    """
    middleware = guard if isinstance(guard, AuthGuardMiddleware) else None
    live = guard.guard if isinstance(guard, AuthGuardMiddleware) else guard
    rehearsal = Rehearsal(at=at, offline=offline, run_checks=run_checks)
    with without_log():
        walk = _Walk(live, rehearsal, middleware, request, body)
        return await walk.explanation()


class _Walk:
    """One explanation in the making."""

    def __init__(
        self,
        live: Guard,
        rehearsal: Rehearsal,
        middleware: AuthGuardMiddleware | None,
        request: AuthRequest | Mapping[str, Any],
        body: bytes,
    ) -> None:
        self.rehearsal = rehearsal
        self.guard, self.records = rehearsal.guard(live)
        self.middleware = middleware
        given: AuthRequest | None = request if isinstance(request, AuthRequest) else None
        scope: Mapping[str, Any] = given.scope if given is not None else cast("Mapping[str, Any]", request)
        self.scope: dict[str, Any] = _own_scope(scope)
        self.path, self.problem = self._read_path(given)
        reader = _reader(body) if self.scope["type"] == "http" else None
        self.request = AuthRequest(self.scope, self.path, self.guard.moment(), reader)
        #: The request as it came: a scheme may empty its session.
        self.given = AuthRequest(_own_scope(scope), self.path, self.request.moment)
        self.origins: Origins = frozenset() if middleware is None else middleware.options.origins
        self.render: Render | None = None if middleware is None else middleware.options.render

    def _read_path(self, given: AuthRequest | None) -> tuple[str, str | None]:
        if self.middleware is not None:
            # Its own reader keeps the routes that it has found, so it is not asked.
            return RouterPaths(self.middleware.app).read(self.scope)
        if given is not None:
            return given.path, None
        root = self.scope.get("root_path", "")
        return (below(self.scope["path"], root) if root else self.scope["path"]), None

    async def explanation(self) -> Explanation:
        """The whole of it."""
        guard, scope = self.guard, self.scope
        page = published_reply(guard, scope, self.path) if guard.published else None
        if page is not None:
            served = (Step("path", found=_shown_path(self.path)), Step("document", found="the guard itself serves it"))
            return Explanation(self._title(), "granted", steps=served, answer=_answer(page))
        match: Any = AMBIGUOUS
        if self.problem is None or not guard.table.rules:
            match = guard.table.match(rule_method(scope), self.path)
        denied = None
        if match is AMBIGUOUS:
            match, denied = NO_RULE, guard.deny_path(self.problem or ambiguity(self.path))
        steps = [self._path_step(denied)]
        if denied is None:
            steps.append(self._rule_step(match))
            if self._is_open(match):
                steps.append(self._open_step(match))
                return await self._after_guard(steps, match, None, None)
        decision: Decision = denied or await guard.decide(self.request, match, None, self.origins)
        decision, record, answer = self._recorded(decision, match, report_only=guard.report_only or match.report_only)
        if denied is None:
            steps += self._steps(match, decision, record)
        if answer is None:
            if isinstance(decision, Denied):
                steps.append(_report_only_step("guard" if guard.report_only else "rule"))
            return await self._after_guard(steps, match, decision, record)
        return self._told(steps, record, answer)

    def _recorded(
        self, decision: Decision, match: Match, *, report_only: bool
    ) -> tuple[Decision, Record, Answer | None]:
        """The decision as it is reported, its record, and the answer if the request is refused."""
        reply: Reply | None = None
        if isinstance(decision, Denied) and not self.guard.enforces(decision, report_only=report_only):
            decision = replace(decision, enforced=False)
        elif isinstance(decision, Denied):
            reply, decision = self.guard.reply(self.request, decision, self.render)
            decision = with_handshake(decision, self.scope)
        self.guard.record(self.request, decision, match.rule, self.origins)
        return decision, self.records[-1], None if reply is None else _answer(reply)

    async def _after_guard(
        self, steps: list[Step], match: Match, passed: Decision | None, record: Record | None
    ) -> Explanation:
        """What the locks on the route decide about a request that the guard lets through.

        As at run time, the first lock on a PUBLIC route has the credentials verified. ``passed`` is the decision that
        was made before: granted, or not enforced.
        """
        app = None if self.middleware is None or self._is_preflight() else self.middleware.app
        for lock, locked in () if app is None else locks_of(app, self.scope, self.path):
            source = short(lock.location)
            decision: Decision
            answer: Answer | None = None
            failed = self._failure_of_lock(lock)
            report_only = (lock.report_only or self.guard.report_only) and not lock.value_taken
            if failed is None and passed is None:
                decision = await self.guard.decide(self.request, locked, None, self.origins)
                decision, record, answer = self._recorded(decision, match, report_only=report_only)
                steps.append(Step("lock", found="it asks for credentials", wanted=str(lock.requirement), source=source))
                steps += self._steps(locked, decision, record)
            else:
                principal = None if passed is None else passed.principal
                decision = failed or self._authorize(locked, principal, passed)
                if isinstance(decision, Denied):
                    decision, record, answer = self._recorded(decision, match, report_only=report_only)
                    steps.append(self._unmet_step(record, lock.requirement, source))
                else:
                    found = _principal(decision)
                    steps.append(Step("lock", found=found, wanted=str(lock.requirement), source=source))
            if isinstance(decision, Denied) and record is not None:
                if answer is not None:
                    return self._told(steps, record, answer)
                steps.append(_report_only_step("lock"))
            if passed is None or isinstance(decision, Denied):
                passed = decision
        if record is None:
            return Explanation(self._title(), "granted", steps=tuple(steps))
        return self._told(steps, record, None)

    def _failure_of_lock(self, lock: Lock) -> Denied | None:
        """The denial of a lock that cannot be evaluated, as at run time."""
        try:
            self.guard.requirements[lock.requirement]
        except ConfigurationError as error:
            return lock_failed(lock.requirement, {"problem": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever fails, the lock stays closed
            return lock_failed(lock.requirement, exception_facts(error))
        return None

    def _authorize(self, locked: Match, principal: Principal | None, passed: Decision | None) -> Decision:
        """What a lock says of the principal, as at run time."""
        reported = passed if isinstance(passed, Denied) else None
        try:
            return self.guard.authorize(self.request, locked, principal, reported)
        except Exception as error:  # noqa: BLE001 - whatever fails, the lock stays closed
            return lock_failed(locked.requirement, exception_facts(error))

    def _unmet_step(self, record: Record, requirement: Requirement, source: str) -> Step:
        offered = f"has {', '.join(record.offered) or 'none'}" if record.missing else ""
        missing = f"; missing: {', '.join(record.missing)}" if record.missing else ""
        found = "; ".join(filter(None, [offered, _words(record)])) or f"{record.reason}"
        return Step("lock", "failed", found, f"{requirement}{missing}", source=source)

    def _told(self, steps: Sequence[Step], record: Record, answer: Answer | None) -> Explanation:
        told = explain_record(record)
        notes = [f"{what} was not asked, which may change the answer." for what in self.rehearsal.not_asked]
        is_open = bool(self.rehearsal.not_asked)
        return Explanation(
            self._title(),
            "undecided" if is_open else told.outcome,
            record.reason,
            record.status,
            told.cause,
            told.advice,
            tuple(steps),
            facts_of(record, cause_of(record.reason or "", record.facts)),
            answer,
            tuple(notes),
        )

    def _title(self) -> str:
        method = "WEBSOCKET" if self.scope["type"] == "websocket" else self.request.method
        return f"{escape(method)} {escape(self.path)}"

    # --- path and rule ------------------------------------------------------------------------------------------------

    def _path_step(self, denied: Denied | None) -> Step:
        found = _shown_path(self.path)
        root = self.scope.get("root_path", "")
        if self.path != self.scope["path"]:
            found += f", below root_path {format_value(escape(str(root)))}"
        if denied is None:
            return Step("path", found=found)
        return Step("path", "failed", f"{found}: {denied.facts['problem']}", "a path that is read in one way only")

    def _rule_step(self, match: Match) -> Step:
        if match.rule is None:
            named = getattr(match.requirement, "pattern", None)
            found = "no rule names this path: the default" if named is None else f"{named}, for other methods"
            return Step("rule", found=found, wanted=str(match.requirement))
        rule = match.rule
        methods = f"{' '.join(sorted(rule.methods))} " if rule.methods else ""
        return Step("rule", found=f"{methods}{rule.pattern}", wanted=str(rule.requirement), source=short(rule.location))

    def _is_open(self, match: Match) -> bool:
        return match.requirement is PUBLIC or self._is_preflight()

    def _is_preflight(self) -> bool:
        return self.middleware is not None and self.middleware.passes_preflight(self.scope)

    def _open_step(self, match: Match) -> Step:
        if match.requirement is PUBLIC:
            return Step("open", found="nothing is verified here; a lock on the route may ask for credentials")
        return Step("preflight", found="a CORS preflight, which passes unasked to the CORSMiddleware inside")

    # --- credentials, scheme, requirement -----------------------------------------------------------------------------

    def _steps(self, match: Match, decision: Decision, record: Record) -> Iterator[Step]:
        guard = self.guard
        resolved = guard.requirements[match.requirement]
        wanted = " or ".join(sorted(resolved.accepted))
        try:
            selected = select_credentials(self.given, group_by_carrier(guard.schemes), resolved)
        except Exception:  # noqa: BLE001 - a carrier of the app has raised, and so it did when the guard decided
            yield Step("credentials", "failed", f"{record.reason}", wanted)
            return
        if isinstance(selected, Denied):
            is_missing = selected.reason is CREDENTIALS_MISSING
            anonymous = is_missing and match.requirement is OPTIONAL
            found = self._without_credentials(record) if is_missing else _words(record)
            yield Step("credentials", "passed" if anonymous else "failed", found, wanted)
            return
        scheme = next(each for each in guard.schemes if each.name == resolved.by_auth_scheme[selected.scheme])
        place = name_of_carrier(scheme.carrier)
        yield Step("credentials", found=f"one set, for {scheme.name}, in {place}", wanted=wanted)
        if scheme.name in guard.sent_by_browsers:
            if is_cross_origin(self.request, self.origins):
                yield Step(
                    "origin", "failed", _fields(record, "origin", "sec_fetch_site"), _fields(record, "host", "origins")
                )
                return
            yield Step("origin", found="not that of another site")
        yield from self._after_selection(scheme, selected, decision, record, match)

    def _after_selection(
        self, scheme: Scheme, credentials: Credentials, decision: Decision, record: Record, match: Match
    ) -> Iterator[Step]:
        stage: Stage = "requirement" if isinstance(decision, Granted) else self.rehearsal.reached
        not_asked = self.rehearsal.unasked_scheme == scheme.name
        if not_asked:
            yield Step(scheme.name, "not asked")
            return
        yield from steps_of_checks(scheme, self.given, credentials, record, accepted=stage != "scheme")
        if stage == "scheme":
            return
        if self.rehearsal.has_revocations:
            if stage == "revocations":
                yield Step("revocations", "failed", _words(record) or f"{record.reason}")
                return
            yield Step("revocations", found="not revoked")
        for check in self.rehearsal.unasked_checks:
            yield Step("check", "not asked", check)
        if stage == "checks":
            yield Step("check", "failed", _words(record) or f"{record.reason}")
            return
        if isinstance(decision, Granted):
            wanted, source = str(match.requirement), short(match.location)
            yield Step("requirement", found=_principal(decision), wanted=wanted, source=source)
            return
        failed = self._unmet_step(record, match.requirement, short(match.location))
        yield replace(failed, title="requirement")

    def _without_credentials(self, record: Record) -> str:
        if record.facts.get("preflight"):
            return "none: a browser sends none with a CORS preflight"
        names = {name for name, _ in self.request.headers}
        proxies = sorted(name.decode("latin-1") for name in names & _FIELDS_OF_PROXIES)
        found = "none"
        if b"authorization" in names:
            found = "none that a scheme reads"
        if proxies:
            found += f"; it came through a proxy ({', '.join(proxies)}), which may have removed them"
        return found


def _report_only_step(what: str) -> Step:
    return Step("report-only", found=f"the {what} is report-only, so the request passes")


def _own_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The scope with a session of its own, which a scheme may empty."""
    own = {name: item for name, item in scope.items() if name != "authguard"}
    if isinstance(own.get("session"), Mapping):
        own["session"] = copy.deepcopy(dict(own["session"]))
    return own


def _reader(body: bytes) -> Any:
    async def read(limit: int) -> bytes:
        if len(body) > limit:
            raise RequestBodyError(BODY_TOO_LARGE, octets=len(body), limit=limit)
        return body

    return read


def _answer(reply: Reply) -> Answer:
    headers = tuple((name.decode("latin-1"), escape_line(text.decode("latin-1"))) for name, text in reply.headers)
    return Answer(reply.status, headers, escape_line(reply.body.decode("utf-8", "backslashreplace")))


def escape_line(text: str) -> str:
    """The text without control characters but line feeds, whole."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def _shown_path(path: str) -> str:
    return format_value(escape(path))


def _words(record: Record) -> str:
    """What the record says in words of why it was refused."""
    advice = advice_for(record.reason or "")
    return ", ".join(
        f"{name}={format_value(stated)}"
        for name, stated in record.facts.items()
        if stated is not None and advice.meaning(name).kind == "found"
    )


def _fields(record: Record, *names: str) -> str:
    return ", ".join(f"{name}={format_value(record.facts[name])}" for name in names if name in record.facts)


def _principal(granted: Granted) -> str:
    principal = granted.principal
    if principal is None:
        return "anonymous"
    roles = ", ".join(sorted(map(escape, principal.roles))) or "none"
    scopes = f"; scopes {', '.join(sorted(map(escape, principal.scopes)))}" if principal.scopes else ""
    return f"{format_value(escape(principal.subject))} with roles {roles}{scopes}"
