"""Other ways to protect one route with bearer tokens: the apps that authguard is compared with.

Each checks the signature, the expiry, the audience and, where the library can, the issuer. Keys are given as objects
wherever the library takes one, because it would parse PEM text again for each request. A library that is not installed
has no app; `make bench` installs them all.
"""

# Annotations are evaluated here, because FastAPI cannot resolve the text of one that names a local variable.
import importlib
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, cast

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.material import AUDIENCE, ISSUER, SUBJECT, Material
from benchmarks.paths import ALGORITHMS, PATH, Prepared, Target, each, endpoint, nothing, starlette

LEEWAY = 60
CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass(frozen=True, slots=True)
class Wsgi:
    """A Flask app. It is called as a WSGI server calls it."""

    app: Any


@dataclass(frozen=True, slots=True)
class WsgiPrepared:
    """A Flask app, and the requests to it. See ``paths.Target``."""

    app: Any
    authorization: Callable[[int], bytes | None]

    def _environ(self, number: int) -> dict[str, Any]:
        authorization = self.authorization(number)
        environ: dict[str, Any] = self.app.test_request_context(PATH).request.environ
        return environ if authorization is None else {**environ, "HTTP_AUTHORIZATION": authorization.decode("latin-1")}

    def call(self, number: int) -> Callable[[], Awaitable[None]]:
        """A request that is ready to be sent, whose response is thrown away."""
        environ = self._environ(number)

        async def call() -> None:
            b"".join(self.app(environ, lambda status, headers, error=None: None))

        return call

    async def status(self, number: int) -> int:
        """Send a request, and return the status of the response."""
        statuses: list[str] = []
        b"".join(self.app(self._environ(number), lambda status, headers, error=None: statuses.append(status)))
        return int(statuses[0].split()[0])


def target(app: ASGIApp | Wsgi, authorization: Callable[[int], bytes | None]) -> Target:
    """An app with the requests to it."""
    return WsgiPrepared(app.app, authorization) if isinstance(app, Wsgi) else Prepared(app, authorization)


@dataclass(frozen=True, slots=True)
class Peer:
    """A library with one app.

    ``packages`` are those whose versions matter. ``floor`` is the bare route of its framework, a name of ``FLOORS``.
    ``build`` makes the app for tokens of one algorithm. ``forbids`` makes one that wants the role ``admin``, where the
    peer is measured with a missing role too. An app is an ASGI app, or a ``Wsgi``.
    """

    packages: tuple[str, ...]
    floor: str
    build: Callable[[Material, str], ASGIApp | Wsgi]
    forbids: Callable[[Material, str], ASGIApp | Wsgi] | None = None
    algorithms: tuple[str, ...] = ("RS256",)

    def missing(self) -> list[str]:
        """Those of the packages that are not installed."""
        return [name for name in self.packages if _version(name) is None]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def key_of(material: Material, algorithm: str) -> Any:
    """The key that verifies, as an object; for HS256 the secret."""
    key = material.keys[algorithm]
    return key if algorithm == "HS256" else load_pem_public_key(key)


def pyjwt_decoder(material: Material, algorithm: str) -> Callable[[str], dict[str, Any]]:
    """``jwt.decode`` with the checks that all apps make. It raises ``jwt.InvalidTokenError``."""
    key, algorithms, options = key_of(material, algorithm), [algorithm], {"require": ["exp", "sub"]}

    def decode(token: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options=cast("Any", options),
        )
        return claims

    return decode


# --- pure ASGI --------------------------------------------------------------------------------------------------------


class PlainMiddleware:
    """A middleware as short as it can be written: the first Authorization header, and PyJWT."""

    def __init__(self, app: ASGIApp, decode: Callable[[str], dict[str, Any]], wanted: str | None = None) -> None:
        self.app, self._decode, self._wanted = app, decode, wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        value = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if value is None:
            await self._refuse(send, 401, b"Bearer", b"not authenticated")
            return
        scheme, _, token = value.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            await self._refuse(send, 401, b"Bearer", b"not authenticated")
            return
        try:
            claims = self._decode(token)
        except jwt.InvalidTokenError:
            await self._refuse(send, 401, b'Bearer error="invalid_token"', b"invalid token")
            return
        if self._wanted is not None and self._wanted not in claims["roles"]:
            await self._refuse(send, 403, b'Bearer error="insufficient_scope"', b"forbidden")
            return
        scope["user"] = claims
        await self.app(scope, receive, send)

    async def _refuse(self, send: Send, status: int, challenge: bytes, body: bytes) -> None:
        headers = [
            (b"www-authenticate", challenge),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _plain(material: Material, algorithm: str, wanted: str | None = None) -> ASGIApp:
    return PlainMiddleware(starlette(), pyjwt_decoder(material, algorithm), wanted)


def _plain_admin(material: Material, algorithm: str) -> ASGIApp:
    return _plain(material, algorithm, "admin")


# --- Starlette --------------------------------------------------------------------------------------------------------


class PyJWTBackend(AuthenticationBackend):
    """The backend of Starlette's documentation, with PyJWT."""

    def __init__(self, decode: Callable[[str], dict[str, Any]]) -> None:
        self._decode = decode

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if "Authorization" not in conn.headers:
            return None
        scheme, _, token = conn.headers["Authorization"].partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = self._decode(token)
        except jwt.InvalidTokenError as error:
            raise AuthenticationError("invalid token") from error
        granted = [*claims["scope"].split(), *(f"role:{name}" for name in claims["roles"])]
        return AuthCredentials(["authenticated", *granted]), SimpleUser(claims["sub"])


def _refuse(conn: HTTPConnection, error: Exception) -> Response:
    return PlainTextResponse(str(error), 401, CHALLENGE)


def _starlette_app(material: Material, algorithm: str, *wanted: str) -> ASGIApp:
    status = 403 if wanted else 401
    route = Route(PATH, requires(["authenticated", *wanted], status_code=status)(endpoint))
    backend = PyJWTBackend(pyjwt_decoder(material, algorithm))
    middleware = [Middleware(AuthenticationMiddleware, backend=backend, on_error=_refuse)]
    return Starlette(routes=[route], middleware=middleware)


def _starlette_admin(material: Material, algorithm: str) -> ASGIApp:
    return _starlette_app(material, algorithm, "role:admin")


def _mcp(material: Material, algorithm: str) -> ASGIApp:
    bearer_auth = importlib.import_module("mcp.server.auth.middleware.bearer_auth")
    access_token = importlib.import_module("mcp.server.auth.provider").AccessToken
    decode = pyjwt_decoder(material, algorithm)

    class Verifier:
        async def verify_token(self, token: str) -> Any:
            try:
                claims = decode(token)
            except jwt.InvalidTokenError:
                return None
            return access_token(
                token=token, client_id=claims["sub"], scopes=claims["scope"].split(), expires_at=claims["exp"]
            )

    protected = bearer_auth.RequireAuthMiddleware(starlette(), required_scopes=["read"])
    return AuthenticationMiddleware(protected, backend=bearer_auth.BearerAuthBackend(Verifier()))


# --- FastAPI ----------------------------------------------------------------------------------------------------------


def _fastapi_app(verify: Callable[[str], Any]) -> ASGIApp:
    """The app with ``HTTPBearer`` and this function, which returns the claims or raises ``HTTPException``."""
    app, bearer = FastAPI(), HTTPBearer()

    async def claims(credentials: Annotated[HTTPAuthorizationCredentials, Security(bearer)]) -> Any:
        return verify(credentials.credentials)

    @app.get(PATH)
    async def orders(principal: Annotated[Any, Depends(claims)]) -> dict[str, str]:
        return {"status": "ok"}

    return cast("ASGIApp", app)


def _fastapi_pyjwt(material: Material, algorithm: str) -> ASGIApp:
    decode = pyjwt_decoder(material, algorithm)

    def verify(token: str) -> Any:
        try:
            return decode(token)
        except jwt.InvalidTokenError as error:
            raise HTTPException(401, headers=CHALLENGE) from error

    return _fastapi_app(verify)


def _fastapi_joserfc(material: Material, algorithm: str) -> ASGIApp:
    joserfc_jwt, errors = importlib.import_module("joserfc.jwt"), importlib.import_module("joserfc.errors")
    key = importlib.import_module("joserfc.jwk").RSAKey.import_key(material.keys[algorithm])
    registry = joserfc_jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
    )

    def verify(token: str) -> Any:
        try:
            decoded = joserfc_jwt.decode(token, key, algorithms=[algorithm])
            registry.validate(decoded.claims)
        except errors.JoseError as error:
            raise HTTPException(401, headers=CHALLENGE) from error
        return decoded.claims

    return _fastapi_app(verify)


def _fastapi_authlib(material: Material, algorithm: str) -> ASGIApp:
    # It is deprecated in favour of joserfc, but widely used. It sets a filter of its own, so warnings are recorded.
    with warnings.catch_warnings(record=True):
        jose = importlib.import_module("authlib.jose")
        decoder = jose.JsonWebToken([algorithm])
        key = jose.JsonWebKey.import_key(material.keys[algorithm], {"kty": "RSA"})
    options = {
        "iss": {"essential": True, "value": ISSUER},
        "aud": {"essential": True, "value": AUDIENCE},
        "exp": {"essential": True},
        "sub": {"essential": True},
    }

    def verify(token: str) -> Any:
        try:
            claims = decoder.decode(token, key, claims_options=options)
            claims.validate(leeway=LEEWAY)
        except jose.JoseError as error:
            raise HTTPException(401, headers=CHALLENGE) from error
        return claims

    return _fastapi_app(verify)


def _fastapi_multiauth(material: Material, algorithm: str) -> ASGIApp:
    multiauth = importlib.import_module("fastapi_multiauth")
    decode = pyjwt_decoder(material, algorithm)

    async def validate(token: str) -> Any:
        try:
            return decode(token)
        except jwt.InvalidTokenError as error:
            raise multiauth.UnauthorizedError from error

    app, source = FastAPI(), multiauth.HTTPBearerAuth(validate)

    @app.get(PATH)
    async def orders(principal: Annotated[Any, Security(source)]) -> dict[str, str]:
        return {"status": "ok"}

    return cast("ASGIApp", app)


def _fastapi_users(material: Material, algorithm: str) -> ASGIApp:
    users = importlib.import_module("fastapi_users")
    authentication = importlib.import_module("fastapi_users.authentication")
    base = importlib.import_module("fastapi_users.db").BaseUserDatabase

    class User:
        id, email, hashed_password = int(SUBJECT), "alice@orders.example", ""
        is_active, is_superuser, is_verified = True, False, True

    user = User()

    class Database(base):  # type: ignore[misc, valid-type]
        async def get(self, id: int) -> User | None:  # noqa: A002 - named by the base class
            return user if id == user.id else None

    class Manager(users.IntegerIDMixin, users.BaseUserManager):  # type: ignore[misc, name-defined]
        pass

    async def manager() -> Any:
        return Manager(Database())

    def strategy() -> Any:
        key = key_of(material, algorithm)
        return authentication.JWTStrategy(
            secret=key, public_key=key, lifetime_seconds=3600, algorithm=algorithm, token_audience=[AUDIENCE]
        )

    one_strategy = strategy()
    backend = authentication.AuthenticationBackend(
        name="jwt",
        transport=authentication.BearerTransport(tokenUrl="login"),
        get_strategy=lambda: one_strategy,
    )
    current_user = users.FastAPIUsers(manager, [backend]).current_user(active=True)
    app = FastAPI()

    @app.get(PATH)
    async def orders(principal: Annotated[Any, Depends(current_user)]) -> dict[str, str]:
        return {"status": "ok"}

    return cast("ASGIApp", app)


# --- Litestar and Flask -----------------------------------------------------------------------------------------------


def _litestar_app(*, on_app_init: list[Any] | None = None) -> ASGIApp:
    litestar = importlib.import_module("litestar")

    async def orders() -> dict[str, str]:
        return {"status": "ok"}

    # OpenAPI would be computed for the first request to it only, but its routes are no part of the comparison.
    app = litestar.Litestar([litestar.get(PATH)(orders)], openapi_config=None, on_app_init=on_app_init)
    return cast("ASGIApp", app)


def _litestar_jwt(material: Material, algorithm: str) -> ASGIApp:
    jwt_auth = importlib.import_module("litestar.security.jwt").JWTAuth

    async def user_of(token: Any, connection: Any) -> Any:
        return token.sub

    auth = jwt_auth(
        token_secret=key_of(material, algorithm),
        retrieve_user_handler=user_of,
        algorithm=algorithm,
        accepted_audiences=[AUDIENCE],
        accepted_issuers=[ISSUER],
        require_claims=["exp", "sub"],
    )
    return _litestar_app(on_app_init=[auth.on_app_init])


def _flask_app(protect: Callable[[Any], Any] = lambda view: view) -> Wsgi:
    """A Flask app with one route, behind this decorator."""
    app = importlib.import_module("flask").Flask("orders")
    app.route(PATH)(protect(lambda: {"status": "ok"}))
    return Wsgi(app)


def _flask_httpauth(material: Material, algorithm: str) -> Wsgi:
    auth = importlib.import_module("flask_httpauth").HTTPTokenAuth()
    decode = pyjwt_decoder(material, algorithm)

    @auth.verify_token  # type: ignore[untyped-decorator]
    def verify(token: str) -> Any:
        try:
            return decode(token)
        except jwt.InvalidTokenError:
            return None

    return _flask_app(auth.login_required)


# --- all of them ------------------------------------------------------------------------------------------------------

PLAIN = "pure ASGI and PyJWT"
PEERS: Mapping[str, Peer] = {
    PLAIN: Peer(("pyjwt",), "floor", _plain, _plain_admin, ALGORITHMS),
    "AuthenticationMiddleware and PyJWT": Peer(("starlette", "pyjwt"), "floor", _starlette_app, _starlette_admin),
    "MCP SDK and PyJWT": Peer(("mcp", "pyjwt"), "floor", _mcp),
    "FastAPI HTTPBearer and PyJWT": Peer(("fastapi", "pyjwt"), "fastapi", _fastapi_pyjwt),
    "FastAPI HTTPBearer and joserfc": Peer(("fastapi", "joserfc"), "fastapi", _fastapi_joserfc),
    "FastAPI HTTPBearer and Authlib": Peer(("fastapi", "authlib"), "fastapi", _fastapi_authlib),
    "fastapi-multiauth and PyJWT": Peer(("fastapi-multiauth", "pyjwt"), "fastapi", _fastapi_multiauth),
    "fastapi-users": Peer(("fastapi-users", "pyjwt"), "fastapi", _fastapi_users),
    "Litestar JWTAuth": Peer(("litestar", "pyjwt"), "litestar", _litestar_jwt),
    "Flask-HTTPAuth and PyJWT": Peer(("flask-httpauth", "pyjwt"), "flask", _flask_httpauth),
}


def peer_versions() -> list[str]:
    """The packages of all peers, those that are installed, with their versions."""
    names = dict.fromkeys(name for peer in PEERS.values() for name in peer.packages)
    return [f"{name} {found}" for name in names if (found := _version(name)) is not None]


#: The bare route of each other framework, with the packages that it needs.
FLOORS: Mapping[str, tuple[str, Callable[[], ASGIApp | Wsgi]]] = {
    "litestar": ("litestar", _litestar_app),
    "flask": ("flask", _flask_app),
}
#: A kind of tokens, and the statuses that each peer may refuse it with. FastAPI's ``HTTPBearer`` once answered 403.
REFUSED = ("expired", "forged", "audience")
REFUSALS = frozenset({401, 403})


async def check_refusals(name: str, peer: Peer, material: Material) -> None:
    """Raise ``SystemExit`` unless the peer accepts a good token and refuses all others, and a request without one.

    A peer that checks less would be faster, and no peer.
    """
    for algorithm in peer.algorithms:
        app = peer.build(material, algorithm)
        if (status := await target(app, each(material.tokens[algorithm])).status(0)) != 200:
            raise SystemExit(f"{name}: a good {algorithm} token has the status {status}")
    app = peer.build(material, "RS256")
    requests = {kind: target(app, each(material.tokens[kind])) for kind in REFUSED} | {"nothing": target(app, nothing)}
    for kind, request in requests.items():
        if (status := await request.status(0)) not in REFUSALS:
            raise SystemExit(f"{name}: {kind} has the status {status}, expected was 401")
    if peer.forbids is not None:
        status = await target(peer.forbids(material, "RS256"), each(material.tokens["RS256"])).status(0)
        if status != 403:
            raise SystemExit(f"{name}: a missing role has the status {status}, expected was 403")
