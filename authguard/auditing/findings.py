"""What is worth a second look in the rows of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from authguard.auditing.finding import Finding
from authguard.auditing.inside import of_middleware
from authguard.auditing.rows import Gate, Opening, Row, is_open
from authguard.guard import Guard
from authguard.policy.origin import SAFE
from authguard.policy.rules import WEBSOCKET, Rule
from authguard.served import ANY_METHOD

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
