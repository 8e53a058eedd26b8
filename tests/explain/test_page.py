"""docs/explain.md: its commands are typed into a shell and show what the page shows, and its Python runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.test_page import _type
from tests.docs.refusals import bearer, token
from tests.explain.causes import guarded, request
from tests.support.asgi import run_app
from tests.support.clock import NOW
from tests.support.markdown import DOCS, code_blocks

PAGE = DOCS / "explain.md"
WHY, TELL = code_blocks("python", PAGE)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A folder with the first program of the README, and the command."""
    (tmp_path / "orders.py").write_text(code_blocks("python")[0])
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "authguard").write_text(f'#!/bin/sh\nexec {sys.executable} -m authguard "$@"\n')
    (programs / "authguard").chmod(0o755)
    return tmp_path


@pytest.mark.block("explain.md", "$ authguard keygen")
@pytest.mark.block("explain.md", "grep reason")
@pytest.mark.block("explain.md", "denied token.expired")
def test_each_command_shows_what_the_page_shows(folder: Path) -> None:
    """A request of a file, a curl line, a credential in an argument, and a line of the log. ``...`` is anything."""
    for block in code_blocks("console", PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            end = 2 if lines[0].endswith("|") else 1
            command, shown = "\n".join(lines[:end]), "\n".join(lines[end:])
            # One command of the page is refused, and its status is not 0.
            printed = _type(f"({command}) || true", folder, "127.0.0.1:8000")
            expected = re.escape(shown).replace(re.escape("..."), r".*")
            assert re.fullmatch(expected, printed.rstrip(), re.DOTALL), f"$ {command}\n{printed}"


def run_block(code: str, **names: object) -> dict[str, Any]:
    """The names after a block of the page has run with these."""
    module = ModuleType("shop")
    vars(module).update(names)
    exec(compile(code, PAGE.name, "exec", dont_inherit=True), vars(module))
    return vars(module)


@pytest.mark.block("explain.md", "async def why")
async def test_the_function_of_the_page_prints_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """The outcome comes first, as the comment says, and then each step."""
    why = run_block(WHY)["why"]
    await why(guarded(bearer()), request(token(aud="order"), "/orders"))
    shown = capsys.readouterr().out
    assert shown.startswith("denied token.audience_mismatch\npath passed /orders")
    assert re.search(r"# (.*)$", WHY, re.MULTILINE)[1] == shown.splitlines()[0]  # type: ignore[index]


@pytest.mark.block("explain.md", "denials(tell)")
async def test_the_hook_of_the_page_tells_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Each refusal is printed with its cause and its fix."""
    from authguard import AuthGuardMiddleware
    from tests.support.asgi import RecordingApp

    guard = run_block(TELL, bearer=bearer())["guard"]
    await run_app(AuthGuardMiddleware(RecordingApp(), guard=guard), request(token(exp=NOW - 10**9), "/orders"))
    assert capsys.readouterr().out.startswith("The token has ended. Nothing: the client gets a new one.")
