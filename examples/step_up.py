"""Step-up: the balance needs a login, a payment a second factor, and closing the account a recent second factor.

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
# The issuer's names for strong logins: a second factor, or a phishing-resistant key. One of them is enough.
SECOND_FACTOR = step_up(acr=["mfa", "phr"])
guard = Guard(
    Bearer(issuer, realm="bank"),
    # The challenge names the scope and the login, so that the client has to go to the login page only once.
    rules=[Rule("/payments", all_of(scopes("pay"), SECOND_FACTOR), methods={"POST"})],
)

app = FastAPI(title="bank")
install(app, guard)

RecentLogin = Annotated[Principal, requires(step_up(acr="phr", max_age=300))]


@app.get("/balance")
def balance(principal: CurrentPrincipal) -> dict[str, object]:
    """For any login, because no rule names this path."""
    return {"of": principal.subject, "balance": 100}


@app.post("/payments")
def pay(principal: CurrentPrincipal) -> dict[str, str]:
    """For a login with a second factor, by the rule."""
    return {"paid by": principal.subject}


@app.delete("/account")
def close(principal: RecentLogin) -> dict[str, str]:
    """For a phishing-resistant login of the last five minutes (plus leeway), by a dependency."""
    return {"closed": principal.subject}
