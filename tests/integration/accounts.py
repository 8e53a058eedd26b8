"""Accounts in Apache's files, and what the log tells of those who use them."""

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
        """The same with another password."""
        return Login(self.name, self.password + "!")

    @property
    def decomposed(self) -> Login:
        """The same in the form in which macOS, for one, hands out what it has: a letter, and then its dots."""
        return Login(*(unicodedata.normalize("NFD", part) for part in self))


ALICE = Login("alice", "correct horse")
JUERGEN = Login("jürgen", "pässwörd-中文:x")
#: One whom Latin-1 can write as well.
ANDRE = Login("andré", "crème:brûlée")


def htpasswd_server(folder: Path) -> partial[AppServer]:
    """What starts the server, its password file written by Apache's tool and cheap to verify."""
    assert HTPASSWD is not None
    users, groups = folder / "users", folder / "groups"
    users.touch()
    for login in (ALICE, JUERGEN, ANDRE):
        said = [part.encode() for part in login]
        subprocess.run([HTPASSWD, "-bB", "-C", "5", users, *said], check=True, capture_output=True)
    groups.write_text("admin: alice\n", encoding="utf-8")
    return partial(AppServer, "htpasswd:app", USER_FILE=str(users), GROUP_FILE=str(groups))


def new_path(room: str = "mine") -> str:
    """A path that nobody has asked for yet."""
    return f"/{room}/{next(_numbers)}"


def records(server: AppServer, path: str, last: str) -> list[str]:
    """The records of this path up to the first one that begins so; each with its level, without what all have."""
    server.wait_for(f"{last} {path} ")
    told = [line.partition(":authguard:") for line in list(server.lines) if f" {path} " in line]
    return [f"{level} {record.replace(f' {path}', '')}" for level, ours, record in told if ours]
