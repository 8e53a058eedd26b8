"""Apps of other libraries, written as their documentation shows, with the refusals that they are known for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.security import APIKeyHeader, HTTPBasic, HTTPBearer, HTTPDigest, OAuth2PasswordBearer
from flask import Flask
from flask_httpauth import HTTPBasicAuth, HTTPDigestAuth, HTTPTokenAuth  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authguard import PEM, AuthGuardMiddleware, Basic, Bearer, Digest, Guard, Issuer, MemoryDigests, MemoryUsers
from authguard.schemes import PER_PROCESS
from tests.support.tokens import public_pem, rsa_key


class _Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        if "authorization" not in conn.headers:
            return None
        raise AuthenticationError("bad token")


@requires("authenticated")
async def _orders(request: Request) -> Response:
    return PlainTextResponse("orders")


#: As the page about authentication shows it: 403 without credentials, 400 with bad ones.
STARLETTE = Starlette(
    routes=[Route("/", _orders)], middleware=[Middleware(AuthenticationMiddleware, backend=_Backend())]
)
#: With CORS, as the page about middleware shows it.
STARLETTE_CORS = Starlette(
    routes=[Route("/", _orders)],
    middleware=[
        Middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_headers=["Authorization"]),
        Middleware(AuthenticationMiddleware, backend=_Backend()),
    ],
)

FASTAPI = FastAPI()
for _path, _scheme in {
    "/basic": HTTPBasic(),
    "/bearer": HTTPBearer(),
    "/digest": HTTPDigest(),
    "/oauth2": OAuth2PasswordBearer(tokenUrl="token"),
    "/key": APIKeyHeader(name="X-API-Key"),
}.items():

    def _endpoint(credentials: Annotated[Any, Depends(_scheme)]) -> str:
        return "orders"

    FASTAPI.get(_path)(_endpoint)


FLASK = Flask(__name__)
FLASK.config["SECRET_KEY"] = "of the session that keeps the nonces"
_basic, _digest, _token = HTTPBasicAuth(), HTTPDigestAuth(), HTTPTokenAuth()
_quoted = HTTPBasicAuth(realm='the "orders"')


def _view() -> str:
    return "orders"


for _name, _auth in {"basic": _basic, "digest": _digest, "token": _token, "quoted": _quoted}.items():
    FLASK.add_url_rule(f"/{_name}", _name, _auth.login_required(_view))


_guard = Guard(
    Digest(MemoryDigests.of_cleartext({"alice": "wonderland"}, realm="orders"), realm="orders", secret=PER_PROCESS),
    Basic(MemoryUsers([]), realm="orders"),
    Bearer(
        Issuer("https://login.example/", keys=PEM(public_pem(rsa_key())), audience="orders", algorithms=["RS256"]),
        realm="orders",
    ),
)
#: With CORS outside of it.
AUTHGUARD = Starlette(
    routes=[Route("/", _orders)],
    middleware=[
        Middleware(
            CORSMiddleware,
            allow_origins=["https://app.example"],
            allow_headers=["Authorization"],
            expose_headers=["WWW-Authenticate"],
        ),
        Middleware(AuthGuardMiddleware, guard=_guard),
    ],
)
