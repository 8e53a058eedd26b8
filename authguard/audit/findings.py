"""Findings: what an audit reports about rules, routes, roles and middleware, each with its source location and a fix.

The codes come first, then ``Finding``, then what looks for findings: around each route, in the rules, and among the
middleware outside and inside a guard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from authguard.asgi.framework_code import is_known_outside, passes_unchanged
from authguard.audit.endpoint import ANY_METHOD, Endpoint, Layer
from authguard.audit.nearest_path import nearest_path
from authguard.audit.rows import GuardLayer, PublicAccess, RouteEntry, is_open
from authguard.core.csrf import SAFE
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.path_pattern import ANY, Pattern
from authguard.policy.rules import WEBSOCKET, Rule
from authguard.source_location import definition_location
from authguard.validation import names
from authguard.value_types import frozen

# --- Codes ------------------------------------------------------------------------------------------------------------

#: Of the findings that only a start-up shows, by the settings of the server.
UNSHARED = "state.unshared"
SENDER = "certificate.sender"

#: The code of what refuses nobody, because the app says so.
REPORT_ONLY = "report_only"
_ENFORCE = "Leave report_only out once its records name nobody who must get in"

#: Each code, and what it means.
CODES = {
    "guard.absent": "no guard is in front of the app; the audit shows what would apply if the given one were",
    "guard.other": "the app holds another guard than the given one",
    "rule.unmet": "a rule matches no route",
    "rule.hidden": "other rules apply on every route that a rule matches",
    "open.wide": "an open rule reaches a route without having the very path of that route",
    "open.unsafe": "a method that changes state is open, and no rule names the method",
    "open.preflight": "a request with the two fields of a CORS preflight gets in without credentials",
    REPORT_ONLY: "a guard, a rule or a lock is report-only: it refuses nobody",
    "lock.report_only": "a lock is report-only, and refuses all the same, because a function takes its value",
    "open.hosts": "an open rule applies to the handlers of all hosts",
    "opaque": "something is open that cannot be inspected",
    "file.alias": "a file has two paths, with different requirements",
    "route.unnamed": "neither a rule nor a lock names a route",
    "role.unknown": "a rule or a lock requires a role that nobody can have",
    "lock.impossible": "no accepted scheme can satisfy a lock",
    "lock.bypassed": "a lock was put on after the route was made, so the route runs without it",
    "lock.covered": "a decorator above a lock may answer before the lock runs",
    "identity.client": "FastAPI builds from the request what says who somebody is",
    "middleware.outside": "a middleware outside the guard may answer by itself, so that the guard is not asked",
    "middleware.inside": "a middleware inside the guard may answer by itself, or change the path",
    "cors.unexposed": "a CORSMiddleware outside the guard hides a field that scripts need to log in",
    "session.absent": "a scheme Session finds no session, because no SessionMiddleware is outside of its guard",
    "session.cookie": "the cookie of a session is not as safe, or not as long-lived, as the scheme Session needs it",
    UNSHARED: "several processes serve the app, and a store counts in each of them for itself; at start-up only",
    SENDER: "the server does not let an app know who has sent a client certificate in a header; at start-up only",
    "ignore.unmet": "an ignore entry accepts a finding that is not there",
}


def check_ignore(ignore: Collection[str]) -> frozenset[str]:
    """The entries of ``ignore``: each is a code, or a code and what one finding is about.

    Raises ``ConfigurationError`` for an unknown code.
    """
    entries = names("ignore", ignore)
    for entry in entries:
        if entry.partition(" ")[0] not in CODES:
            raise ConfigurationError(
                "ignore", f"{entry!r} does not begin with the code of a finding; the codes are {', '.join(CODES)}"
            )
    return entries


# --- The finding ------------------------------------------------------------------------------------------------------


@frozen
class Finding:
    """One finding.

    - ``code``: one of ``CODES``.
    - ``about``: the rule, the route, the role or the middleware.
    - ``problem`` and ``fix``: what is wrong, and what to do.
    - ``location``: file and line, or "".
    - ``opens``: whether it leaves something more open than the rule suggests. Start-up warns of it.
    """

    code: str
    about: str
    problem: str
    location: str
    fix: str
    opens: bool = field(default=False, repr=False, compare=False)

    def __str__(self) -> str:
        location = f" ({self.location})" if self.location else ""
        return f"{self.key}: {self.problem}{location}. {self.fix}."

    @property
    def key(self) -> str:
        """The ``ignore`` entry for this finding alone."""
        return f"{self.code} {self.about}"

    @property
    def ignore_entries(self) -> frozenset[str]:
        """The ``ignore`` entries that accept it: ``key``, and the code for all findings that have it."""
        return frozenset({self.key, self.code})


def find_findings(rows: Sequence[RouteEntry], guard: Guard) -> tuple[Finding, ...]:
    """All findings about these rows, and about the rules of this guard and of the guards in the rows; each once."""
    guards = dict.fromkeys([guard, *(guard_layer.guard for row in rows for guard_layer in row.guard_layers)])
    pages = [row for row in rows if not row.named and is_framework_page(row)]
    return tuple(
        dict.fromkeys(
            [
                *_about_framework_pages(pages),
                *(finding for row in rows if row not in pages for finding in _about_row(row)),
                *(finding for guard in guards for finding in _about_rules(guard, rows)),
                *_about_middleware(rows),
            ]
        )
    )


def _listed(items: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(items))
    more = f" and {len(distinct) - 8} more" if len(distinct) > 8 else ""
    return ", ".join(distinct[:8]) + more


# --- Around a route ---------------------------------------------------------------------------------------------------

#: What a finding about the pages of FastAPI is about.
FRAMEWORK_PAGES = "FastAPI's own pages"
_FRAMEWORK_PAGES = frozenset({"openapi", "redoc_html", "swagger_ui_html", "swagger_ui_redirect"})


def is_framework_page(row: RouteEntry) -> bool:
    """Whether FastAPI adds this route by itself: the OpenAPI document, Swagger UI, its OAuth2 page, ReDoc."""
    return row.endpoint.name in _FRAMEWORK_PAGES and not row.endpoint.location


def _about_framework_pages(rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    if rows:
        problem = f"no rule names {_listed(row.about for row in rows)}, so the default applies"
        fix = "Give them rules: rules=[*docs(app, AUTHENTICATED), ...]"
        yield Finding("route.unnamed", FRAMEWORK_PAGES, problem, "", fix)
    for row in rows:
        yield from about_opening(row)


def _about_row(row: RouteEntry) -> Iterator[Finding]:
    if not row.named:
        problem = "no rule names it and no lock is on it, so the default applies"
        fix = 'Give it a rule or a lock; Rule("/**", AUTHENTICATED) names every route that nothing else names'
        yield Finding("route.unnamed", row.about, problem, row.endpoint.location, fix)
    if row.endpoint.client_values:
        problem = f"the client fills in {_listed(row.endpoint.client_values)}"
        fix = "Write who: CurrentPrincipal, from authguard.fastapi"
        yield Finding("identity.client", row.about, problem, row.endpoint.location, fix)
    yield from _about_locks(row)
    yield from _about_report_only(row)
    preflight = _about_preflight(row)
    if preflight:
        yield preflight
    known_roles = _obtainable_roles(row)
    for role, location in row.roles:
        if known_roles is not None and role not in known_roles:
            problem = "it is required, and nobody can have it"
            yield Finding("role.unknown", role, problem, location, "Correct the name, or give somebody the role")
    yield from about_opening(row)
    yield from _about_files(row)


def _about_locks(row: RouteEntry) -> Iterator[Finding]:
    if row.endpoint.bypassed_lock:
        problem = "requires(...) is above the decorator that made the route, so the route runs without the lock"
        fix = "Put it below the route's decorator, right above def"
        yield Finding("lock.bypassed", row.about, problem, row.endpoint.bypassed_lock, fix)
    if row.endpoint.covered_lock:
        problem = "a decorator above requires(...) may answer before the lock runs, so the lock counts for nothing"
        fix = "Put requires(...) above that decorator"
        yield Finding("lock.covered", row.about, problem, row.endpoint.covered_lock, fix)
    if row.locks and not row.schemes:
        requirements = ", ".join(str(lock.requirement) for lock in row.locks)
        problem = f"no scheme that the guard and its rules accept here can satisfy {requirements}"
        fix = "Give the guard such a scheme, or correct the lock"
        yield Finding("lock.impossible", row.about, problem, row.locks[-1].location, fix)


def _about_report_only(row: RouteEntry) -> Iterator[Finding]:
    for lock in row.locks:
        if lock.report_only and lock.value_taken:
            problem = (
                f"the lock {lock.requirement} is report-only, and refuses all the same: a parameter takes its value"
            )
            fix = "Put it into dependencies=[...], or leave report_only out"
            yield Finding("lock.report_only", row.about, problem, lock.location, fix)
        elif lock.report_only:
            problem = f"the lock {lock.requirement} is report-only, so it refuses nobody"
            yield Finding(REPORT_ONLY, row.about, problem, lock.location, _ENFORCE, opens=True)


def _about_preflight(row: RouteEntry) -> Finding | None:
    closing = [guard_layer for guard_layer in row.guard_layers if not is_open(guard_layer.match.requirement)]
    if (
        row.method not in {ANY_METHOD, "OPTIONS"}
        or not closing
        or row.locked
        or not all(guard_layer.layer.preflight_passes for guard_layer in closing)
    ):
        return None
    problem = "a request with Origin and Access-Control-Request-Method reaches it without credentials"
    fix = 'Leave out preflight="pass", or lock the endpoint that answers OPTIONS'
    return Finding("open.preflight", row.about, problem, row.endpoint.location, fix)


def _obtainable_roles(row: RouteEntry) -> frozenset[str] | None:
    """The roles that somebody can have there; None where they cannot be listed."""
    roles: frozenset[str] = frozenset()
    for guard in dict.fromkeys(guard_layer.guard for guard_layer in row.guard_layers):
        for scheme in guard.schemes:
            roles_given = getattr(scheme, "roles_given", lambda: None)()
            if roles_given is None or guard.checks:
                return None
            roles |= roles_given
        roles = roles.union(*(guard.implied_roles.get(role, ()) for role in roles))
    return roles


def about_opening(row: RouteEntry) -> Iterator[Finding]:
    """The findings about where anonymous requests get in."""
    for access in row.public_accesses:
        yield from _about_public_access(row, access)


def _about_public_access(row: RouteEntry, access: PublicAccess) -> Iterator[Finding]:
    endpoint, rule, about = row.endpoint, access.rule, f"{row.method} {access.path}"
    if endpoint.kind == "opaque":
        problem = f"it is open {access.cause}, and what it serves cannot be inspected"
        yield Finding("opaque", about, problem, access.location, "Open only paths that you know, one by one")
    elif row.method not in {WEBSOCKET, *SAFE} and not (rule and rule.methods):
        problem = f"it changes state and is open {access.cause}; no rule names the method"
        fix = f"Close it, or name the method: Rule(..., methods={{{row.method!r}}})"
        yield Finding("open.unsafe", about, problem, access.location, fix)
    if len(endpoint.hosts) > max((guard_layer.layer.host_count for guard_layer in row.guard_layers), default=0):
        problem = f"it is open {access.cause}, on every host and not only on {', '.join(endpoint.hosts)}"
        yield Finding("open.hosts", about, problem, access.location, "Put a guard inside each host")


# --- Around files -----------------------------------------------------------------------------------------------------

_INDEX = "index.html"


def _about_files(row: RouteEntry) -> Iterator[Finding]:
    """The paths under which a file is served a second time.

    With ``html=True`` the path of a directory is its ``index.html``, and ``404.html`` is served for every path that is
    not a file.
    """
    fix = "Give both paths the same requirement"
    directories = _directories(row) if row.endpoint.serves_index else {}
    for directory, rule in directories.items():
        index = Pattern((*directory.segments, _INDEX), tail=False)
        if _required(row, directory) != _required(row, index):
            problem = f"it is also {directory}, which requires {_and(row, directory)} and not {_and(row, index)}"
            yield Finding("file.alias", f"GET {index}", problem, rule.location, fix)
    # A path that one rule alone names may well be a file.
    anywhere = [access for access in row.public_accesses if access.rule is None or not access.rule.parsed.literal]
    for name in row.endpoint.fallbacks if anywhere else ():
        fallback = Pattern((*row.endpoint.pattern.segments, name), tail=False)
        if not all(map(is_open, _required(row, fallback))):
            problem = f"it is also what {anywhere[0].path} serves where there is no file, and that is open"
            yield Finding("file.alias", f"GET {fallback}", problem, anywhere[0].location, fix)


def _directories(row: RouteEntry) -> Mapping[Pattern, Rule]:
    """The directories that a rule names, or whose ``index.html`` it names, and the rule."""
    endpoint, directories = row.endpoint, dict[Pattern, Rule]()
    for guard_layer in row.guard_layers:
        outside = endpoint.pattern.segments[: guard_layer.layer.segment_count]
        for rule in guard_layer.guard.table.rules_overlapping(endpoint.below(guard_layer.layer)):
            segments = (*outside, *rule.parsed.segments)
            names_index = bool(segments) and segments[-1] in {_INDEX, ANY} and not rule.parsed.tail
            for candidate in (segments, segments[:-1]) if names_index else (segments,):
                directory = Pattern(candidate, tail=False)
                if directory.is_subset_of(endpoint.pattern) and not _is_file(endpoint, directory):
                    wide = directories.get(directory)
                    directories[directory] = rule if wide is None or wide.parsed.tail else wide
    return directories


def _is_file(endpoint: Endpoint, pattern: Pattern) -> bool:
    """Whether a path is that of a file and not of a directory, as far as the folders tell, or else the path."""
    names = [str(segment) for segment in pattern.segments[len(endpoint.pattern.segments) :]]
    if not names or not pattern.literal:
        return False
    paths = [folder.joinpath(*names) for folder in endpoint.folders]
    looks_like_file = "." in names[-1]
    return any(path.is_file() for path in paths) or (looks_like_file and not any(path.is_dir() for path in paths))


def _required(row: RouteEntry, pattern: Pattern) -> list[Requirement]:
    """What the guards of a row require on a path of it."""
    return [
        guard_layer.guard.table.match_pattern("GET", guard_layer.layer.below(pattern))[0].requirement
        for guard_layer in row.guard_layers
    ]


def _and(row: RouteEntry, pattern: Pattern) -> str:
    return " and ".join(str(requirement) for requirement in dict.fromkeys(_required(row, pattern)))


# --- In the rules -----------------------------------------------------------------------------------------------------


def _about_rules(guard: Guard, rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    matched: dict[int, list[tuple[RouteEntry, GuardLayer]]] = {}
    widened: dict[int, list[str]] = {}
    #: The paths behind this guard, and the methods that are served where a rule has none of them.
    paths: list[str] = []
    other_methods: dict[int, list[str]] = {}
    for row in rows:
        for guard_layer in row.guard_layers:
            if guard_layer.guard is guard:
                paths.append(row.path.removeprefix(guard_layer.layer.path))
            for rule in guard_layer.guard.table.rules_overlapping(row.endpoint.below(guard_layer.layer)):
                other_methods.setdefault(id(rule), []).append(row.method)
                if _covers_method(rule, row.method):
                    matched.setdefault(id(rule), []).append((row, guard_layer))
        for access in row.public_accesses:
            if _is_wide(row, access):
                widened.setdefault(id(access.rule), []).append(row.about)
    yield from _about_report_only_rules(guard)
    for rule in guard.table.rules:
        if id(rule) not in matched:
            yield _unmet(rule, paths, other_methods.get(id(rule), []))
        yield from _about_rule(rule, matched.get(id(rule), []), widened.get(id(rule), []))


def _about_report_only_rules(guard: Guard) -> Iterator[Finding]:
    if guard.report_only:
        yield Finding(REPORT_ONLY, "guard", "the guard is report-only, so it refuses nobody", "", _ENFORCE, opens=True)
    for rule in guard.table.rules:
        if rule.report_only:
            problem = "the rule is report-only, so it refuses nobody"
            yield Finding(REPORT_ONLY, rule.pattern, problem, rule.location, _ENFORCE, opens=True)


def _covers_method(rule: Rule, method: str) -> bool:
    return rule.methods is None or method == ANY_METHOD or ("GET" if method == "HEAD" else method) in rule.methods


def _is_wide(row: RouteEntry, access: PublicAccess) -> bool:
    """Whether an open rule reaches the route without having its very path."""
    rule, guard_layer, endpoint = access.rule, access.guard_layer, row.endpoint
    if rule is None or guard_layer is None or endpoint.kind == "opaque":
        return False
    # The innermost guard is the one that opens a path, unless it leaves the path to its default.
    innermost = row.guard_layers[-1]
    if guard_layer is not innermost and not innermost.is_open_by_default:
        return False
    pattern = endpoint.below(guard_layer.layer)
    names_files = endpoint.kind == "static" and rule.parsed.is_subset_of(pattern)
    return rule.parsed != pattern and not names_files


def _named(rule: Rule) -> str:
    return " ".join([*sorted(rule.methods or ()), rule.pattern])


def _unmet(rule: Rule, paths: Collection[str], other_methods: Sequence[str]) -> Finding:
    """The finding about a rule that matches no route, with the route that it most likely means.

    A route that a closed rule was meant for is open to whatever the next rule, or the default, lets in. If only the
    methods are wrong, nothing is: the rule still closes the path to all others.
    """
    problem, fix = "it matches no route", "Correct the path or the methods, or remove the rule"
    if other_methods:
        problem, fix = f"{problem}: the path serves {_listed(other_methods)}", "Correct the methods, or remove the rule"
    elif (nearest := nearest_path(rule, paths)) is not None:
        problem = f"{problem}, and the nearest is {nearest.path}"
        fix = f"Write {nearest.written}" + (f": {nearest.why}" if nearest.why else "")
    opens = bool(paths) and not other_methods and not is_open(rule.requirement)
    return Finding("rule.unmet", _named(rule), problem, rule.location, fix, opens)


def _about_rule(
    rule: Rule, matched: Sequence[tuple[RouteEntry, GuardLayer]], widened: Sequence[str]
) -> Iterator[Finding]:
    about = _named(rule)
    # A closed /** is a safety net: it may well have nothing left to catch.
    is_net = rule.parsed.tail and not is_open(rule.requirement)
    applies = any(match.rule is rule for _, guard_layer in matched for match in guard_layer.matches)
    if matched and not is_net and not applies:
        problem = f"other rules apply on {_listed(row.about for row, _ in matched)}"
        yield Finding("rule.hidden", about, problem, rule.location, "Remove it, or correct the other rules")
    if widened:
        problem = f"{rule.requirement} reaches {_listed(widened)}"
        yield Finding("open.wide", about, problem, rule.location, "Open each path with its own rule")


# --- Among the middleware outside and inside a guard ------------------------------------------------------------------


def _about_middleware(rows: Sequence[RouteEntry]) -> Iterator[Finding]:
    for row in rows:
        yield from about_outside(row.endpoint)
        for layer in _inside_guard(row.endpoint):
            if passes_unchanged(layer.implementation):
                continue
            effect = "what it does to path and method is not known"
            fix = "Check that it neither answers by itself nor changes them, and accept it by name"
            if is_known_outside(layer.implementation):
                effect, fix = (
                    "it must see each request before the guard does",
                    "Put it outermost: add it after the guard",
                )
            if layer.full_name == "CORSMiddleware":
                effect = "denials get none of its headers"
            location = definition_location(layer.implementation)
            yield Finding("middleware.inside", layer.full_name, f"it is inside the guard; {effect}", location, fix)


def about_outside(endpoint: Endpoint) -> Iterator[Finding]:
    """A finding for each middleware in front of the first guard that may answer by itself."""
    guards = [index for index, layer in enumerate(endpoint.layers) if layer.guard is not None]
    for layer in endpoint.layers[: guards[0] if guards else 0]:
        if not is_known_outside(layer.implementation):
            problem = "it is outside the guard, and what it answers by itself goes to anybody"
            fix = "Check that it answers nothing by itself, and accept it by name; or add it before the guard"
            location = definition_location(layer.implementation)
            yield Finding("middleware.outside", layer.full_name, problem, location, fix)


def _inside_guard(endpoint: Endpoint) -> Iterator[Layer]:
    """The middleware further in than the first guard."""
    inside = False
    for layer in endpoint.layers:
        if layer.guard is not None:
            inside = True
        elif inside:
            yield layer
