"""docs/replay.md: the app of the page writes decisions, and its change is judged as the page shows."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.cli.test_page import _type
from tests.support.markdown import DOCS, code_block, code_blocks
from tests.support.tokens import mint, public_pem, rsa_key

PAGE = DOCS / "replay.md"
SHOP, CHANGE = code_blocks("python", PAGE)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The app of the page, its changed file, the command, and the decisions about five requests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public.pem").write_bytes(public_pem(rsa_key()))
    module = ModuleType("shop")
    exec(compile(SHOP, "shop.py", "exec", dont_inherit=True), vars(module))
    client = TestClient(module.app)
    for subject, roles, path in (
        ("alice", ["clerk"], "/orders/7"),
        ("bob", [], "/orders/7"),
        ("bob", [], "/orders/8"),
        ("bob", [], "/reports"),
        ("", [], "/orders/9"),
    ):
        claims: dict[str, Any] = {
            "iss": "https://login.example/",
            "aud": "shop",
            "sub": subject,
            "roles": roles,
            "scope": "read",
        }
        field = f"Bearer {mint(rsa_key(), **claims, iat=time.time() - 5, exp=time.time() + 60)}"
        client.get(path, headers={"Authorization": field} if subject else {})
    (tmp_path / "shop.py").write_text(SHOP.replace('Rule("/orders/{id}", AUTHENTICATED)', CHANGE.strip()))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "authguard").write_text(f'#!/bin/sh\nexec {sys.executable} -m authguard "$@"\n')
    (programs / "authguard").chmod(0o755)
    yield tmp_path
    sys.modules.pop("shop", None)


@pytest.mark.block("replay.md", "# shop.py")
@pytest.mark.block("replay.md", 'role("clerk"))')
@pytest.mark.block("replay.md", "$ authguard replay")
def test_the_command_prints_what_the_page_shows(folder: Path) -> None:
    """Bob has no role, so that his two orders are refused now."""
    command, _, shown = code_block("replay.md", "$ authguard replay").partition("\n")
    printed = _type(command.removeprefix("$ "), folder, "")
    assert re.fullmatch(re.escape(shown.rstrip()).replace(re.escape("..."), ".*"), printed), printed


@pytest.mark.block("replay.md", "- name: Who would")
def test_the_step_of_the_page_fails_for_a_change(folder: Path) -> None:
    """It shows the change. With what the page adds, it passes."""
    (command,) = re.findall(r"run: (.*)", code_block("replay.md", "- name: Who would"))
    (let_pass,) = re.findall(r"`(\|\| test .*?)`", PAGE.read_text(encoding="utf-8"))
    assert _type(f"{command} >/dev/null || echo failed $?", folder, "") == "failed 1"
    assert _type(f"({command} >/dev/null {let_pass}) && echo passed", folder, "") == "passed"


def test_a_line_has_the_fields_that_the_page_shows(folder: Path) -> None:
    """In their order."""
    shown = json.loads(code_blocks("json", PAGE)[0])
    written = json.loads((folder / "decisions.jsonl").read_text(encoding="ascii").splitlines()[0])
    assert list(written) == list(shown)
    assert {**written, "at": 0, "expires_at": 0} == {**shown, "at": 0, "expires_at": 0}
