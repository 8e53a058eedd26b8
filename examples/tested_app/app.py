"""An app that is easy to test: a function builds it from a guard, and the guard from an issuer and a clock.

    ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn --factory examples.tested_app.app:production

Its tests are in the same folder: ``pytest examples/tested_app``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fastapi import FastAPI

from authguard import PEM, PUBLIC, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, install, requires


def guard_of(issuer: Issuer, clock: Callable[[], float] = time.time) -> Guard:
    """Build the guard: /health is public, /refunds is for managers, and everything else needs a token."""
    return Guard(
        Bearer(issuer, realm="till"),
        rules=[Rule("/health", PUBLIC), Rule("/refunds/**", role("manager"))],
        role_hierarchy={"manager": {"cashier"}},
        clock=clock,
    )


def app_behind(guard: Guard) -> FastAPI:
    """Build the app behind this guard."""
    app = FastAPI(title="till")
    install(app, guard)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/receipts")
    def receipts(principal: CurrentPrincipal) -> dict[str, str]:
        return {"receipts of": principal.subject}

    @app.post("/sales", dependencies=[requires(role("cashier"))])
    def sell(principal: CurrentPrincipal) -> dict[str, str]:
        return {"sold by": principal.subject}

    @app.post("/refunds/{number}")
    def refund(number: int, principal: CurrentPrincipal) -> dict[str, object]:
        return {"refunded": number, "by": principal.subject}

    return app


def production() -> FastAPI:
    """Build the app with the real issuer."""
    key = PEM(os.environ["ISSUER_PUBLIC_KEY"])
    return app_behind(guard_of(Issuer("https://login.example/", audience="till", algorithms=["RS256"], keys=key)))
