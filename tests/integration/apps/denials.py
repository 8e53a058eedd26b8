"""Denials by a rule, by a lock, and by an endpoint before and after it began to respond."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import PUBLIC, AccessDenied, AuthGuardMiddleware, Guard, Reason, Rule, role
from authguard.starlette import requires
from tests.integration.apps.common import bearer, clock

logging.basicConfig()
logging.getLogger("authguard").setLevel("INFO")

OVER = Reason("session.over", 401)
_reached: Counter[str] = Counter()


async def ruled(websocket: WebSocket) -> None:
    _reached["rule"] += 1
    await websocket.accept()


@requires(role("admin"))
async def locked(websocket: WebSocket) -> None:
    _reached["lock"] += 1
    await websocket.accept()
    await websocket.send_text("LEAK")


async def denied(websocket: WebSocket) -> None:
    """Deny, and go on regardless."""
    AccessDenied(OVER)
    await websocket.accept()
    await websocket.send_text("LEAK")


async def ended(websocket: WebSocket) -> None:
    """Accept, receive one message, and deny."""
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.receive_text()
    raise AccessDenied(OVER)


async def ended_in_vain(websocket: WebSocket) -> None:
    """Accept, receive one message, deny, and go on sending."""
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.receive_text()
    AccessDenied(OVER)
    for _ in range(3):
        await websocket.send_text("LEAK")
    await websocket.close()


@requires(role("admin"))
async def page(request: Request) -> Response:
    return HTMLResponse("LEAK")


async def begun(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"
        raise AccessDenied(OVER)

    return StreamingResponse(pieces())


def reached(_request: Request) -> Response:
    return JSONResponse(_reached)


def empty(_request: Request) -> Response:
    return HTMLResponse("<p>a page")


_sockets = {"lock": locked, "denied": denied, "ended": ended, "vain": ended_in_vain}
_pages = {"page": page, "begun": begun, "reached": reached, "empty": empty}
_open = [*_sockets, *_pages]
app = Starlette(
    routes=[
        WebSocketRoute("/rule", ruled),
        *(WebSocketRoute(f"/{name}", endpoint) for name, endpoint in _sockets.items()),
        *(Route(f"/{name}", endpoint) for name, endpoint in _pages.items()),
    ]
)
app.add_middleware(
    AuthGuardMiddleware, guard=Guard(bearer(), rules=[Rule(f"/{name}", PUBLIC) for name in _open], clock=clock)
)
