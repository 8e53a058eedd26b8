"""An app that is easily tested: a function makes it, of an issuer and a clock.

    ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn --factory examples.tested_app.app:production

Its tests stand beside it: ``pytest examples/tested_app``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fastapi import FastAPI

from authguard import PEM, PUBLIC, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, install, requires


def guard_of(issuer: Issuer, clock: Callable[[], float] = time.time) -> Guard:
    """The guard: everything is closed but /health, and /refunds is for managers."""
    return Guard(
        Bearer(issuer, realm="till"),
        rules=[Rule("/health", PUBLIC), Rule("/refunds/**", role("manager"))],
        role_hierarchy={"manager": {"cashier"}},
        clock=clock,
    )


def app_behind(guard: Guard) -> FastAPI:
    """The app."""
    app = FastAPI(title="till")
    install(app, guard)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "up"}

    @app.get("/receipts")
    def receipts(who: CurrentPrincipal) -> dict[str, str]:
        return {"receipts of": who.subject}

    @app.post("/sales", dependencies=[requires(role("cashier"))])
    def sell(who: CurrentPrincipal) -> dict[str, str]:
        return {"sold by": who.subject}

    @app.post("/refunds/{number}")
    def refund(number: int, who: CurrentPrincipal) -> dict[str, object]:
        return {"refunded": number, "by": who.subject}

    return app


def production() -> FastAPI:
    """The app with the real issuer."""
    key = PEM(os.environ["ISSUER_PUBLIC_KEY"])
    return app_behind(guard_of(Issuer("https://login.example/", audience="till", algorithms=["RS256"], keys=key)))
