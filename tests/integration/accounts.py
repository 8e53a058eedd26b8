"""Accounts in Apache's files, and the log records of their logins."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import unicodedata
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.servers.app_server import AppServer

HTPASSWD = shutil.which("htpasswd")
CHALLENGE = 'Basic realm="orders", charset="UTF-8"'

_numbers = itertools.count(1)


class Login(NamedTuple):
    name: str
    password: str

    @property
    def wrong(self) -> Login:
        """The same name with another password."""
        return Login(self.name, self.password + "!")

    @property
    def decomposed(self) -> Login:
        """The same name and password in NFD, as macOS, for one, provides them."""
        return Login(*(unicodedata.normalize("NFD", part) for part in self))


ALICE = Login("alice", "correct horse")
JUERGEN = Login("jürgen", "pässwörd-中文:x")
#: An account whose name and password can be written in Latin-1 too.
ANDRE = Login("andré", "crème:brûlée")


def htpasswd_server(folder: Path) -> partial[AppServer]:
    """A function that starts the server. Its password file is written by Apache's tool and cheap to verify."""
    assert HTPASSWD is not None
    users, groups = folder / "users", folder / "groups"
    users.touch()
    for login in (ALICE, JUERGEN, ANDRE):
        arguments = [part.encode() for part in login]
        subprocess.run([HTPASSWD, "-bB", "-C", "5", users, *arguments], check=True, capture_output=True)
    groups.write_text("admin: alice\n", encoding="utf-8")
    return partial(AppServer, "htpasswd:app", USER_FILE=str(users), GROUP_FILE=str(groups))


def new_path(room: str = "mine") -> str:
    """A path that no test has used yet."""
    return f"/{room}/{next(_numbers)}"


def records(server: AppServer, path: str, last: str) -> list[str]:
    """The log records of this path, up to the first that begins with ``last``: the level, and the text without the
    path."""
    server.wait_for(f"{last} {path} ")
    lines = [line.partition(":authguard:") for line in list(server.lines) if f" {path} " in line]
    return [f"{level} {record.replace(f' {path}', '')}" for level, ours, record in lines if ours]
