"""The README's quick start, word for word. Run by the type checkers, not by pytest."""

from pathlib import Path

from fastapi import FastAPI

from authguard import PEM, Bearer, Guard, Issuer, Rule, role
from authguard.fastapi import CurrentPrincipal, docs, install

app = FastAPI()
key = PEM(Path("public.pem").read_text())
issuer = Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=key)
guard = Guard(Bearer(issuer, realm="orders"), rules=[Rule("/admin/**", role("admin")), *docs(app)])
install(app, guard)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    return {"orders of": principal.subject}


@app.get("/admin/users")
def users() -> list[str]:
    return ["alice", "bob"]
