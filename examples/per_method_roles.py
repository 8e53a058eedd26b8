"""Roles by method: analysts read, editors write, admins delete; a method that no rule names is nobody's.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.per_method_roles:app
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from authguard import PEM, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, any_role, role

issuer = Issuer(
    "https://login.example/",
    audience="reports",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
guard = Guard(
    Bearer(issuer, realm="reports"),
    rules=[
        Rule("/reports/{id}", any_role("analyst", "editor"), methods={"GET"}),  # and HEAD
        Rule("/reports/{id}", role("editor"), methods={"PUT"}),
        Rule("/reports/{id}", role("admin"), methods={"DELETE"}),
        Rule("/live", role("analyst"), methods={"WEBSOCKET"}),
    ],
)


async def report(request: Request) -> JSONResponse:
    """One endpoint for all methods: the rules tell them apart."""
    return JSONResponse({"report": request.path_params["id"], request.method: request.user.subject})


async def live(websocket: WebSocket) -> None:
    """A handshake is a method of its own, WEBSOCKET: a rule for GET is none for it."""
    await websocket.accept()
    await websocket.send_json({"watched by": websocket.user.subject})
    await websocket.close()


# PATCH is routed and stands in no rule, so it is refused: a wider rule, or the default, is not asked instead.
app = Starlette(
    routes=[
        Route("/reports/{id}", report, methods=["GET", "PUT", "PATCH", "DELETE"]),
        WebSocketRoute("/live", live),
    ],
    middleware=[Middleware(AuthGuardMiddleware, guard=guard)],
)
