"""The apps that are asked for ``/health`` while passwords are hashed, and the process that serves one of them."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import bcrypt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from authguard import PUBLIC, Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers, Rule
from benchmarks.apps import quiet
from benchmarks.programs import serve

#: So many logins at a time are no two alike.
USERS = 1000


def answering() -> FastAPI:
    """The app without its logins. That ``/health`` is no ``def`` spares it the threads that the peer hashes in."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "up"}

    return app


def guarded(stored: str, *, waiting: int = 64) -> FastAPI:
    """Behind authguard. Nothing is remembered and nothing counted, so that each login is a hash."""
    users = MemoryUsers([Account(f"user-{number}", stored) for number in range(USERS)])
    basic = Basic(users, realm="orders", remember=None, throttle=None, waiting=waiting)
    app = answering()
    app.add_middleware(AuthGuardMiddleware, guard=Guard(basic, rules=[Rule("/health", PUBLIC)]))

    @app.get("/orders")
    async def orders() -> dict[str, str]:
        return {}

    return app


def depending(stored: str) -> FastAPI:
    """FastAPI's own ``HTTPBasic``, and a ``def`` dependency: it runs in anyio's threads, 40 for the whole app."""
    users = {f"user-{number}": stored.encode() for number in range(USERS)}
    app = answering()

    def user(credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        if not bcrypt.checkpw(credentials.password.encode(), users[credentials.username]):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
        return credentials.username

    @app.get("/orders", dependencies=[Depends(user)])
    async def orders() -> dict[str, str]:
        return {}

    return app


#: The same with a queue that refuses nobody: it shows what those who wait cost, and not those who are sent away.
LONG_QUEUE = f"authguard, waiting={USERS}"
APPS: Mapping[str, Callable[[str], FastAPI]] = {
    "authguard": guarded,
    LONG_QUEUE: lambda stored: guarded(stored, waiting=USERS),
    "FastAPI's HTTPBasic": depending,
}


def room_for_connections() -> None:
    """Lets this process have as many open as there are users, and some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = USERS + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main(arguments: Sequence[str]) -> None:
    """Serves the app of this name over this stored hash."""
    name, stored = arguments
    quiet()
    room_for_connections()
    serve(APPS[name](stored))


if __name__ == "__main__":
    main(sys.argv[1:])
