"""One Starlette route, bare and behind everything that is compared."""

from __future__ import annotations

import logging
from typing import Any

import jwt
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import PEM, PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Requirement, Rule, Secret, role
from benchmarks.tokens import AUDIENCE, ISSUER, RSA, public_pem

PATH = "/orders"


async def endpoint(request: Request) -> PlainTextResponse:
    """The least that a route can do."""
    return PlainTextResponse("ok")


def starlette(*middleware: Middleware) -> Starlette:
    """The app: one route, and what stands in front of it."""
    return Starlette(routes=[Route(PATH, endpoint)], middleware=middleware)


def guarded(*rules: Rule, key: Any = RSA, algorithm: str = "RS256", log: bool = True) -> Starlette:
    """The app behind authguard."""
    keys = Secret(key) if isinstance(key, bytes) else PEM(public_pem(key))
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=[algorithm], keys=keys)
    some = (Rule("/health", PUBLIC), Rule("/admin/**", role("admin")), *rules)
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(Bearer(issuer, realm="orders"), rules=some, log=log)))


def rule(requirement: Requirement) -> Rule:
    """What the one route asks."""
    return Rule(PATH, requirement)


class Peer(AuthenticationBackend):
    """Starlette's own middleware with PyJWT, as its documentation has it, asking of a token what the issuer above asks.

    The key is given as an object, which is the fastest way: as text it would be parsed again for each request.
    """

    def __init__(self) -> None:
        self._key = RSA.public_key()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if "Authorization" not in conn.headers:
            return None
        scheme, _, token = conn.headers["Authorization"].partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=60,
                options={"require": ["exp", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise AuthenticationError("invalid token") from error
        granted = [*claims["scope"].split(), *(f"role:{name}" for name in claims["roles"])]
        return AuthCredentials(["authenticated", *granted]), SimpleUser(claims["sub"])


def peer() -> Starlette:
    """The app behind Starlette's ``AuthenticationMiddleware`` and PyJWT."""
    return starlette(Middleware(AuthenticationMiddleware, backend=Peer()))


def quiet() -> None:
    """The log as in a service, but kept nowhere: what is written at INFO and above is made and thrown away."""
    log = logging.getLogger("authguard")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.NullHandler())
