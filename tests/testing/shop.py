"""An app to try ``authguard.testing`` on: two schemes, every kind of rule, locks behind a rule and behind PUBLIC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from authguard import (
    OPTIONAL,
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    Bearer,
    Guard,
    MemoryUsers,
    Principal,
    Reason,
    Rejected,
    Rule,
    Scheme,
    any_of,
    role,
    scopes,
    via,
)
from authguard.starlette import requires
from authguard.testing import ManualClock, TestIssuer

CLOCK = ManualClock()
ISSUER = TestIssuer("https://login.test/", audience="shop", clock=CLOCK)
#: The password is `s3cret`.
USERS = [Account("zoë", "$2b$04$dRt3IMya6YrwOwagJL02yOipwqNACs6.lT8y9RMg0DIOriZ/W/Xqy", roles={"clerk"})]


def schemes() -> list[Scheme]:
    """Bearer first, then Basic."""
    return [Bearer(ISSUER.as_issuer(), realm="shop"), Basic(MemoryUsers(USERS), realm="shop", throttle=None)]


async def banned(request: AuthRequest, principal: Principal) -> Principal | Rejected:
    """A check of the guard."""
    return Rejected(Reason("user.banned", 403)) if principal.subject == "mallory" else principal


def guard_of(*own: Scheme, **options: Any) -> Guard:
    """The guard of the shop, or one with these schemes."""
    rules = [
        Rule("/open/**", PUBLIC),
        Rule("/news", OPTIONAL),
        Rule("/admin", role("editor")),
        Rule("/basic", via("basic")),
        Rule("/pay", scopes("pay")),
        Rule("/either", any_of(role("editor"), scopes("pay"))),
    ]
    arguments: Mapping[str, Any] = {
        "rules": rules,
        "checks": [banned],
        "role_hierarchy": {"admin": {"editor"}},
        "clock": CLOCK,
        **options,
    }
    return Guard(*(own or schemes()), **arguments)


async def who(request: Request) -> JSONResponse:
    """The subject, scheme and roles of the principal; None for an anonymous request."""
    user = request.user
    if not user.is_authenticated:
        return JSONResponse(None)
    return JSONResponse([user.subject, user.scheme, sorted(user.roles)])


@requires(role("editor"))
async def locked(request: Request) -> JSONResponse:
    """The same, behind a lock on the route."""
    return JSONResponse([request.user.subject, request.user.scheme, sorted(request.user.roles)])


async def chat(socket: WebSocket) -> None:
    """A WebSocket that sends the subject."""
    await socket.accept()
    await socket.send_text(socket.user.subject)
    await socket.close()


@requires(role("editor"))
async def locked_chat(socket: WebSocket) -> None:
    """The same, for editors."""
    await chat(socket)


def app_behind(guard: Guard) -> Starlette:
    """The shop."""
    paths: Sequence[str] = ("/", "/news", "/admin", "/basic", "/pay", "/either", "/open/hall")
    app = Starlette(
        routes=[
            *(Route(path, who, methods=["GET", "POST"]) for path in paths),
            Route("/open/desk", locked),
            Route("/desk", locked),
            WebSocketRoute("/chat", chat),
            WebSocketRoute("/open/chat", locked_chat),
            Mount("/deep", routes=[Route("/er", who)]),
        ]
    )
    app.add_middleware(AuthGuardMiddleware, guard=guard)
    return app


def client_of(guard: Guard, **options: Any) -> TestClient:
    """A client of the shop."""
    return TestClient(app_behind(guard), **options)
