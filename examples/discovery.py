"""A FastAPI app behind Keycloak or another OpenID provider: discovery finds the keys, and they may rotate.

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

# Exactly as in the provider's metadata and tokens, character by character.
ISSUER = os.environ["ISSUER"]

# This fetches nothing yet. The keys are fetched when the app starts, or with the first token.
issuer = Issuer.discover(
    ISSUER,
    audience="orders",
    algorithms=["RS256", "PS256", "ES256", "EdDSA"],
    # Keycloak puts the roles of the realm into the first claim, and the roles of this client into the second.
    roles=[claim("realm_access", "roles"), claim("resource_access", "orders", "roles")],
    insecure_http=ISSUER.startswith("http://127.0.0.1:"),  # to try it out locally
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
    """Public, and up even while the provider is down, because the keys in memory stay in use."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For every user of the provider."""
    return {"orders of": principal.subject}


@app.post("/orders/{number}/refund")
def refund(number: int, principal: Cashier) -> dict[str, object]:
    """For users with the role cashier, in the realm or in this client."""
    return {"refunded": number, "by": principal.subject}


@app.get("/admin/keys")
def keys() -> object:
    """The age of the keys, and the last error if they could not be fetched."""
    return guard.health()["bearer"]["keys"]
