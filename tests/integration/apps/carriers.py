"""An app that takes tokens from ``Authorization``, a cookie, a field of a gateway and a WebSocket's subprotocols."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import PEM, AuthGuardMiddleware, Bearer, Cookie, Guard, Header, Issuer, WebSocketProtocol
from tests.integration.apps.common import FOR_USERS, PUBLIC_KEY, clock
from tests.support.tokens import AUDIENCE, ISSUER


async def page(request: Request) -> PlainTextResponse:
    """What only users may read."""
    return PlainTextResponse(f"{FOR_USERS} {request.user.scheme}")


async def feed(websocket: WebSocket) -> None:
    """Accepts the first of the subprotocols, as many apps do."""
    await websocket.accept(next(iter(websocket.scope["subprotocols"]), None))
    await websocket.receive()  # until the client is gone


issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=PEM(os.environ[PUBLIC_KEY]))
gateway = Header("X-Forwarded-Authorization", prefix="Bearer")
guard = Guard(
    Bearer(issuer, realm="orders"),
    Bearer(issuer, realm="orders", carrier=Cookie("sid"), name="cookie"),
    Bearer(issuer, realm="orders", carrier=gateway, name="gateway"),
    Bearer(issuer, realm="orders", carrier=WebSocketProtocol("bearer"), name="socket"),
    clock=clock,
)
app = AuthGuardMiddleware(Starlette(routes=[Route("/page", page), WebSocketRoute("/feed", feed)]), guard=guard)
