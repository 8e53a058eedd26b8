"""Optional login: anybody may look, a member sees prices of their own, and a wrong password is not an anonymous visit.

ALICE_HASH="$(htpasswd -nB alice | cut -d: -f2)" uvicorn examples.optional_login:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException

from authguard import OPTIONAL, PUBLIC, Account, Basic, Guard, MemoryUsers, Rule
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, install

users = MemoryUsers([Account("alice", os.environ["ALICE_HASH"], roles={"member"})])
guard = Guard(
    Basic(users, realm="shop"),
    rules=[
        Rule("/health", PUBLIC),  # nothing is verified here, whatever is presented
        Rule("/products/{name}", OPTIONAL),  # nobody, or somebody who proves it
    ],
)

app = FastAPI(title="shop")
install(app, guard)

PRICES = {"tea": 1000, "cup": 500}


@app.get("/health")
def health() -> dict[str, str]:
    """Open."""
    return {"status": "up"}


@app.get("/products/{name}")
def product(name: str, who: MaybePrincipal) -> dict[str, object]:
    """Who is None where nobody asked to be known; members pay a tenth less."""
    if name not in PRICES:
        raise HTTPException(404)
    member = who is not None and "member" in who.roles
    return {"product": name, "price": PRICES[name] * (9 if member else 10) // 10, "for": who.subject if who else None}


@app.get("/basket")
def basket(who: CurrentPrincipal) -> dict[str, str]:
    """Closed: no rule names it."""
    return {"basket of": who.subject}
