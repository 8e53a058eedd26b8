"""Who may see the inspector, what its responses say to a browser, and what it adds to the app."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AuthGuardMiddleware,
    ConfigurationError,
    Guard,
    Requirement,
    Rule,
    role,
    via,
)
from authguard.fastapi import install
from authguard.inspector import inspector
from authguard.inspector.mount import FILES, HEADERS
from authguard.starlette import assert_closed, audit
from authguard.testing import recording
from tests.support.inspected import MOUNT, OPERATOR, InspectedApp, answer, basic_field
from tests.support.schemes.badge import Badge

STATIC = files("authguard.inspector") / "static"
PATHS = ["/", "/events", "/routes", "/inspector.js", "/nothing"]
#: The SHA-256 of the files in the folder dist of uplot-1.6.32.tgz, which npm knows as sha512-KIMVnG68zvu5XXUbC4LQEPnh
#: wOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==.
UPLOT = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
HEAD = {"authorization": basic_field(*OPERATOR)}


@pytest.fixture(name="app")
def _app() -> InspectedApp:
    return InspectedApp()


@pytest.fixture(name="client")
def _client(app: InspectedApp) -> TestClient:
    return TestClient(app.app, headers=HEAD)


# --- who may see it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_every_path_needs_the_requirement(app: InspectedApp, path: str) -> None:
    """Nobody sees anything of it without credentials or without the role, and each refusal is the guard's."""
    client = TestClient(app.app)
    clerk = {"authorization": basic_field("alice", "the password of alice")}

    with recording(app.guard) as records:
        statuses = [client.head(MOUNT + path, headers=headers).status_code for headers in ({}, clerk)]

    assert statuses == [401, 403]
    assert [record.reason for record in records if record.reason] == ["credentials.missing", "role.missing"]


@pytest.mark.parametrize("report_only", [False, True], ids=["enforced", "report-only"])
@pytest.mark.parametrize("default", [AUTHENTICATED, OPTIONAL, PUBLIC])
async def test_no_rule_opens_it(default: Requirement, report_only: bool) -> None:
    """The requirement is asked even where the rules open every path, and where the guard itself refuses nothing."""
    guard = Guard(Badge(), rules=[Rule("/**", default)], log=False, report_only=report_only)
    app = FastAPI()
    install(app, guard)
    app.mount("/see", inspector(guard, role("operator")))
    client = TestClient(app)

    statuses = [client.head("/see/", headers=fields).status_code for fields in ({}, {"authorization": "Badge alice"})]

    assert statuses == [401, 403]


@pytest.mark.parametrize("requirement", [PUBLIC, OPTIONAL], ids=str)
def test_an_open_inspector_is_refused(requirement: Requirement) -> None:
    """It would show everybody who is refused, and why."""
    with pytest.raises(ConfigurationError, match=r"requirement: .* everybody"):
        inspector(Guard(Badge()), requirement)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("guard", role("operator")), "guard: 'guard' is not a Guard"),
        ((Guard(Badge()), "operator"), r'requirement: .*write role\("operator"\)'),
        ((Guard(Badge()), role("operator"), 5), "title: 5 is not a text"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[Any, ...], problem: str) -> None:
    """The message says what to write."""
    guard, requirement, *title = arguments
    with pytest.raises(ConfigurationError, match=problem):
        inspector(guard, requirement, **({"title": title[0]} if title else {}))


def test_without_its_guard_it_shows_nothing() -> None:
    """No guard, or another one, is in front of the app: the page says so to the developer and nothing to the client."""
    guard, other = Guard(Badge(), log=False), Guard(Badge(), log=False)
    open_app = Starlette(routes=[Mount("/see", inspector(guard, AUTHENTICATED))])
    other_app = Starlette(
        routes=[Mount("/see", inspector(guard, AUTHENTICATED))],
        middleware=[Middleware(AuthGuardMiddleware, guard=other)],
    )

    for app, problem in ((open_app, "no guard is in front"), (other_app, "another guard than the one")):
        with pytest.raises(ConfigurationError, match=problem):
            TestClient(app).get("/see/", headers={"authorization": "Badge alice"})


def test_the_inspector_of_an_outer_guard_works_behind_an_inner_one() -> None:
    """The outer guard asks its own requirement, and denies with it."""
    outer, inner = Guard(Badge(), log=False), Guard(Badge(), log=False)
    see = inspector(outer, role("operator"))
    inside = Starlette(routes=[Mount("/see", see)], middleware=[Middleware(AuthGuardMiddleware, guard=inner)])
    app = Starlette(routes=[Mount("/", inside)], middleware=[Middleware(AuthGuardMiddleware, guard=outer)])

    response = TestClient(app).get("/see/", headers={"authorization": "Badge alice"})

    assert response.status_code == 403


# --- what a browser is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_type_and_the_policy(client: TestClient, name: str) -> None:
    """No response may be stored, framed, or taken for another type."""
    response = client.get(f"{MOUNT}/{name}")

    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["content-type"] == FILES[name]
    assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_the_page_is_at_the_mount(client: TestClient) -> None:
    """With a slash at the end, to which the router leads."""
    assert client.get(MOUNT).text == client.get(f"{MOUNT}/").text == (STATIC / "index.html").read_text("utf-8")


def test_the_policy_allows_the_files_of_the_page_and_nothing_else() -> None:
    """No script or style in the page, no other host, no frame, no form, and no text that becomes markup."""
    policy = HEADERS["content-security-policy"]

    assert "unsafe" not in policy
    assert "nonce" not in policy
    assert set(re.findall(r"(?:script|style|img|connect)-src ([^;]+)", policy)) == {"'self'"}
    assert "default-src 'none'" in policy
    assert policy.endswith("require-trusted-types-for 'script'; trusted-types 'none'")


def test_the_page_has_neither_scripts_nor_styles_nor_other_hosts_in_it() -> None:
    """The policy would not let them run, and the page would be broken."""
    page, script = ((STATIC / name).read_text("utf-8") for name in ("index.html", "inspector.js"))

    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://", page) == []
    assert re.findall(r"(?:src|href)=\"([^\"#]+)\"", page) == [
        *("icon.svg", "uPlot.min.css", "inspector.css", "uPlot.iife.min.js", "inspector.js")
    ]
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML|srcdoc"
    assert re.findall(forbidden, script) == []
    assert re.findall(r"https?://[^\s\"]+", script) == ["http://www.w3.org/2000/svg"]


def test_an_unknown_file_is_not_found(client: TestClient) -> None:
    """Only the listed files are read, whatever the path looks like."""
    for path in ("nothing", "..%2f..%2fmount.py", "uPlot.LICENSE", "__init__.py"):
        response = client.get(f"{MOUNT}/{path}")
        assert (response.status_code, response.content) in {(404, b""), (400, response.content)}


# --- what it adds -----------------------------------------------------------------------------------------------------


def test_the_audit_sees_the_lock(app: InspectedApp) -> None:
    """Each path is locked, at the line that calls ``inspector``."""
    rows = [row for row in audit(app.app, app.guard).rows if row.path.startswith(MOUNT)]

    assert {str(requirement) for row in rows for requirement, _ in row.requirements} == {"role(operator)"}
    assert {location.rpartition("/")[2].partition(":")[0] for row in rows for _, location in row.requirements} == {
        "inspected.py"
    }
    assert_closed(app.app, app.guard, public=["GET /health"], ignore=["route.unnamed GET /profile"])


def test_the_routes_are_those_of_the_app(client: TestClient) -> None:
    """With what each requires, what is open, and the findings."""
    told = client.get(f"{MOUNT}/routes").json()

    by_path = {row["path"]: row for row in told["routes"]}
    assert (by_path["/health"]["open"], by_path["/health"]["requires"]) == (True, ["PUBLIC"])
    assert (by_path["/admin/users"]["open"], by_path["/admin/users"]["requires"]) == (False, ["role(admin)"])
    assert by_path["/admin/users"]["schemes"] == ["basic", "bearer"]
    assert [(finding["code"], finding["about"]) for finding in told["findings"]] == [("route.unnamed", "GET /profile")]


def test_the_routes_are_read_once_a_minute(app: InspectedApp, client: TestClient) -> None:
    """An audit of a large app takes a while."""
    first = client.get(f"{MOUNT}/routes").json()
    app.app.get("/later")(answer)

    same = client.get(f"{MOUNT}/routes").json()
    app.clock.move(61)
    later = client.get(f"{MOUNT}/routes").json()

    assert first == same
    assert {row["path"] for row in later["routes"]} - {row["path"] for row in same["routes"]} == {"/later"}


def test_the_events_name_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """The title is that of the app, or the one that is given."""
    monkeypatch.setattr("authguard.inspector.event_stream.TICKS", 1)
    monkeypatch.setattr("authguard.inspector.event_stream.TICK", 0)
    titles = []
    for app in (InspectedApp(), InspectedApp(title="orders in Berlin")):
        client = TestClient(app.app, headers=HEAD)
        hello = re.search(r"event: hello\ndata: (.*)", client.get(f"{MOUNT}/events").text)
        assert hello is not None
        titles.append(json.loads(hello[1])["title"])

    assert titles == ["orders", "orders in Berlin"]


def test_uplot_is_the_release_that_the_notice_names() -> None:
    """The file in the package is that of uPlot 1.6.32 from npm, byte for byte, and its licence is beside it."""
    digests = {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in UPLOT}

    assert digests == UPLOT
    assert b"uPlot (v1.6.32)" in (STATIC / "uPlot.iife.min.js").read_bytes()[:80]
    assert "MIT" in (STATIC / "uPlot.LICENSE").read_text("utf-8")


def test_a_guard_may_have_a_scheme_for_the_page_alone() -> None:
    """``via`` names the scheme with which browsers come, so that no token opens the page."""
    app = InspectedApp(requirement=via("basic"))
    client = TestClient(app.app)

    statuses = [
        client.head(f"{MOUNT}/", headers={"authorization": field}).status_code
        for field in (app.token(), basic_field("alice", "the password of alice"))
    ]

    assert statuses == [403, 200]


def test_the_wheel_has_all_files_of_the_page() -> None:
    """What is served is in the package, and nothing else is in its folder."""
    folder = Path(str(STATIC))

    assert {path.name for path in folder.iterdir()} == {*FILES, "uPlot.LICENSE"}
