"""``authguard routes``: the audit from a shell."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import authguard
from authguard.cli import main

SHOP = """
from fastapi import FastAPI
from authguard import PUBLIC, Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers, Rule
from authguard.fastapi import install

guard = Guard(Basic(MemoryUsers([Account("a", "")]), realm="r"), rules=[Rule("/health", PUBLIC)])


def make(*paths, front=guard):
    app = FastAPI(openapi_url=None)
    for path in paths:
        app.add_api_route(path, lambda: "in")
    if front:
        install(app, front)
    return app


def app_factory():
    return make("/health")


class apps:
    closed = make("/health")


app = make("/health", "/orders")
bare = make("/orders", front=None)
wrapped = AuthGuardMiddleware(make("/health", front=None), guard=guard)
number = 7


async def answer(request, call_next):
    return None


with_outside = make("/health")
with_outside.middleware("http")(answer)


def broken():
    raise ValueError("no secret")
"""


@pytest.fixture(name="shop", autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with some modules."""
    (tmp_path / "shop_to_audit.py").write_text(SHOP)
    (tmp_path / "shop_that_fails.py").write_text("import nothing_of_this_name")
    (tmp_path / "shop_that_raises.py").write_text("{}['DATABASE']")
    (tmp_path / "shop_package").mkdir()
    (tmp_path / "shop_package" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("shop_to_audit", "shop_that_fails", "shop_that_raises", "shop_package"):
        sys.modules.pop(name, None)


def run(*arguments: str) -> int:
    """The exit status of one run."""
    try:
        return main(arguments)
    except SystemExit as exited:
        return int(exited.code or 0)


def test_findings_are_printed_and_set_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    """Locations are relative to the working directory."""
    assert run("routes", "shop_to_audit:app") == 1

    output = capsys.readouterr().out
    assert output.startswith("METHOD PATH")
    assert "shop_to_audit.py:6" in output
    assert "route.unnamed GET /orders: no rule names it and no lock is on it" in output


def test_middleware_in_front_of_the_guard_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """A07: the entry that accepts it is the beginning of the line."""
    assert run("routes", "shop_to_audit:with_outside") == 1

    assert "middleware.outside answer: it is outside the guard, " in " ".join(capsys.readouterr().out.split())
    assert run("routes", "shop_to_audit:with_outside", "--ignore", "middleware.outside answer") == 0


def test_findings_may_be_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """The option takes the entries of ``ignore=[...]``."""
    assert run("routes", "shop_to_audit:app", "--ignore", "route.unnamed GET /orders") == 0
    assert capsys.readouterr().out.endswith("\n0 findings\n")


@pytest.mark.parametrize("name", ["app_factory()", "apps.closed", "wrapped"])
def test_an_app_is_found_wherever_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A factory may make it, it may be an attribute of an attribute, and a guard may wrap it."""
    assert run("routes", f"shop_to_audit:{name}") == 0
    assert "GET    /health PUBLIC" in capsys.readouterr().out


def test_the_working_directory_is_put_on_the_path_once(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be there already."""
    monkeypatch.setattr(sys, "path", [str(shop), *sys.path])

    assert run("routes", "shop_to_audit:wrapped") == 0
    assert sys.path.count(str(shop)) == 1


def test_json_is_printed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is the same."""
    assert run("routes", "shop_to_audit:app", "--json") == 1

    read = json.loads(capsys.readouterr().out)
    assert [route["path"] for route in read["routes"]] == ["/health", "/orders"]
    assert [finding["code"] for finding in read["findings"]] == ["route.unnamed"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["routes", "shop_to_audit"], "'shop_to_audit' is not \"module:app\""),
        (["routes", ":app"], 'is not "module:app"'),
        (["routes", "no_such_shop:app"], "there is no module 'no_such_shop' in"),
        (["routes", "shop_package.gone:app"], "there is no module 'shop_package.gone' in"),
        (["routes", "shop_to_audit:gone"], "shop_to_audit has no app 'gone'"),
        (["routes", "shop_to_audit:apps.gone"], "shop_to_audit has no app 'apps.gone'"),
        (["routes", "shop_to_audit:guard"], "shop_to_audit:guard is a Guard, not an app"),
        (["routes", "shop_to_audit:app()"], "shop_to_audit:app is an app and not a function; leave out ()"),
        (["routes", "shop_that_fails:app"], "shop_that_fails cannot be imported: ModuleNotFoundError: No module named"),
        (["routes", "shop_that_raises:app"], "shop_that_raises cannot be imported: KeyError: 'DATABASE'"),
        (["routes", "shop_to_audit:broken()"], "shop_to_audit:broken() fails: ValueError: no secret"),
        (["routes", "shop_to_audit:number"], "shop_to_audit has no app 'number'"),
        (["routes", "shop_to_audit:number()"], "shop_to_audit has no app 'number()'"),
        (["routes", "shop_to_audit:bare"], "it has no AuthGuardMiddleware in front of any route"),
        (["routes", "shop_to_audit:app", "--ignore", "odd"], "'odd' does not begin with the code of a finding"),
        (["routes"], "required: app"),
        ([], "required"),
    ],
)
def test_a_wrong_argument_is_an_error_with_status_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings have another exit status."""
    assert run(*arguments) == 2
    assert problem in capsys.readouterr().err


def test_a_working_directory_that_is_gone_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No app can be looked for there."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert run("routes", "shop:app") == 2
    assert capsys.readouterr().err == "app: the working directory is gone; change to the folder of the app\n"


def test_an_error_in_the_apps_own_code_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It has the module, the class of the error and its text. The exit status is not that of findings."""
    assert run("routes", "shop_that_raises:app") == 2
    assert capsys.readouterr().err == "app: shop_that_raises cannot be imported: KeyError: 'DATABASE'\n"


def test_an_unmet_ignore_entry_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is that of findings."""
    assert run("routes", "shop_to_audit:wrapped", "--ignore", "route.unnamed GET /gone") == 1
    assert "ignore.unmet route.unnamed GET /gone" in capsys.readouterr().out


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """It can be copied."""
    assert run("routes", "--help") == 0
    assert 'authguard routes shop:app --ignore "route.unnamed GET /docs"' in capsys.readouterr().out
    assert run("--help") == 0
    assert "authguard routes shop:app" in capsys.readouterr().out


@pytest.mark.peer
def test_the_module_is_a_program(shop: Path) -> None:
    """It finds the app in the working directory, and its exit status is that of the audit."""
    command = [sys.executable, "-W", "error", "-m", "authguard", "routes"]
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}

    closed = subprocess.run(
        [*command, "shop_to_audit:wrapped"], check=False, cwd=shop, env=env, capture_output=True, text=True
    )
    wrong = subprocess.run([*command, "gone:app"], check=False, cwd=shop, env=env, capture_output=True, text=True)

    assert (closed.returncode, closed.stderr) == (0, "")
    assert closed.stdout.endswith("0 findings\n")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("app: there is no module 'gone'")


def test_the_package_runs_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The arguments of the process are those of the command, and so is the exit status."""
    monkeypatch.setattr(sys, "argv", ["authguard", "routes", "shop_to_audit:apps.closed"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(f"{authguard.__path__[0]}/__main__.py", run_name="__main__")

    assert ended.value.code == 0
    assert "/health" in capsys.readouterr().out
