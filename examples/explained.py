"""The support desk asks why a customer's requests are refused: the cause and what to do, from the records alone.

ISSUER_PUBLIC_KEY="$(cat public.pem)" uvicorn examples.explained:app
"""

from __future__ import annotations

import os
from collections import deque

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Issuer, Record, Rule, role
from authguard.explain import explain_record
from authguard.fastapi import CurrentPrincipal, install
from authguard.records import denials

#: The last refusals. A record holds no credential, and is small: a thousand of them take about a megabyte.
refused: deque[Record] = deque(maxlen=1000)


def keep(record: Record) -> None:
    """Keep a refusal for the support desk."""
    refused.appendleft(record)


keys = PEM(os.environ["ISSUER_PUBLIC_KEY"])
guard = Guard(
    Bearer(Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=keys), realm="orders"),
    rules=[Rule("/support/**", role("support"))],
    hooks=[denials(keep)],
)
app = FastAPI(title="orders")
install(app, guard)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For everybody with a token."""
    return {"orders of": principal.subject}


@app.get("/support/refusals/{subject}")
def refusals(subject: str) -> list[dict[str, object]]:
    """Why the requests of this subject were refused, the newest first. Only what its credentials prove is shown."""
    explained = (explain_record(record) for record in refused if record.subject_proven and record.subject == subject)
    return [{"request": why.request, "cause": why.cause, "what to do": why.advice} for why in explained]
