"""An app that tolerates old clients by name, and that makes new clients old: it takes words out of its challenges.

Below ``/rfc2069`` the challenge has no ``qop``, below ``/bare`` neither ``qop`` nor ``opaque``, below ``/no-opaque`` no
``opaque``, so that a client answers in the form that an old one has for every challenge.
"""

from __future__ import annotations

import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard import (
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    Basic,
    Digest,
    Guard,
    MemoryDigests,
    Reason,
    Record,
    Rule,
    via,
)
from authguard.reasons import PASSWORD_WRONG

KEY = "sk_test_1"
PASSWORDS = {"alice": "correct horse", "andré": "crème:brûlée", "DOMAIN\\user": "correct horse"}
REMOVED = {
    "/rfc2069": re.compile(rb' qop="auth",'),
    "/no-opaque": re.compile(rb' opaque="[0-9a-f]+",'),
    "/bare": re.compile(rb' (?:qop="auth"|opaque="[0-9a-f]+"),'),
}

_records: list[list[object]] = []


def keep(record: Record) -> None:
    """Keep the reason, or what was tolerated."""
    if record.requirement != str(PUBLIC):
        _records.append([record.reason or "granted", record.facts.get("tolerated", {})])


class Accounts:
    """A directory of one API key and of the accounts."""

    async def check(self, username: str, password: str) -> Account | Reason:
        """An API key has no password, or no name."""
        if KEY in {username, password} and "" in {username, password}:
            return Account("customer", "")
        return Account(username, "") if PASSWORDS.get(username) == password else PASSWORD_WRONG


async def answer(request: Request) -> JSONResponse:
    """The caller."""
    return JSONResponse({"by": request.user.subject})


async def records(_request: Request) -> JSONResponse:
    """The records since the last call."""
    said = JSONResponse(_records)
    _records.clear()
    return said


digest = Digest(
    MemoryDigests.of_cleartext(PASSWORDS, realm="cameras", algorithms=["MD5"]),
    realm="cameras",
    secret="a secret of the tests that has thirty-two bytes",
    algorithms=["MD5"],
    rfc2069=True,
    missing_opaque=True,
    latin1=True,
    literal_backslash=True,
)
basic = Basic(Accounts(), realm="orders", latin1=True, empty_password=True, empty_username=True)
guard = Guard(
    digest,
    basic,
    rules=[Rule("/records", PUBLIC), Rule("/basic", via("basic"))],
    default=via("digest"),
    hooks=[keep],
)
routes = [Route("/records", records), *(Route(path, answer) for path in ("/digest", "/basic", *REMOVED))]


class Forgetting:
    """Take words out of the challenges below some paths."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        removed = REMOVED.get(scope.get("path", ""))

        async def forget(message: Message) -> None:
            if removed is not None and message["type"] == "http.response.start":
                message["headers"] = [(name, removed.sub(b"", value)) for name, value in message["headers"]]
            await send(message)

        await self.app(scope, receive, forget)


app = Forgetting(AuthGuardMiddleware(Starlette(routes=routes), guard=guard))
