"""Step-up: looking takes a login, paying takes a second factor, and closing the account one of the last minutes.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.step_up:app
"""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Issuer, Principal, Rule, all_of, scopes, step_up
from authguard.fastapi import CurrentPrincipal, install, requires

issuer = Issuer(
    "https://login.example/", audience="bank", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
# What the issuer calls its logins: a second factor, or a key that cannot be phished. Either will do.
SECOND_FACTOR = step_up(acr=["mfa", "phr"])
guard = Guard(
    Bearer(issuer, realm="bank"),
    # The challenge names both, so that the client goes to the login once.
    rules=[Rule("/payments", all_of(scopes("pay"), SECOND_FACTOR), methods={"POST"})],
)

app = FastAPI(title="bank")
install(app, guard)

Fresh = Annotated[Principal, requires(step_up(acr="phr", max_age=300))]


@app.get("/balance")
def balance(who: CurrentPrincipal) -> dict[str, object]:
    """Any login."""
    return {"of": who.subject, "balance": 100}


@app.post("/payments")
def pay(who: CurrentPrincipal) -> dict[str, str]:
    """By the rule."""
    return {"paid by": who.subject}


@app.delete("/account")
def close(who: Fresh) -> dict[str, str]:
    """By a dependency: ``auth_time`` is at most five minutes ago, the leeway granted."""
    return {"closed": who.subject}
