"""Tokens that are bound to a key of the client (DPoP, RFC 9449), beside bearer tokens while clients move.

Orders can be read with both kinds of tokens. Money moves only with a bound one, whose thief could not use it.

ISSUER_PUBLIC_KEY="$(cat public.pem)" PUBLIC_URL=https://api.example DPOP_SECRET="$(authguard secret)" \
uvicorn examples.dpop:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from authguard import PEM, Bearer, Dpop, Guard, Issuer, Rule, via
from authguard.fastapi import CurrentPrincipal, install

issuer = Issuer(
    "https://login.example/", audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
dpop = Dpop(
    issuer,
    realm="orders",
    # What clients write, with the prefix that a proxy removes. The proof of each request is compared with it.
    public_url=os.environ["PUBLIC_URL"],
    # The same in all processes.
    secret=os.environ["DPOP_SECRET"],
    # Each proof contains a nonce of this app, so that none can be made in advance.
    require_nonce=True,
)
guard = Guard(dpop, Bearer(issuer, realm="orders"), rules=[Rule("/transfers", via("dpop"))])

app = FastAPI(title="orders")
install(app, guard)
# After the guard, so that it is outside: a script of another origin can then read the refusals too.
app.add_middleware(
    CORSMiddleware,
    allow_origins=["https://app.example"],
    allow_methods=["GET", "POST"],
    allow_headers=["Authorization", "DPoP"],
    expose_headers=["WWW-Authenticate", "DPoP-Nonce"],
)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str | None]:
    """For both kinds of tokens."""
    return {"orders of": principal.subject, "by": principal.scheme}


@app.post("/transfers")
def transfer(principal: CurrentPrincipal) -> dict[str, str]:
    """For tokens that are bound to a key."""
    return {"transferred by": principal.subject}
