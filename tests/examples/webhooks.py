"""The sender of the signed webhook, and an app that accepts it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Guard, Rule, Scheme
from tests.support.clock import NOW

SECRET = b"0f9d4a7c1be2586370f9d4a7c1be2586"
OTHER = b"5e1c8a03d7f6429b5e1c8a03d7f6429b"
BODY = b'{"id": "order-5"}'
CHALLENGE = 'Webhook realm="shop"'


def v1(body: bytes = BODY, at: float = NOW, secret: bytes = SECRET) -> str:
    """The signature that the sender computes."""
    return hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()


def signature(body: bytes = BODY, at: float = NOW, secrets: Sequence[bytes] = (SECRET,)) -> str:
    """The whole value of ``X-Signature``."""
    return ", ".join([f"t={int(at)}", *(f"v1={v1(body, at, secret)}" for secret in secrets)])


async def echo(request: Request) -> Response:
    """Return the body unchanged, and the subject in a header."""
    return PlainTextResponse(await request.body(), headers={"x-user": request.user.subject})


def guarded_app(*schemes: Scheme, rules: Sequence[Rule] = ()) -> AuthGuardMiddleware:
    """An app that echoes every body, behind a guard whose clock always says NOW."""
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    return AuthGuardMiddleware(app, guard=Guard(*schemes, rules=rules, clock=lambda: NOW))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """The reasons of the decision records, in order; None for a granted request."""
    return [vars(record)["authguard.reason"] for record in caplog.records if record.name == "authguard"]
