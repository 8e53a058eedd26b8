"""The matrix of an app's routes, as text that is committed: a change of who gets in is seen in a review."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Protocol

from authguard.audit.audit import audit
from authguard.audit.rows import GuardLayer, RouteEntry
from authguard.core.guard import Guard

_HEAD = "# What each route asks, as authguard sees it. Make it anew: pytest --authguard-update\n"
_MEND = "pytest --authguard-update (with the fixture assert_matrix), or assert_matrix(..., update=True)"
# What Python shows of an object that does not say what it is.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_REMARKS = {"static": " (files)", "unseen": " (cannot be seen into)"}


def route_matrix(app: object, guard: Guard) -> str:
    """A line for each method and path that the app can serve: what rules and locks ask, by which schemes.

    ``GET /admin: role(admin), lock role(editor) by basic, bearer``. Sorted, without files and line numbers, so that it
    changes only where something that is asked does. Raises ``ConfigurationError``.
    """
    rows = sorted(audit(app, guard).rows, key=lambda row: (row.path, row.endpoint.hosts, row.method))
    return "".join(f"{_ADDRESS.sub('', _line(row))}\n" for row in rows)


def assert_matrix(app: object, guard: Guard, path: str | PathLike[str], *, update: bool = False) -> None:
    """Compares the matrix with what the file holds; ``update`` writes it instead. ``AssertionError`` shows the lines.

    Commit the file. It is UTF-8, and a relative path is from the working directory on (of the fixture: from the test's
    own folder on).
    """
    __tracebackhide__ = True
    file, now = Path(path), _HEAD + route_matrix(app, guard)
    if update:
        file.write_text(now, "utf-8", newline="\n")
        return
    if not file.exists():
        raise AssertionError(f"{file} is not there to compare with. Write it, read it and commit it: {_MEND}")
    committed = file.read_text("utf-8")
    if committed != now:
        told = difflib.unified_diff(committed.splitlines(), now.splitlines(), str(file), "now", lineterm="", n=0)
        lines = [line for line in told if not line.startswith("@@")]
        raise AssertionError("\n".join(["what routes ask has changed:", *lines, f"Where that is meant: {_MEND}"]))


def _line(row: RouteEntry) -> str:
    asked = " then ".join(map(_rules, row.guard_layers)) or "no guard"
    asked += "".join(f", lock {lock.requirement}" for lock in row.locks)
    asked += "".join(f", but {path} {requirement}" for requirement, path, _ in row.narrower)
    by = f" by {', '.join(sorted(row.schemes))}" if row.schemes else ""
    return f"{row.about}{''.join(_remarks(row))}: {asked}{by}"


def _rules(guard_layer: GuardLayer) -> str:
    requirement = guard_layer.match.requirement
    return str(requirement) if guard_layer.match.rule else f"{requirement} (no rule)"


def _remarks(row: RouteEntry) -> Iterator[str]:
    yield from (f" on {host}" for host in row.endpoint.hosts)
    yield _REMARKS.get(row.endpoint.kind, "")


class AssertMatrix(Protocol):
    """``assert_matrix(app, guard, "routes.txt")``: the file is beside that of the test."""

    def __call__(self, app: object, guard: Guard, path: str | PathLike[str]) -> None: ...
