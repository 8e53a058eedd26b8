"""The apps that are compared: one Starlette route, bare and behind different kinds of authentication."""

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
BASIC_CREDENTIALS = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())


async def endpoint(request: Request) -> PlainTextResponse:
    """The smallest possible endpoint."""
    return PlainTextResponse("ok")


def starlette(*middleware: Middleware) -> Starlette:
    """The app with one route, behind this middleware."""
    return Starlette(routes=[Route(PATH, endpoint)], middleware=middleware)


def guarded(*rules: Rule, key: Any = RSA, algorithm: str = "RS256", log: bool = True) -> Starlette:
    """The app behind authguard with bearer tokens."""
    keys = Secret(key) if isinstance(key, bytes) else PEM(public_pem(key))
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=[algorithm], keys=keys)
    all_rules = (Rule("/health", PUBLIC), Rule("/admin/**", role("admin")), *rules)
    guard = Guard(Bearer(issuer, realm="orders"), rules=all_rules, log=log)
    return starlette(Middleware(AuthGuardMiddleware, guard=guard))


def rule(requirement: Requirement) -> Rule:
    """A rule for the one route."""
    return Rule(PATH, requirement)


def cached_basic() -> Starlette:
    """The app behind Basic. The password is hashed once; later requests are answered from the verification cache."""
    account = Account(USER, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode())
    basic = Basic(MemoryUsers([account]), realm="orders", remember=3600)
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(basic, rules=[Rule("/health", PUBLIC)])))


class Minimal(Scheme):
    """Accepts everything. The cost of a request behind it is the cost of the guard itself."""

    name = "minimal"
    carrier = AUTHORIZATION

    def __init__(self) -> None:
        self._accepted = Accepted(Principal(USER, scheme=self.name))

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        return self._accepted

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [Challenge("Minimal", {"realm": "orders"})]


def minimal_scheme() -> Starlette:
    """The app behind the smallest possible scheme."""
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(Minimal(), rules=[Rule("/health", PUBLIC)])))


class Peer(AuthenticationBackend):
    """Starlette's own middleware with PyJWT, as in its documentation. It checks the same claims as the issuer above.

    The key is passed as an object, which is fastest; PyJWT would parse a PEM text again for each request.
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
    """Log as in a service, but discard the output: records at INFO and above are formatted and then dropped."""
    log = logging.getLogger("authguard")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.NullHandler())
