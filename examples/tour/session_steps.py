"""The steps with a session: what a browser sees that logs in, and whose cookie somebody else has copied."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bcrypt

from examples.tour.basic_steps import COST
from examples.tour.step import Expected, Part, Request, Response, Send, Step

CHALLENGE = 'Session realm="shop"'
PASSWORD = "wonderland"
LOGIN = Request(
    "POST", "/login", [("Content-Type", "application/x-www-form-urlencoded")], b"name=alice&password=wonderland"
)


def settings() -> dict[str, str]:
    """The settings of examples/login_form.py."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode("ascii")
    return {"SESSION_SECRET": secrets.token_urlsafe(32), "ALICE_HASH": stored, "INSECURE_COOKIE": "1"}


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A request of a browser. ``logs_in``: after alice has logged in. ``logs_out``: and after she has logged out."""

    target: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    logs_in: bool = False
    logs_out: bool = False
    served_by: str = "login_form"

    @property
    def curl(self) -> str:
        """The same as shell commands, with the address in ``$SHOP``."""
        method = "" if self.method == "GET" else f"-X {self.method} "
        headers = "".join(f"-H '{name}: {value}' " for name, value in self.headers)
        if not self.logs_in:
            return f"curl -i {method}{headers}$SHOP{self.target}"
        login = f"curl -s -c jar -d 'name=alice&password={PASSWORD}' $SHOP/login"
        logout = "curl -s -b jar -X POST $SHOP/logout; " if self.logs_out else ""
        return f"{login}; {logout}curl -i -b jar {method}{headers}$SHOP{self.target}"

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Log in and out, if asked, with one copy of the cookie. The last response is the one to show."""
        asked = Request(self.method, self.target, self.headers)
        if not self.logs_in:
            return [send(asked)]
        logged_in = send(LOGIN)
        cookie = ("Cookie", logged_in.cookies[0].partition(";")[0])
        earlier = [logged_in, *([send(Request("POST", "/logout", [cookie]))] if self.logs_out else [])]
        return [*earlier, send(asked._replace(headers=[cookie, *self.headers]))]


NAVIGATION = [("Sec-Fetch-Mode", "navigate")]
FOREIGN = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]
STEPS = (
    Step(
        "A browser opens a page without a session",
        SessionRequest("/orders", headers=NAVIGATION),
        Expected(303, None, "denied login.required"),
        "A person who opens a page is sent to the login page, which leads back. Nobody else is.",
    ),
    Step(
        "A script asks for the same page",
        SessionRequest("/orders"),
        Expected(401, CHALLENGE, "denied credentials.missing"),
        "A script needs a status that it can read. No browser asks for a password because of this challenge.",
    ),
    Step(
        "The page, after alice has logged in",
        SessionRequest("/orders", headers=NAVIGATION, logs_in=True),
        Expected(200, None, "granted"),
        "The cookie is signed, and holds when she logged in and when she was last here.",
        earlier_status=303,
    ),
    Step(
        "A page of another site sends alice's browser to order something",
        SessionRequest("/orders", "POST", FOREIGN, logs_in=True),
        Expected(403, None, "denied origin.foreign", "https://evil.example"),
        "The cookie comes by itself, so authguard checks which site made the request. The forms need no hidden token.",
        earlier_status=303,
    ),
    Step(
        "A copy of the cookie, after alice has logged out",
        SessionRequest("/orders", logs_in=True, logs_out=True),
        Expected(401, CHALLENGE, "denied session.revoked", "alice"),
        "A signed cookie cannot be called back. The log-out has entered the session where revocations are kept.",
        earlier_status=303,
    ),
)

SESSIONS = Part("Sessions: examples/login_form.py, with a login page and alice", STEPS)
