"""Nested guards: a partner's app with its own issuer, and a mounted app that adds requirements.

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
    """Bearer tokens of one issuer. The realm is the issuer."""
    keys = PEM(os.environ[key])
    return Bearer(Issuer(issuer, audience="orders", algorithms=["RS256"], keys=keys), realm=issuer)


ours = bearer("https://login.example/", "ISSUER_PUBLIC_KEY")
theirs = bearer("https://partner.example/", "PARTNER_PUBLIC_KEY")

# The partner's app has its own guard. Its rules are relative to the mount, and it is closed by default too.
partner = FastAPI(title="partner")
install(partner, Guard(theirs, rules=[Rule("/health", PUBLIC)]))


@partner.get("/health")
def health() -> dict[str, str]:
    """Public in both guards."""
    return {"status": "up"}


@partner.get("/orders")
def partner_orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For the partner's tokens only."""
    return {"orders of partner": principal.subject}


@requires(role("admin"))
async def audit(request: Request) -> JSONResponse:
    """The outer guard requires our token, the inner guard the role staff, and this decorator the role admin."""
    return JSONResponse({"audited by": request.user.subject})


async def status(request: Request) -> JSONResponse:
    """PUBLIC in the inner guard does not make it public, because the outer guard still requires a token."""
    return JSONResponse({"asked by": request.user.subject})


# The inner guard reuses the principal of the outer guard, so the token is verified only once.
staff = Starlette(routes=[Route("/audit", audit), Route("/status", status)])
staff.add_middleware(AuthGuardMiddleware, guard=Guard(ours, rules=[Rule("/status", PUBLIC)], default=role("staff")))

app = FastAPI(title="orders")
install(app, Guard(ours, rules=[Rule("/partner/**", PUBLIC)]))
app.mount("/partner", partner)
app.mount("/staff", staff)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For our own tokens only."""
    return {"orders of": principal.subject}
