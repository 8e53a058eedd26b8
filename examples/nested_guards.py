"""Guards inside guards: a partner's app with an issuer of its own, and a mount that only tightens.

ISSUER_PUBLIC_KEY="$(cat public.pem)" PARTNER_PUBLIC_KEY="$(cat partner.pem)" uvicorn examples.nested_guards:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authguard import PEM, PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, install
from authguard.starlette import requires


def bearer(issuer: str, key: str) -> Bearer:
    """Tokens of one issuer, under its own realm."""
    keys = PEM(os.environ[key])
    return Bearer(Issuer(issuer, audience="orders", algorithms=["RS256"], keys=keys), realm=issuer)


ours = bearer("https://login.example/", "ISSUER_PUBLIC_KEY")
theirs = bearer("https://partner.example/", "PARTNER_PUBLIC_KEY")

# A guard of its own decides for the partner. It reads paths below its mount, and it too is closed by default.
partner = FastAPI(title="partner")
install(partner, Guard(theirs, rules=[Rule("/health", PUBLIC)]))


@partner.get("/health")
def health() -> dict[str, str]:
    """Open by both guards."""
    return {"status": "up"}


@partner.get("/orders")
def partner_orders(who: CurrentPrincipal) -> dict[str, str]:
    """For the partner's tokens and no others."""
    return {"orders of partner": who.subject}


@requires(role("admin"))
async def audit(request: Request) -> JSONResponse:
    """Three ask: the outer guard for a token of ours, the inner one for the role staff, this lock for admin."""
    return JSONResponse({"audited by": request.user.subject})


async def status(request: Request) -> JSONResponse:
    """The inner guard calls it PUBLIC, and that opens nothing: the outer guard asks first."""
    return JSONResponse({"asked by": request.user.subject})


# The inner guard takes over whom the outer one has proved: nothing is verified twice.
staff = Starlette(routes=[Route("/audit", audit), Route("/status", status)])
staff.add_middleware(AuthGuardMiddleware, guard=Guard(ours, rules=[Rule("/status", PUBLIC)], default=role("staff")))

app = FastAPI(title="orders")
install(app, Guard(ours, rules=[Rule("/partner/**", PUBLIC)]))
app.mount("/partner", partner)
app.mount("/staff", staff)


@app.get("/orders")
def orders(who: CurrentPrincipal) -> dict[str, str]:
    """For tokens of ours alone."""
    return {"orders of": who.subject}
