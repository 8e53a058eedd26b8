"""A finding: a code, a place and a mend."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from authguard.audit.endpoint import ANY_METHOD, Endpoint
from authguard.audit.rows import GuardLayer, PublicAccess, RouteEntry, is_open
from authguard.core.csrf import SAFE
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.policy.rules import WEBSOCKET, Rule
from authguard.source_location import definition_location
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
    fix: str

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.code} {self.about}: {self.what}{where}. {self.fix}."


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


def findings_of(rows: Sequence[RouteEntry], guard: Guard) -> tuple[Finding, ...]:
    """Everything, each once."""
    guards = dict.fromkeys([guard, *(guard_layer.guard for row in rows for guard_layer in row.guard_layers)])
    found = [
        *_of_pages(own := [row for row in rows if not row.named and is_page(row)]),
        *(one for row in rows if row not in own for one in _of_row(row)),
        *(one for each in guards for one in _of_rules(each, rows)),
        *of_middleware(rows),
    ]
    return tuple(dict.fromkeys(found))


def is_page(row: RouteEntry) -> bool:
    """Whether it is a page that FastAPI makes itself."""
    return row.endpoint.name in _PAGES and not row.endpoint.location


def _of_pages(rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    if rows:
        what = f"no rule names {_listed(row.about for row in rows)}, so that the default applies"
        fix = "Give them rules: rules=[*docs(app, AUTHENTICATED), ...]"
        yield Finding("route.unnamed", "FastAPI's own pages", what, "", fix)
    for row in rows:
        for access in row.public_accesses:
            yield from _of_opening(row, access)


def _of_row(row: RouteEntry) -> Iterator[Finding]:
    if not row.named:
        what = "no rule names it and no lock is on it, so that the default applies"
        fix = 'Give it a rule or a lock; Rule("/**", AUTHENTICATED) names all that nothing else does'
        yield Finding("route.unnamed", row.about, what, row.endpoint.location, fix)
    if row.endpoint.bypassed:
        what = "requires(...) stands above what made the route, and so locks nothing"
        fix = "Put it below the route's decorator, right above def"
        yield Finding("lock.bypassed", row.about, what, row.endpoint.bypassed, fix)
    if row.endpoint.covered:
        what = "a decorator above requires(...) may answer before the lock is asked, so that it counts for nothing"
        fix = "Put requires(...) above the decorator"
        yield Finding("lock.covered", row.about, what, row.endpoint.covered, fix)
    if row.locks and not row.schemes:
        wanted = ", ".join(str(lock.requirement) for lock in row.locks)
        what = f"no scheme that gets so far can meet {wanted}"
        yield Finding(
            "lock.impossible", row.about, what, row.locks[-1].location, "Give the guard the scheme, or mend the lock"
        )
    asking = [guard_layer for guard_layer in row.guard_layers if not is_open(guard_layer.match.requirement)]
    if (
        row.method in {ANY_METHOD, "OPTIONS"}
        and asking
        and not row.locked
        and all(one.layer.preflight for one in asking)
    ):
        what = "whoever sends Origin and Access-Control-Request-Method gets to it without credentials"
        fix = 'Leave out preflight="pass", or lock what answers OPTIONS'
        yield Finding("open.preflight", row.about, what, row.endpoint.location, fix)
    given = _roles_given(row)
    for role, location in row.roles:
        if given is not None and role not in given:
            what = "it is asked for, and nobody can have it"
            yield Finding("role.unknown", role, what, location, "Mend the name, or give somebody the role")
    for access in row.public_accesses:
        yield from _of_opening(row, access)


def _of_opening(row: RouteEntry, access: PublicAccess) -> Iterator[Finding]:
    endpoint, rule = row.endpoint, access.rule
    by = f"by {rule}" if rule else "by default"
    where = rule.location if rule else endpoint.location
    about = f"{row.method} {access.path}"
    if endpoint.kind == "unseen":
        what = f"it is open {by}, and what it serves cannot be seen"
        yield Finding("unseen", about, what, where, "Open only what you know, path by path")
    elif row.method not in {WEBSOCKET, *SAFE} and not (rule and rule.methods):
        what = f"it changes state and is open {by}, which does not name the method"
        yield Finding("open.unsafe", about, what, where, f"Close it, or say so: Rule(..., methods={{{row.method!r}}})")
    if len(endpoint.hosts) > max((guard_layer.layer.hosts for guard_layer in row.guard_layers), default=0):
        what = f"it is open {by}, for every host alike ({', '.join(endpoint.hosts)})"
        yield Finding("open.hosts", about, what, where, "Put a guard inside each host")


def reaches(row: RouteEntry, access: PublicAccess) -> bool:
    """Whether an open rule reaches the route without being that very path."""
    rule, guard_layer, endpoint = access.rule, access.guard_layer, row.endpoint
    if rule is None or guard_layer is None or endpoint.kind == "unseen":
        return False
    # Where a guard is further in, it is that which says what is open, if it says anything.
    if guard_layer is not row.guard_layers[-1] and not row.guard_layers[-1].ajar:
        return False
    pattern = endpoint.below(guard_layer.layer)
    inner = endpoint.kind == "static" and rule.parsed.inside(pattern)  # some of the files, by their names
    return rule.parsed != pattern and not inner


def _of_rules(guard: Guard, rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    met: dict[int, list[tuple[RouteEntry, GuardLayer]]] = {}
    wide: dict[int, list[str]] = {}
    for row in rows:
        for guard_layer in row.guard_layers:
            for rule in guard_layer.guard.table.meeting(row.endpoint.below(guard_layer.layer)):
                if _takes(rule, row.method):
                    met.setdefault(id(rule), []).append((row, guard_layer))
        for one in row.public_accesses:
            if reaches(row, one):
                wide.setdefault(id(one.rule), []).append(row.about)
    for rule in guard.table.rules:
        yield from _of_rule(rule, met.get(id(rule), []), wide.get(id(rule), []))


def _of_rule(rule: Rule, met: Sequence[tuple[RouteEntry, GuardLayer]], wide: Sequence[str]) -> Iterator[Finding]:
    about = " ".join([*sorted(rule.methods or ()), rule.pattern])
    if not met:
        fix = "Mend the path or the methods, or leave it out"
        yield Finding("rule.unmet", about, "no route meets it", rule.location, fix)
    # What closes all below is a net, and may hang below others.
    net = rule.parsed.tail and not is_open(rule.requirement)
    if met and not net and not any(match.rule is rule for _, guard_layer in met for match in guard_layer.matches):
        what = f"on {_listed(row.about for row, _ in met)} other rules apply"
        yield Finding("rule.hidden", about, what, rule.location, "Leave it out, or mend the others")
    if wide:
        what = f"{rule.requirement} reaches {_listed(wide)}"
        yield Finding("open.wide", about, what, rule.location, "Open each path by a rule of its own")


def _takes(rule: Rule, method: str) -> bool:
    return rule.methods is None or method == ANY_METHOD or ("GET" if method == "HEAD" else method) in rule.methods


def _roles_given(row: RouteEntry) -> frozenset[str] | None:
    """The roles that somebody can have there; None where that is not known."""
    found: frozenset[str] = frozenset()
    for guard in dict.fromkeys(guard_layer.guard for guard_layer in row.guard_layers):
        for scheme in guard.schemes:
            given = getattr(scheme, "roles_given", lambda: None)()
            if given is None or guard.checks:
                return None
            found |= given
        found = found.union(*(guard.implied_roles.get(name, ()) for name in found))
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


def of_middleware(rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    """What may answer, or change the path, behind a guard."""
    for row in rows:
        for kind in _inside(row.endpoint):
            if hands_on(kind):
                continue
            name = getattr(kind, "__qualname__", type(kind).__qualname__)
            what, fix = (
                "what it does to path and method is not known",
                "Put it outside of the guard, or accept it by name",
            )
            if name == "CORSMiddleware":
                what, fix = "denials lack its headers", "Put it outermost: add it after the guard"
            yield Finding(
                "middleware.inside", name, f"it sits inside the guard; {what}", definition_location(kind), fix
            )


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
