"""The paths through authguard that are measured, each as an app and the requests to it.

``make bench`` times them and ``make bench-instructions`` counts their instructions.
"""

from __future__ import annotations

import atexit
import base64
import dataclasses
import hashlib
import hmac
import io
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Protocol, cast

import itsdangerous
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from authguard import (
    AUTHORIZATION,
    PEM,
    PUBLIC,
    Accepted,
    Account,
    ApiKey,
    ApiKeyFile,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    Digest,
    Dpop,
    Guard,
    Header,
    HtpasswdFile,
    Issuer,
    JWKSet,
    MemoryApiKeys,
    MemoryDigests,
    MemoryProofs,
    MemoryRevocations,
    MemoryUsers,
    PasswordStore,
    Principal,
    Requirement,
    Revocation,
    Rule,
    Scheme,
    Secret,
    Session,
    StoredKey,
    any_role,
    claim,
    new_key,
    role,
)
from authguard.accounts.api_key_file import write_keys
from authguard.fastapi import CurrentPrincipal, install
from authguard.schemes import Outcome
from authguard.testing import DpopKey, digest_auth
from authguard.wire.api_key import ApiKeyText
from benchmarks.material import AUDIENCE, ISSUER, PASSWORD, USER, Material, mint, public_pem

PATH, REALM = "/orders", "orders"
#: The sizes of what grows.
RULES, KEYS, ROLES, ANY_ROLES = (10, 100, 1_000, 10_000), (1, 10, 100, 1_000), (1, 10, 100, 1_000), (1, 10, 100)
#: The log writes the first twenty denials of a client within a minute in full. So many requests come from one client,
#: where all are to be written.
WRITTEN_PER_CLIENT = 15


def get_request(
    authorization: bytes | None, client: str = "192.0.2.1", path: str = PATH, field: bytes = b"authorization"
) -> Scope:
    """The scope that a server makes for a GET. ``field`` is where the credentials are."""
    headers = [
        (b"host", b"orders.example"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
        (b"user-agent", b"python-httpx2/2.0"),
    ]
    if authorization is not None:
        headers.append((field, authorization))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": (client, 50000),
        "server": ("192.0.2.2", 80),
        "state": {},
    }


@dataclass(frozen=True, slots=True)
class Prepared:
    """An app, and the requests to it. Each is a function of the number of the request."""

    app: ASGIApp
    authorization: Callable[[int], bytes | None]
    client: Callable[[int], str] = lambda number: "192.0.2.1"
    path: str = PATH
    field: bytes = b"authorization"
    proof: Callable[[int], bytes] | None = None

    def request(self, number: int) -> Scope:
        """The scope of this request."""
        scope = get_request(self.authorization(number), self.client(number), self.path, self.field)
        if self.proof is not None:
            scope["headers"].append((b"dpop", self.proof(number)))
        return scope

    def call(self, number: int) -> Callable[[], Awaitable[None]]:
        """A request that is ready to be sent, whose response is thrown away."""
        return partial(self.app, self.request(number), receive, send)

    async def status(self, number: int) -> int:
        """Send a request, and return the status of the response."""
        status: int = (await respond(self.app, self.request(number)))["status"]
        return status


class Target(Protocol):
    """What can be measured: ready requests, and their statuses, by number."""

    def call(self, number: int) -> Callable[[], Awaitable[None]]:
        """A request that is ready to be sent, whose response is thrown away."""
        ...

    async def status(self, number: int) -> int:
        """Send a request, and return the status of the response."""
        ...


#: Makes the app and the requests. The number says how many requests there will be.
Prepare = Callable[[Material, int], Coroutine[Any, Any, Prepared]]


@dataclass(frozen=True, slots=True)
class MeasuredPath:
    """A path by name. Each of its requests must have this status, because a broken app would be fast.

    ``text`` says what it is. ``verifies`` is the algorithm of the signature that each request needs verified. ``floor``
    is the path without authentication. ``grows`` says that the path shows how a cost grows with a size.
    """

    name: str
    text: str
    status: int
    prepare: Prepare
    verifies: str | None = None
    floor: str = "floor"
    grows: bool = False


# --- apps -------------------------------------------------------------------------------------------------------------


async def endpoint(request: Request) -> PlainTextResponse:
    """The smallest possible endpoint."""
    return PlainTextResponse("ok")


def starlette(*middleware: Middleware, path: str = PATH) -> Starlette:
    """The app with one route, behind this middleware."""
    return Starlette(routes=[Route(path, endpoint)], middleware=middleware)


def guarded(guard: Guard) -> Starlette:
    """The app behind this guard."""
    return starlette(Middleware(AuthGuardMiddleware, guard=guard))


def _issuer(material: Material, algorithm: str) -> Issuer:
    key = material.keys[algorithm]
    keys = Secret(key) if algorithm == "HS256" else PEM(key)
    return Issuer(ISSUER, audience=AUDIENCE, algorithms=[algorithm], keys=keys)


def bearer_guard(
    material: Material, algorithm: str = "RS256", requirement: Requirement | None = None, **options: Any
) -> Guard:
    """A guard for tokens of this algorithm, with three rules."""
    rules = [Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))]
    if requirement is not None:
        rules.append(Rule(PATH, requirement))
    return Guard(Bearer(_issuer(material, algorithm), realm=REALM), rules=rules, **options)


def quiet() -> None:
    """Log as a service does, but into nothing: what is written at INFO and above is formatted, then dropped."""
    log = logging.getLogger("authguard")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.StreamHandler(_Nowhere())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log.handlers[:] = [handler]


class _Nowhere(io.TextIOBase):
    def write(self, text: str, /) -> int:
        return len(text)


class Minimal(Scheme):
    """Accepts everything. The cost of a request behind it is the cost of the guard itself."""

    name = "minimal"
    carrier = AUTHORIZATION

    def __init__(self) -> None:
        self._accepted = Accepted(Principal(USER, scheme=self.name))

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        return self._accepted

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [Challenge("Minimal", {"realm": REALM})]


# --- requests ---------------------------------------------------------------------------------------------------------


def nothing(number: int) -> None:
    """No credentials."""


def always(authorization: bytes) -> Callable[[int], bytes]:
    """The same credentials with each request."""
    return lambda number: authorization


def each(tokens: Sequence[bytes]) -> Callable[[int], bytes]:
    """Another token with each request. One comes again when all have been sent."""
    return lambda number: b"Bearer " + tokens[number % len(tokens)]


def _changing_client(number: int) -> str:
    network, host = divmod(number // WRITTEN_PER_CLIENT, 250)
    return f"198.51.{network}.{host + 1}"


def basic_credentials(user: str = USER, password: str = PASSWORD) -> bytes:
    """The value of Authorization for this name and password."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


async def respond(app: ASGIApp, scope: Scope) -> Message:
    """Send a request, and return the message with the status and the headers of the response."""
    starts: list[Message] = []

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            starts.append(message)

    await app(scope, receive, note)
    return starts[0]


async def receive() -> Message:
    """The empty body of a request."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    """Take a message of the response, as a server does."""


# --- the paths --------------------------------------------------------------------------------------------------------


async def _floor(material: Material, count: int) -> Prepared:
    return Prepared(starlette(), each(material.tokens["RS256"]))


async def _public(material: Material, count: int) -> Prepared:
    return Prepared(guarded(bearer_guard(material, requirement=PUBLIC)), each(material.tokens["RS256"]))


async def _refused(
    material: Material,
    count: int,
    *,
    kind: str | bytes | None,
    written: bool = False,
    again: bool = False,
    requirement: Requirement | None = None,
) -> Prepared:
    app = guarded(bearer_guard(material, requirement=requirement))
    if kind is None:
        authorization: Callable[[int], bytes | None] = nothing
    else:
        tokens = material.tokens[kind] if isinstance(kind, str) else [kind]
        authorization = each(tokens[:1] if again else tokens)
    return Prepared(app, authorization, _changing_client) if written else Prepared(app, authorization)


async def _cold(material: Material, count: int, *, algorithm: str) -> Prepared:
    return Prepared(guarded(bearer_guard(material, algorithm)), each(material.tokens[algorithm]))


async def _warm(material: Material, count: int, *, algorithm: str) -> Prepared:
    return Prepared(guarded(bearer_guard(material, algorithm)), always(b"Bearer " + material.tokens[algorithm][0]))


async def _warm_revocable(material: Material, count: int, *, revoked: int) -> Prepared:
    store = MemoryRevocations()
    for index in range(revoked):
        await store.revoke(Revocation.token(f"t-{index}", expires_at=2e9))
    guard = bearer_guard(material, "RS256", revocations=store)
    return Prepared(guarded(guard), always(b"Bearer " + material.tokens["RS256"][0]))


def _standing() -> float:
    return 1000.0


def _memory_users(material: Material) -> PasswordStore:
    return MemoryUsers([Account(USER, material.stored)])


def _htpasswd(material: Material) -> PasswordStore:
    with tempfile.NamedTemporaryFile("w", suffix=".htpasswd", delete=False) as file:
        file.write(f"{USER}:{material.stored}\n")
    atexit.register(os.unlink, file.name)
    # With a clock that stands still, the store looks at the file once. A look would hit some requests, and not others.
    return HtpasswdFile(file.name, clock=_standing)


async def _password(
    material: Material, count: int, *, users: Callable[[Material], PasswordStore], wrong_first: bool = False
) -> Prepared:
    # With a clock that stands still, the attempt that was wrong is not regained before the last request.
    basic = Basic(users(material), realm=REALM, remember=3600, clock=_standing)
    prepared = Prepared(guarded(Guard(basic, rules=[Rule("/health", PUBLIC)])), always(basic_credentials()))
    if wrong_first:
        wrong = replace(prepared, authorization=always(basic_credentials(password="wrong")))
        if (status := await wrong.status(0)) != 401:
            raise SystemExit(f"a wrong password has the status {status}")
    return prepared


async def _digest(material: Material, count: int) -> Prepared:
    accounts = MemoryDigests.of_cleartext({USER: PASSWORD}, realm=REALM)
    # The nonce of the requests must not become stale before the last one.
    digest = Digest(accounts, realm=REALM, secret=os.urandom(32), life=3600)
    app = guarded(Guard(digest, rules=[Rule("/health", PUBLIC)]))
    start = await respond(app, Prepared(app, nothing).request(0))
    challenge = next(value for name, value in start["headers"] if name == b"www-authenticate").decode()
    # A header is valid once, so there is one for each request, with the next count of the same nonce.
    headers = [
        digest_auth(challenge, USER, PASSWORD, uri=PATH, count=number + 1)["Authorization"].encode()
        for number in range(count)
    ]
    return Prepared(app, lambda number: headers[number])


def _key_file(keys: Sequence[StoredKey]) -> ApiKeyFile:
    with tempfile.NamedTemporaryFile("wb", suffix=".json", delete=False) as file:
        file.write(write_keys(keys))
    atexit.register(os.unlink, file.name)
    # With a clock that stands still, as for the password file.
    return ApiKeyFile(file.name, clock=_standing)


async def _api_key(
    material: Material, count: int, *, kind: str = "good", in_header: bool = True, in_file: bool = False
) -> Prepared:
    made = new_key(USER, "ci", prefix="acme", now=1000.0)
    other = new_key(USER, "ci", prefix="acme", now=1000.0)
    revoked = dataclasses.replace(other.stored, revoked=1000.0)
    keys = [made.stored, revoked]
    store = _key_file(keys) if in_file else MemoryApiKeys(keys)
    scheme = ApiKey(
        store,
        realm=REALM,
        prefix="acme",
        carrier=Header("X-API-Key") if in_header else AUTHORIZATION,
        throttle=None,
        clock=_standing,
    )
    app = guarded(Guard(scheme, rules=[Rule("/health", PUBLIC)]))
    sent = {
        "good": made.text,
        "unknown": new_key(USER, "ci", prefix="acme", now=1000.0).text,
        "another secret": ApiKeyText.write("acme", made.stored.id, "0" * 27).text.decode(),
        "revoked": other.text,
        "garbage": made.text[:-6] + "000000",
    }[kind]
    field = b"x-api-key" if in_header else b"authorization"
    return Prepared(app, always(sent.encode() if in_header else b"ApiKey " + sent.encode()), field=field)


async def _dpop(material: Material, count: int, *, nonce: bool = False) -> Prepared:
    key, client = ec.generate_private_key(ec.SECP256R1()), DpopKey()
    url, token = "https://orders.example", mint(key, "ES256", cnf=client.cnf)
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=PEM(public_pem(key)))
    # The process began a quarter of an hour ago, so that the first proofs need no nonce.
    clock = chain([time.monotonic() - 900], iter(time.monotonic, None)).__next__
    scheme = Dpop(
        issuer,
        realm=REALM,
        public_url=url,
        secret=secrets.token_bytes(32),
        require_nonce=nonce,
        # All proofs are made before the first request, and a measurement takes minutes.
        window=3600,
        nonce_life=3600,
        proofs=MemoryProofs(clock=clock),
    )
    app, authorization = guarded(Guard(scheme)), always(b"DPoP " + token)
    told = dict((await respond(app, get_request(authorization(0))))["headers"]).get(b"dpop-nonce", b"").decode() or None
    proofs = [client.proof("GET", url + PATH, token=token.decode(), nonce=told).encode() for _ in range(count)]
    return Prepared(app, authorization, proof=proofs.__getitem__)


async def _session(material: Material, count: int, *, guard: bool = True, revocable: bool = False) -> Prepared:
    revocations = MemoryRevocations() if revocable else None
    scheme = Session(realm=REALM, revocations=revocations)
    login = {"id": "0" * 22, "sub": USER, "began": 1000.0, "seen": 1000.0, "auth_time": 1000, "roles": ["customer"]}
    data = base64.b64encode(json.dumps({"authguard": login}).encode())
    cookie = itsdangerous.TimestampSigner("s" * 32).sign(data)
    own = Middleware(AuthGuardMiddleware, guard=Guard(scheme, rules=[Rule("/health", PUBLIC)], clock=_standing))
    app = starlette(Middleware(SessionMiddleware, secret_key="s" * 32), *([own] if guard else []))
    return Prepared(app, always(b"session=" + cookie), field=b"cookie")


async def _minimal(material: Material, count: int) -> Prepared:
    return Prepared(guarded(Guard(Minimal(), rules=[Rule("/health", PUBLIC)])), always(b"Minimal credentials"))


async def _fastapi(material: Material, count: int) -> Prepared:
    app = FastAPI()

    @app.get(PATH)
    async def orders() -> dict[str, str]:
        return {"status": "ok"}

    return Prepared(cast("ASGIApp", app), each(material.tokens["RS256"]))


async def _fastapi_public(material: Material, count: int) -> Prepared:
    prepared = await _fastapi(material, count)
    install(cast("FastAPI", prepared.app), bearer_guard(material, requirement=PUBLIC))
    return prepared


async def _fastapi_principal(material: Material, count: int) -> Prepared:
    app = FastAPI()
    install(app, bearer_guard(material))

    @app.get(PATH)
    async def orders(principal: CurrentPrincipal) -> dict[str, str]:
        return {"status": "ok"}

    return Prepared(cast("ASGIApp", app), each(material.tokens["RS256"]))


async def _among_rules(material: Material, count: int, *, size: int) -> Prepared:
    rules = [Rule(f"/tenants/t{number}/orders/{{id}}", PUBLIC) for number in range(size)]
    bearer = Bearer(_issuer(material, "RS256"), realm=REALM)
    path = f"/tenants/t{size - 1}/orders/4711"
    app = starlette(Middleware(AuthGuardMiddleware, guard=Guard(bearer, rules=rules)), path=path)
    return Prepared(app, nothing, path=path)


async def _among_keys(material: Material, count: int, *, size: int) -> Prepared:
    entries = json.loads(material.many_keys)["keys"][-size:]
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=JWKSet(json.dumps({"keys": entries})))
    guard = Guard(Bearer(issuer, realm=REALM, cache=0), rules=[Rule("/health", PUBLIC)])
    return Prepared(guarded(guard), each(material.tokens["ES256"]))


async def _with_roles(material: Material, count: int, *, size: int, wanted: int = 1) -> Prepared:
    # Short names, so that a thousand of them fit into a token.
    held = [f"{number:x}" for number in range(size)]
    names = [held[-1], *(f"other-{number}" for number in range(wanted - 1))]
    token = mint(material.keys["HS256"], "HS256", roles=held)
    issuer = Issuer(
        ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(material.keys["HS256"]), roles=claim("roles")
    )
    guard = Guard(Bearer(issuer, realm=REALM), rules=[Rule(PATH, any_role(*reversed(names)))])
    return Prepared(guarded(guard), always(b"Bearer " + token))


def _growing(
    name: str, text: str, sizes: Sequence[int], prepare: Callable[..., Coroutine[Any, Any, Prepared]], **options: Any
) -> list[MeasuredPath]:
    return [
        MeasuredPath(
            f"{name}-{size}", f"{text}: {size:,}", 200, partial(prepare, **options | {"size": size}), grows=True
        )
        for size in sizes
    ]


async def _any_role(material: Material, count: int, *, size: int) -> Prepared:
    return await _with_roles(material, count, size=1, wanted=size)


def _refusals(name: str, text: str, status: int, verifies: str | None = None, **options: Any) -> list[MeasuredPath]:
    return [
        MeasuredPath(f"{name}-folded", f"{text}, folded", status, partial(_refused, **options), verifies),
        MeasuredPath(
            f"{name}-written", f"{text}, written", status, partial(_refused, written=True, **options), verifies
        ),
    ]


ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
PATHS: Mapping[str, MeasuredPath] = {
    path.name: path
    for path in (
        MeasuredPath("floor", "bare Starlette route", 200, _floor),
        MeasuredPath("public", "PUBLIC", 200, _public),
        *_refusals("nothing", "nothing presented", 401, kind=None),
        MeasuredPath("garbage-44", "garbage of 44 bytes", 401, partial(_refused, kind=b"x" * 44)),
        MeasuredPath("garbage-8k", "garbage of 8 KiB", 401, partial(_refused, kind=b"x" * 8192)),
        *_refusals("expired", "expired", 401, "RS256", kind="expired"),
        *_refusals("forged", "forged", 401, "RS256", kind="forged"),
        *_refusals("role-missing", "role missing", 403, "RS256", kind="RS256", requirement=role("admin")),
        # A client that does not understand its refusal sends the same token again and again.
        MeasuredPath("expired-again", "the same expired, folded", 401, partial(_refused, kind="expired", again=True)),
        MeasuredPath(
            "role-missing-again",
            "the same with a role missing, folded",
            403,
            partial(_refused, kind="RS256", again=True, requirement=role("admin")),
        ),
        *(
            MeasuredPath(f"cold-{name.lower()}", f"{name}, cold", 200, partial(_cold, algorithm=name), name)
            for name in ALGORITHMS
        ),
        *(
            MeasuredPath(f"warm-{name.lower()}", f"{name}, warm", 200, partial(_warm, algorithm=name))
            for name in ALGORITHMS
        ),
        MeasuredPath(
            "warm-revocable",
            "RS256, warm, MemoryRevocations with 1,000 tokens",
            200,
            partial(_warm_revocable, revoked=1000),
        ),
        MeasuredPath("dpop", "DPoP, ES256 token, warm, ES256 proof", 200, _dpop, "ES256"),
        MeasuredPath("dpop-nonce", "the same with a nonce each", 200, partial(_dpop, nonce=True), "ES256"),
        MeasuredPath("basic", "Basic, MemoryUsers, remembered", 200, partial(_password, users=_memory_users)),
        MeasuredPath("basic-htpasswd", "Basic, HtpasswdFile, remembered", 200, partial(_password, users=_htpasswd)),
        MeasuredPath(
            "basic-after-wrong",
            "Basic, MemoryUsers, after a wrong password",
            200,
            partial(_password, users=_memory_users, wrong_first=True),
        ),
        MeasuredPath(
            "basic-htpasswd-after-wrong",
            "Basic, HtpasswdFile, after a wrong password",
            200,
            partial(_password, users=_htpasswd, wrong_first=True),
        ),
        MeasuredPath("digest", "Digest, SHA-256", 200, _digest),
        MeasuredPath("api-key", "API key, X-API-Key, MemoryApiKeys", 200, _api_key),
        MeasuredPath("api-key-file", "API key, X-API-Key, ApiKeyFile", 200, partial(_api_key, in_file=True)),
        MeasuredPath(
            "api-key-authorization", "API key, Authorization, MemoryApiKeys", 200, partial(_api_key, in_header=False)
        ),
        *(
            MeasuredPath(f"api-key-{kind.replace(' ', '-')}", f"API key, {kind}", 401, partial(_api_key, kind=kind))
            for kind in ("unknown", "another secret", "revoked", "garbage")
        ),
        MeasuredPath("session-floor", "SessionMiddleware, no guard", 200, partial(_session, guard=False)),
        MeasuredPath("session", "Session, signed cookie", 200, _session, floor="session-floor"),
        MeasuredPath(
            "session-revocable",
            "Session, signed cookie, MemoryRevocations",
            200,
            partial(_session, revocable=True),
            floor="session-floor",
        ),
        MeasuredPath("minimal", "a minimal scheme of one's own", 200, _minimal),
        MeasuredPath("fastapi", "bare FastAPI route", 200, _fastapi, floor="fastapi"),
        MeasuredPath("fastapi-public", "FastAPI, install, PUBLIC", 200, _fastapi_public, floor="fastapi"),
        MeasuredPath(
            "fastapi-principal",
            "FastAPI, install, CurrentPrincipal, RS256, cold",
            200,
            _fastapi_principal,
            "RS256",
            floor="fastapi",
        ),
        *_growing("rules", "among rules", RULES, _among_rules),
        *_growing("keys", "ES256, cold, among keys", KEYS, _among_keys),
        *_growing("roles", "HS256, warm, a principal with roles", ROLES, _with_roles),
        *_growing("any-role", "HS256, warm, any_role of", ANY_ROLES, _any_role),
    )
}


def bare_verify(material: Material, algorithm: str) -> Callable[[bytes], Callable[[], object]]:
    """Make, for a token, a call that verifies its signature and does nothing else. Every implementation has to do this.

    The signature is decoded beforehand. A wrong one raises.
    """
    options: tuple[Any, ...] = {
        "HS256": (),
        "RS256": (padding.PKCS1v15(), SHA256()),
        "ES256": (ec.ECDSA(SHA256()),),
        "EdDSA": (),
    }[algorithm]
    pem_or_secret = material.keys[algorithm]
    verify = partial(_verify_hmac, pem_or_secret)
    if algorithm != "HS256":
        key: Any = load_pem_public_key(pem_or_secret)
        verify = key.verify

    def call(token: bytes) -> Callable[[], object]:
        signed, _, encoded = token.rpartition(b".")
        signature = base64.urlsafe_b64decode(encoded + b"==")
        if algorithm == "ES256":
            signature = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        return partial(verify, signature, signed, *options)

    return call


def _verify_hmac(secret: bytes, signature: bytes, signed: bytes) -> None:
    if not hmac.compare_digest(hmac.digest(secret, signed, hashlib.sha256), signature):
        raise SystemExit("the signature is wrong")
