"""The README's quick start, word for word. Run by the type checkers, not by pytest."""

import os

from fastapi import FastAPI

from authguard import PEM, PUBLIC, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, install

app = FastAPI()

key = PEM(os.environ["ISSUER_PUBLIC_KEY"])
issuer = Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=key)
rules = [Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))]
guard = Guard(Bearer(issuer, realm="orders"), rules=rules)
install(app, guard)


@app.get("/health")
def health() -> str:
    return "up"


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    return {"orders of": principal.subject}


@app.get("/admin/users")
def users() -> list[str]:
    return ["alice", "bob"]
