"""Before an app is closed: whom would the rule lock out? It is judged and recorded for a while, and refuses nobody.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.report_only:app
curl -i http://127.0.0.1:8000/reports/july
curl -H "Authorization: Bearer $TOKEN_OF_AN_OPERATOR" http://127.0.0.1:8000/locked-out
"""

from __future__ import annotations

import os
from collections import Counter

from fastapi import FastAPI, Request

from authguard import PEM, Bearer, Guard, Issuer, Record, Rule, role
from authguard.fastapi import CurrentPrincipal, install

issuer = Issuer(
    "https://login.example/",
    audience="reports",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
locked_out = Counter[str]()


def count(record: Record) -> None:
    """A hook: how many requests to each path would be refused, and why."""
    if record.event == "would_deny":
        locked_out[f"{record.rule} {record.reason}"] += 1


guard = Guard(
    Bearer(issuer, realm="reports"),
    rules=[
        Rule("/reports/{name}", role("analyst"), report_only=True),  # until nobody is locked out who must get in
        Rule("/locked-out", role("operator")),
    ],
    hooks=[count],
)

app = FastAPI(title="reports")
install(app, guard, ignore=["report_only /reports/{name}"])  # start-up warns of it otherwise


@app.get("/reports/{name}")
def report(name: str, request: Request) -> dict[str, str]:
    """Open to everybody for now. Nobody is invented: who sent no valid token is anonymous."""
    return {"report": name, "for": request.user.display_name}


@app.get("/reports/{name}/notes")
def notes(name: str, principal: CurrentPrincipal) -> dict[str, str]:
    """It takes the principal, so it is closed."""
    return {"notes on": name, "by": principal.subject}


@app.get("/locked-out")
def shown() -> dict[str, int]:
    """What was counted since the start."""
    return dict(locked_out)
