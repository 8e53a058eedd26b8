"""The steps with Basic, and the password and group files that they need."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from examples.tour.step import Expected, IndependentRequests, Part, Request, Step

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
GROUPS = "admin: alice\n"
# The cost that `htpasswd -B` uses without -C. It keeps the tour short; for production use 12, as LibpassHasher does.
COST = 5

CHALLENGE = 'Basic realm="orders", charset="UTF-8"'
#: In a password, this placeholder stands for the numbers from 1 to ``GUESSES``.
GUESS = "$guess"
GUESSES = 11


def write_files(folder: Path) -> dict[str, str]:
    """Write the files into this folder, and return the settings of examples/htpasswd.py that name them."""
    users, groups = folder / "users.htpasswd", folder / "users.groups"
    hashes = {name: bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)) for name, password in PASSWORDS.items()}
    users.write_bytes(b"".join(name.encode() + b":" + hashed + b"\n" for name, hashed in hashes.items()))
    groups.write_text(GROUPS, "utf-8")
    return {"USER_FILE": str(users), "GROUP_FILE": str(groups)}


@dataclass(frozen=True, slots=True)
class BasicRequest(IndependentRequests):
    """A request with ``name:password``. If the password is ``$guess``, it is eleven requests with one guess each."""

    target: str
    user: str = ""
    method: str = "GET"
    origin: str = ""
    served_by: str = "htpasswd"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$BASIC``."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        user = f"-u {self.user} " if self.user else ""
        origin = f"-H 'Origin: {self.origin}' " if self.origin else ""
        command = f"curl -i {method}{user}{origin}$BASIC{self.target}"
        return f"for guess in $(seq {GUESSES}); do {command}; done" if GUESS in self.user else command

    def requests(self, tokens: Mapping[str, str]) -> Sequence[Request]:
        """The requests in order."""
        guesses = GUESSES if GUESS in self.user else 1
        users = [self.user.replace(GUESS, str(number)) for number in range(1, guesses + 1)]
        origin = [("Origin", self.origin)] if self.origin else []
        return [Request(self.method, self.target, [*_credentials(user), *origin]) for user in users]


def _credentials(user: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Basic {base64.b64encode(user.encode()).decode('ascii')}")] if user else []


STEPS = (
    Step(
        "No credentials",
        BasicRequest("/orders"),
        Expected(401, CHALLENGE, "denied credentials.missing"),
        "A browser asks its user for a name and a password when it gets this challenge. charset makes it send UTF-8.",
    ),
    Step(
        "The right password, with the required role",
        BasicRequest("/admin/users", "alice:wonderland"),
        Expected(200, None, "granted"),
        f"The hash is bcrypt at cost {COST}, the default of `htpasswd -B`. That keeps the tour short; use -C 12 for "
        "your own files.",
    ),
    Step(
        "The right password, without the required role",
        BasicRequest("/admin/users", "bob:builder"),
        Expected(403, None, "denied role.missing", "missing=[admin]"),
        "403 without a challenge: a challenge would make the browser ask for the password again, and it was right.",
    ),
    Step(
        "A wrong password",
        BasicRequest("/orders", "alice:looking-glass"),
        Expected(401, CHALLENGE, "denied password.wrong", "subject?=alice"),
        "The challenge does not say what was wrong; the log does. It marks the name with a question mark, because "
        "nothing proves it, and contains no part of the password.",
    ),
    Step(
        "A user who is not in the file",
        BasicRequest("/orders", "eve:looking-glass"),
        Expected(401, CHALLENGE, "denied user.unknown", "subject?=eve"),
        "The response is the same as for a wrong password, and takes as long, because authguard checks the password "
        "against another user's hash. Only the log shows the difference.",
    ),
    Step(
        "A request that a page of another site made alice's browser send",
        BasicRequest("/orders", "alice:wonderland", "POST", "https://evil.example"),
        Expected(403, None, "denied origin.foreign", "https://evil.example"),
        "The password is right, but alice did not ask for this: her browser added the password by itself. authguard "
        "therefore checks which site made the request.",
    ),
    Step(
        "Guessing: eleven passwords for bob, of which the last is shown",
        BasicRequest("/orders", f"bob:{GUESS}"),
        Expected(429, None, "denied attempts.exceeded", 'bucket="account and network"', retry_after=True),
        "The first ten got a 401. The eleventh was not even hashed. From now on, this address gets one attempt for "
        "bob every 30 s; other addresses have limits of their own.",
    ),
)

BASIC = Part("Basic: examples/htpasswd.py, with alice and bob in a password file, and alice in a group file", STEPS)
