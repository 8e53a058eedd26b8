"""A finding: a code, a place and a mend."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from authguard.audit.endpoint import ANY_METHOD, Endpoint
from authguard.audit.rows import Gate, Opening, Row, is_open
from authguard.core.csrf import SAFE
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.policy.rules import WEBSOCKET, Rule
from authguard.source_location import said_of
from authguard.validation import names

#: Each code, and what it says.
CODES = {
    "guard.absent": "no guard is in front of the app yet, and the audit tells what would be",
    "guard.other": "the app holds another guard than the one given",
    "rule.unmet": "no route meets a rule",
    "rule.hidden": "other rules apply wherever a rule would",
    "open.wide": "an open rule reaches a route without being that very path",
    "open.unsafe": "a method that changes state is open, and no rule names it",
    "open.preflight": "whoever sends the two fields of a preflight gets in without credentials",
    "open.hosts": "an open rule is one for the handlers of all hosts",
    "unseen": "what is open cannot be seen into",
    "route.unnamed": "neither a rule nor a lock names a route",
    "role.unknown": "a role is asked for that nobody can have",
    "lock.impossible": "no scheme can meet a lock",
    "lock.bypassed": "a lock is laid on after the route was made, and locks nothing",
    "lock.covered": "a decorator above a lock may answer before it is asked",
    "middleware.inside": "a middleware sits inside the guard that may answer, or change the path",
    "ignore.unmet": "no finding is met by what accepts one",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is one of ``CODES``; ``about`` names a rule, a route or a middleware; ``where`` is a file and a line."""

    code: str
    about: str
    what: str
    where: str
    mend: str

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.code} {self.about}: {self.what}{where}. {self.mend}."


def check_ignore(ignore: Collection[str]) -> frozenset[str]:
    """Codes, or a code with what one finding is about; ``ConfigurationError`` for a code that is none."""
    found = names("ignore", ignore)
    for one in found:
        if one.partition(" ")[0] not in CODES:
            raise ConfigurationError(
                "ignore", f"{one!r} does not begin with the code of a finding; those are {', '.join(CODES)}"
            )
    return found


_PAGES = frozenset({"openapi", "redoc_html", "swagger_ui_html", "swagger_ui_redirect"})


def findings_of(rows: Sequence[Row], guard: Guard) -> tuple[Finding, ...]:
    """Everything, each once."""
    guards = dict.fromkeys([guard, *(gate.guard for row in rows for gate in row.gates)])
    found = [
        *_of_pages(own := [row for row in rows if not row.named and is_page(row)]),
        *(one for row in rows if row not in own for one in _of_row(row)),
        *(one for each in guards for one in _of_rules(each, rows)),
        *of_middleware(rows),
    ]
    return tuple(dict.fromkeys(found))


def is_page(row: Row) -> bool:
    """Whether it is a page that FastAPI makes itself."""
    return row.endpoint.name in _PAGES and not row.endpoint.said


def _of_pages(rows: Sequence[Row]) -> Iterator[Finding]:
    if rows:
        what = f"no rule names {_listed(row.about for row in rows)}, so that the default applies"
        mend = "Give them rules: rules=[*docs(app, AUTHENTICATED), ...]"
        yield Finding("route.unnamed", "FastAPI's own pages", what, "", mend)
    for row in rows:
        for opening in row.openings:
            yield from _of_opening(row, opening)


def _of_row(row: Row) -> Iterator[Finding]:
    if not row.named:
        what = "no rule names it and no lock is on it, so that the default applies"
        mend = 'Give it a rule or a lock; Rule("/**", AUTHENTICATED) names all that nothing else does'
        yield Finding("route.unnamed", row.about, what, row.endpoint.said, mend)
    if row.endpoint.bypassed:
        what = "requires(...) stands above what made the route, and so locks nothing"
        mend = "Put it below the route's decorator, right above def"
        yield Finding("lock.bypassed", row.about, what, row.endpoint.bypassed, mend)
    if row.endpoint.covered:
        what = "a decorator above requires(...) may answer before the lock is asked, so that it counts for nothing"
        mend = "Put requires(...) above the decorator"
        yield Finding("lock.covered", row.about, what, row.endpoint.covered, mend)
    if row.locks and not row.schemes:
        wanted = ", ".join(str(lock.requirement) for lock in row.locks)
        what = f"no scheme that gets so far can meet {wanted}"
        yield Finding(
            "lock.impossible", row.about, what, row.locks[-1].said, "Give the guard the scheme, or mend the lock"
        )
    asking = [gate for gate in row.gates if not is_open(gate.match.requirement)]
    if (
        row.method in {ANY_METHOD, "OPTIONS"}
        and asking
        and not row.locked
        and all(one.layer.preflight for one in asking)
    ):
        what = "whoever sends Origin and Access-Control-Request-Method gets to it without credentials"
        mend = 'Leave out preflight="pass", or lock what answers OPTIONS'
        yield Finding("open.preflight", row.about, what, row.endpoint.said, mend)
    given = _roles_given(row)
    for role, said in row.roles:
        if given is not None and role not in given:
            what = "it is asked for, and nobody can have it"
            yield Finding("role.unknown", role, what, said, "Mend the name, or give somebody the role")
    for opening in row.openings:
        yield from _of_opening(row, opening)


def _of_opening(row: Row, opening: Opening) -> Iterator[Finding]:
    endpoint, rule = row.endpoint, opening.rule
    by = f"by {rule}" if rule else "by default"
    where = rule.said if rule else endpoint.said
    about = f"{row.method} {opening.path}"
    if endpoint.kind == "unseen":
        what = f"it is open {by}, and what it serves cannot be seen"
        yield Finding("unseen", about, what, where, "Open only what you know, path by path")
    elif row.method not in {WEBSOCKET, *SAFE} and not (rule and rule.methods):
        what = f"it changes state and is open {by}, which does not name the method"
        yield Finding("open.unsafe", about, what, where, f"Close it, or say so: Rule(..., methods={{{row.method!r}}})")
    if len(endpoint.hosts) > max((gate.layer.hosts for gate in row.gates), default=0):
        what = f"it is open {by}, for every host alike ({', '.join(endpoint.hosts)})"
        yield Finding("open.hosts", about, what, where, "Put a guard inside each host")


def reaches(row: Row, opening: Opening) -> bool:
    """Whether an open rule reaches the route without being that very path."""
    rule, gate, endpoint = opening.rule, opening.gate, row.endpoint
    if rule is None or gate is None or endpoint.kind == "unseen":
        return False
    # Where a guard is further in, it is that which says what is open, if it says anything.
    if gate is not row.gates[-1] and not row.gates[-1].ajar:
        return False
    pattern = endpoint.below(gate.layer)
    inner = endpoint.kind == "static" and rule.parsed.inside(pattern)  # some of the files, by their names
    return rule.parsed != pattern and not inner


def _of_rules(guard: Guard, rows: Sequence[Row]) -> Iterator[Finding]:
    met: dict[int, list[tuple[Row, Gate]]] = {}
    wide: dict[int, list[str]] = {}
    for row in rows:
        for gate in row.gates:
            for rule in gate.guard.table.meeting(row.endpoint.below(gate.layer)):
                if _takes(rule, row.method):
                    met.setdefault(id(rule), []).append((row, gate))
        for one in row.openings:
            if reaches(row, one):
                wide.setdefault(id(one.rule), []).append(row.about)
    for rule in guard.table.rules:
        yield from _of_rule(rule, met.get(id(rule), []), wide.get(id(rule), []))


def _of_rule(rule: Rule, met: Sequence[tuple[Row, Gate]], wide: Sequence[str]) -> Iterator[Finding]:
    about = " ".join([*sorted(rule.methods or ()), rule.pattern])
    if not met:
        mend = "Mend the path or the methods, or leave it out"
        yield Finding("rule.unmet", about, "no route meets it", rule.said, mend)
    # What closes all below is a net, and may hang below others.
    net = rule.parsed.tail and not is_open(rule.requirement)
    if met and not net and not any(match.rule is rule for _, gate in met for match in gate.matches):
        what = f"on {_listed(row.about for row, _ in met)} other rules apply"
        yield Finding("rule.hidden", about, what, rule.said, "Leave it out, or mend the others")
    if wide:
        what = f"{rule.requirement} reaches {_listed(wide)}"
        yield Finding("open.wide", about, what, rule.said, "Open each path by a rule of its own")


def _takes(rule: Rule, method: str) -> bool:
    return rule.methods is None or method == ANY_METHOD or ("GET" if method == "HEAD" else method) in rule.methods


def _roles_given(row: Row) -> frozenset[str] | None:
    """The roles that somebody can have there; None where that is not known."""
    found: frozenset[str] = frozenset()
    for guard in dict.fromkeys(gate.guard for gate in row.gates):
        for scheme in guard.schemes:
            given = getattr(scheme, "roles_given", lambda: None)()
            if given is None or guard.checks:
                return None
            found |= given
        found = found.union(*(guard.implied.get(name, ()) for name in found))
    return found


def _listed(some: Iterable[str]) -> str:
    found = list(dict.fromkeys(some))
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(found[:8]) + more


# What is known to change neither path nor method, and to be right inside the guard. CORSMiddleware is not.
_HARMLESS = frozenset(
    {
        "fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware",
        "starlette.middleware.body_limit.RequestBodyLimitMiddleware",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.exceptions.ExceptionMiddleware",
        "starlette.middleware.gzip.GZipMiddleware",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
        "starlette.middleware.sessions.SessionMiddleware",
        "starlette.middleware.trustedhost.TrustedHostMiddleware",
    }
)


def of_middleware(rows: Sequence[Row]) -> Iterator[Finding]:
    """What may answer, or change the path, behind a guard."""
    for row in rows:
        for kind in _inside(row.endpoint):
            if hands_on(kind):
                continue
            name = getattr(kind, "__qualname__", type(kind).__qualname__)
            what, mend = (
                "what it does to path and method is not known",
                "Put it outside of the guard, or accept it by name",
            )
            if name == "CORSMiddleware":
                what, mend = "denials lack its headers", "Put it outermost: add it after the guard"
            yield Finding("middleware.inside", name, f"it sits inside the guard; {what}", said_of(kind), mend)


def hands_on(kind: object) -> bool:
    """Whether it hands each request on as it is, where it does not refuse it."""
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}" in _HARMLESS


def _inside(endpoint: Endpoint) -> Iterator[object]:
    """What made the middleware further in than the first guard."""
    inside = False
    for layer in endpoint.layers:
        if layer.guard is not None:
            inside = True
        elif inside:
            yield layer.made_by
