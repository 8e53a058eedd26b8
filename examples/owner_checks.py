"""Owners: by the path alone in a rule, and after a look in the database by the endpoint itself.

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
        # The parameters are the pattern's, decoded, as the router will read them.
        Rule("/users/{name}/**", predicate("owner", lambda who, params: who.subject == params["name"])),
    ],
)
NOT_OWNER = Reason("order.not_owner", 403)

app = FastAPI(title="orders")
install(app, guard)

ORDERS = {5: "alice", 6: "bob"}


async def owner_of(number: int) -> str | None:
    """Your database."""
    return ORDERS.get(number)


@app.get("/users/{name}/files/{file}")
def own_file(name: str, file: str) -> dict[str, str]:
    """The rule has looked at the name already."""
    return {"file": file, "of": name}


@app.get("/orders/{number}")
async def order(number: int, who: CurrentPrincipal, request: Request) -> dict[str, object]:
    """An order that is not there is answered as one that is somebody else's, so that nobody can count them."""
    owner = await owner_of(number)
    if owner != who.subject:
        # `allows` asks and denies nobody; AccessDenied is answered and recorded like a denial of the guard's own.
        if not await allows(request, role("support")):
            raise AccessDenied(NOT_OWNER, order=number)
        if owner is None:
            raise HTTPException(404)
    return {"order": number, "of": owner}
