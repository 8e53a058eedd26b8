"""A FastAPI app behind Keycloak, or any other OpenID provider: its keys are found by its name, and may rotate.

ISSUER="https://login.example/realms/shop" uvicorn examples.discovery:app
"""

from __future__ import annotations

import logging
import os
from typing import Annotated

from fastapi import FastAPI

from authguard import PUBLIC, Bearer, Guard, Issuer, Principal, Rule, claim, role
from authguard.fastapi import CurrentPrincipal, install, requires

logging.basicConfig()

# As its metadata and its tokens have it, octet by octet.
ISSUER = os.environ["ISSUER"]

# Nothing is fetched while the app is built.
issuer = Issuer.discover(
    ISSUER,
    audience="orders",
    algorithms=["RS256", "PS256", "ES256", "EdDSA"],
    # Where Keycloak puts those of the realm, and those of this client alone.
    roles=[claim("realm_access", "roles"), claim("resource_access", "orders", "roles")],
    insecure_http=ISSUER.startswith("http://127.0.0.1:"),  # to try it out
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))],
)

app = FastAPI(title="orders")
install(app, guard)

Cashier = Annotated[Principal, requires(role("cashier"))]


@app.get("/health")
def health() -> dict[str, str]:
    """Open, and well though the provider is down: the keys that are held serve on."""
    return {"status": "up"}


@app.get("/orders")
def orders(who: CurrentPrincipal) -> dict[str, str]:
    """For whom the provider knows."""
    return {"orders of": who.subject}


@app.post("/orders/{number}/refund")
def refund(number: int, who: Cashier) -> dict[str, object]:
    """For those to whom the realm, or this client of it, gives the role cashier."""
    return {"refunded": number, "by": who.subject}


@app.get("/admin/keys")
def keys() -> object:
    """How old the keys are, and what was wrong when they could not be fetched."""
    return guard.health()["bearer"]["keys"]
