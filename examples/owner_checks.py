"""Ownership: checked by a rule where the path tells the owner, and by the endpoint where the database does.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.owner_checks:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException, Request

from authguard import PEM, AccessDenied, Bearer, Guard, Issuer, Reason, Rule, allows, predicate, role
from authguard.fastapi import CurrentPrincipal, install

issuer = Issuer(
    "https://login.example/",
    audience="orders",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    rules=[
        # The parameters come from the pattern, decoded as the router decodes them.
        Rule("/users/{name}/**", predicate("owner", lambda principal, params: principal.subject == params["name"])),
    ],
)
NOT_OWNER = Reason("order.not_owner", 403)

app = FastAPI(title="orders")
install(app, guard)

ORDERS = {5: "alice", 6: "bob"}


async def owner_of(number: int) -> str | None:
    """Look up the owner in your database."""
    return ORDERS.get(number)


@app.get("/users/{name}/files/{file}")
def own_file(name: str, file: str) -> dict[str, str]:
    """The rule has checked the name already."""
    return {"file": file, "of": name}


@app.get("/orders/{number}")
async def order(number: int, principal: CurrentPrincipal, request: Request) -> dict[str, object]:
    """A missing order gets the same response as another user's, so that nobody can find out which orders exist."""
    owner = await owner_of(number)
    if owner != principal.subject:
        # `allows` only checks, and records nothing. AccessDenied is answered and recorded like a denial of the guard.
        if not await allows(request, role("support")):
            raise AccessDenied(NOT_OWNER, order=number)
        if owner is None:
            raise HTTPException(404)
    return {"order": number, "of": owner}
