"""A scheme that verifies the body of a request."""

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
from tests.support.asgi import fields, http
from tests.support.schemes.badge import WRONG, Field

SECRET = b"of the webhook"


class Webhook(Scheme):
    """A signature over the body, in a field of its own: a scheme as a user writes it."""

    name = "webhook"
    carrier = Field("webhook", b"x-signature")
    reads_body = True

    def __init__(self, limit: int = 8) -> None:
        self.limit = limit

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        body = await request.body(self.limit)
        if hmac.compare_digest(signature(body).encode(), credentials.rest):
            return Accepted(Principal("sender"))
        return Rejected(WRONG)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return (Challenge("Webhook"),)


def signature(body: bytes) -> str:
    """What the sender puts into the field."""
    return hmac.new(SECRET, body, hashlib.sha256).hexdigest()


def signed(body: bytes) -> Scope:
    """A request with a signature over this body."""
    return http(method="POST", headers=fields(x_signature=signature(body)))
