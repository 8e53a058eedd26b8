"""``authguard routes`` at a terminal: a table in colours with ``rich``, and the plain one without."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from authguard import PUBLIC, Bearer, Guard, Rule
from authguard.audit.audit import Audit, audit
from authguard.audit.findings import Finding
from authguard.cli.audit_table import print_table
from authguard.cli.terminal import rich_console
from authguard.testing import TestIssuer
from tests.cli.programs import at_a_terminal, run, start

APP = """
from starlette.applications import Starlette
from starlette.routing import Route
from authguard import OPTIONAL, PUBLIC, AuthGuardMiddleware, Bearer, Guard, Rule
from authguard.testing import TestIssuer

rules = [Rule("/health", PUBLIC), Rule("/news", OPTIONAL)]
guard = Guard(Bearer(TestIssuer().as_issuer(), realm="shop"), rules=rules)
app = Starlette(routes=[Route(path, lambda request: None) for path in ("/health", "/news", "/orders")])
app.add_middleware(AuthGuardMiddleware, guard=guard)
"""
NAME = "shop_in_colours:app"
PLAIN_HEAD = "METHOD PATH"
CODES = re.compile(r"\x1b\[[0-9;]*m")


class Screen(io.StringIO):
    """Standard output that says that it is a terminal."""

    encoding = "UTF-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(name="shop", autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an app, and the variables of a terminal with colours."""
    (tmp_path / "shop_in_colours.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delitem(sys.modules, "shop_in_colours", raising=False)
    return tmp_path


def _shown(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What a terminal shows."""
    screen = Screen()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setattr(screen, "buffer", _Bytes(screen), raising=False)
        assert run("routes", NAME, *arguments) == 1
    return screen.getvalue()


class _Bytes:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, content: bytes) -> int:
        return self._screen.write(content.decode())

    def flush(self) -> None:
        pass


def test_a_terminal_shows_a_table_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open routes are yellow and findings begin red. The words are those of the plain table."""
    shown = _shown(monkeypatch)
    plain = CODES.sub("", shown)

    assert "\x1b[1;33mPUBLIC" in shown
    assert "\x1b[1;33mOPTIONAL" in shown
    assert "\x1b[1;31m1 finding" in shown
    assert "\x1b[1;31mroute.unnamed" in shown
    assert [
        word for word in ("METHOD", "WHERE", "/health", "shop_in_colours.py:7", "bearer") if word not in plain
    ] == []


def test_no_findings_are_green() -> None:
    """The count is what one looks for."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)

    print_table(console, Audit((), ()))

    assert isinstance(console.file, io.StringIO)
    assert "\x1b[1;32m0 findings" in console.file.getvalue()


def test_names_of_the_app_are_no_markup() -> None:
    """A path or a function may have brackets, and a control character does not reach the terminal."""
    guard = Guard(Bearer(TestIssuer().as_issuer(), realm="r"), rules=[Rule("/health", PUBLIC)])
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)
    finding = Finding("route.unnamed", "GET /[red]x\x1b]0;title\x07", "it is open", "", "close it")

    print_table(console, Audit(audit(lambda *_: None, guard).rows, (finding,)))

    assert isinstance(console.file, io.StringIO)
    assert r"route.unnamed GET /[red]x\x1b]0;title\x07: it is open. close it." in console.file.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_table_is_plain_where_no_colours_are_wanted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``NO_COLOR`` is what https://no-color.org says; a dumb terminal knows no codes."""
    monkeypatch.setenv(name, value)

    shown = _shown(monkeypatch)

    assert shown.startswith(PLAIN_HEAD)
    assert "\x1b" not in shown


def test_the_table_is_plain_at_a_terminal_without_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app may have a path that such a terminal cannot show."""
    monkeypatch.setattr(Screen, "encoding", "iso8859-1")

    assert _shown(monkeypatch).startswith(PLAIN_HEAD)


def test_an_empty_no_color_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable counts if it is not empty."""
    monkeypatch.setenv("NO_COLOR", "")

    assert "\x1b[" in _shown(monkeypatch)


def test_the_table_is_plain_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra ``cli`` is optional."""
    monkeypatch.setitem(sys.modules, "rich.console", None)

    assert _shown(monkeypatch).startswith(PLAIN_HEAD)


def test_json_is_the_same_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for programs."""
    assert _shown(monkeypatch, "--json").startswith('{\n  "routes"')


def test_a_pipe_gets_the_plain_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the table of ``str(audit(...))``. Output that is closed has no colours either."""
    assert run("routes", NAME) == 1
    assert capsys.readouterr().out.startswith(PLAIN_HEAD)

    monkeypatch.setattr(sys, "stdout", None)
    assert rich_console() is None


@pytest.mark.peer
def test_a_real_terminal_shows_colours_and_a_pipe_none(shop: Path) -> None:
    """The program at a terminal, at one with NO_COLOR, and in a pipe."""
    terminal = at_a_terminal(["routes", NAME], {}, cwd=shop)
    no_color = at_a_terminal(["routes", NAME], {}, cwd=shop, NO_COLOR="1")
    pipe = start("routes", NAME, cwd=shop, TERM="xterm-256color", FORCE_COLOR="1")

    assert [terminal[0], no_color[0], pipe.returncode] == [1, 1, 1]
    assert "\x1b[1;33mPUBLIC" in terminal[2]
    assert no_color[2].replace("\r\n", "\n") == pipe.stdout
    assert pipe.stdout.startswith(PLAIN_HEAD)
    assert "\x1b" not in pipe.stdout
