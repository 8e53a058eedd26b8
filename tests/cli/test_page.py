"""docs/command.md: its commands are typed into a shell, one after another, and show what the page shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from authguard import DigestAccount, HtdigestFile, HtpasswdFile, JWKSet
from authguard.accounts.account import Verdict
from authguard.cli.command import _COMMANDS
from tests.cli.programs import ENVIRONMENT, ROOT, TIMEOUT, at_a_terminal
from tests.support.markdown import DOCS, code_blocks
from tests.support.servers.ports import free_port

PAGE = DOCS / "command.md"
SERVE = "uvicorn orders:app &"
PASSWORD = "correct horse"


def _steps() -> Iterator[tuple[str, str]]:
    """Each command of the page, with what the page shows below it."""
    for block in code_blocks("console", PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            end = 1
            while lines[end - 1].endswith("|"):
                end += 1
            yield "\n".join(lines[:end]), "\n".join(lines[end:])


@pytest.fixture(name="shell")
def _shell(tmp_path: Path) -> Path:
    """A folder with the first program of the README, and a folder of programs with the command and a password store."""
    (tmp_path / "orders.py").write_text(code_blocks("python")[0])
    line = {"v": 1, "at": 0, "method": "GET", "path": "/admin/users", "outcome": "granted", "stage": "rule"}
    line |= {"scheme": "bearer", "subject": "alice", "roles": ["clerk"], "scopes": []}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(line))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("authguard", f'exec {sys.executable} -m authguard "$@"'), ("pass", f'echo "{PASSWORD}"')):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return tmp_path


def _type(command: str, folder: Path, address: str) -> str:
    """What the shell prints, and the terminal if there is a prompt."""
    command = command.replace("127.0.0.1:8000", address)
    variables = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    shell = ["bash", "-o", "pipefail", "-ec", command]
    if ">> users." in command and "|" not in command:
        name = "alice in cameras" if "htdigest" in command else "alice"
        prompts = {f"Password of {name}: ": f"{PASSWORD}\n", "Repeat it: ": f"{PASSWORD}\n"}
        status, _, shown = at_a_terminal([], prompts, cwd=folder, program=shell, **variables)
        assert status == 0
        return "\n".join(line.rstrip() for line in shown.splitlines())
    done = subprocess.run(
        shell,
        cwd=folder,
        env={**ENVIRONMENT, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.stdout.rstrip("\n")


@pytest.fixture(name="served")
def _served(shell: Path) -> Iterator[Sequence[object]]:
    """The shell's folder, an address, and the processes that were started."""
    address = f"127.0.0.1:{free_port()}"
    processes: list[subprocess.Popen[bytes]] = []
    yield shell, address, processes
    for process in processes:
        process.kill()
        process.wait(timeout=TIMEOUT)


def _serve(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """The server of the page, at another port."""
    host, port = address.split(":")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "orders:app", "--port", port],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    pytest.fail("the server does not answer")


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
@pytest.mark.block("command.md")
def test_each_command_shows_what_the_page_shows(served: tuple[Path, str, list[subprocess.Popen[bytes]]]) -> None:
    """From nothing to a 200 in three commands, and then every other block. ``...`` stands for anything."""
    folder, address, processes = served

    for command, shown in _steps():
        if command.endswith(SERVE):
            processes.append(_serve(folder, address))
            continue
        if "htpasswd" in command:
            (folder / "users.htpasswd").unlink(missing_ok=True)  # two lines of one name make the file invalid
        expected = re.escape(shown).replace(re.escape("..."), r".*")
        printed = _type(command, folder, address)
        assert re.fullmatch(expected, printed, re.DOTALL), f"$ {command}\n{printed}"

    assert stat.S_IMODE((folder / "private.pem").stat().st_mode) == 0o600
    assert JWKSet((folder / "jwks.json").read_text()).bind(frozenset({"ES256"}))
    basic, digest = HtpasswdFile(folder / "users.htpasswd"), HtdigestFile(folder / "users.htdigest")
    account = anyio.run(basic.find, "alice")
    assert account is not None
    assert basic.hasher.verify(PASSWORD, account.password_hash) is Verdict.MATCH
    found = anyio.run(lambda: digest.find("alice", realm="cameras", algorithm="SHA-256", hashed=False))
    assert isinstance(found, DigestAccount)


def test_the_page_has_each_command() -> None:
    """A row of the table, and a section."""
    text = PAGE.read_text("utf-8")

    assert re.findall(r"^\| \[`authguard (\w+)`\]", text, re.MULTILINE) == list(_COMMANDS)
    assert re.findall(r"^## .+: (\w+)$", text, re.MULTILINE) == list(_COMMANDS)


def test_the_command_of_the_page_is_installed() -> None:
    """``authguard`` is a script of the package, with the same function as ``python -m authguard``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["scripts"] == {"authguard": "authguard.cli:main"}
