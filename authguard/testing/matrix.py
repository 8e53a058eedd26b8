"""The route matrix: what each route requires, as text to commit, so that a review shows every change of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Protocol

from authguard.audit.audit import audit
from authguard.audit.endpoint import KIND_REMARKS
from authguard.audit.rows import GuardLayer, RouteEntry
from authguard.core.guard import Guard

_HEADER = "# What each route requires, as authguard sees it. To update: pytest --authguard-update\n"
_UPDATE = "pytest --authguard-update (with the fixture assert_matrix), or assert_matrix(..., update=True)"
# Part of the default repr of an object, and different in each run.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def route_matrix(app: object, guard: Guard) -> str:
    """One line for each method and path that the app can serve: what rules and locks require, and by which schemes.

    ``GET /admin: role(admin), lock role(editor) by basic, bearer``. The lines are sorted and hold no file and line
    numbers, so that only a changed requirement changes them. Raises ``ConfigurationError``.
    """
    rows = sorted(audit(app, guard).rows, key=lambda row: (row.path, row.endpoint.hosts, row.method))
    return "".join(f"{_ADDRESS.sub('', _line(row))}\n" for row in rows)


def assert_matrix(app: object, guard: Guard, path: str | PathLike[str], *, update: bool = False) -> None:
    """Compare the matrix with a committed file; ``AssertionError`` shows the changed lines. ``update`` writes the file.

    The file is UTF-8. A relative path starts at the working directory, for the fixture at the test's own folder.
    """
    __tracebackhide__ = True
    file, current = Path(path), _HEADER + route_matrix(app, guard)
    if update:
        file.write_text(current, "utf-8", newline="\n")
        return
    if not file.exists():
        raise AssertionError(f"{file} does not exist. Write it, read it and commit it: {_UPDATE}")
    committed = file.read_text("utf-8")
    if committed != current:
        diff = difflib.unified_diff(committed.splitlines(), current.splitlines(), str(file), "now", lineterm="", n=0)
        lines = [line for line in diff if not line.startswith("@@")]
        raise AssertionError("\n".join(["what routes require has changed:", *lines, f"If that is intended: {_UPDATE}"]))


def _line(row: RouteEntry) -> str:
    required = " then ".join(map(_rule_requirement, row.guard_layers)) or "no guard"
    required += "".join(f", lock {lock.requirement}" for lock in row.locks)
    required += "".join(f", but {path} {requirement}" for requirement, path, _ in row.narrower)
    schemes = f" by {', '.join(sorted(row.schemes))}" if row.schemes else ""
    return f"{row.about}{''.join(_remarks(row))}: {required}{schemes}"


def _rule_requirement(guard_layer: GuardLayer) -> str:
    requirement = guard_layer.match.requirement
    return str(requirement) if guard_layer.match.rule else f"{requirement} (no rule)"


def _remarks(row: RouteEntry) -> Iterator[str]:
    yield from (f" on {host}" for host in row.endpoint.hosts)
    if row.endpoint.kind in KIND_REMARKS:
        yield f" ({KIND_REMARKS[row.endpoint.kind]})"


class AssertMatrix(Protocol):
    """The fixture: ``assert_matrix(app, guard, "routes.txt")`` compares with a file in the folder of the test."""

    def __call__(self, app: object, guard: Guard, path: str | PathLike[str]) -> None: ...
