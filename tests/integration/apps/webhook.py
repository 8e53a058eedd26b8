"""A custom scheme that reads the body: a webhook that is signed with a shared secret."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authguard import (
    PUBLIC,
    Accepted,
    AuthGuardMiddleware,
    AuthRequest,
    Carrier,
    Challenge,
    Credentials,
    Denied,
    Guard,
    Principal,
    Reason,
    Rejected,
    Rule,
    Scheme,
)
from tests.integration.apps.common import BODY_LIMIT, WEBHOOK_SECRET

SIGNATURE_WRONG = Reason("signature.wrong", 401)


class SignatureField(Carrier):
    """A carrier that reads the ``X-Signature`` field."""

    def find(self, request: AuthRequest) -> Sequence[Credentials]:
        return [Credentials("webhook", value) for value in request.lines(b"x-signature")]


class Webhook(Scheme):
    """A scheme that expects the HMAC-SHA-256 of the body, in hexadecimal, in ``X-Signature``."""

    name = "webhook"
    carrier = SignatureField()
    reads_body = True

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Accepted | Rejected:
        body = await request.body(BODY_LIMIT)
        signature = hmac.new(WEBHOOK_SECRET, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode(), credentials.rest):
            return Rejected(SIGNATURE_WRONG, facts={"octets": len(body)})
        return Accepted(Principal("shop"))

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [Challenge("Webhook", {"realm": "hooks"})]


async def digest(request: Request) -> JSONResponse:
    """Answer with the digest of the body, which is read in parts."""
    seen, data = hashlib.sha256(), 0
    async for piece in request.stream():
        seen.update(piece)
        data += len(piece)
    return JSONResponse({"from": request.user.display_name, "octets": data, "sha256": seen.hexdigest()})


app = Starlette(routes=[Route("/hook", digest, methods=["POST"]), Route("/open", digest, methods=["POST"])])
app.add_middleware(AuthGuardMiddleware, guard=Guard(Webhook(), rules=[Rule("/open", PUBLIC)]))
