"""An audit as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path

from authguard.audit.endpoint import KIND_REMARKS
from authguard.audit.findings import Finding
from authguard.audit.rows import RouteEntry
from authguard.model import Requirement
from authguard.policy.requirements import UNLISTED

_WIDTH = 100
#: The heads of the columns.
COLUMNS = ("METHOD", "PATH", "REQUIRES", "SCHEMES", "WHERE")
# Widths for a table that would be wider than the page: together with a blank between columns they fill it.
_MAX_WIDTHS = (9, 29, 22, 12, 24)


def short_location(location: str) -> str:
    """``file:line`` relative to the working directory, if the file is below it."""
    path, _, line = location.rpartition(":")
    try:
        return f"{Path(path).relative_to(Path.cwd()).as_posix()}:{line}"
    except (ValueError, OSError):
        return location


def finding_count(findings: Collection[Finding]) -> str:
    """``0 findings``, ``1 finding``, ``2 findings``."""
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"


def render_text(rows: Sequence[RouteEntry], findings: Sequence[Finding]) -> str:
    """A table of the rows, at most 100 columns wide unless a word is longer, and the findings below it."""
    table = [COLUMNS, *(line for row in rows for line in table_lines(row))]
    longest = [max(map(len, column)) for column in zip(*table, strict=True)]
    fits = sum(longest) + len(longest) <= _WIDTH
    widths = longest if fits else [min(pair) for pair in zip(longest, _MAX_WIDTHS, strict=True)]
    lines = [line for cells in table for line in _wrapped(cells, widths)]
    lines += ["", finding_count(findings)]
    for finding in findings:
        text = str(with_short_location(finding))
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def with_short_location(finding: Finding) -> Finding:
    """The finding, with a location relative to the working directory."""
    return replace(finding, location=short_location(finding.location))


def table_lines(row: RouteEntry) -> Iterator[tuple[str, str, str, str, str]]:
    """The cells of each line of a row, under ``COLUMNS``."""
    requirements = [
        (str(requirement), short_location(location) if location else _default_location(requirement))
        for requirement, location in row.requirements
    ]
    paths = [row.path, *_remarks(row)]
    schemes = ", ".join(sorted(row.schemes))
    for index, (path, pair) in enumerate(zip_longest(paths, requirements or [("PUBLIC", "no guard")])):
        requirement, location = pair or ("", "")
        first = index == 0
        yield row.method if first else "", path or "", requirement, schemes if first else "", location
    for narrower, path, location in row.narrower:
        yield "", f"  but {path}", str(narrower), "", short_location(location)


def _default_location(requirement: Requirement) -> str:
    return "by its method" if requirement == UNLISTED else "default"


def _remarks(row: RouteEntry) -> Iterator[str]:
    for host in row.endpoint.hosts:
        yield f"  on {host}"
    if row.endpoint.kind in KIND_REMARKS:
        yield f"  {KIND_REMARKS[row.endpoint.kind]}"
    if row.report_only:
        yield "  report-only"


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    columns = [list(_cut(cell, width)) for cell, width in zip(cells, widths, strict=True)]
    for line in zip_longest(*columns, fillvalue=""):
        yield " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cut(text: str, width: int) -> Iterator[str]:
    """Lines of at most this width, cut after a blank or a slash if there is one."""
    indent = ""
    while len(indent + text) > width:
        room = width - len(indent)
        end = max(text.rfind(" ", 0, room), text.rfind("/", 1, room)) + 1 or room
        yield indent + text[:end].rstrip()
        text, indent = text[end:], "    "
    yield indent + text


def render_json(rows: Sequence[RouteEntry], findings: Sequence[Finding]) -> str:
    """The same as JSON: ``{"routes": [...], "findings": [...]}``."""
    routes = [
        {
            "method": row.method,
            "path": row.path,
            "hosts": list(row.endpoint.hosts),
            "kind": row.endpoint.kind,
            "endpoint": row.endpoint.name,
            "location": short_location(row.endpoint.location),
            "open": bool(row.public_accesses),
            "report_only": row.report_only,
            "requires": [
                {"requirement": str(requirement), "location": short_location(location)}
                for requirement, location in row.requirements
            ],
            "narrower": [
                {"requirement": str(requirement), "path": path, "location": short_location(location)}
                for requirement, path, location in row.narrower
            ],
            "schemes": sorted(row.schemes),
        }
        for row in rows
    ]
    problems = [asdict(with_short_location(finding)) for finding in findings]
    for problem in problems:
        del problem["opens"]  # for start-up alone
    return json.dumps({"routes": routes, "findings": problems}, indent=2)
