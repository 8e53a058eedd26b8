"""An API that accepts tokens of a provider that it knows by name only. Its health is public."""

from __future__ import annotations

import logging
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from authguard import PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule
from tests.integration.apps.common import KEYS_AGE, PROVIDER

logging.basicConfig()


def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


def health(request: Request) -> JSONResponse:
    return JSONResponse(guard.health())


age = float(os.environ[KEYS_AGE])
issuer = Issuer.discover(
    os.environ[PROVIDER],
    audience="orders",
    algorithms=["RS256", "ES256", "EdDSA", "PS256"],
    typ="at+jwt",
    insecure_http=True,
    min_age=age,
    max_age=age,
    cooldown=1,
    timeout=3,
)
guard = Guard(Bearer(issuer, realm="orders"), rules=[Rule("/health", PUBLIC)])
app = AuthGuardMiddleware(Starlette(routes=[Route("/me", me), Route("/health", health)]), guard=guard)
