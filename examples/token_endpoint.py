"""A token endpoint: a name and a password in, a token out. Swagger UI at /docs has a form for it: Authorize.

The form is a scheme of its own, so that a login is refused, slowed down and recorded like every other one. It hands the
password to ``Basic``, which verifies it. Use a login server where you can: this app has the passwords and the key.

ALICE_HASH="$(htpasswd -nB alice | cut -d: -f2)" TOKEN_SECRET="$(openssl rand -hex 32)" \
uvicorn examples.token_endpoint:app
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from urllib.parse import parse_qs

import jwt
from fastapi import FastAPI, Response

import authguard as ag
from authguard.fastapi import CurrentPrincipal, install
from authguard.reasons import CREDENTIALS_MALFORMED

ISSUER, AUDIENCE, LIFETIME = "https://orders.example/", "orders", 900
SECRET = os.environ["TOKEN_SECRET"].encode()


class Form(ag.Carrier):
    """A form in the body of the request, which only the scheme can read."""

    def find(self, request: ag.AuthRequest) -> list[ag.Credentials]:
        kinds = [line.partition(b";")[0] for line in request.lines(b"content-type")]
        return [ag.Credentials("password-form", b"")] if kinds == [b"application/x-www-form-urlencoded"] else []


class PasswordForm(ag.Scheme):
    """The form of OAuth 2.0's password grant (RFC 6749 section 4.3), as Swagger UI sends it."""

    name = "password-form"
    carrier = Form()
    reads_body = True

    def __init__(self, basic: ag.Basic, *, realm: str) -> None:
        self.basic, self.realm = basic, realm
        self.services, self.denial_reasons = basic.services, basic.denial_reasons

    async def authenticate(self, request: ag.AuthRequest, credentials: ag.Credentials) -> ag.Accepted | ag.Rejected:
        body = await request.body(4096)
        try:
            form = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=16)
            (name,), (password,) = form.get("username", [""]), form.get("password", [""])
        except ValueError:
            return ag.Rejected(CREDENTIALS_MALFORMED, facts={"problem": "not one name and one password"})
        user_pass = b64encode(f"{name}:{password}".encode())
        return await self.basic.authenticate(request, ag.Credentials("basic", user_pass))

    def challenges(self, request: ag.AuthRequest, why: ag.Denied | None) -> list[ag.Challenge]:
        return [ag.Challenge("PasswordForm", {"realm": self.realm})]


users = ag.MemoryUsers([ag.Account("alice", os.environ["ALICE_HASH"], roles={"admin"})])
issuer = ag.Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=ag.Secret(SECRET, "HS256"))
tokens = ag.Bearer(issuer, realm="orders")
# Swagger UI shows a form for the name and the password, and sends the token that it gets.
tokens.openapi = {"type": "oauth2", "flows": {"password": {"tokenUrl": "token", "scopes": {}}}}
guard = ag.Guard(
    tokens,
    PasswordForm(ag.Basic(users, realm="orders"), realm="orders"),
    rules=[
        ag.Rule("/token", ag.via("password-form"), methods={"POST"}),
        ag.Rule("/docs", ag.PUBLIC, methods={"GET"}),
        ag.Rule("/openapi.json", ag.PUBLIC, methods={"GET"}),
        ag.Rule("/orders", ag.via("bearer")),
    ],
)

app = FastAPI(title="orders")
install(app, guard)


@app.post("/token")
def token(principal: CurrentPrincipal, response: Response) -> dict[str, object]:
    """A token for the user whose password was right."""
    response.headers["Cache-Control"] = "no-store"  # RFC 6749 section 5.1
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": principal.subject, "iat": now, "exp": now + LIFETIME}
    access_token = jwt.encode({**claims, "roles": sorted(principal.roles)}, SECRET, "HS256")
    return {"access_token": access_token, "token_type": "bearer", "expires_in": LIFETIME}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For everybody with a token."""
    return {"orders of": principal.subject}
