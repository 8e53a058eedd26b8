"""An audit for people and for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from authguard.audit.findings import Finding
from authguard.audit.rows import RouteEntry
from authguard.model import Requirement
from authguard.policy.requirements import UNLISTED

_WIDTH = 100
_HEAD = ("METHOD", "PATH", "REQUIRES", "SCHEMES", "WHERE")
# As wide as a column gets where all do not fit; with a blank between any two of them that fills the page.
_WIDEST = (9, 29, 22, 12, 24)


def short_location(location: str) -> str:
    """A file and a line, from the working directory on where the file is below it."""
    path, _, line = location.rpartition(":")
    try:
        return f"{Path(path).relative_to(Path.cwd()).as_posix()}:{line}"
    except (ValueError, OSError):
        return location


def page(rows: Sequence[RouteEntry], findings: Sequence[Finding]) -> str:
    """A table, and the findings below it."""
    cells = [_HEAD, *(line for row in rows for line in _lines(row))]
    longest = [max(map(len, column)) for column in zip(*cells, strict=True)]
    fits = sum(longest) + len(longest) <= _WIDTH
    widths = longest if fits else [min(one, most) for one, most in zip(longest, _WIDEST, strict=True)]
    told = [line for cell in cells for line in _wrapped(cell, widths)]
    told += ["", f"{len(findings)} finding{'s'[: len(findings) != 1]}"]
    for one in findings:
        where = f" ({short_location(one.where)})" if one.where else ""
        text = f"{one.code} {one.about}: {one.what}{where}. {one.fix}."
        told += textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(told)


def _lines(row: RouteEntry) -> Iterator[tuple[str, str, str, str, str]]:
    asked = [
        (str(requirement), short_location(location) if location else _unsaid(requirement))
        for requirement, location in row.asked
    ]
    paths = [row.path, *_remarks(row)]
    schemes = ", ".join(sorted(row.schemes))
    for number, (path, one) in enumerate(zip_longest(paths, asked or [("PUBLIC", "no guard")])):
        requirement, location = one or ("", "")
        first = number == 0
        yield row.method if first else "", path or "", requirement, schemes if first else "", location
    for requirement, path, location in row.narrower:
        yield "", f"  but {path}", str(requirement), "", short_location(location)


def _unsaid(requirement: Requirement) -> str:
    return "by its method" if requirement == UNLISTED else "default"


def _remarks(row: RouteEntry) -> Iterator[str]:
    for host in row.endpoint.hosts:
        yield f"  on {host}"
    if row.endpoint.kind in {"static", "unseen"}:
        yield "  files" if row.endpoint.kind == "static" else "  cannot be seen into"


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    columns = [list(_cut(cell, width)) for cell, width in zip(cells, widths, strict=True)]
    for line in zip_longest(*columns, fillvalue=""):
        yield " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cut(text: str, width: int) -> Iterator[str]:
    """Lines of this width, cut behind a blank or a slash where there is one."""
    indent = ""
    while len(indent + text) > width:
        room = width - len(indent)
        at = max(text.rfind(" ", 0, room), text.rfind("/", 1, room)) + 1 or room
        yield indent + text[:at].rstrip()
        text, indent = text[at:], "    "
    yield indent + text


def document(rows: Sequence[RouteEntry], findings: Sequence[Finding]) -> dict[str, object]:
    """The same, of strings, lists and mappings alone."""
    return {
        "routes": [
            {
                "method": row.method,
                "path": row.path,
                "hosts": list(row.endpoint.hosts),
                "kind": row.endpoint.kind,
                "endpoint": row.endpoint.name,
                "defined": short_location(row.endpoint.location),
                "open": bool(row.public_accesses),
                "requires": [
                    {"requirement": str(asked), "location": short_location(location)} for asked, location in row.asked
                ],
                "narrower": [
                    {"requirement": str(asked), "path": path, "location": short_location(location)}
                    for asked, path, location in row.narrower
                ],
                "schemes": sorted(row.schemes),
            }
            for row in rows
        ],
        "findings": [
            {
                "code": one.code,
                "about": one.about,
                "what": one.what,
                "where": short_location(one.where),
                "fix": one.fix,
            }
            for one in findings
        ],
    }
