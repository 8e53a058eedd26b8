"""A JWT in a cookie for a single-page app: no script of the page can read it, and other sites cannot use it.

The page gets a token from the login server, hands it in once, and the browser sends the cookie from then on:

    await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    await fetch("/orders", { method: "POST" });

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.token_cookie:app
"""

from __future__ import annotations

import os
import time

from fastapi import FastAPI, Request, Response

from authguard import PEM, Bearer, Cookie, Guard, Issuer, Rule, via
from authguard.fastapi import CurrentPrincipal, install

# No other host can set a cookie with this prefix. The browser stores it only with `secure`, Path=/ and no Domain.
COOKIE = "__Host-session-token"

issuer = Issuer(
    "https://login.example/", audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    Bearer(issuer, realm="orders", carrier=Cookie(COOKIE), name="cookie"),
    rules=[
        # A session begins with a token that the page sends on purpose, and ends with the cookie.
        Rule("/session", via("bearer"), methods={"POST"}),
        Rule("/session", via("cookie"), methods={"DELETE"}),
    ],
)

app = FastAPI(title="orders")
install(app, guard)


@app.post("/session", status_code=204)
def log_in(request: Request, response: Response, principal: CurrentPrincipal) -> None:
    """The guard has verified the token, so it goes into the cookie as it is, until it expires."""
    token = request.headers["authorization"].split()[1]
    seconds = int(principal.claims["exp"] - time.time())
    response.set_cookie(COOKIE, token, max_age=seconds, secure=True, httponly=True, samesite="lax", path="/")


@app.delete("/session", status_code=204)
def log_out(response: Response, principal: CurrentPrincipal) -> None:
    """Without ``secure``, the browser would ignore this. A copy of the token stays good until it expires."""
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax", path="/")


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str | None]:
    """For both schemes, because no rule names this path."""
    return {"orders of": principal.subject, "by": principal.scheme}


@app.post("/orders")
def order(principal: CurrentPrincipal) -> dict[str, str]:
    """A page of another site that makes the browser send this gets a 403."""
    return {"ordered by": principal.subject}
