"""A password file is deleted, truncated, replaced, made unreadable and filled with junk, under 200 logins a second.

Each answer is checked by its time: between a change and the first answer that shows it, either content may apply. After
that, only the new one may.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authguard.accounts.watched_file import CHECK_INTERVAL, INCOMPLETE_FOR
from tests.integration.apps.common import USERS
from tests.integration.login_load import Login, LoginAnswer, LoginLoad
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = pytest.mark.peer

RATE = 200
#: A fault lasts for so many more answers after it was logged, which is more than one further look.
STANDS = 125

STAYS, EARLY, LATE = Login("stays", "s3cret"), Login("early", "b1rd"), Login("late", "r1ser")
#: Logins that only the junk would accept: a new user, and another password, whose lines in it are complete.
STRANGER, SMUGGLED = Login("stranger", "str4nge"), Login("stays", "smuggled")
ALL = (STAYS, EARLY, LATE, STRANGER, STAYS, SMUGGLED, Login("late", "wrong"), Login("nobody", "s3cret"))

LINES = {login: login.line for login in {*ALL}}
OTHERS = [f"other{number}:{LINES[STRANGER].partition(':')[2]}" for number in range(10)]


@dataclass(slots=True)
class Content:
    """Which users are accepted, and from when until when that may be."""

    users: set[Login]
    begins: float
    ends: float = float("inf")

    def says(self, answer: LoginAnswer) -> bool:
        """Whether this content leads to this answer: the user's own page, or a 401."""
        if answer.login in self.users:
            return (answer.status, answer.text) == (200, answer.login.user)
        return answer.status == 401


@dataclass(slots=True)
class PasswordFile:
    """The password file, the changes to it, and the contents that may have been read from it."""

    path: Path
    load: LoginLoad
    server: AppServer
    readings: list[Content] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def changes(
        self, change: Callable[[], object], users: set[Login], seen: tuple[Login, int], *, in_place: bool = False
    ) -> None:
        """A change that takes effect: from its start these users may be accepted, and once it is seen, no others.

        If the file was written in place, or was gone before, those who were removed may be accepted for five seconds.
        """
        before = list(self.readings)
        self.readings.append(Content(users, time.monotonic()))
        change()
        done = time.monotonic()
        taken = self.load.wait_for_status(*seen)
        for reading in before:
            reading.ends = min(reading.ends, max(taken, done + INCOMPLETE_FOR + CHECK_INTERVAL) if in_place else taken)

    def fails(self, change: Callable[[], object], problem: str) -> None:
        """A change that takes no effect, and is logged once."""
        self.faults.append(problem)
        since = len(self.server.lines)
        change()
        self.server.wait_for(f"{self.path}: {problem}", since)
        self.load.wait_for_more(STANDS)

    def replace(self, lines: Sequence[str]) -> None:
        """Write another file beside it, and rename that over it."""
        beside = self.path.with_name("beside")
        beside.write_text("".join(lines))
        beside.replace(self.path)

    def write_slowly(self, lines: Sequence[str]) -> None:
        """Truncate the file, and write it line by line. No part of it takes effect."""
        users: set[Login] = set()
        with self.path.open("w") as file:
            for line in lines:
                stands_since = time.monotonic()
                file.write(line)
                file.flush()
                users |= {login for login in LINES if LINES[login] == line}
                self.load.wait_for_more(20)
                # On a machine that is too busy, two looks may have found equal content, which the test cannot notice.
                if time.monotonic() - stands_since >= CHECK_INTERVAL:
                    self.readings.append(Content(users.copy(), stands_since))

    def add(self, line: str) -> None:
        """Add the line that was missing."""
        with self.path.open("a") as file:
            file.write(line)

    def may_say(self, answer: LoginAnswer) -> bool:
        """Whether a content that may have applied meanwhile leads to this answer."""
        at_the_time = [one for one in self.readings if one.begins <= answer.came and answer.asked <= one.ends]
        return any(reading.says(answer) for reading in at_the_time)


def lines_of(*logins: Login) -> list[str]:
    """The lines of these logins."""
    return [LINES[login] for login in logins]


def test_only_users_of_the_last_good_file_are_accepted(tmp_path: Path) -> None:
    """Each answer is a 200 or a 401 by the last good file, on persistent connections, and each fault is logged once."""
    path = tmp_path / "users"
    path.write_text("".join(lines_of(EARLY, STAYS)))
    junk = "".join([*lines_of(STRANGER, SMUGGLED), "no such line\n", *lines_of(LATE)])

    with running_servers(lambda: AppServer("passwords:app", "--no-access-log", **{USERS: str(path)})) as (server,):
        load = LoginLoad(server.port, "/me", ALL, rate=RATE)
        file = PasswordFile(path, load, server, [Content({EARLY, STAYS}, load.began)])
        with load.running():
            load.wait_for_status(STAYS, 200)
            file.write_slowly([LINES[LATE], *OTHERS])
            file.changes(lambda: file.add(LINES[STAYS]), {LATE, STAYS}, (LATE, 200), in_place=True)
            whole = lines_of(STAYS, EARLY, LATE)
            file.changes(lambda: file.replace(whole), {STAYS, EARLY, LATE}, (EARLY, 200))
            cut = len("".join(whole[:2]))
            file.changes(lambda: os.truncate(path, cut), {STAYS, EARLY}, (LATE, 401), in_place=True)
            file.fails(path.unlink, "No such file or directory")
            file.changes(lambda: file.replace(lines_of(STAYS, LATE)), {STAYS, LATE}, (LATE, 200), in_place=True)
            file.fails(lambda: path.chmod(0), "Permission denied")
            since = len(server.lines)
            path.chmod(0o600)
            server.wait_for("is good again", since)
            file.fails(lambda: path.write_text(junk), "line 3 is not name:hash")
            file.changes(lambda: file.replace(lines_of(STAYS, EARLY)), {STAYS, EARLY}, (EARLY, 200))
            load.wait_for_more(STANDS)
        seconds = time.monotonic() - load.began

    lines = [line for line in server.lines if str(path) in line]
    assert [answer for answer in load.answers if not file.may_say(answer)] == []
    assert lines == [
        line
        for fault in file.faults
        for line in (
            f"ERROR:authguard:{path}: {fault}; the last good content is used for five minutes",
            f"WARNING:authguard:{path} is good again",
        )
    ]
    assert [line for line in server.lines if line.startswith("ERROR") and line not in lines] == []
    assert len(load.answers) / seconds > 0.8 * RATE
