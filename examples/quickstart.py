"""A FastAPI app behind bearer tokens: /health is public, /admin needs a role, and everything else needs a token.

Serve it with ``make serve``, or with the public key of your own issuer:

    ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.quickstart:app
"""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI

from authguard import PEM, PUBLIC, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, install

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "INFO"))

issuer = Issuer(
    "https://login.example/",
    audience="orders",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))],
    leeway=float(os.environ.get("LEEWAY", "60")),
)

app = FastAPI(title="orders")
install(app, guard)


@app.get("/health")
def health() -> dict[str, str]:
    """Public, by its rule."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """No rule names this path, so it is for every authenticated user."""
    return {"orders of": principal.subject}


@app.get("/admin/users")
def users(principal: CurrentPrincipal) -> dict[str, list[str]]:
    """For users with the role admin, by the rule."""
    return {"users": ["alice", "bob"], "asked by": [principal.subject]}
