"""An audit as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Guard, Rule, role, scopes
from authguard import starlette as on_starlette
from authguard.audit.report import render_json, short_location
from tests.audit.installed import audit
from tests.support.schemes.badge import Badge


async def page(request: Request) -> None:
    """An endpoint."""


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that cannot be inspected."""


GUARD = Guard(
    Badge("badge"),
    Badge("token"),
    rules=[
        Rule("/shop/health", PUBLIC),
        Rule("/shop/{x}", AUTHENTICATED),
        Rule("/in/**", role("a-role-whose-name-is-longer-than-its-column-is-wide")),
        Rule("/files/**", role("reader")),
    ],
)
LOCK = on_starlette.requires(scopes("read"))
APP = Starlette(
    routes=[
        Route("/shop/{x}", LOCK(page)),
        Mount("/in", opaque),
        Host("shop.example", Starlette(routes=[Mount("/files", StaticFiles(directory="."))])),
        Route("/a/path/that/is/longer/than/the/column/that/it/stands/in", page),
    ]
)


def rule_location(rule: int) -> str:
    """The location of a rule as the table shows it."""
    return short_location(GUARD.table.rules[rule].location)


def table_lines() -> list[str]:
    """The lines of the table, runs of blanks replaced by one."""
    return [" ".join(line.split()) for line in str(audit(APP, GUARD)).splitlines()]


def test_the_table_has_a_row_for_each_method_and_path() -> None:
    """It shows what is required and where the code says so.

    Below stand narrower rules, hosts, and what cannot be inspected.
    """
    lines = table_lines()

    assert lines[0] == "METHOD PATH REQUIRES SCHEMES WHERE"
    assert lines[1] == "GET /shop/{x} scopes(read) badge, token tests/audit/"
    assert lines[2] == short_location(audit(APP, GUARD).rows[0].locks[0].location).removeprefix("tests/audit/")
    assert lines[3] == "but /shop/health PUBLIC tests/audit/"
    assert lines[4] == rule_location(0).removeprefix("tests/audit/")
    assert {"cannot be inspected", "on shop.example", "files"} <= set(lines)
    assert "GET /files/** role(reader) badge, token tests/audit/" in lines


def test_the_table_fits_a_page_and_is_followed_by_the_findings() -> None:
    """No line is wider than a hundred columns, and nothing is cut off."""
    whole = str(audit(APP, GUARD))
    table, _, findings = whole.partition("\n\n")

    assert max(map(len, whole.splitlines())) <= 100
    assert [line.split()[1] for line in table.splitlines() if line.startswith("GET")][
        -1
    ] == "/a/path/that/is/longer/than/"
    assert [line.strip() for line in table.splitlines()[-2:]] == ["the/column/that/it/", "stands/in"]
    assert [line for line in table.splitlines() if line.strip() == "s-column-is-wide)"]
    assert findings.startswith(
        "1 finding\nroute.unnamed GET /a/path/that/is/longer/than/the/column/that/it/stands/in: "
    )


def test_a_small_table_is_as_narrow_as_its_cells() -> None:
    """A location then stays on one line, however long it is."""
    app = Starlette(routes=[Route("/files/a", page)])

    assert str(audit(app, GUARD)).splitlines()[1] == f"GET    /files/a role(reader) badge, token {rule_location(3)}"


def test_findings_are_counted() -> None:
    """The noun is singular for one finding only."""
    two = Starlette(routes=[Route("/a", page), Route("/b", page)])

    assert "\n1 finding\n" in str(audit(Starlette(routes=[Route("/a", page)]), Guard(Badge())))
    assert "\n2 findings\n" in str(audit(two, Guard(Badge())))
    assert str(audit(Starlette(), Guard(Badge()))).endswith("\n0 findings")


def test_a_route_without_a_guard_is_shown_as_such() -> None:
    """The guard is further in, around other routes."""
    inner = Starlette(routes=[Route("/b", page)])
    app = Starlette(routes=[Route("/a", page), Mount("/in", AuthGuardMiddleware(inner, guard=GUARD))])

    assert "GET /a PUBLIC no guard" in [" ".join(line.split()) for line in str(audit(app, GUARD)).splitlines()]


def test_json_holds_what_the_table_holds() -> None:
    """All of it consists of plain values."""
    result = audit(APP, GUARD)
    read = json.loads(render_json(result.rows, result.findings))
    first, wide, files, _ = read["routes"]

    assert list(read) == ["routes", "findings"]
    assert (first["method"], first["path"], first["open"]) == ("GET", "/shop/{x}", False)
    assert first["narrower"] == [{"requirement": "PUBLIC", "path": "/shop/health", "location": rule_location(0)}]
    assert [entry["requirement"] for entry in first["requires"]] == ["scopes(read)"]
    assert (first["endpoint"], first["schemes"]) == ("page", ["badge", "token"])
    assert first["location"].startswith(str(Path("tests") / "audit"))
    assert (wide["kind"], files["kind"], files["hosts"]) == ("opaque", "static", ["shop.example"])
    assert [finding["code"] for finding in read["findings"]] == [finding.code for finding in result.findings]
    assert all(list(finding) == ["code", "about", "problem", "location", "fix"] for finding in read["findings"])


def test_a_location_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file elsewhere is shown with its full path, and anything but a location is shown as it is."""
    monkeypatch.chdir(tmp_path)

    assert short_location(f"{tmp_path}/shop/app.py:7") == "shop/app.py:7"
    assert short_location("/elsewhere/app.py:7") == "/elsewhere/app.py:7"
    assert short_location("CurrentPrincipal") == "CurrentPrincipal"


def test_a_method_that_the_rules_of_its_path_leave_out_is_no_default() -> None:
    """The rules of that path close it."""
    app = Starlette(routes=[Route("/a", page, methods=["PATCH"]), Route("/b", page)])
    table = str(audit(app, Guard(Badge(), rules=[Rule("/a", role("any"), methods={"PUT"})])))

    patch, other = table.splitlines()[1:3]
    assert patch.endswith("by its method")
    assert other.endswith("default")
