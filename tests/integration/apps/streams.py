"""Answers that take their time, with a guard in front (``app``) and without (``bare``)."""

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


def tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def big(_request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(PIECES):
            yield number.to_bytes(4) + PIECE

    return StreamingResponse(pieces())


def halting(request: Request) -> StreamingResponse:
    """Sends its last word only when somebody opens the gate."""
    name = request.path_params["name"]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await _guard_layers[name].wait()
            yield b"last"
        finally:
            tell(f"the stream {name} ended")

    return StreamingResponse(pieces())


def with_task(request: Request) -> PlainTextResponse:
    """Answers at once, and works on when somebody opens the gate."""
    name = request.path_params["name"]
    who = request.user.display_name if "user" in request.scope else "nobody"

    async def task() -> None:
        await _guard_layers[name].wait()
        tell(f"the task {name} ran for {who}")

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


class Talkative(Bearer):
    """Adds a field to whatever answer follows, so that the guard stands in the way of all that is sent."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Accepted | Rejected:
        outcome = await super().authenticate(request, credentials)
        if isinstance(outcome, Accepted):
            return Accepted(outcome.principal, [(b"authentication-info", b"next=5")])
        return outcome


app = AuthGuardMiddleware(bare, guard=Guard(bearer(Talkative), clock=clock))
