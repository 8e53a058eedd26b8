"""A FastAPI app behind authguard: one door open, the rest behind a token, one corner behind a role.

Serve it with ``make serve``, or with the public key of an issuer of yours:

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
    """Open: a rule says PUBLIC."""
    return {"status": "up"}


@app.get("/orders")
def orders(who: CurrentPrincipal) -> dict[str, str]:
    """Closed: no rule names it, so it takes anybody who proves who they are."""
    return {"orders of": who.subject}


@app.get("/admin/users")
def users(who: CurrentPrincipal) -> dict[str, list[str]]:
    """For those with the role admin."""
    return {"users": ["alice", "bob"], "asked by": [who.subject]}
