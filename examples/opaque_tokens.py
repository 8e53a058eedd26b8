"""Opaque tokens and JWTs: the issuer is asked about an opaque token (RFC 7662), and a JWT is verified locally.

INTROSPECTION_URL=https://login.example/introspect CLIENT_SECRET=... ISSUER_PUBLIC_KEY="$(cat public.pem)" \
uvicorn examples.opaque_tokens:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Introspection, Issuer, Rule, role, scopes
from authguard.fastapi import CurrentPrincipal, install

ISSUER, URL = "https://login.example/", os.environ["INTROSPECTION_URL"]

jwts = Issuer(ISSUER, audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]))
opaque = Introspection(
    URL,
    client_id="orders",
    client_secret=os.environ["CLIENT_SECRET"],
    # Issuer and audience in the server's answer are checked like those of a JWT.
    issuer=ISSUER,
    audience="orders",
    # Cache the answers for this many seconds. A revocation is noticed at most this late; None disables the cache.
    remember=10,
    insecure_http=URL.startswith("http://127.0.0.1:"),  # to try it out locally
)
guard = Guard(
    Bearer(jwts, opaque, realm="orders"),
    rules=[Rule("/orders", scopes("read")), Rule("/admin/**", role("admin"))],
)

app = FastAPI(title="orders")
install(app, guard)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str | None]:
    """Both kinds of tokens look the same here. For opaque tokens, ``claims`` is the answer of the server."""
    return {"orders of": principal.subject, "by": principal.claims.get("client_id")}


@app.get("/admin/server")
def server() -> dict[str, object]:
    """How often the server was asked, and whether it has problems."""
    return dict(opaque.health())
