"""Three users who log in with a password or a token, and the statuses that an app answers each of them with."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from authguard import (
    AUTHORIZATION,
    PEM,
    Account,
    AuthRequest,
    Basic,
    Bearer,
    Challenge,
    Credentials,
    Denied,
    Guard,
    Issuer,
    Reason,
    Rule,
    Scheme,
)
from authguard.reasons import USER_UNKNOWN
from authguard.schemes import Outcome
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER, ec_key, mint, public_pem

ROLES = {"bob": frozenset[str](), "alice": frozenset({"staff"}), "carol": frozenset({"staff", "boss"})}
NOBODY = ""
#: From the fewest permissions to the most.
ALL = (NOBODY, *ROLES)


class DirectoryVerifier:
    """Accepts a user's own name as the password."""

    async def check(self, username: str, password: str) -> Account | Reason:
        """The account."""
        if username != password or username not in ROLES:
            return USER_UNKNOWN
        return Account(username, "", roles=ROLES[username])


class Signed(Scheme):
    """A scheme with its own header, its own denial reason, and a look at the body."""

    name = "signed"
    carrier = AUTHORIZATION
    reads_body = True
    denial_reasons = (Reason("signed.too_often", 429),)

    def __init__(self) -> None:
        self.openapi = {"type": "apiKey", "in": "header", "name": "X-Signature"}

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        raise NotImplementedError

    def challenges(self, request: AuthRequest, why: Denied | None) -> list[Challenge]:
        raise NotImplementedError


def guarded(rules: Sequence[Rule] = (), **options: Any) -> Guard:
    """A guard that accepts Bearer and Basic."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=PEM(public_pem(ec_key())))
    schemes = (Bearer(issuer, realm="shop"), Basic(DirectoryVerifier(), realm="shop"))
    return Guard(*schemes, rules=rules, clock=lambda: NOW, **options)


def token(who: str, **claims: Any) -> dict[str, str]:
    """The header with a token."""
    all_claims = {"sub": who, "roles": sorted(ROLES[who]), **claims}
    return {"authorization": f"Bearer {mint(ec_key(), 'ES256', **all_claims)}"}


def password(who: str) -> dict[str, str]:
    """The header with a password; no header for nobody."""
    return {"authorization": f"Basic {b64encode(f'{who}:{who}'.encode()).decode()}"} if who else {}


def statuses(app: FastAPI, path: str, method: str = "GET") -> list[int]:
    """The statuses for nobody, bob, alice and carol."""
    client = TestClient(app, raise_server_exceptions=False)
    return [client.request(method, path, headers=password(who)).status_code for who in ALL]
