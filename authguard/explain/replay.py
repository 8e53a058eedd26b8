"""Replay: judge recorded decisions again, by the rules and locks of the app as it is now. Nothing is spent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any, BinaryIO, Literal, NamedTuple, NoReturn, TypeAlias, cast

from authguard import reasons
from authguard.asgi.locks import Lock
from authguard.audit.endpoint import ANY_METHOD, Endpoint
from authguard.audit.route_discovery import discover_endpoints
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Moment, Principal, Requirement
from authguard.policy.combinators import met_by_parts
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC
from authguard.policy.rules import AMBIGUOUS, WEBSOCKET, Match, Rule, RuleTable
from authguard.reasons import (
    BACKEND_FAILED,
    CHECK_FAILED,
    CHECK_REFUSED,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MISSING,
    METHOD_UNLISTED,
    PATH_AMBIGUOUS,
    REQUIREMENT_UNMET,
    ROLE_MISSING,
    SCHEME_INSUFFICIENT,
    SCHEME_UNSUPPORTED,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
)
from authguard.records.decision_file import MAX_LINE
from authguard.source_location import name_of, short
from authguard.value_types import frozen, mutable

Change: TypeAlias = Literal["refused", "let in"]

#: The reasons that rules and requirements decide. Any other one holds, unless the path is open now.
_JUDGED = frozenset(
    reason.code
    for reason in (
        *(CREDENTIALS_MISSING, ROLE_MISSING, SCOPE_MISSING, REQUIREMENT_UNMET, SCHEME_INSUFFICIENT),
        *(STEP_UP_REQUIRED, CHECK_FAILED, CHECK_REFUSED, METHOD_UNLISTED),
    )
)
#: The reasons for which the schemes that the route accepts matter: another route may accept what was sent.
#: The reasons of outages, which are refused where the guard is report-only, too.
_ENFORCED = frozenset(
    one.code for one in vars(reasons).values() if isinstance(one, reasons.Reason) and (one.outage or one.ours)
)
_BY_SCHEMES = frozenset({SCHEME_UNSUPPORTED.code, CREDENTIALS_AMBIGUOUS.code})

#: How many groups are counted apart, and how many subjects in all. All others are counted as ``*``.
MAX_GROUPS, MAX_SUBJECTS = 2_000, 50_000
#: For how many paths the route is kept that serves them.
MAX_ROUTES = 4_096
_OTHER = "*"


@frozen
class Line:
    """One decision of the file.

    ``granted`` is True for one that was not enforced, too; it has a ``reason``.
    """

    method: str
    path: str
    granted: bool
    stage: str
    at: float
    reason: str | None
    requirement: str | None
    scheme: str | None
    subject: str | None
    principal: Principal | None
    cut: frozenset[str]


class _ReadsMore(BaseException):
    """A requirement reads what the line does not hold. Code of the app that catches ``Exception`` does not catch it."""


def _read_all(*_: object, **__: object) -> NoReturn:
    raise _ReadsMore("all claims")


class _RecordedClaims(dict[str, Any]):
    """The claims of a line. Any other claim is unknown, and so is how many there are."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self._known(name))

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(self._known(name))
        return default if found is None else found

    def __contains__(self, name: object) -> bool:
        return super().__getitem__(self._known(name)) is not None

    def _known(self, name: object) -> str:
        if not isinstance(name, str) or not super().__contains__(name):
            raise _ReadsMore(f"the claim {name!r}")
        return name

    __iter__ = __len__ = __bool__ = __eq__ = __or__ = __ror__ = __repr__ = __hash__ = cast("Any", _read_all)
    keys = values = items = copy = pop = popitem = setdefault = update = clear = cast("Any", _read_all)


class _RecordedPrincipal(Principal):
    """A principal of which some fields are unknown."""

    __slots__ = ("unknown",)

    unknown: Mapping[str, str]

    def __getattribute__(self, name: str) -> Any:
        unknown: Mapping[str, str] = object.__getattribute__(self, "unknown")
        if name in unknown:
            raise _ReadsMore(unknown[name])
        return super().__getattribute__(name)


# --- reading a line ---------------------------------------------------------------------------------------------------


def read_line(text: bytes) -> Line:
    """The decision of one line. Raises ``ValueError`` with what is wrong with it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        msg = "it is not JSON; a line that is cut off can be removed"
        raise ValueError(msg) from None
    if not isinstance(found, dict) or found.get("v") != 1:
        msg = "it is not a line of a DecisionFile of this version"
        raise ValueError(msg)
    outcome, stage = _text(found, "outcome"), _text(found, "stage")
    if outcome not in {"granted", "denied", "would_deny"} or stage not in {"rule", "lock", "second"}:
        msg = "its outcome or its stage is unknown"
        raise ValueError(msg)
    cut = frozenset(_names(found, "cut")) if "cut" in found else frozenset[str]()
    scheme, subject = _optional(found, "scheme"), _optional(found, "subject")
    reason = None if outcome == "granted" else _text(found, "reason")
    at = _number(found, "at")
    if at is None:
        msg = "its at is not a number"
        raise ValueError(msg)
    principal = _principal(found, scheme, subject, cut) if "roles" in found else None
    method, path = _text(found, "method"), _text(found, "path")
    requirement = _optional(found, "requirement")
    granted = outcome != "denied"
    return Line(method, path, granted, stage, at, reason, requirement, scheme, subject, principal, cut)


def _principal(
    found: Mapping[str, Any], scheme: str | None, subject: str | None, cut: frozenset[str]
) -> _RecordedPrincipal:
    claims = _RecordedClaims(acr=_optional(found, "acr"), auth_time=_number(found, "auth_time"))
    roles, scopes = _names(found, "roles"), _names(found, "scopes")
    try:
        principal = _RecordedPrincipal.__new__(_RecordedPrincipal)
        object.__setattr__(principal, "unknown", {})
        principal.__init__(  # type: ignore[misc]
            subject or "", roles=roles, scopes=scopes, claims=claims, expires_at=_number(found, "expires_at"),
            scheme=scheme,
        )  # fmt: skip
    except ConfigurationError as error:
        msg = f"its {error}"
        raise ValueError(msg) from None
    unknown = {name: f"the {name}, which the line has cut off" for name in cut & {"subject", "roles", "scopes"}}
    if found.get("hashed") is True:
        unknown["subject"] = "the subject, which is hashed"
    if "subject" in unknown:
        unknown |= dict.fromkeys(("display_name", "identity"), unknown["subject"])
    if "acr" in cut:
        unknown["claims"] = "the claim 'acr', which the line has cut off"
    object.__setattr__(principal, "unknown", unknown)
    return principal


def _text(found: Mapping[str, Any], name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str):
        msg = f"its {name} is not a text"
        raise ValueError(msg)  # noqa: TRY004 - the value is wrong, and not the call
    return text


def _optional(found: Mapping[str, Any], name: str) -> str | None:
    return None if found.get(name) is None else _text(found, name)


def _number(found: Mapping[str, Any], name: str) -> float | None:
    number = found.get(name)
    if number is not None and (
        isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 1e15
    ):
        msg = f"its {name} is not a number"
        raise ValueError(msg)
    return number


def _names(found: Mapping[str, Any], name: str) -> list[str]:
    names = found.get(name)
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        msg = f"its {name} is not a list of texts"
        raise ValueError(msg)
    return names


def lines_of(name: str, file: BinaryIO) -> Iterator[Line]:
    """The decisions of a file, one after another. Raises ``ConfigurationError`` with the number of a wrong line."""
    number = 0
    while text := file.readline(MAX_LINE + 1):
        number += 1
        try:
            if len(text) > MAX_LINE:
                msg = "it is too long"
                raise ValueError(msg)  # noqa: TRY301 - as every other fault of a line
            if text.strip():
                yield read_line(text)
        except ValueError as error:
            raise ConfigurationError(f"{name}:{number}", str(error)) from None


# --- judging it again -------------------------------------------------------------------------------------------------


class Judgement(NamedTuple):
    """What the app as it is now decides. ``granted`` is None where that is unknown; ``problem`` says then why.

    ``rule`` and ``location`` are those of what decides: a rule, or a lock. ``reason`` is the code of a refusal.
    """

    granted: bool | None
    rule: str
    requirement: str
    location: str
    reason: str = ""
    problem: str = ""


class _Route(NamedTuple):
    """An endpoint, as its guard reads its path. ``locks`` have a table each, which reads the parameters."""

    endpoint: Endpoint
    table: RuleTable
    locks: Sequence[tuple[Lock, RuleTable]]


class Judge:
    """Judges lines by the rules of a guard, and by the locks that the audit finds on the routes of the app."""

    def __init__(self, app: object, guard: Guard) -> None:
        self._guard = guard
        #: What is not judged, whatever the lines are.
        self.notes: list[str] = [f"the check {name_of(check)} of the guard" for check in guard.checks]
        self._routes: list[_Route] = []
        for endpoint in discover_endpoints(app):
            self._add(endpoint)
        self.notes = list(dict.fromkeys(self.notes))
        self._route = lru_cache(MAX_ROUTES)(self._find_route)

    def _add(self, endpoint: Endpoint) -> None:
        layer = next((layer for layer in endpoint.layers if layer.guard is self._guard), None)
        if layer is None:
            return  # another guard is in front of it, or none
        inner = [other for other in endpoint.layers if other.guard is not None and other is not layer]
        if inner:
            self.notes.append(f"the guard on {inner[-1].path or '/'}, which is inside of the first one")
        path = endpoint.path.removeprefix(layer.path) or "/"
        table: RuleTable | None
        locks: list[tuple[Lock, RuleTable]] = []
        try:
            table = RuleTable((Rule(path, AUTHENTICATED),))
            locks = [(lock, RuleTable((Rule(path, lock.requirement),))) for lock in endpoint.locks]
        except ConfigurationError:  # a path that no rule could be written for
            table = None
        if table is None or endpoint.hosts:  # a line has no host
            self.notes += [f"the lock at {short(lock.location)} on {endpoint.path}" for lock in endpoint.locks]
            return
        self._routes.append(_Route(endpoint, table, locks))

    def _find_route(self, method: str, path: str) -> _Route | None:
        """The first route that serves it."""
        wanted = {method, "GET" if method == "HEAD" else method, ANY_METHOD}
        for route in self._routes:
            endpoint = route.endpoint
            if endpoint.kind != "opaque":
                if (endpoint.kind == "websocket") != (method == WEBSOCKET):
                    continue
                if endpoint.kind != "websocket" and wanted.isdisjoint(endpoint.methods):
                    continue
            match = route.table.match(method, path)
            if match is not AMBIGUOUS and match.rule is not None:
                return route
        return None

    def judge(self, line: Line) -> Judgement:
        """What is decided now about the request of a line."""
        if line.cut & {"method", "path"}:
            return Judgement(None, "", "", "", problem="a line whose path or method is cut off")
        guard = self._guard
        match = guard.table.match(line.method, line.path)
        if match is AMBIGUOUS:
            return Judgement(False, "", "", "", PATH_AMBIGUOUS.code)
        rule = "(default)" if match.rule is None else match.rule.pattern
        place = rule, str(match.requirement), short(match.location)
        is_open = match.requirement is PUBLIC
        route = self._route(line.method, line.path)
        if line.reason is not None and line.stage != "second" and line.reason not in _JUDGED:
            held = self._held(line, Judgement(True, *place), route, is_open=is_open)
            return self._unless_report_only(held, self._holds_report_only(line, match, route))
        moment = Moment(line.at, guard.leeway)
        if not is_open:
            judged = self._ask(line, match.requirement, match.params, moment, place, first=True)
            judged = self._unless_report_only(judged, guard.report_only or match.report_only)
            if judged.granted is not True:
                return judged
        for number, (lock, table) in enumerate(() if route is None else route.locks):
            requirement, location = lock.requirement, lock.location
            found = table.match(line.method, line.path)
            params = {} if found is AMBIGUOUS else found.params
            of_lock = rule, str(requirement), short(location)
            judged = self._ask(line, requirement, params, moment, of_lock, first=is_open and not number)
            judged = self._unless_report_only(judged, self._is_report_only(lock))
            if judged.granted is not True:
                return judged
        return Judgement(True, *place)

    def _is_report_only(self, lock: Lock) -> bool:
        return (lock.report_only or self._guard.report_only) and not lock.value_taken

    def _holds_report_only(self, line: Line, match: Match, route: _Route | None) -> bool:
        """Whether nothing enforces a refusal that no requirement has decided."""
        locks = [] if route is None else [lock for lock, _ in route.locks]
        of_rule = match.requirement is PUBLIC or self._guard.report_only or match.report_only
        return of_rule and bool(match.requirement is not PUBLIC or locks) and all(map(self._is_report_only, locks))

    @staticmethod
    def _unless_report_only(judged: Judgement, report_only: bool) -> Judgement:
        """The judgement, or that the request passes, because what denies it is report-only."""
        passes = report_only and judged.granted is False and judged.reason not in _ENFORCED
        return judged._replace(granted=True, reason="") if passes else judged

    def settle(self, line: Line, judged: Judgement) -> Judgement:
        """The judgement, or unknown for a refusal that came from a lock or an endpoint that cannot be seen now."""
        if line.granted or line.stage == "rule" or not judged.granted:
            return judged
        if line.reason not in _JUDGED:
            problem = f"{line.reason}, which came from behind the rule and the locks"
            return judged._replace(granted=None, problem=problem)
        route = self._route(line.method, line.path)
        if route is None or route.endpoint.kind == "opaque":
            problem = f"{line.requirement} on a route that cannot be inspected"
            return judged._replace(granted=None, problem=problem)
        return judged

    def _held(self, line: Line, passed: Judgement, route: _Route | None, *, is_open: bool) -> Judgement:
        """What becomes of a refusal that no requirement has decided: bad credentials, an outage, the endpoint."""
        refused = passed._replace(granted=False, reason=line.reason or "")
        if is_open and not (route is not None and route.locks):
            is_of_endpoint = line.stage == "lock"
            return (
                passed._replace(granted=None, problem=f"{line.reason} on an open route") if is_of_endpoint else passed
            )
        by_path = line.reason == PATH_AMBIGUOUS.code
        if by_path or (line.reason in _BY_SCHEMES and line.requirement != passed.requirement and line.stage == "rule"):
            return passed._replace(granted=None, problem=f"{line.reason}, because the credentials were not read")
        return refused

    def _ask(
        self,
        line: Line,
        requirement: Requirement,
        params: Mapping[str, str],
        moment: Moment,
        place: tuple[str, str, str],
        *,
        first: bool,
    ) -> Judgement:
        """What one requirement says. ``first``: whether it also decides which schemes are accepted."""
        principal = line.principal
        if principal is None:
            if requirement is OPTIONAL:
                return Judgement(True, *place)
            return Judgement(False, *place, CREDENTIALS_MISSING.code)
        try:
            accepted = self._guard.requirements[requirement].accepted
        except ConfigurationError:
            return Judgement(False, *place, BACKEND_FAILED.code)
        if first and principal.scheme not in accepted:
            return Judgement(False, *place, SCHEME_UNSUPPORTED.code)
        reasons: list[str] = []
        problems: list[str] = []
        met = _is_met(requirement, self._with_implied_roles(principal), params, moment, reasons, problems)
        if met is None:
            return Judgement(None, *place, problem=problems[-1])
        return Judgement(met, *place, "" if met else reasons[-1])

    def _with_implied_roles(self, principal: Principal) -> Principal:
        implied = self._guard.implied_roles
        if implied and "roles" not in object.__getattribute__(principal, "unknown"):
            given = principal.roles
            roles = given.union(*(implied.get(name, ()) for name in given))
            object.__setattr__(principal, "roles", roles)  # of this line alone
        return principal


def _is_met(
    requirement: Requirement,
    principal: Principal,
    params: Mapping[str, str],
    moment: Moment,
    reasons: list[str],
    problems: list[str],
) -> bool | None:
    """Whether it is met; None if that is unknown. A reason, or a problem, is added to the list."""
    try:
        failure = requirement.unmet(principal, params, moment)
    except _ReadsMore as more:
        problem = f"{requirement} reads {more}"
        met = met_by_parts(requirement, lambda part: _is_met(part, principal, params, moment, reasons, problems))
        if met is None and problem not in problems and not problems:
            problems.append(problem)
        return met
    except Exception:  # noqa: BLE001 - a requirement of the app; the guard refuses then, too
        reasons.append(BACKEND_FAILED.code)
        return False
    if failure is not None:
        reasons.append(failure.reason.code)
    return failure is None


# --- the report -------------------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """What is counted together. ``reason``: why it is refused now, or why it was refused."""

    change: Change
    rule: str
    requirement: str
    location: str
    reason: str


@mutable
class Replay:
    """What a file says of the app as it is now."""

    requests: int = 0
    groups: dict[Group, Counter[str]] = field(default_factory=dict)
    #: One request of each group.
    samples: dict[Group, str] = field(default_factory=dict)
    #: How many requests cannot be judged, by what is not known.
    untold: Counter[str] = field(default_factory=Counter)
    #: What is not judged, whatever the lines are.
    notes: Sequence[str] = ()
    _subjects: int = 0

    def add(self, line: Line, judged: Judgement, settled: Judgement) -> None:
        """Count one line. The judgements are those of ``Judge.judge`` and ``Judge.settle``.

        A refusal behind a grant has two lines, and the first one was counted as if the request had passed. So the
        second one takes that back.
        """
        if line.stage == "second":
            self._count(line, judged, was_granted=True, number=-1)
        else:
            self.requests += 1
        self._count(line, settled, was_granted=line.granted, number=1)

    def _count(self, line: Line, judged: Judgement, *, was_granted: bool, number: int) -> None:
        if judged.granted is None:
            problem = judged.problem
            if len(self.untold) >= MAX_GROUPS and problem not in self.untold:
                problem = _OTHER
            self.untold[problem] += number
        elif judged.granted != was_granted:
            reason = judged.reason if was_granted else line.reason or ""
            change: Change = "refused" if was_granted else "let in"
            group = Group(change, judged.rule, judged.requirement, judged.location, reason)
            if len(self.groups) >= MAX_GROUPS and group not in self.groups:
                group = Group(change, _OTHER, _OTHER, "", _OTHER)
            subjects = self.groups.setdefault(group, Counter())
            self.samples.setdefault(group, f"{line.method} {line.path}")
            subject = line.subject or ""
            if subject not in subjects:
                if self._subjects >= MAX_SUBJECTS:
                    subject = _OTHER
                else:
                    self._subjects += 1
            subjects[subject] += number

    def changes(self, change: Change) -> Sequence[tuple[Group, Counter[str]]]:
        """The groups of one kind with their subjects, the largest first."""
        counted = [(group, +subjects) for group, subjects in self.groups.items() if group.change == change]
        return sorted((each for each in counted if each[1]), key=lambda each: (-each[1].total(), each[0]))

    def count(self, change: Change) -> int:
        """How many requests are decided otherwise in this way."""
        return sum(subjects.total() for _, subjects in self.changes(change))

    @property
    def is_changed(self) -> bool:
        """Whether a request is decided otherwise."""
        return bool(self.count("refused") or self.count("let in"))


def replay(app: object, guard: Guard, lines: Iterator[Line]) -> Replay:
    """Judge the lines by the rules of a guard and by the locks of its app.

    No credentials are verified: a line says who it was. Revocations, the guard's checks, and what an endpoint itself
    decides are not judged. A predicate is called with what the line holds; if it reads more, the line is untold.
    """
    judge = Judge(app, guard)
    found = Replay(notes=judge.notes)
    for line in lines:
        judged = judge.judge(line)
        found.add(line, judged, judge.settle(line, judged))
    return found
