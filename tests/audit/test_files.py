"""Files that are served under two paths: the audit says so where the two require something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from authguard import AUTHENTICATED, OPTIONAL, PUBLIC, AuthGuardMiddleware, Guard, Requirement, Rule, role
from authguard.audit.audit import assert_closed, audit
from authguard.audit.route_discovery import discover_endpoints
from authguard.fastapi import install, requires
from tests.support.schemes.badge import Badge

ADMIN = role("admin")
CLOSED = Rule("/**", AUTHENTICATED)
OPEN = Rule("/x/**", PUBLIC)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A folder of files: two directories, each with an index, and the page for what is not there."""
    (tmp_path / "deep").mkdir()
    for name in ("index.html", "404.html", "deep/index.html", "logo.png"):
        (tmp_path / name).write_text(f"secret of {name}")
    return tmp_path


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard with these rules."""
    return Guard(Badge(), rules=rules, log=False, **options)


def served(folder: Path, front: Guard, *, html: bool = True) -> AuthGuardMiddleware:
    """The files below ``/x``, behind the guard."""
    return AuthGuardMiddleware(Starlette(routes=[Mount("/x", StaticFiles(directory=folder, html=html))]), guard=front)


def aliases(app: Any, front: Guard) -> list[str]:
    """The subjects of the findings."""
    return [finding.about for finding in audit(app, front).findings if finding.code == "file.alias"]


@pytest.mark.parametrize(
    ("rules", "path", "alias"),
    [
        ([OPEN, Rule("/x/index.html", ADMIN)], "/x/index.html", "/x/"),
        ([OPEN, Rule("/x/deep/index.html", ADMIN)], "/x/deep/index.html", "/x/deep/"),
        ([CLOSED, Rule("/x", OPTIONAL)], "/x/index.html", "/x/"),
        ([CLOSED, Rule("/x/deep", PUBLIC)], "/x/deep/index.html", "/x/deep/"),
    ],
    ids=["index", "deep", "directory", "deep-directory"],
)
def test_a_closed_index_has_a_second_name(folder: Path, rules: list[Rule], path: str, alias: str) -> None:
    """With ``html=True`` a directory is its ``index.html``. The finding names the closed path, the rule and the fix."""
    front = guard(*rules)
    app = served(folder, front)
    client = TestClient(app)

    assert aliases(app, front) == [f"GET {path}"]
    (finding,) = (finding for finding in audit(app, front).findings if finding.code == "file.alias")
    assert finding.location in {rule.location for rule in rules}
    assert finding.fix == "Give both paths the same requirement"
    assert (client.get(path).status_code, client.get(alias).text) == (401, f"secret of {path[3:]}")
    assert aliases(served(folder, front, html=False), front) == []
    with pytest.raises(AssertionError, match=rf"GET {path}: it is also "):
        assert_closed(app, front, public=["/x/**"])


def test_an_open_index_of_a_closed_directory_is_found(folder: Path) -> None:
    """A rule for the directory alone says nothing about its ``index.html``; one with ``/**`` does."""
    alone, with_tail = guard(OPEN, Rule("/x/deep", ADMIN)), guard(OPEN, Rule("/x/deep/**", ADMIN))
    app = served(folder, alone)

    assert aliases(app, alone) == ["GET /x/deep/index.html"]
    (finding,) = (finding for finding in audit(app, alone).findings if finding.code == "file.alias")
    assert finding.problem == "it is also /x/deep, which requires role(admin) and not PUBLIC"
    assert TestClient(app).get("/x/deep/index.html").text == "secret of deep/index.html"
    assert aliases(served(folder, with_tail), with_tail) == []


def test_a_rule_with_a_parameter_may_name_an_index_or_a_directory(folder: Path) -> None:
    """It closes ``/x/index.html`` and ``/x/deep``, but neither ``/x`` nor ``/x/deep/index.html``; and 404.html too."""
    front = guard(OPEN, Rule("/x/{page}", ADMIN))
    app = served(folder, front)

    assert sorted(aliases(app, front)) == ["GET /x/404.html", "GET /x/index.html", "GET /x/{str}/index.html"]
    assert [TestClient(app).get(path).status_code for path in ("/x/", "/x/deep/index.html")] == [200, 200]
    assert [TestClient(app).get(path).status_code for path in ("/x/index.html", "/x/deep/")] == [401, 401]


def test_a_name_with_a_dot_is_a_directory_if_the_folder_says_so(folder: Path) -> None:
    """Without a folder of that name it counts as a file, because most names with a dot are."""
    (folder / "v1.0").mkdir()
    (folder / "LICENSE").touch()
    front = guard(OPEN, *(Rule(f"/x/{name}", ADMIN) for name in ("v1.0", "v2.0", "LICENSE", "deep", "gone")))

    assert sorted(aliases(served(folder, front), front)) == [
        "GET /x/deep/index.html",
        "GET /x/gone/index.html",
        "GET /x/v1.0/index.html",
    ]


@pytest.mark.parametrize("requirement", [ADMIN, PUBLIC])
def test_two_paths_with_one_requirement_are_no_finding(folder: Path, requirement: Requirement) -> None:
    """Nor are files for which no rule names an index or a directory."""
    fixed = guard(CLOSED, Rule("/x", requirement), Rule("/x/index.html", requirement))

    assert aliases(served(folder, fixed), fixed) == []
    for rules in ([CLOSED], [OPEN], [CLOSED, Rule("/x/logo.png", PUBLIC)], [OPEN, Rule("/y/index.html", ADMIN)]):
        front = guard(*rules)
        assert [about for about in aliases(served(folder, front), front) if "index" in about] == []


def test_a_closed_index_that_requires_more_is_found(folder: Path) -> None:
    """Somebody without the role reads it under the other path."""
    front = guard(CLOSED, Rule("/x/index.html", ADMIN))

    (finding,) = audit(served(folder, front), front).findings

    assert finding.problem == "it is also /x, which requires AUTHENTICATED and not role(admin)"


def test_the_page_for_missing_files_is_found_if_it_is_closed(folder: Path) -> None:
    """It is what every open path serves where there is no file."""
    front = guard(OPEN, Rule("/x/404.html", ADMIN))
    app = served(folder, front)
    client = TestClient(app)

    assert aliases(app, front) == ["GET /x/404.html"]
    assert (client.get("/x/404.html").status_code, client.get("/x/gone").text) == (401, "secret of 404.html")
    assert aliases(served(folder, front, html=False), front) == []
    one_file = guard(CLOSED, Rule("/x/logo.png", PUBLIC))
    assert aliases(served(folder, one_file), one_file) == []


def test_every_guard_on_the_way_counts(folder: Path) -> None:
    """The paths are those of each guard: below the mount for the inner one."""
    outer, inner = guard(Rule("/in/**", PUBLIC)), guard(OPEN, Rule("/x/index.html", ADMIN))
    app = AuthGuardMiddleware(Starlette(routes=[Mount("/in", served(folder, inner))]), guard=outer)

    assert aliases(app, outer) == ["GET /in/x/index.html"]


@pytest.mark.newest
@pytest.mark.parametrize(
    ("fallback", "found"),
    [("auto", ["404.html", "index.html"]), ("index.html", ["index.html"]), ("404.html", ["404.html"]), (None, [])],
)
def test_the_fallback_of_a_frontend_is_found_if_it_is_closed(folder: Path, fallback: Any, found: list[str]) -> None:
    """A frontend serves its index for paths that are no files, so that its own router can show them."""
    app, router = FastAPI(openapi_url=None), APIRouter(dependencies=[requires(OPTIONAL)])
    router.frontend("/x", directory=folder, fallback=fallback)
    app.include_router(router)
    front = guard(OPEN, Rule("/x/404.html", ADMIN), Rule("/x/index.html", ADMIN), Rule("/x", ADMIN))
    install(app, front)

    assert aliases(app, front) == [f"GET /x/{name}" for name in found]


@pytest.mark.parametrize("method", ["get_path", "lookup_path", "get_response", "__call__"])
def test_files_of_a_class_of_the_app_are_opaque_if_it_chooses_them(method: str) -> None:
    """It may serve a file under any path. A class that only changes the response does not."""

    def own(self: StaticFiles, *args: Any) -> Any: ...

    def with_cache_control(self: StaticFiles, *args: Any, **kw: Any) -> Response:
        return StaticFiles.file_response(self, *args, **kw)

    choosing: Any = type("Choosing", (StaticFiles,), {method: own})
    caching: Any = type("Caching", (StaticFiles,), {"file_response": with_cache_control})

    assert [endpoint.kind for endpoint in discover_endpoints(choosing(directory="."))] == ["opaque"]
    assert [endpoint.kind for endpoint in discover_endpoints(caching(directory="."))] == ["static"]
