"""One Starlette route, bare and behind everything that is compared."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

import bcrypt
import jwt
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import (
    AUTHORIZATION,
    PEM,
    PUBLIC,
    Accepted,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    Guard,
    Issuer,
    MemoryUsers,
    Principal,
    Requirement,
    Rule,
    Scheme,
    Secret,
    role,
)
from authguard.schemes import Outcome
from benchmarks.tokens import AUDIENCE, ISSUER, RSA, public_pem

PATH = "/orders"
USER, PASSWORD = "alice", "correct horse battery staple"
LOGIN = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())


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


def remembering() -> Starlette:
    """The app behind Basic, for a client whose password is hashed once and then remembered for as long as it takes."""
    account = Account(USER, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode())
    basic = Basic(MemoryUsers([account]), realm="orders", remember=3600)
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(basic, rules=[Rule("/health", PUBLIC)])))


class Trusting(Scheme):
    """Judges nothing: what a request costs behind it is what the guard itself costs."""

    name = "trusting"
    carrier = AUTHORIZATION

    def __init__(self) -> None:
        self._accepted = Accepted(Principal(USER, scheme=self.name))

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        return self._accepted

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [Challenge("Trusting", {"realm": "orders"})]


def trusting() -> Starlette:
    """The app behind the least that a scheme can be."""
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(Trusting(), rules=[Rule("/health", PUBLIC)])))


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
