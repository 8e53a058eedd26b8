"""A custom scheme: a webhook whose sender signs the time and the body with a shared secret.

``X-Signature: t=1800000000, v1=5d41...``: v1 is HMAC-SHA256(secret, t + "." + body) in hex, one for each secret."""

from __future__ import annotations

import hmac
import os
import re

from fastapi import FastAPI

import authguard as ag
from authguard.fastapi import install

MALFORMED = ag.Reason("webhook.signature_malformed", 401)
WRONG = ag.Reason("webhook.signature_wrong", 401)
UNTIMELY = ag.Reason("webhook.untimely", 401)
FORMAT = re.compile(rb"t=([0-9]{1,12})((?:, ?v1=[0-9a-f]{64}){1,4})")


class SignatureField(ag.Carrier):
    def find(self, request: ag.AuthRequest) -> list[ag.Credentials]:
        return [ag.Credentials("webhook", line) for line in request.lines(b"x-signature")]


class Webhook(ag.Scheme):
    name = "webhook"
    carrier = SignatureField()
    reads_body = True

    def __init__(self, sender: str, secret: bytes, *, max_age: int = 300, limit: int = 64 * 1024) -> None:
        if len(secret) < 32:
            raise ag.ConfigurationError("secret", "must have at least 32 bytes; `openssl rand -hex 32` prints 64")
        self.sender, self.secret, self.max_age, self.limit = sender, secret, max_age, limit
        self.openapi = {"type": "apiKey", "in": "header", "name": "X-Signature"}

    async def authenticate(self, request: ag.AuthRequest, credentials: ag.Credentials) -> ag.Accepted | ag.Rejected:
        if (match := FORMAT.fullmatch(credentials.rest)) is None:
            return ag.Rejected(MALFORMED)
        sent_at, body = int(match[1]), await request.body(self.limit)
        expected = hmac.digest(self.secret, match[1] + b"." + body, "sha256").hex().encode()
        if not any(hmac.compare_digest(expected, v1) for v1 in re.findall(rb"[0-9a-f]{64}", match[2])):
            return ag.Rejected(WRONG)
        if request.moment.not_yet(sent_at) or request.moment.expired(sent_at + self.max_age):
            return ag.Rejected(UNTIMELY, self.sender, {"age": request.moment.by(sent_at)}, authenticated=True)
        return ag.Accepted(ag.Principal(self.sender, expires_at=sent_at + self.max_age))

    def challenges(self, request: ag.AuthRequest, why: ag.Denied | None) -> list[ag.Challenge]:
        return [ag.Challenge("Webhook", {"realm": self.sender})]


app = FastAPI()
install(app, ag.Guard(Webhook("shop", os.environ["WEBHOOK_SECRET"].encode())))


@app.post("/payments")
def payments(event: dict[str, object]) -> dict[str, object]:
    return {"accepted": event["id"]}
