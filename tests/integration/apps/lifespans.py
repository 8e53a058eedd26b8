"""Apps that fail when they start or end, each with a guard and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from authguard import AuthGuardMiddleware, Guard
from tests.integration.apps.common import bearer


@asynccontextmanager
async def no_database(_app: Starlette) -> AsyncIterator[None]:
    raise ConnectionError("no database")
    yield


@asynccontextmanager
async def no_farewell(_app: Starlette) -> AsyncIterator[None]:
    yield
    raise ConnectionError("no farewell")


async def no_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that only knows HTTP, like many apps."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await PlainTextResponse("served")(scope, receive, send)


guard = Guard(bearer())

bare_startup = Starlette(lifespan=no_database)
guarded_startup = Starlette(lifespan=no_database)
guarded_startup.add_middleware(AuthGuardMiddleware, guard=guard)

bare_shutdown = Starlette(lifespan=no_farewell)
guarded_shutdown = Starlette(lifespan=no_farewell)
guarded_shutdown.add_middleware(AuthGuardMiddleware, guard=guard)

bare_without = bare_crashing = no_lifespan
guarded_without = guarded_crashing = AuthGuardMiddleware(no_lifespan, guard=guard)
