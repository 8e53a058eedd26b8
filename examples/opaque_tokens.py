"""Opaque tokens beside JWTs: the first are asked about at the server that issued them, the others are verified here.

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
    # The server's word is checked as a token is: who says it, and for whom.
    issuer=ISSUER,
    audience="orders",
    # A revocation is noticed so many seconds late at the most; None asks with every request.
    remember=10,
    insecure_http=URL.startswith("http://127.0.0.1:"),  # to try it out
)
guard = Guard(
    Bearer(jwts, opaque, realm="orders"),
    rules=[Rule("/orders", scopes("read")), Rule("/admin/**", role("admin"))],
)

app = FastAPI(title="orders")
install(app, guard)


@app.get("/orders")
def orders(who: CurrentPrincipal) -> dict[str, str | None]:
    """Which of the two it was makes no difference here; what the server said is in ``who.claims``."""
    return {"orders of": who.subject, "by": who.claims.get("client_id")}


@app.get("/admin/server")
def server() -> dict[str, object]:
    """How the server has been: how often it was asked, and whether it is in trouble."""
    return dict(opaque.health())
