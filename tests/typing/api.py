"""The API as a user types it. Run by the type checkers, not by pytest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from starlette.applications import Starlette
from starlette.middleware import Middleware

from authguard import (
    ANY_AUDIENCE,
    JWK,
    OPTIONAL,
    PEM,
    PUBLIC,
    Accepted,
    AuthGuardMiddleware,
    AuthRequest,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    Guard,
    Issuer,
    JWKSet,
    KeySource,
    Principal,
    Reason,
    Record,
    Rejected,
    Requirement,
    Rule,
    Scheme,
    Secret,
    VerificationKey,
    all_of,
    any_of,
    any_role,
    check,
    claim,
    role,
    scopes,
    step_up,
    via,
)
from authguard.schemes.carriers import AuthorizationField


class Cached:
    """A key source by shape alone."""

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return []


class Ticket(Scheme):
    """A scheme of one's own."""

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
    Issuer("https://e.example", audience="api", algorithms=["RS256"], keys=source, roles=lambda claims: claims["x"]),
]
own: Requirement = check("owner", lambda principal, params: principal.subject == params["name"])
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


def tell(record: Record) -> None:
    """A hook."""
    assert_type(record.reason, str | None)
    assert_type(record.missing, tuple[str, ...])


def body(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    """What replaces the body."""
    return "text/plain", denied.reason.detail.encode()


guard = Guard(
    Bearer(*issuers, realm="api"),
    Ticket(),
    rules=rules,
    default=OPTIONAL,
    leeway=5,
    checks=[known],
    implies={"admin": {"editor"}},
    hooks=[tell],
)
app = Starlette(middleware=[Middleware(AuthGuardMiddleware, guard=guard, preflight="pass", render=body)])
app.add_middleware(AuthGuardMiddleware, guard=guard)
wrapped = AuthGuardMiddleware(app, guard=guard)
