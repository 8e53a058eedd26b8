"""The public API as users type it. Type checkers read this file, and pytest does not run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_type

import httpx2
import requests
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from authguard import (
    ANY_AUDIENCE,
    ANY_TENANT,
    JWK,
    NO_ISSUER,
    OPTIONAL,
    PEM,
    PUBLIC,
    Accepted,
    AccessDenied,
    ApiKey,
    ApiKeyFile,
    ApiKeyLookup,
    ApiKeys,
    ApiKeyStore,
    AuthGuardMiddleware,
    AuthRequest,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    Digest,
    DigestAccount,
    DigestLookup,
    DigestStore,
    Guard,
    HtdigestFile,
    Issuer,
    JWKSet,
    KeySource,
    MemoryApiKeys,
    MemoryDigests,
    MemoryRevocations,
    Principal,
    Reason,
    Record,
    Rejected,
    Requirement,
    Rule,
    Scheme,
    Secret,
    Session,
    StoredKey,
    TokenLookup,
    VerificationKey,
    all_of,
    allows,
    any_of,
    any_role,
    claim,
    digest_ha1,
    new_key,
    predicate,
    role,
    rotate_key,
    scopes,
    step_up,
    via,
)
from authguard.schemes.carriers import AuthorizationField
from authguard.starlette import requires as starlette_requires
from authguard.testing import (
    ActingAs,
    AssertMatrix,
    ManualClock,
    Recording,
    TestIssuer,
    acting_as,
    assert_denied,
    assert_matrix,
    basic_auth,
    digest_auth,
    recording,
    route_matrix,
)


class Cached:
    """A key source that only has the right methods."""

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return []


class Ticket(Scheme):
    """A custom scheme."""

    name = "ticket"
    carrier = AuthorizationField()

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Accepted | Rejected:
        if credentials.rest == b"yes":
            return Accepted(Principal("somebody", roles={"guest"}))
        return Rejected(Reason("ticket.wrong", 401), facts={"by": request.moment.by(0)})

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [Challenge("Ticket", {"realm": "door"})]


source: KeySource = Cached()
issuers = [
    Issuer("https://a.example", audience="api", algorithms=["RS256"], keys=PEM("...")),
    Issuer("https://b.example", audience=["api", "old"], algorithms=("ES256",), keys=[JWK({}), JWKSet({"keys": []})]),
    Issuer("https://c.example", audience=ANY_AUDIENCE, algorithms=["HS256"], keys=Secret(b"..."), require_exp=False),
    Issuer("https://d.example", audience="api", algorithms=["RS256"], keys=source, roles=claim("groups")),
    Issuer(
        ["https://f.example/{tid}/", NO_ISSUER],
        tenants=ANY_TENANT,
        audience="api",
        algorithms=["HS256", "Ed25519"],
        keys={"HS256": Secret(b"..."), ("Ed25519",): JWK({}, algorithm="Ed25519", use="jwt-svid")},
        subject=[claim("sub"), lambda claims: claims.get("client_id")],
        numeric_subject=True,
        check=lambda claims: claims.get("email_verified") is True,
        typ=["JWT", None],
        id_tokens=True,
    ),
    Issuer("https://e.example", audience="api", algorithms=["RS256"], keys=source, roles=lambda claims: claims["x"]),
]
own: Requirement = predicate("owner", lambda principal, params: principal.subject == params["name"])
rules = [
    Rule("/", PUBLIC),
    Rule("/news/**", OPTIONAL, methods={"GET", "WEBSOCKET"}),
    Rule("/a", all_of(role("a"), any_of(scopes("b"), own), step_up(acr="gold", max_age=60))),
    Rule("/b", any_role("a", "b"), ["POST"]),
    Rule("/c", via("ticket")),
]


async def known(request: AuthRequest, principal: Principal) -> Principal | Rejected:
    """A check."""
    return principal if principal.subject != "mallory" else Rejected(Reason("user.banned", 403))


async def find_digest(username: str, *, realm: str, algorithm: str) -> DigestAccount | None:
    """A look-up of a Digest account."""
    return DigestAccount(username, digest_ha1(username, realm, "...", algorithm), roles={"admin"}, disabled=False)


digests: list[DigestStore] = [
    HtdigestFile("users.htdigest"),
    HtdigestFile(Path("users.htdigest"), groups={"admin": ["alice"]}),
    MemoryDigests([DigestAccount("alice", "...")], realm="orders", algorithm="MD5"),
    MemoryDigests.of_cleartext(
        {"alice": "..."}, realm="orders", algorithms=["SHA-256", "MD5"], groups={"admin": {"alice"}}
    ),
    DigestLookup(find_digest),
    DigestLookup(find_digest, find_hashed=find_digest),
]
cameras = Guard(*(Digest(store, realm="orders", secret="...") for store in digests))
old_cameras = Digest(
    digests[0],
    realm="orders",
    secret="...",
    algorithms=("SHA-256", "MD5"),
    rfc2069=True,
    uri_without_query=True,
    missing_opaque=True,
    loose_nc=True,
    latin1=True,
    literal_backslash=True,
)


async def find_key(key_id: str) -> StoredKey | None:
    """A look-up of an API key."""
    return StoredKey(key_id, "...", owner="alice", name="ci", prefix="acme", created=0.0, networks=["192.0.2.0/24"])


async def find_token(digest: str) -> Principal | Rejected | None:
    """A look-up of an opaque token."""
    return Principal("alice") if digest else None


made = new_key("alice", "ci", prefix="acme", environment="live", scopes={"orders:read"}, expires=2e9, now=1e9)
rotation = rotate_key(made.stored, overlap=86_400, now=1e9)
assert_type(rotation.new.text, str)
stores: list[ApiKeyStore] = [
    ApiKeyFile("keys.json"),
    ApiKeyFile(Path("keys.json")),
    MemoryApiKeys([made.stored, rotation.old]),
    ApiKeyLookup(find_key),
]
keyed = Guard(*(ApiKey(store, realm="orders", prefix="acme", pepper=["...", b"..."]) for store in stores))
tokens = Bearer(ApiKeys(stores[0], prefix="acme"), TokenLookup(find_token), realm="orders")


def tell(record: Record) -> None:
    """A hook."""
    assert_type(record.reason, str | None)
    assert_type(record.missing, tuple[str, ...])


def body(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    """A ``render`` function."""
    return "text/plain", denied.reason.detail.encode()


guard = Guard(
    Bearer(*issuers, realm="api"),
    Ticket(),
    rules=rules,
    default=OPTIONAL,
    leeway=5,
    checks=[known],
    role_hierarchy={"admin": {"editor"}},
    hooks=[tell],
)
app = Starlette(middleware=[Middleware(AuthGuardMiddleware, guard=guard, preflight="pass", render=body)])
app.add_middleware(AuthGuardMiddleware, guard=guard)
wrapped = AuthGuardMiddleware(app, guard=guard)


def test(
    maybe: Principal | None, acting: ActingAs, recorded: Recording, matrix: AssertMatrix, manual_clock: ManualClock
) -> None:
    """The test kit, as functions and as fixtures."""
    minting = TestIssuer("https://a.example", audience="api", clock=manual_clock)
    tested = Guard(Bearer(minting.as_issuer(roles=claim("groups")), realm="api"), clock=manual_clock)
    client = TestClient(
        app, headers=minting.headers("alice", roles={"admin"}, scopes=["read"], expires_in=5, acr="gold")
    )
    with acting_as(tested, Principal("alice")) as alice, acting_as(tested, None), acting_as(tested, maybe) as who:
        assert_type(alice, Principal)
        assert_type(who, Principal | None)
        assert_denied(client.get("/"), 403, reason="role.missing", challenge="Bearer")
    with acting(tested, Principal("bob")) as bob, recording(tested, guard) as records:
        assert_type(bob, Principal)
        assert_type(records, list[Record])
        client.get("/", headers=digest_auth(client.get("/").headers["www-authenticate"], "alice", "s3cret", uri="/"))
        assert_denied(client.get("/", headers=basic_auth("alice", "s3cret")), reason=Reason("order.not_owner", 403))
        assert_denied(requests.get("http://a.example", timeout=5), challenge=Challenge("Ticket", {"realm": "door"}))
        assert_denied(httpx2.Response(401))
    acting(tested, None)
    assert_type(recorded(tested), list[Record])
    assert_type(minting.token("alice", exp=...), str)
    manual_clock.move(61)
    assert_type(route_matrix(app, tested), str)
    assert_matrix(app, tested, "routes.txt", update=True)
    matrix(app, tested, Path("routes.txt"))


@starlette_requires(role("editor"))
async def edit(request: Request, number: int = 0) -> Response:
    """A locked endpoint that denies by itself."""
    if not await allows(request, scopes("write")):
        raise AccessDenied(Reason("page.locked", 403), page=number, reason="any name")
    assert_type(await allows(request, OPTIONAL), bool)
    return Response()


@starlette_requires(all_of(role("a"), via("ticket")))
def blocking(websocket: WebSocket) -> None:
    """A locked endpoint that runs in a thread."""


class Pages(HTTPEndpoint):
    """An endpoint class whose methods are locked one by one."""

    @starlette_requires(role("editor"))
    async def get(self, request: Request) -> Response:
        response: Response = await edit(request, number=1)
        return response


def denial(error: AccessDenied) -> None:
    """The attributes of ``AccessDenied``."""
    assert_type(error.reason, Reason)
    assert_type(error.facts, Mapping[str, object])
    assert_type(error.status_code, int)


sessions = Session(
    realm="orders", idle=900, absolute=8 * 3600.0, login_url="/login", revocations=MemoryRevocations(), name="web"
)


async def log_in_and_out(request: Request) -> str:
    """A login, and a log-out, in endpoints of Starlette and FastAPI."""
    await sessions.login(request, Principal("alice"), acr="mfa", auth_time=1.5, keep=["cart"])
    await sessions.logout(request.scope)
    return assert_type(sessions.next_path(request.query_params.get("next"), default="/home"), str)
