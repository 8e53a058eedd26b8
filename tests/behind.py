"""What the tests of denials and locks share: a guard that tells its records, and a denial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard import (
    Accepted,
    AccessDenied,
    AuthGuardMiddleware,
    AuthRequest,
    Credentials,
    Guard,
    Outcome,
    Reason,
    Record,
    Rule,
    Scheme,
)
from authguard.policy.requirements import OPTIONAL, PUBLIC
from tests.minting import NOW
from tests.test_request import Badge, Exchange, drive, fields, http

NOT_OWNER = Reason("order.not_owner", 403, "insufficient_scope")
NO_SESSION = Reason("session.over", 401)
OPEN = [Rule("/**", PUBLIC)]
EITHER = [Rule("/**", OPTIONAL)]
#: What an app sends that is denied, and nobody may see.
LEAK = b"LEAK"


def denial(**facts: object) -> AccessDenied:
    """What the apps here raise."""
    return AccessDenied(NOT_OWNER, **(facts or {"order": 5}))


class Behind:
    """A guard and its records. ``wrap`` puts it in front of an app."""

    def __init__(self, *schemes: Scheme, rules: Sequence[Rule] = (), render: Any = None, **options: Any) -> None:
        self.records: list[Record] = []
        self.badge = Badge()
        given = {"clock": lambda: NOW, "log": False, "hooks": [self.records.append], **options}
        self.guard = Guard(*(schemes or (self.badge,)), rules=rules, **given)
        self.render = render

    def wrap(self, app: ASGIApp) -> AuthGuardMiddleware:
        """The app behind the guard."""
        return AuthGuardMiddleware(app, guard=self.guard, render=self.render)

    async def ask(self, app: ASGIApp, path: str = "/", field: str | None = "Badge alice", **more: Any) -> Exchange:
        """One request to the app."""
        return await drive(self.wrap(app), http(path, headers=fields(field), **more))

    @property
    def denied(self) -> list[str]:
        """The reasons of all denials until now."""
        return [record.reason for record in self.records if record.reason is not None]

    @property
    def told(self) -> list[str]:
        """All records as events, a denial by its reason."""
        return [record.reason or record.event for record in self.records]


async def respond(send: Send, body: bytes = LEAK, status: int = 200) -> None:
    """A whole answer of the app's own."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-app", b"LEAK")]})
    await send({"type": "http.response.body", "body": body})


def app_of(act: Any) -> ASGIApp:
    """An app that is one function of ``(scope, receive, send)``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await act(scope, receive, send)

    return app


def kinds(answer: Exchange) -> list[str]:
    """The types of what was sent."""
    return [message["type"] for message in answer.sent]


WHOLE = ["http.response.start", "http.response.body"]


def start(status: int = 200) -> Message:
    """How an answer of the app's own begins."""
    return {"type": "http.response.start", "status": status, "headers": []}


class Speaking(Badge):
    """A scheme with something to say to whomever it accepts."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        outcome = await super().authenticate(request, credentials)
        if isinstance(outcome, Accepted):
            outcome = Accepted(outcome.principal, [(b"x-info", f"from {self.name}".encode())])
        return outcome
