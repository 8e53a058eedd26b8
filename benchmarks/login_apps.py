"""The apps whose ``/health`` is measured while they hash passwords, and the process that serves one of them."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import bcrypt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from authguard import PUBLIC, Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers, Rule
from benchmarks.paths import quiet
from benchmarks.processes import serve

#: The number of users, and so of different concurrent logins.
USERS = 1000


def health_app() -> FastAPI:
    """The app without logins. ``/health`` is ``async def``, so it needs none of the threads that the peer hashes in."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "up"}

    return app


def guarded(stored: str, *, waiting: int = 64) -> FastAPI:
    """The app behind authguard, without verification cache and throttle, so that each login needs a hash."""
    users = MemoryUsers([Account(f"user-{number}", stored) for number in range(USERS)])
    basic = Basic(users, realm="orders", remember=None, throttle=None, waiting=waiting)
    app = health_app()
    app.add_middleware(AuthGuardMiddleware, guard=Guard(basic, rules=[Rule("/health", PUBLIC)]))

    @app.get("/orders")
    async def orders() -> dict[str, str]:
        return {}

    return app


def fastapi_basic(stored: str) -> FastAPI:
    """The app with FastAPI's ``HTTPBasic`` and a ``def`` dependency, which runs in one of anyio's 40 threads."""
    users = {f"user-{number}": stored.encode() for number in range(USERS)}
    app = health_app()

    def user(credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        if not bcrypt.checkpw(credentials.password.encode(), users[credentials.username]):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
        return credentials.username

    @app.get("/orders", dependencies=[Depends(user)])
    async def orders() -> dict[str, str]:
        return {}

    return app


#: authguard with a queue that is long enough for all logins: shows the cost of waiting logins without any refusals.
LONG_QUEUE = f"authguard, waiting={USERS}"
APPS: Mapping[str, Callable[[str], FastAPI]] = {
    "authguard": guarded,
    LONG_QUEUE: lambda stored: guarded(stored, waiting=USERS),
    "FastAPI's HTTPBasic": fastapi_basic,
}


def raise_file_limit() -> None:
    """Allow this process to open a connection for each user, and some more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = USERS + 200
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def main(arguments: Sequence[str]) -> None:
    """Serve the app with this name; all its users have this password hash."""
    name, stored = arguments
    quiet()
    raise_file_limit()
    serve(APPS[name](stored))


if __name__ == "__main__":
    main(sys.argv[1:])
