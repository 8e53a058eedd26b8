"""The scheme of ``docs/adding-a-scheme.md``, word for word. Run by the type checkers, not by pytest."""

import hashlib
import os
from collections.abc import Mapping, Sequence

from fastapi import FastAPI

from authguard import (
    Accepted,
    AuthRequest,
    Carrier,
    Challenge,
    Credentials,
    Denied,
    Guard,
    Principal,
    Reason,
    Rejected,
    Scheme,
)
from authguard.fastapi import CurrentPrincipal, install
from authguard.schemes import Outcome

UNKNOWN = Reason("api_key.unknown", 401)


class ApiKeyHeader(Carrier):
    def find(self, request: AuthRequest) -> Sequence[Credentials]:
        return [Credentials("apikey", line) for line in request.lines(b"x-api-key")]


class ApiKey(Scheme):
    name = "apikey"
    carrier = ApiKeyHeader()

    def __init__(self, owners: Mapping[str, str], *, realm: str) -> None:
        self._owners = owners  # from the SHA-256 of a key, in hex, to its owner
        self._challenge = Challenge("ApiKey", {"realm": realm})
        self.openapi = {"type": "apiKey", "in": "header", "name": "X-API-Key"}

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        digest = hashlib.sha256(credentials.rest).hexdigest()
        owner = self._owners.get(digest)
        if owner is None:
            return Rejected(UNKNOWN, facts={"key": digest[:8]})
        return Accepted(Principal(owner))

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [self._challenge]


app = FastAPI()
guard = Guard(ApiKey({os.environ["SHOP_KEY_SHA256"]: "shop"}, realm="orders"))
install(app, guard)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    return {"orders of": principal.subject}
