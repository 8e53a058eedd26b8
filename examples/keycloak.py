"""A FastAPI app behind Keycloak: roles of the realm and of this client, for users and for machines.

KEYCLOAK_URL="https://login.example" uvicorn examples.keycloak:app

In Keycloak, the realm is ``shop``, and this API is the client ``orders``. An audience mapper for ``orders``, in a
client scope of the clients ``web`` and ``batch``, puts it into their tokens.
"""

from __future__ import annotations

import logging
import os
from typing import Annotated

from fastapi import FastAPI

from authguard import PUBLIC, Bearer, Guard, Issuer, Principal, Rule, role
from authguard.fastapi import CurrentPrincipal, install, requires

logging.basicConfig()

URL = os.environ["KEYCLOAK_URL"]

issuer = Issuer.keycloak(
    URL,
    "shop",
    client="orders",
    # Only these two may call this API, although others of the realm can get tokens with its audience.
    clients=["web", "batch"],
    insecure_http=URL.startswith("http://127.0.0.1:"),  # to try it out locally
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    # A role of the realm. Keycloak gives "default-roles-shop" to every user, and it says nothing.
    rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("manager"))],
)

app = FastAPI(title="orders")
install(app, guard)

# A role of the client "orders". The roles of other clients are not read.
Refunder = Annotated[Principal, requires(role("refund"))]


@app.get("/health")
def health() -> dict[str, str]:
    """Public, and up even while Keycloak is down."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, object]:
    """For users and machines. A machine has a user of its own, which Keycloak calls its service account."""
    name = str(principal.claims.get("preferred_username", ""))
    return {"orders of": principal.subject, "machine": name.startswith("service-account-")}


@app.post("/orders/{number}/refund")
def refund(number: int, principal: Refunder) -> dict[str, object]:
    """For whoever has the role refund of the client orders."""
    return {"refunded": number, "by": principal.subject}


@app.get("/admin/keys")
def keys() -> object:
    """The age of the keys, and the last error if they could not be fetched."""
    return guard.health()["bearer"]["keys"]
