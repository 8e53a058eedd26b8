"""``audit`` tells what applies where; ``assert_closed`` is a test of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from authguard.auditing.findings import Finding, check_ignore, findings_of
from authguard.auditing.rows import Opening, Row, rows_of
from authguard.auditing.shown import near, page
from authguard.errors import ConfigurationError
from authguard.guard import Guard
from authguard.model import names
from authguard.policy.pattern import Pattern, parse_pattern
from authguard.surface import endpoints


@dataclass(frozen=True, slots=True)
class Audit:
    """A row for each method and path that the app can serve, and what is worth a second look. ``str()`` is a table."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return page(self.rows, self.findings)


def audit(app: object, guard: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """What truly applies to each method and path of an app, whether the guard is installed already or not.

    Routes are found through routers, mounts, hosts and middleware; what cannot be seen into is a row that says so.
    ``ignore`` accepts findings: a code, or a code and what one finding is about: ``"open.unsafe POST /login"``.
    Raises ``ConfigurationError`` for a code that is none.
    """
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{guard!r} is no Guard(...)")
    accepted = check_ignore(ignore)
    rows = rows_of(endpoints(app), guard)
    found = findings_of(rows, guard)
    return Audit(rows, tuple(one for one in found if not {one.code, f"{one.code} {one.about}"} & accepted))


def assert_closed(app: object, guard: Guard, *, public: Collection[str] = ()) -> None:
    """Fails where a route is open that is not in ``public``, and where neither a rule nor a lock names a route.

    ``public`` holds paths as rules write them, or one method of a path: ``["/health", "POST /login"]``; an entry that
    no open route meets fails too. ``Rule("/**", AUTHENTICATED)`` names all that nothing else does. Raises
    ``AssertionError``, which tells of each where it was said and how it is mended.
    """
    wanted = {entry: _entry(entry) for entry in sorted(names("public", public))}
    result = audit(app, guard)
    told = list(dict.fromkeys(_problems(result.rows, wanted)))
    met = {entry for row in result.rows for one in row.openings for entry in wanted if _meets(row, one, wanted[entry])}
    told += [
        f"{entry}: public names it, and no open route meets it. Leave it out" for entry in wanted if entry not in met
    ]
    if told:
        count = "1 route or entry is not as it" if len(told) == 1 else f"{len(told)} routes or entries are not as they"
        raise AssertionError("\n  ".join([f"{count} should be:", *told]))


def _problems(rows: Collection[Row], wanted: dict[str, tuple[str, Pattern | str]]) -> Iterator[str]:
    for row in rows:
        shut = [one for one in row.openings if not any(_meets(row, one, entry) for entry in wanted.values())]
        for opening in shut:
            by, where = f"by {opening.rule}" if opening.rule else "by default", row.endpoint.said
            said = opening.rule.said if opening.rule else where
            yield _line(f"{row.method} {opening.path}: it is open {by}", said, "Close it, or name it in public")
        if not row.named and not row.openings:
            problem = f"{row.about}: no rule names it and no lock is on it"
            yield _line(problem, row.endpoint.said, "Give it a rule or a lock")


def _line(problem: str, said: str, mend: str) -> str:
    return f"{problem}{f' ({near(said)})' if said else ''}. {mend}"


def _meets(row: Row, opening: Opening, entry: tuple[str, Pattern | str]) -> bool:
    method, path = entry
    return method in {"", row.method} and path == _pattern(opening.path)


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
