"""Twelve requests that are refused, each for another cause that people ask about, and their explanations."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from authguard import Bearer, Guard, Issuer, Rule, Secret, Session, role
from authguard.explain import Explanation, explain
from authguard.middleware import AuthGuardMiddleware
from authguard.schemes.scheme import Scheme
from tests.docs.refusals import answer, bearer, session_of, token
from tests.docs.token_refusals import unverified
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.key_source import StubbedSource
from tests.support.schemes.api_key import api_key_scheme, key_text, stored_key
from tests.support.schemes.digest import digest_scheme
from tests.support.tokens import AUDIENCE, HMAC_SECRET, ISSUER

Cause = Callable[[], Awaitable[Explanation]]
ADMIN = Rule("/admin/**", role("admin"))
SLASHED = "https://orders.example/"


def guarded(*schemes: Scheme, **options: Any) -> AuthGuardMiddleware:
    """A guard in front of an app, at NOW."""
    guard = Guard(*schemes, rules=[ADMIN], clock=lambda: NOW, log=False, **options)
    return AuthGuardMiddleware(RecordingApp(), guard=guard)


def request(
    authorization: str | None = None, path: str = "/admin/users", method: str = "GET", **more: Any
) -> dict[str, Any]:
    """The scope of a request, with these ``fields``."""
    fields: Mapping[str, str] = more.pop("fields", {})
    return http_scope(path, method, header_list(authorization, **fields), **more)


async def expired() -> Explanation:
    """A token that expired four seconds before the end of the leeway."""
    return await explain(guarded(bearer()), request(token(exp=NOW - 64, iat=NOW - 3664)))


async def slash() -> Explanation:
    """An audience without the slash at its end."""
    scheme = bearer(audience=SLASHED)
    return await explain(guarded(scheme), request(token(aud=SLASHED.rstrip("/"))))


async def unknown_key() -> Explanation:
    """A key that the issuer has replaced."""
    key = Secret(HMAC_SECRET, "2026-11")
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=key)
    return await explain(guarded(Bearer(issuer, realm="orders")), request(token_with(kid="2026-10")))


def token_with(**headers: str) -> str:
    """A token with these members in its header."""
    from tests.support.tokens import mint

    return f"Bearer {mint(HMAC_SECRET, 'HS256', headers)}"


async def role_elsewhere() -> Explanation:
    """Roles that stand in another claim, as Keycloak writes them."""
    field = token(roles=..., realm_access={"roles": ["admin"]})
    return await explain(guarded(bearer()), request(field))


async def stripped() -> Explanation:
    """What arrives when nginx removes ``Authorization``."""
    fields = {"x-forwarded-for": "198.51.100.4", "x-forwarded-proto": "https", "x-real-ip": "198.51.100.4"}
    return await explain(guarded(bearer()), request(fields=fields))


async def joined() -> Explanation:
    """One field that a sidecar has added a second time, and a proxy has joined."""
    return await explain(guarded(bearer()), request(f"{token()}, {token()}"))


async def wrong_scheme() -> Explanation:
    """Name and password for a route of tokens."""
    return await explain(guarded(bearer()), request("Basic YWxpY2U6d29uZGVybGFuZA=="))


async def replayed() -> Explanation:
    """A response of Digest that was used before."""
    digest = digest_scheme()
    app, scope = guarded(digest), request(answer(digest), "/orders")
    await run_app(app, scope)
    return await explain(app, scope)


async def revoked_key() -> Explanation:
    """An API key that was revoked a day ago."""
    scheme = api_key_scheme(stored_key(revoked=NOW - 86_400))
    return await explain(guarded(scheme), request(fields={"x-api-key": key_text()}))


async def idle() -> Explanation:
    """A session that nobody has used for longer than half an hour."""
    return await explain(guarded(Session(realm="orders")), request(session=session_of(2000)))


async def preflight() -> Explanation:
    """A preflight before which no CORSMiddleware stands."""
    fields = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    return await explain(guarded(bearer()), request(method="OPTIONS", fields=fields))


async def key_server_away() -> Explanation:
    """A key server that refuses connections."""
    source = StubbedSource("new")
    source.server.answer = OSError()
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=source.keys)
    return await explain(guarded(Bearer(issuer, realm="orders")), request(f"Bearer {unverified('new')}"))


#: Each cause, and the words by which a reader of the explanation can name the cause and the fix.
CAUSES: dict[str, tuple[Cause, tuple[str, ...]]] = {
    "expired": (expired, ("leeway ends -- 4 s -- NOW", "The token has ended", "the client gets a new one")),
    "slash": (slash, (f"wanted: {SLASHED}", 'differs_by="a slash at the end"', "audience=")),
    "unknown-key": (unknown_key, ("kid 2026-10", "one of 2026-11", "compare `known` with the key set")),
    "role-elsewhere": (
        role_elsewhere,
        ("missing: admin", "claim('realm_access', 'roles')", "read it from there", "explain/causes.py:#"),
    ),
    "stripped": (stripped, ("it came through a proxy (x-forwarded-for", "`proxy_set_header Authorization` in nginx")),
    "joined": (joined, ("several credentials in one field", "joined=2", "let one hop set the field")),
    "wrong-scheme": (wrong_scheme, ("presented=basic", "wanted: bearer", "must use one of `wanted`")),
    "replayed": (replayed, ("use 1 of it", "The response was used before", "a proxy repeats requests")),
    "revoked-key": (revoked_key, ("FAIL not revoked 1 d ago", "The key was revoked", "Find out who still uses it")),
    "idle": (idle, ("seen 33 min 20 s ago", "at most 30 min ago", "raise `Session(idle=)`")),
    "preflight": (
        preflight,
        ("preflight=True", "a browser sends none with a CORS preflight", "add `CORSMiddleware` last"),
    ),
    "key-server-away": (key_server_away, ("the fetch raised OSError", "503", "Look at the server in `detail`")),
}


def without_chance(text: str) -> str:
    """The explanation without the nonces, and with the lines of this file as a number sign."""
    text = re.sub(r'nonce="[^"]*"', 'nonce="..."', text)
    return re.sub(r"(causes\.py):\d+", r"\1:#", text)
