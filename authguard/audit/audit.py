"""``audit`` tells what applies where; ``assert_closed`` is a test of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from authguard.audit.endpoint import Endpoint, Layer
from authguard.audit.findings import Finding, check_ignore, findings_of, is_page
from authguard.audit.report import page, short_location
from authguard.audit.route_discovery import endpoints
from authguard.audit.rows import PublicAccess, RouteEntry, route_entries
from authguard.core.guard import Guard
from authguard.core.responses import distinct
from authguard.errors import ConfigurationError
from authguard.policy.path_pattern import Pattern, parse_pattern
from authguard.source_location import name_of
from authguard.validation import names


@dataclass(frozen=True, slots=True)
class Audit:
    """A row for each method and path that the app can serve, and what is worth a second look. ``str()`` is a table."""

    rows: tuple[RouteEntry, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return page(self.rows, self.findings)


def audit(app: object, guard: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """What truly applies to each method and path of an app; or would, where no guard is in front of it yet.

    Routes are found through routers, mounts, hosts and middleware; what cannot be seen into is a row that says so.
    ``ignore`` accepts findings: a code, or a code and what one finding is about: ``"open.unsafe POST /login"``.
    Raises ``ConfigurationError`` for a code that is none, for what is no guard, and for what is no app.
    """
    return _audit(app, guard, ignore, in_front=False)


def audit_behind(app: object, guard: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """The same of an app that the guard is in front of, where the guard is asked and not the app."""
    return _audit(app, guard, ignore, in_front=True)


def _audit(app: object, guard: Guard, ignore: Collection[str], *, in_front: bool) -> Audit:
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{guard!r} is no Guard(...)")
    if not callable(app):
        raise ConfigurationError("app", f"{app!r} is no app: nothing can call it")
    accepted, served = check_ignore(ignore), endpoints(app)
    held = [layer.guard for one in served for layer in one.layers if layer.guard]
    served = tuple(_behind(guard, one) for one in served) if in_front or not held else served
    rows = route_entries([*served, *_published(served)])
    missing = served and not in_front and not any(guard is one for one in held)
    found = (*([_missing(app, other=bool(held))] if missing else ()), *findings_of(rows, guard))
    if not in_front:  # an app starts, whatever has been mended meanwhile
        met = {each for one in found for each in (one.code, f"{one.code} {one.about}")}
        what, fix = "it accepts a finding, and there is none", "Leave it out"
        found = (*found, *(Finding("ignore.unmet", one, what, "", fix) for one in sorted(accepted - met)))
    return Audit(rows, tuple(one for one in found if not {one.code, f"{one.code} {one.about}"} & accepted))


def _published(served: Collection[Endpoint]) -> Iterator[Endpoint]:
    """What the outermost guards serve themselves, at the root of the host."""
    first = (next((layer for layer in one.layers if layer.guard), None) for one in served)
    outermost = {id(layer.guard): layer for layer in first if layer is not None and not layer.path}
    for layer in outermost.values():
        for one in distinct(layer.guard.published) if layer.guard else ():
            pattern = parse_pattern(one.path)[0]
            yield Endpoint(
                "http", ("GET",), one.path, pattern, name="published", location=one.location, layers=(layer,)
            )


def _behind(guard: Guard, endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, layers=(Layer(type(guard), guard), *endpoint.layers))


def _missing(app: object, *, other: bool) -> Finding:
    about = name_of(type(app))
    if other:
        what, fix = "it holds a guard, and not the one given", "Make the guard once, and give it to both"
        return Finding("guard.other", about, what, "", fix)
    what = "no guard is in front of it yet; this is what it would be"
    fix = "install(app, guard) on FastAPI, else app.add_middleware(AuthGuardMiddleware, guard=guard)"
    return Finding("guard.absent", about, what, "", fix)


def assert_closed(app: object, guard: Guard, *, public: Collection[str] = ()) -> None:
    """Fails where a route is open that is not in ``public``, and where neither a rule nor a lock names a route.

    Fails too where the guard is not in front of anything in the app, and where there is nothing to hold it to.

    ``public`` holds paths as rules write them, or one method of a path: ``["/health", "POST /login"]``; an entry that
    no open route meets fails too. ``Rule("/**", AUTHENTICATED)`` names all that nothing else does. Raises
    ``AssertionError``, which tells of each where it was said and how it is mended.
    """
    wanted = {entry: _entry(entry) for entry in sorted(names("public", public))}
    result = audit(app, guard)
    told = [f"{one.about}: {one.what}. {one.fix}" for one in result.findings if one.code.startswith("guard.")]
    told += [] if result.rows else ["it serves nothing. Ask when its routes are there"]
    told += dict.fromkeys(_problems(result.rows, wanted))
    met = {
        entry
        for row in result.rows
        for one in row.public_accesses
        for entry in wanted
        if _meets(row, one, wanted[entry])
    }
    told += [
        f"{entry}: public names it, and no open route meets it. Leave it out" for entry in wanted if entry not in met
    ]
    if told:
        count = "1 route or entry is not as it" if len(told) == 1 else f"{len(told)} routes or entries are not as they"
        raise AssertionError("\n  ".join([f"{count} should be:", *told]))


def _problems(rows: Collection[RouteEntry], wanted: dict[str, tuple[str, Pattern | str]]) -> Iterator[str]:
    for row in rows:
        shut = [one for one in row.public_accesses if not any(_meets(row, one, entry) for entry in wanted.values())]
        # Once, where several guards open it: by the innermost that has a rule for it.
        for access in {one.path: one for one in sorted(shut, key=lambda one: one.rule is not None)}.values():
            by, where = f"by {access.rule}" if access.rule else "by default", row.endpoint.location
            location = access.rule.location if access.rule else where
            yield _line(f"{row.method} {access.path}: it is open {by}", location, "Close it, or name it in public")
        if not row.named and not row.public_accesses:
            problem = f"{row.about}: no rule names it and no lock is on it"
            page = "Give it a rule: rules=[*docs(app, AUTHENTICATED), ...]"
            yield _line(problem, row.endpoint.location, page if is_page(row) else "Give it a rule or a lock")


def _line(problem: str, location: str, fix: str) -> str:
    return f"{problem}{f' ({short_location(location)})' if location else ''}. {fix}"


def _meets(row: RouteEntry, access: PublicAccess, entry: tuple[str, Pattern | str]) -> bool:
    method, path = entry
    return method in {"", row.method} and path == _pattern(access.path)


def _entry(entry: str) -> tuple[str, Pattern | str]:
    method, _, path = entry.rpartition(" ")
    if not path.startswith("/"):
        raise ConfigurationError("public", f'{entry!r} is neither "/path" nor "METHOD /path"')
    return method, _pattern(path)


def _pattern(path: str) -> Pattern | str:
    try:
        return parse_pattern(path)[0]
    except ConfigurationError:  # what a router reads and no rule can be written for
        return path
