"""A scheme that verifies a signature over the body of a request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.types import Scope

from authguard.model import Accepted, Denied, Outcome, Principal, Rejected
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from tests.support.asgi import header_list, http_scope
from tests.support.schemes.badge import BADGE_WRONG, FieldCarrier

WEBHOOK_SECRET = b"of the webhook"


class Webhook(Scheme):
    """A scheme of a user's own: a signature over the body, in a field of its own."""

    name = "webhook"
    carrier = FieldCarrier("webhook", b"x-signature")
    reads_body = True

    def __init__(self, limit: int = 8) -> None:
        self.limit = limit

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        body = await request.body(self.limit)
        if hmac.compare_digest(body_signature(body).encode(), credentials.rest):
            return Accepted(Principal("sender"))
        return Rejected(BADGE_WRONG)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return (Challenge("Webhook"),)


def body_signature(body: bytes) -> str:
    """The signature that the sender puts into the field."""
    return hmac.new(WEBHOOK_SECRET, body, hashlib.sha256).hexdigest()


def signed_post(body: bytes) -> Scope:
    """The scope of a POST whose body is signed."""
    return http_scope(method="POST", headers=header_list(x_signature=body_signature(body)))
