"""One set of routes and rules, behind the guard in three ways. The ``X-Variant`` field selects one of them."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import PUBLIC, AuthGuardMiddleware, Guard, Rule, role
from tests.integration.apps.common import FOR_ADMINS, FOR_ALL, FOR_USERS, TREE, bearer, clock


def for_all(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(FOR_ALL)


def for_users(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(FOR_USERS)


def for_admins(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(FOR_ADMINS)


class AnyMethod:
    """An endpoint that the router calls for every method, which it does not for a function."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(FOR_USERS)(scope, receive, send)


def routes(root: Path) -> list[BaseRoute]:
    return [
        Route("/health", for_all),
        Route("/me", for_users, methods=["GET", "POST"]),
        Route("/admin", for_admins),
        Route("/admin/users", for_admins),
        Route("/items/{id:int}", for_all),
        Route("/items/{id:int}", for_users, methods=["POST", "DELETE"]),
        Route("/items/{name}", for_users),
        Route("/files/{rest:path}", for_all),
        Route("/any", AnyMethod()),
        Mount("/sub", routes=[Route("/open", for_all), Route("/secret", for_users)]),
        Mount("/shelf", routes=[Route("/{name}/kept", for_admins)]),
        Mount("/static", StaticFiles(directory=root / "static")),
        Mount("/closed", StaticFiles(directory=root / "closed")),
        Mount("/site", StaticFiles(directory=root / "site", html=True)),
    ]


RULES = [
    Rule("/health", PUBLIC),
    Rule("/admin/**", role("admin")),
    Rule("/items/{id:int}", PUBLIC, methods={"GET"}),
    Rule("/files/{rest:path}", PUBLIC),
    Rule("/any", PUBLIC, methods={"WEBSOCKET"}),
    Rule("/sub/open", PUBLIC),
    Rule("/shelf/**", PUBLIC),
    Rule("/shelf/{name}/kept", role("admin")),
    Rule("/static/**", PUBLIC),
    Rule("/closed/open/**", PUBLIC),
    Rule("/site/**", PUBLIC),
    Rule("/site/private/**", role("admin")),
]


def variants(root: Path) -> dict[bytes, ASGIApp]:
    guard = Guard(bearer(), rules=RULES, clock=clock)
    starlette = Starlette(routes=routes(root))
    starlette.add_middleware(AuthGuardMiddleware, guard=guard)
    inside = FastAPI(routes=routes(root), root_path="/api")
    inside.add_middleware(AuthGuardMiddleware, guard=guard)
    outside = AuthGuardMiddleware(FastAPI(routes=routes(root), root_path="/api"), guard=guard)
    return {b"starlette": starlette, b"fastapi-inside": inside, b"fastapi-outside": outside}


_VARIANTS = variants(Path(os.environ[TREE]))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass on the very scope of the server, so that the guard sees what the server made."""
    named = dict(scope["headers"]).get(b"x-variant", b"starlette")
    await _VARIANTS[named](scope, receive, send)
