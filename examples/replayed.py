"""Before a role is taken away: which requests of the last days needed it? Decisions are written, and judged again.

ISSUER_PUBLIC_KEY="$(cat public.pem)" DECISIONS=decisions.jsonl uvicorn examples.replayed:app
authguard replay examples.replayed:next_app decisions.jsonl
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Issuer, Rule, any_role, role
from authguard.fastapi import CurrentPrincipal, install
from authguard.records import DecisionFile, Hook

issuer = Issuer(
    "https://login.example/",
    audience="reports",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)


def make_app(rules: Sequence[Rule], hooks: Sequence[Hook] = ()) -> FastAPI:
    """The app with these rules."""
    made = FastAPI(title="reports")
    install(made, Guard(Bearer(issuer, realm="reports"), rules=rules, hooks=hooks))

    @made.get("/reports/{number}")
    def report(number: int, principal: CurrentPrincipal) -> dict[str, str]:
        return {f"report {number} for": principal.subject}

    return made


# What runs now, and what is planned.
app = make_app([Rule("/reports/{number}", any_role("analyst", "auditor"))], [DecisionFile(os.environ["DECISIONS"])])
next_app = make_app([Rule("/reports/{number}", role("auditor"))])
