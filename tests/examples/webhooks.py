"""The sender of the signed webhook, and an app that takes what it sends."""

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
    """A signature as the sender makes it."""
    return hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()


def signature(body: bytes = BODY, at: float = NOW, secrets: Sequence[bytes] = (SECRET,)) -> str:
    """A whole field."""
    return ", ".join([f"t={int(at)}", *(f"v1={v1(body, at, secret)}" for secret in secrets)])


async def echo(request: Request) -> Response:
    """Says who is asking, and gives the body back as it came."""
    return PlainTextResponse(await request.body(), headers={"x-user": request.user.subject})


def app_behind(*schemes: Scheme, rules: Sequence[Rule] = ()) -> AuthGuardMiddleware:
    """An app that gives every body back, behind a guard whose clock stands at NOW."""
    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    return AuthGuardMiddleware(app, guard=Guard(*schemes, rules=rules, clock=lambda: NOW))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """The reasons of the records, in order; None for what was granted."""
    return [vars(record)["authguard.reason"] for record in caplog.records if record.name == "authguard"]
