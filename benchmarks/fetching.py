"""The apps whose keys are fetched, and the process that serves one of them."""

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
from benchmarks.apps import endpoint, quiet
from benchmarks.programs import serve
from benchmarks.tokens import AUDIENCE, ISSUER

#: For how many seconds keys are fresh, here as there: so little that what goes wrong soon finds them old.
FRESH = 1.0


def guarded(url: str, timeout: float) -> Starlette:
    """Behind authguard. ``/told`` says what it knows of its key server."""
    keys = RemoteJWKS(url, insecure_http=True, timeout=timeout, min_age=FRESH, max_age=FRESH)
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=keys)

    async def told(request: Request) -> JSONResponse:
        return JSONResponse(keys.health())

    rules = [Rule("/health", PUBLIC), Rule("/told", PUBLIC)]
    middleware = Middleware(AuthGuardMiddleware, guard=Guard(Bearer(issuer, realm="orders"), rules=rules))
    routes = [Route("/health", endpoint), Route("/orders", endpoint), Route("/told", told)]
    return Starlette(routes=routes, middleware=[middleware])


def with_pyjwt(url: str, timeout: float) -> Starlette:
    """PyJWT's ``PyJWKClient`` in an async endpoint, asking of a token what the issuer above asks."""
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
            return PlainTextResponse("no", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/health", endpoint), Route("/orders", orders)])


OURS, PEER = "authguard", "PyJWKClient"
APPS: Mapping[str, Callable[[str, float], Starlette]] = {OURS: guarded, PEER: with_pyjwt}


def main(arguments: Sequence[str]) -> None:
    """Serves the app of this name over the keys at this address, which a fetch may take so many seconds for."""
    name, url, timeout = arguments
    quiet()
    serve(APPS[name](url, float(timeout)))


if __name__ == "__main__":
    main(sys.argv[1:])
