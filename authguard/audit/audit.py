"""``audit`` reports what applies to each route of an app; ``assert_closed`` turns it into a test."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TypeAlias

from authguard.audit.cross_origin import about_exposure
from authguard.audit.endpoint import Endpoint, Layer
from authguard.audit.findings import (
    FRAMEWORK_PAGES,
    UNSHARED,
    Finding,
    about_opening,
    about_outside,
    check_ignore,
    find_findings,
    is_framework_page,
)
from authguard.audit.report import render_text, short_location
from authguard.audit.route_discovery import discover_endpoints
from authguard.audit.rows import PublicAccess, RouteEntry, route_entries
from authguard.audit.session_cookie import about_sessions
from authguard.core.guard import Guard
from authguard.core.responses import distinct
from authguard.errors import ConfigurationError
from authguard.policy.path_pattern import Pattern, parse_pattern
from authguard.source_location import name_of
from authguard.validation import names
from authguard.value_types import frozen

# A method, or "" for any; and a path, as text where no pattern can be parsed from it.
_PublicEntry: TypeAlias = tuple[str, Pattern | str]


@frozen
class Audit:
    """A row for each method and path that the app can serve, and the findings. ``str()`` is a table."""

    rows: tuple[RouteEntry, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return render_text(self.rows, self.findings)


def audit(app: object, guard: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """What applies to each method and path of an app; if no guard is in front of it yet, what would apply.

    The audit finds routes through routers, mounts, hosts and middleware. A row says so where the app cannot be
    inspected. ``ignore`` accepts findings: by a code, or by a code and what one finding is about,
    ``"open.unsafe POST /login"``.

    Raises ``ConfigurationError`` for an unknown code, anything but a ``Guard``, and an app that is not callable.
    """
    return _audit(app, guard, ignore)


def audit_inner(
    app: object,
    guard: Guard,
    *,
    ignore: Collection[str] = (),
    preflight_passes: bool = False,
    enclosing: object = None,
) -> Audit:
    """The audit of the app inside a guard's middleware, which is known to be in front of all its routes.

    ``preflight_passes``: whether the middleware has ``preflight="pass"``. ``enclosing`` is the app that holds the
    middleware, if it is known: the findings are then about what may answer in front of the guard, too. The audit does
    not report ``ignore`` entries that accept nothing.
    """
    front = Layer(type(guard), guard, preflight_passes=preflight_passes)
    return _audit(app, guard, ignore, front=front, enclosing=enclosing)


def _audit(
    app: object, guard: Guard, ignore: Collection[str], *, front: Layer | None = None, enclosing: object = None
) -> Audit:
    """The audit of an app, seen from outside, or from the middleware ``front``."""
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{guard!r} is not a Guard")
    if not callable(app):
        raise ConfigurationError("app", f"{app!r} is not an app: it cannot be called")
    accepted, endpoints = check_ignore(ignore), discover_endpoints(app)
    installed = [layer.guard for endpoint in endpoints for layer in endpoint.layers if layer.guard]
    if front is not None or not installed:
        first = front or Layer(type(guard), guard)
        endpoints = tuple(replace(endpoint, layers=(first, *endpoint.layers)) for endpoint in endpoints)
    rows = route_entries([*endpoints, *_published(endpoints)])
    findings = (
        *find_findings(rows, guard),
        *about_sessions(endpoints, guard, is_whole=bool(installed) and front is None),
        *about_exposure(endpoints, guard),
    )
    if enclosing is not None:
        around = discover_endpoints(enclosing)
        about_session = about_sessions(around, guard, is_whole=False)
        about_fields = about_exposure(around, guard)
        findings = tuple(dict.fromkeys([*_in_front(around, guard), *findings, *about_session, *about_fields]))
    if front is None:
        if endpoints and not any(guard is other for other in installed):
            findings = (_missing_guard(app, has_other=bool(installed)), *findings)
        # At start-up these are left out: a finding that has been fixed must not keep a strict app from starting.
        findings = (*findings, *_unmet_ignore_entries(accepted, findings))
    return Audit(rows, tuple(finding for finding in findings if not finding.ignore_entries & accepted))


def _in_front(endpoints: Collection[Endpoint], guard: Guard) -> tuple[Finding, ...]:
    """What may answer in front of a guard: the middleware on the way to it, and what cannot be inspected."""
    findings: dict[Finding, None] = {}
    behind: dict[Pattern, None] = {}
    for endpoint in endpoints:
        layer = next((layer for layer in endpoint.layers if layer.guard is guard), None)
        if layer is not None:
            findings.update(dict.fromkeys(about_outside(endpoint)))
            behind[Pattern(endpoint.pattern.segments[: layer.segment_count], tail=True)] = None
    for row in route_entries([endpoint for endpoint in endpoints if endpoint.kind == "opaque"]):
        if not row.guard_layers and any(row.endpoint.pattern.common_path(pattern) for pattern in behind):
            findings.update(dict.fromkeys(about_opening(row)))
    return tuple(findings)


def _published(endpoints: Collection[Endpoint]) -> Iterator[Endpoint]:
    """What the outermost guards serve themselves, at the root of the host."""
    first_guards = (next((layer for layer in endpoint.layers if layer.guard), None) for endpoint in endpoints)
    outermost = {id(layer.guard): layer for layer in first_guards if layer is not None and not layer.path}
    for layer in outermost.values():
        for page in distinct(layer.guard.published) if layer.guard else ():
            pattern = parse_pattern(page.path)[0]
            yield Endpoint(
                "http", ("GET",), page.path, pattern, name="published", location=page.location, layers=(layer,)
            )


def _missing_guard(app: object, *, has_other: bool) -> Finding:
    about = name_of(type(app))
    if has_other:
        problem, fix = "it holds another guard than the given one", "Make the guard once, and give it to both"
        return Finding("guard.other", about, problem, "", fix)
    problem = "no guard is in front of it yet; the audit shows what would apply"
    fix = "install(app, guard) on FastAPI, else app.add_middleware(AuthGuardMiddleware, guard=guard)"
    return Finding("guard.absent", about, problem, "", fix)


def _unmet_ignore_entries(accepted: Collection[str], findings: Collection[Finding]) -> list[Finding]:
    met = {entry for finding in findings for entry in finding.ignore_entries}
    # What is accepted for many processes need not be there in one.
    met |= {entry for entry in accepted if entry.partition(" ")[0] == UNSHARED}
    problem, fix = "there is no finding for it to accept", "Remove it"
    return [Finding("ignore.unmet", entry, problem, "", fix) for entry in sorted(accepted) if entry not in met]


# The findings, by code or by its first part, without which an app is not known to be closed.
_ASSERTED = frozenset(
    {"guard", "identity", "ignore", "middleware", "file.alias", "opaque", "open.preflight", "report_only"}
)


def assert_closed(app: object, guard: Guard, *, public: Collection[str] = (), ignore: Collection[str] = ()) -> None:
    """Fails for a route that is open and not in ``public``, and for a route that neither a rule nor a lock names. Fails
    for a guard, a rule or a lock that is report-only, unless ``ignore`` names it: ``"report_only /admin/**"``.

    It fails for what may answer without the guard: a middleware of unknown effect outside or inside of it, and an open
    part of the app, or one without a guard, that cannot be inspected. It also fails if the guard is nowhere in the app,
    and if the app serves nothing yet. Give it the object that the server runs.

    ``public`` holds paths as rules write them, or one method of a path: ``["/health", "POST /login"]``. ``ignore``
    accepts findings, as for ``audit``. An entry of either that accepts nothing fails too. ``Rule("/**",
    AUTHENTICATED)`` names every route that nothing else names. Raises ``AssertionError`` with each problem, its source
    location, its fix, and the entry that accepts it.
    """
    public_entries = {text: _parse_public_entry(text) for text in sorted(names("public", public))}
    accepted = check_ignore(ignore)
    result = audit(app, guard, ignore=accepted)
    problems = [_finding_line(finding) for finding in result.findings if _is_asserted(finding)]
    problems += [] if result.rows else ["the app serves nothing. Call assert_closed when its routes are there"]
    problems += dict.fromkeys(_problems(result.rows, public_entries.values(), accepted))
    met = {
        text
        for row in result.rows
        for access in row.public_accesses
        for text, entry in public_entries.items()
        if _matches(row, access, entry)
    }
    problems += [
        f"{text}: it is in public, and it matches no open route. Remove it"
        for text in public_entries
        if text not in met
    ]
    if problems:
        head = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise AssertionError("\n  ".join([f"the app is not known to be closed: {head}:", *problems]))


def _is_asserted(finding: Finding) -> bool:
    return not _ASSERTED.isdisjoint({finding.code, finding.code.partition(".")[0]})


def _finding_line(finding: Finding) -> str:
    line = _line(finding.about, finding.problem, finding.location, finding.fix)
    is_of_call = finding.code.partition(".")[0] in {"guard", "ignore"}
    return line if is_of_call else f'{line}. To accept it: ignore=["{finding.key}"]'


def _problems(
    rows: Collection[RouteEntry], public: Collection[_PublicEntry], accepted: Collection[str]
) -> Iterator[str]:
    for row in rows:
        unlisted = [
            access for access in row.public_accesses if not any(_matches(row, access, entry) for entry in public)
        ]
        # Several guards may open one path: the innermost that has a rule for it stands for all of them.
        by_path = {access.path: access for access in sorted(unlisted, key=lambda access: access.rule is not None)}
        for access in by_path.values():
            about, problem = f"{row.method} {access.path}", f"it is open {access.cause}"
            yield _line(about, problem, access.location, "Close it, or name it in public")
        about = FRAMEWORK_PAGES if is_framework_page(row) else row.about
        is_accepted = not {"route.unnamed", f"route.unnamed {about}"}.isdisjoint(accepted)
        if not row.named and not row.public_accesses and not is_accepted:
            for_page = "Give it a rule: rules=[*docs(app, AUTHENTICATED), ...]"
            fix = for_page if is_framework_page(row) else "Give it a rule or a lock"
            yield _line(row.about, "no rule names it and no lock is on it", row.endpoint.location, fix)


def _line(about: str, problem: str, location: str, fix: str) -> str:
    return f"{about}: {problem}{f' ({short_location(location)})' if location else ''}. {fix}"


def _matches(row: RouteEntry, access: PublicAccess, entry: _PublicEntry) -> bool:
    method, path = entry
    return method in {"", row.method} and path == _pattern_or_text(access.path)


def _parse_public_entry(text: str) -> _PublicEntry:
    method, _, path = text.rpartition(" ")
    if not path.startswith("/"):
        raise ConfigurationError("public", f'{text!r} is neither "/path" nor "METHOD /path"')
    return method, _pattern_or_text(path)


def _pattern_or_text(path: str) -> Pattern | str:
    try:
        return parse_pattern(path)[0]
    except ConfigurationError:  # routers accept paths that no rule can be written for, such as /{name}.json
        return path
