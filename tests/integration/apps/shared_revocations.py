"""An app with a log-out, whose revocations all workers share in Redis. They are kept for good in SQLite."""

from __future__ import annotations

import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Guard, Revocation, SqlRevocations
from authguard.state.redis import RedisBackend, RedisRevocations
from tests.integration.apps.common import REDIS, REVOCATIONS, bearer, clock

source = SqlRevocations(os.environ[REVOCATIONS], clock=clock)
redis = RedisBackend(lambda: Redis.from_url(os.environ[REDIS]))
revocations = RedisRevocations(redis, source=source, clock=clock)


async def log_out(request: Request) -> PlainTextResponse:
    """Revoke the token of this request."""
    claims = request.user.claims
    await revocations.revoke(Revocation.token(claims["jti"], expires_at=claims["exp"]))
    return PlainTextResponse("out")


async def orders(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


routes = [Route("/log-out", log_out, methods=["POST"]), Route("/orders", orders)]
app = AuthGuardMiddleware(Starlette(routes=routes), guard=Guard(bearer(), revocations=revocations, clock=clock))
