"""WebSockets behind the guard, and a count of the handshakes that reached the app."""

from __future__ import annotations

from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Guard, Rule, role
from tests.integration.apps.common import bearer, clock

_calls: Counter[str] = Counter()


async def greet(websocket: WebSocket) -> None:
    """Send the name of the caller, and close."""
    _calls[websocket.url.path] += 1
    await websocket.accept()
    await websocket.send_text(f"hello {websocket.user.display_name or 'nobody'}")
    await websocket.close()


def calls(_request: Request) -> JSONResponse:
    return JSONResponse(_calls)


RULES = [
    Rule("/calls", PUBLIC),
    Rule("/open", PUBLIC),
    Rule("/admin/**", role("admin")),
    Rule("/feed", PUBLIC, methods={"GET"}),
    Rule("/feed", AUTHENTICATED, methods={"WEBSOCKET"}),
]

_paths = ["/open", "/mine", "/admin/feed", "/feed"]
app = Starlette(routes=[Route("/calls", calls), *(WebSocketRoute(path, greet) for path in _paths)])
app.add_middleware(AuthGuardMiddleware, guard=Guard(bearer(), rules=RULES, clock=clock))
