"""Slow and large responses, with a guard (``app``) and without one (``bare``)."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from authguard import Accepted, AuthGuardMiddleware, AuthRequest, Bearer, Credentials, Guard, Rejected
from tests.integration.apps.common import PIECE, PIECES, bearer, clock

_guard_layers: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


def log(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def big(_request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(PIECES):
            yield number.to_bytes(4) + PIECE

    return StreamingResponse(pieces())


def halting(request: Request) -> StreamingResponse:
    """Send the last part only after a release."""
    name = request.path_params["name"]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await _guard_layers[name].wait()
            yield b"last"
        finally:
            log(f"the stream {name} ended")

    return StreamingResponse(pieces())


def with_task(request: Request) -> PlainTextResponse:
    """Respond at once, and go on working after a release."""
    name = request.path_params["name"]
    who = request.user.display_name if "user" in request.scope else "nobody"

    async def task() -> None:
        await _guard_layers[name].wait()
        log(f"the task {name} ran for {who}")

    return PlainTextResponse("answered", background=BackgroundTask(task))


def release(request: Request) -> PlainTextResponse:
    _guard_layers[request.path_params["name"]].set()
    return PlainTextResponse("open")


bare = Starlette(
    routes=[
        Route("/big", big),
        Route("/halting/{name}", halting),
        Route("/task/{name}", with_task),
        Route("/release/{name}", release),
    ]
)


class HeaderBearer(Bearer):
    """A Bearer scheme that adds a field to every response, so that the guard has to change each of them."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Accepted | Rejected:
        outcome = await super().authenticate(request, credentials)
        if isinstance(outcome, Accepted):
            return Accepted(outcome.principal, [(b"authentication-info", b"next=5")])
        return outcome


app = AuthGuardMiddleware(bare, guard=Guard(bearer(HeaderBearer), clock=clock))
