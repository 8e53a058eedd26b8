"""Roles by method: analysts read, editors write, admins delete. A method that no rule names is refused.

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
    """One endpoint for all methods; the rules distinguish them."""
    return JSONResponse({"report": request.path_params["id"], request.method: request.user.subject})


async def live(websocket: WebSocket) -> None:
    """A WebSocket handshake counts as the method WEBSOCKET; a rule for GET does not apply to it."""
    await websocket.accept()
    await websocket.send_json({"watched by": websocket.user.subject})
    await websocket.close()


# PATCH has a route but no rule, so it is refused. Neither a wider rule nor the default applies to a path that other
# rules name.
app = Starlette(
    routes=[
        Route("/reports/{id}", report, methods=["GET", "PUT", "PATCH", "DELETE"]),
        WebSocketRoute("/live", live),
    ],
    middleware=[Middleware(AuthGuardMiddleware, guard=guard)],
)
