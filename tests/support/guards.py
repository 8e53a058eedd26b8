"""Guards that keep their records, with a way to send requests to the apps behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from authguard import (
    AccessDenied,
    AuthGuardMiddleware,
    Guard,
    Reason,
    Record,
    Rule,
    Scheme,
    reasons,
)
from authguard.policy.requirements import OPTIONAL, PUBLIC
from tests.support.asgi import Exchange, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.support.schemes.bearer import bearer

NOT_OWNER = Reason("order.not_owner", 403, "insufficient_scope")
NO_SESSION = Reason("session.over", 401)
PUBLIC_RULES = [Rule("/**", PUBLIC)]
OPTIONAL_RULES = [Rule("/**", OPTIONAL)]


def denial(**facts: object) -> AccessDenied:
    """The ``AccessDenied`` that the apps of these tests raise."""
    return AccessDenied(NOT_OWNER, **(facts or {"order": 5}))


class RecordingGuard:
    """A guard that keeps its records. ``wrap`` puts it in front of an app, ``request`` sends that app one request."""

    def __init__(self, *schemes: Scheme, rules: Sequence[Rule] = (), render: Any = None, **options: Any) -> None:
        self.records: list[Record] = []
        self.badge = Badge()
        defaults = {"clock": lambda: NOW, "log": False, "hooks": [self.records.append], **options}
        self.guard = Guard(*(schemes or (self.badge,)), rules=rules, **defaults)
        self.render = render

    def wrap(self, app: ASGIApp) -> AuthGuardMiddleware:
        """The app behind this guard."""
        return AuthGuardMiddleware(app, guard=self.guard, render=self.render)

    async def request(self, app: ASGIApp, path: str = "/", field: str | None = "Badge alice", **more: Any) -> Exchange:
        """Send one request to the app, and return what came back."""
        return await run_app(self.wrap(app), http_scope(path, headers=header_list(field), **more))

    @property
    def denial_reasons(self) -> list[str]:
        """The reason codes of all denials so far."""
        return [record.reason for record in self.records if record.reason is not None]

    @property
    def outcomes(self) -> list[str]:
        """One word for each record so far: the reason code of a denial, or the event."""
        return [record.reason or record.event for record in self.records]


#: The code of every reason that authguard defines.
REASON_CODES = {value.code for value in vars(reasons).values() if isinstance(value, reasons.Reason)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, and the records of that request."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    records: Sequence[Record]

    @property
    def record(self) -> Record:
        """The only record of the request."""
        (only,) = self.records
        return only

    @property
    def reason(self) -> str | None:
        """The reason code of the only record; None for a granted request."""
        return self.record.reason


class GuardedApp:
    """An app whose every path answers with the name of the caller, behind a guard that keeps its records."""

    def __init__(self, *schemes: Any, **options: Any) -> None:
        self.records: list[Record] = []
        guard = Guard(*schemes or (bearer(),), clock=lambda: NOW, hooks=[self.records.append], **options)
        app = Starlette(routes=[Route("/{rest:path}", _greet)])
        self.app = AuthGuardMiddleware(app, guard=guard)

    async def get(self, authorization: bytes | None = None, *more: tuple[bytes, bytes]) -> Answer:
        """Send one GET with this ``Authorization`` field."""
        count = len(self.records)
        headers = [*more] if authorization is None else [(b"authorization", authorization), *more]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "scheme": "https",
            "headers": headers,
            "client": ("192.0.2.1", 50000),
            "server": ("api.example", 443),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], start["headers"], body, self.records[count:])

    async def get_with_token(self, token: bytes | str) -> Answer:
        """Send one GET with this bearer token."""
        return await self.get(b"Bearer " + (token.encode() if isinstance(token, str) else token))


async def _greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)
