"""``audit`` reports what applies to each route of an app; ``assert_closed`` turns it into a test."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from authguard.audit.endpoint import Endpoint, Layer
from authguard.audit.findings import Finding, check_ignore, find_findings, is_framework_page
from authguard.audit.report import render_text, short_location
from authguard.audit.route_discovery import discover_endpoints
from authguard.audit.rows import PublicAccess, RouteEntry, route_entries
from authguard.core.guard import Guard
from authguard.core.responses import distinct
from authguard.errors import ConfigurationError
from authguard.policy.path_pattern import Pattern, parse_pattern
from authguard.source_location import name_of
from authguard.validation import names

# A method, or "" for any; and a path, as text where no pattern can be parsed from it.
_PublicEntry: TypeAlias = tuple[str, Pattern | str]


@dataclass(frozen=True, slots=True)
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
    return _audit(app, guard, ignore, from_outside=True)


def audit_inner(app: object, guard: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """The audit of the app inside a guard's middleware, which is known to be in front of all its routes.

    It does not report ``ignore`` entries that accept nothing.
    """
    return _audit(app, guard, ignore, from_outside=False)


def _audit(app: object, guard: Guard, ignore: Collection[str], *, from_outside: bool) -> Audit:
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{guard!r} is not a Guard")
    if not callable(app):
        raise ConfigurationError("app", f"{app!r} is not an app: it cannot be called")
    accepted, endpoints = check_ignore(ignore), discover_endpoints(app)
    installed = [layer.guard for endpoint in endpoints for layer in endpoint.layers if layer.guard]
    if not from_outside or not installed:
        endpoints = tuple(_behind(guard, endpoint) for endpoint in endpoints)
    rows = route_entries([*endpoints, *_published(endpoints)])
    findings = find_findings(rows, guard)
    if from_outside:
        if endpoints and not any(guard is other for other in installed):
            findings = (_missing_guard(app, has_other=bool(installed)), *findings)
        # At start-up these are left out: a finding that has been fixed must not keep a strict app from starting.
        findings = (*findings, *_unmet_ignore_entries(accepted, findings))
    return Audit(rows, tuple(finding for finding in findings if not finding.ignore_entries & accepted))


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


def _behind(guard: Guard, endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, layers=(Layer(type(guard), guard), *endpoint.layers))


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
    problem, fix = "there is no finding for it to accept", "Remove it"
    return [Finding("ignore.unmet", entry, problem, "", fix) for entry in sorted(accepted) if entry not in met]


def assert_closed(app: object, guard: Guard, *, public: Collection[str] = ()) -> None:
    """Fails for a route that is open and not in ``public``, and for a route that neither a rule nor a lock names.

    It also fails if the guard is nowhere in the app, and if the app serves nothing yet.

    ``public`` holds paths as rules write them, or one method of a path: ``["/health", "POST /login"]``. An entry that
    matches no open route fails too. ``Rule("/**", AUTHENTICATED)`` names every route that nothing else names. Raises
    ``AssertionError`` with each problem, its source location and its fix.
    """
    public_entries = {text: _parse_public_entry(text) for text in sorted(names("public", public))}
    result = audit(app, guard)
    problems = [
        _line(finding.about, finding.problem, finding.location, finding.fix)
        for finding in result.findings
        if finding.code.startswith("guard.")
    ]
    problems += [] if result.rows else ["the app serves nothing. Call assert_closed when its routes are there"]
    problems += dict.fromkeys(_problems(result.rows, public_entries.values()))
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
        singular = len(problems) == 1
        head = "1 route or entry is not as it" if singular else f"{len(problems)} routes or entries are not as they"
        raise AssertionError("\n  ".join([f"{head} should be:", *problems]))


def _problems(rows: Collection[RouteEntry], public: Collection[_PublicEntry]) -> Iterator[str]:
    for row in rows:
        unlisted = [
            access for access in row.public_accesses if not any(_matches(row, access, entry) for entry in public)
        ]
        # Several guards may open one path: the innermost that has a rule for it stands for all of them.
        by_path = {access.path: access for access in sorted(unlisted, key=lambda access: access.rule is not None)}
        for access in by_path.values():
            about, problem = f"{row.method} {access.path}", f"it is open {access.cause}"
            yield _line(about, problem, access.location, "Close it, or name it in public")
        if not row.named and not row.public_accesses:
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
