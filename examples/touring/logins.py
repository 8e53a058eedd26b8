"""The steps with passwords, and the password and group files that they are judged by."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from examples.touring.telling import OneByOne, Part, Sent, Step, Told

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
GROUPS = "admin: alice\n"
# What `htpasswd -B` writes without -C. It keeps the tour short; a file of one's own deserves the 12 of LibpassHasher.
COST = 5

BARE = 'Basic realm="orders", charset="UTF-8"'
GUESS = "$guess"
GUESSES = 11


def write_files(folder: Path) -> dict[str, str]:
    """The files in this folder, as the settings of examples/htpasswd.py that name them."""
    users, groups = folder / "users.htpasswd", folder / "users.groups"
    hashes = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(COST)) for name, word in PASSWORDS.items()}
    users.write_bytes(b"".join(name.encode() + b":" + stored + b"\n" for name, stored in hashes.items()))
    groups.write_text(GROUPS, "utf-8")
    return {"USER_FILE": str(users), "GROUP_FILE": str(groups)}


@dataclass(frozen=True, slots=True)
class Login(OneByOne):
    """A request with ``name:password``; where the password is ``$guess``, eleven of them with one guess each."""

    target: str
    user: str = ""
    method: str = "GET"
    origin: str = ""
    served_by: str = "htpasswd"

    @property
    def curl(self) -> str:
        """The same for a shell that has the address in ``$BASIC``."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        user = f"-u {self.user} " if self.user else ""
        origin = f"-H 'Origin: {self.origin}' " if self.origin else ""
        once = f"curl -i {method}{user}{origin}$BASIC{self.target}"
        return f"for guess in $(seq {GUESSES}); do {once}; done" if GUESS in self.user else once

    def sends(self, known: Mapping[str, str]) -> Sequence[Sent]:
        """The requests in order; no token is asked for."""
        guesses = GUESSES if GUESS in self.user else 1
        users = [self.user.replace(GUESS, str(number)) for number in range(1, guesses + 1)]
        origin = [("Origin", self.origin)] if self.origin else []
        return [Sent(self.method, self.target, [*_credentials(user), *origin]) for user in users]


def _credentials(user: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Basic {base64.b64encode(user.encode()).decode('ascii')}")] if user else []


STEPS = (
    Step(
        "Nothing presented",
        Login("/orders"),
        Told(401, BARE, "denied credentials.missing"),
        "At this challenge a browser asks its user. The charset has it send names and passwords in UTF-8.",
    ),
    Step(
        "The right password, and the role that the rule asks for",
        Login("/admin/users", "alice:wonderland"),
        Told(200, None, "granted"),
        f"The hash is as `htpasswd -B` writes it, bcrypt at cost {COST}, so that the tour is short. Give yours -C 12.",
    ),
    Step(
        "The right password, and the role is missing",
        Login("/admin/users", "bob:builder"),
        Told(403, None, "denied role.missing", "missing=[admin]"),
        "403 without a challenge: a browser would ask bob for a password again, and his was right.",
    ),
    Step(
        "A wrong password",
        Login("/orders", "alice:looking-glass"),
        Told(401, BARE, "denied password.wrong", "subject?=alice"),
        "The challenge has no error. The log has the name with a question mark, and nothing of the password.",
    ),
    Step(
        "A user who is not in the file",
        Login("/orders", "eve:looking-glass"),
        Told(401, BARE, "denied user.unknown", "subject?=eve"),
        "The same answer after the same work, for somebody else's hash was tried. Only the log knows the difference.",
    ),
    Step(
        "What a page of another site made alice's browser send",
        Login("/orders", "alice:wonderland", "POST", "https://evil.example"),
        Told(403, None, "denied origin.foreign", "https://evil.example"),
        "The password is right, and was not alice's wish: browsers send it by themselves. So where from is asked too.",
    ),
    Step(
        "Guessing: eleven passwords for bob, of which this is the last",
        Login("/orders", f"bob:{GUESS}"),
        Told(429, None, "denied attempts.exceeded", 'bucket="account and network"', retried=True),
        "Ten were 401; this one was not even hashed. Now there is one every 30 s for bob, from this address alone.",
    ),
)

LOGINS = Part(
    "Passwords: examples/htpasswd.py, with alice and bob in a password file, and alice in a group file",
    STEPS,
)
