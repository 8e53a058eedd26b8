"""An app behind Basic whose hashes take a fixed time, for floods of logins.

A request says in a field which address it comes from: so one test has many networks, and needs no addresses of the
machine but one.
"""

from __future__ import annotations

import logging
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers, Rule
from authguard.accounts import Verdict
from authguard.policy.requirements import PUBLIC
from tests.integration.login_flood import ADDRESS, HASH_SECONDS, OWNERS, PASSWORD

logging.basicConfig(level="CRITICAL")


class SleepingHasher:
    """A hasher that sleeps for as long as a hash takes: its cost does not depend on what else the machine does."""

    def verify(self, password: str, stored: str) -> Verdict:
        """Compare with the password itself, after the fixed time."""
        time.sleep(HASH_SECONDS)
        return Verdict.MATCH if password == stored.removeprefix("$plain$") else Verdict.WRONG

    def hash(self, password: str) -> str:
        """The password itself, after the fixed time."""
        time.sleep(HASH_SECONDS)
        return f"$plain${password}"

    def needs_rehash(self, stored: str) -> bool:
        """No hash is outdated."""
        return False

    def reads(self, stored: str) -> bool:
        """Every hash is readable."""
        return stored.startswith("$plain$")

    def blocks_gil(self, stored: str) -> bool:
        """To sleep blocks nobody."""
        return False


class ClientAddress:
    """Middleware that takes the address of the client from a field."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = dict(scope["headers"]).get(ADDRESS.lower().encode())
            if address is not None:
                scope["client"] = (address.decode(), 1)
        await self.app(scope, receive, send)


users = MemoryUsers([Account(name, f"$plain${PASSWORD}") for name in OWNERS], hasher=SleepingHasher())
# A password is remembered for less than the pause between two logins of an owner, so that each of them is hashed. A
# full queue takes longer than the deadline: first come, first served would verify only logins that have given up.
basic = Basic(users, realm="flood", threads=1, waiting=64, deadline=2.5, remember=0.1)
guard = Guard(basic, rules=[Rule("/health", PUBLIC)], log=False)


async def home(request: Request) -> JSONResponse:
    """The name of the caller."""
    return JSONResponse({"subject": request.user.subject})


async def health(request: Request) -> JSONResponse:
    """The figures of the pool."""
    return JSONResponse(dict(basic.health()))


routes = [Route("/", home), Route("/health", health)]
app = ClientAddress(AuthGuardMiddleware(Starlette(routes=routes), guard=guard))
