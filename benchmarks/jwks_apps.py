"""The apps that fetch their keys from a key server, and the process that serves one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import jwt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from authguard import PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, RemoteJWKS, Rule
from benchmarks.material import AUDIENCE, ISSUER
from benchmarks.paths import endpoint, quiet
from benchmarks.processes import serve

#: For how many seconds keys are fresh, in both apps. It is short, so that the keys expire soon after an outage begins.
FRESH = 1.0


def guarded(url: str, timeout: float) -> Starlette:
    """The app behind authguard. ``/keys`` returns the health of the keys."""
    keys = RemoteJWKS(url, insecure_http=True, timeout=timeout, min_age=FRESH, max_age=FRESH)
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=keys)

    async def key_health(request: Request) -> JSONResponse:
        return JSONResponse(keys.health())

    rules = [Rule("/health", PUBLIC), Rule("/keys", PUBLIC)]
    middleware = Middleware(AuthGuardMiddleware, guard=Guard(Bearer(issuer, realm="orders"), rules=rules))
    routes = [Route("/health", endpoint), Route("/orders", endpoint), Route("/keys", key_health)]
    return Starlette(routes=routes, middleware=[middleware])


def with_pyjwt(url: str, timeout: float) -> Starlette:
    """The app with PyJWT's ``PyJWKClient`` in an async endpoint. It checks the same claims as the issuer above."""
    keys = jwt.PyJWKClient(url, timeout=timeout, lifespan=FRESH)

    async def orders(request: Request) -> Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        try:
            key = keys.get_signing_key_from_jwt(token)
            jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=60,
                options={"require": ["exp", "sub"]},
            )
        except jwt.PyJWTError:
            return PlainTextResponse("invalid token", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/health", endpoint), Route("/orders", orders)])


OURS, PEER = "authguard", "PyJWKClient"
APPS: Mapping[str, Callable[[str, float], Starlette]] = {OURS: guarded, PEER: with_pyjwt}


def main(arguments: Sequence[str]) -> None:
    """Serve the app with this name, with the keys at this URL and this timeout for a fetch."""
    name, url, timeout = arguments
    quiet()
    serve(APPS[name](url, float(timeout)))


if __name__ == "__main__":
    main(sys.argv[1:])
