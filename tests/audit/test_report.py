"""An audit as people read it, and as programs do."""

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
from authguard.audit.report import document, short_location
from tests.audit.installed import audit
from tests.support.schemes.badge import Badge


async def page(request: Request) -> None:
    """An endpoint."""


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app of which nothing can be seen."""


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


def said(rule: int) -> str:
    """Where a rule was said, as it is shown."""
    return short_location(GUARD.table.rules[rule].location)


def lines() -> list[str]:
    """The table, line by line, its blanks folded."""
    return [" ".join(line.split()) for line in str(audit(APP, GUARD)).splitlines()]


def test_the_table_has_a_row_for_each_method_and_path() -> None:
    """With what is asked and where that was said; narrower rules, hosts and what is unseen stand below."""
    shown = lines()

    assert shown[0] == "METHOD PATH REQUIRES SCHEMES WHERE"
    assert shown[1] == "GET /shop/{x} scopes(read) badge, token tests/audit/"
    assert shown[2] == short_location(audit(APP, GUARD).rows[0].locks[0].location).removeprefix("tests/audit/")
    assert shown[3] == "but /shop/health PUBLIC tests/audit/"
    assert shown[4] == said(0).removeprefix("tests/audit/")
    assert {"cannot be seen into", "on shop.example", "files"} <= set(shown)
    assert "GET /files/** role(reader) badge, token tests/audit/" in shown


def test_the_table_fits_a_page_and_is_followed_by_the_findings() -> None:
    """No line is longer than a hundred columns, and nothing is cut off."""
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


def test_a_small_table_takes_no_more_room_than_it_needs() -> None:
    """A place is then in one line, however long it is."""
    app = Starlette(routes=[Route("/files/a", page)])

    assert str(audit(app, GUARD)).splitlines()[1] == f"GET    /files/a role(reader) badge, token {said(3)}"


def test_one_finding_is_one() -> None:
    """Not two, and neither is none."""
    two = Starlette(routes=[Route("/a", page), Route("/b", page)])

    assert "\n1 finding\n" in str(audit(Starlette(routes=[Route("/a", page)]), Guard(Badge())))
    assert "\n2 findings\n" in str(audit(two, Guard(Badge())))
    assert str(audit(Starlette(), Guard(Badge()))).endswith("\n0 findings")


def test_what_nobody_guards_is_said_to_be_so() -> None:
    """Where the guard stands further in."""
    inner = Starlette(routes=[Route("/b", page)])
    app = Starlette(routes=[Route("/a", page), Mount("/in", AuthGuardMiddleware(inner, guard=GUARD))])

    assert "GET /a PUBLIC no guard" in [" ".join(line.split()) for line in str(audit(app, GUARD)).splitlines()]


def test_programs_read_the_same() -> None:
    """All of it in plain values."""
    result = audit(APP, GUARD)
    read = json.loads(json.dumps(document(result.rows, result.findings)))
    first, wide, files, _ = read["routes"]

    assert list(read) == ["routes", "findings"]
    assert (first["method"], first["path"], first["open"]) == ("GET", "/shop/{x}", False)
    assert first["narrower"] == [{"requirement": "PUBLIC", "path": "/shop/health", "location": said(0)}]
    assert [one["requirement"] for one in first["requires"]] == ["scopes(read)"]
    assert (first["endpoint"], first["schemes"]) == ("page", ["badge", "token"])
    assert first["defined"].startswith(str(Path("tests") / "audit"))
    assert (wide["kind"], files["kind"], files["hosts"]) == ("unseen", "static", ["shop.example"])
    assert [one["code"] for one in read["findings"]] == [one.code for one in result.findings]
    assert all(list(one) == ["code", "about", "what", "where", "fix"] for one in read["findings"])


def test_a_place_is_told_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not below it is told in full, and what is no place as it is."""
    monkeypatch.chdir(tmp_path)

    assert short_location(f"{tmp_path}/shop/app.py:7") == "shop/app.py:7"
    assert short_location("/elsewhere/app.py:7") == "/elsewhere/app.py:7"
    assert short_location("CurrentPrincipal") == "CurrentPrincipal"


def test_a_method_that_no_rule_of_its_path_names_is_told_apart_from_a_default() -> None:
    """It is the rules of that path that close it."""
    app = Starlette(routes=[Route("/a", page, methods=["PATCH"]), Route("/b", page)])
    shown = str(audit(app, Guard(Badge(), rules=[Rule("/a", role("any"), methods={"PUT"})])))

    patch, other = shown.splitlines()[1:3]
    assert patch.endswith("by its method")
    assert other.endswith("default")
