"""Optional login: anybody may look, members see lower prices, and a wrong password is an error, not an anonymous visit.

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
        Rule("/health", PUBLIC),  # credentials are not even verified here
        Rule("/products/{name}", OPTIONAL),  # anonymous, or with valid credentials
    ],
)

app = FastAPI(title="shop")
install(app, guard)

PRICES = {"tea": 1000, "cup": 500}


@app.get("/health")
def health() -> dict[str, str]:
    """Public."""
    return {"status": "up"}


@app.get("/products/{name}")
def product(name: str, principal: MaybePrincipal) -> dict[str, object]:
    """The principal is None without credentials. Members pay a tenth less."""
    if name not in PRICES:
        raise HTTPException(404)
    member = principal is not None and "member" in principal.roles
    return {
        "product": name,
        "price": PRICES[name] * (9 if member else 10) // 10,
        "for": principal.subject if principal else None,
    }


@app.get("/basket")
def basket(principal: CurrentPrincipal) -> dict[str, str]:
    """For every authenticated user, because no rule names this path."""
    return {"basket of": principal.subject}
